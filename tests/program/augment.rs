//! Augmentation, from the command line to the bits of a run.

use std::fs;
use std::path::Path;

use kshot::picture::Picture;

use super::kshot::{TINY, refuse, succeed};

/// Colour images of 12 classes, eight of each: a square on a ground, their colours those of the class, its place the image's.
fn folder(at: &Path) {
    for class in 0..12_usize {
        let directory = at.join(format!("class{class:02}"));
        fs::create_dir_all(&directory).unwrap();
        for image in 0..8 {
            let mut picture = Picture::filled(16, 16, [(class * 20) as u8, 120, (240 - class * 20) as u8]);
            picture.rectangle([1 + image, 8 - image], [5, 6], [200, (class * 15) as u8, 60]);
            fs::write(directory.join(format!("{image}.png")), picture.png().unwrap()).unwrap();
        }
    }
}

fn train(data: &Path, out: &Path, more: &[&str]) {
    let path = format!("--set=folder.path={}", data.display());
    let arguments = ["train", "--data=folder", "--image-size=16", "--ways=2", "--queries=3", "--out"];
    let arguments = [&arguments[..], &[out.to_str().unwrap(), &path, "--set=folder.colour=rgb"]].concat();
    let tiny = ["--set=backbone.width=8", "--validate-every=3", "--validation-episodes=5", "--episodes=10"];
    succeed(&[&arguments[..], &tiny, more].concat());
}

fn bytes(out: &Path) -> [Vec<u8>; 2] {
    ["metrics.jsonl", "last.safetensors"].map(|file| fs::read(out.join(file)).unwrap())
}

#[test]
fn a_suite_keeps_augmented_and_plain_trainings_apart_on_as_many_threads_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    let (suite, out) = (directory.path().join("suite.toml"), directory.path().join("out"));
    let experiments = "learner = \"prototypical\"\nepisodes = 10\nqueries = 2\n[train]\nsteps = 4\nvalidate-every = 4\n\
         validation-episodes = 2\n[set.backbone]\nwidth = 4\n\
         [[experiment]]\naugment = \"none\"\n[[experiment]]\naugment = \"standard\"\n";
    fs::write(&suite, experiments).unwrap();
    succeed(&["run", suite.to_str().unwrap(), "--out", out.to_str().unwrap(), "--threads", "2"]);
    let cells: Vec<_> = fs::read_dir(out.join("cells")).unwrap().map(|cell| cell.unwrap().path()).collect();
    assert_eq!(cells.len(), 2, "{cells:?}");
    assert!(bytes(&cells[0]) != bytes(&cells[1]), "one was varied, the other was not");
    let table = succeed(&["compare", out.to_str().unwrap()]).stdout;
    assert!(table.contains("prototypical (augment=standard) "), "what both have is not said: {table}");
}

#[test]
fn augmented_runs_are_the_same_on_any_number_of_threads_and_resumed_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let (data, at) = (directory.path().join("images"), |name: &str| directory.path().join(name));
    folder(&data);
    // Episodes, P×K batches (also one of all there is), flat batches.
    for learner in ["prototypical", "triplet", "finetune"] {
        let run = |name: &str, more: &[&str]| {
            let learner_is = ["--learner", learner, "--meta-batch=2", "--set=augment.erase=0.2"];
            train(&data, &at(name), &[&learner_is[..], &["--augment=standard"], more].concat());
        };
        let out = |name: &str| format!("{learner}-{name}");
        run(&out("one"), &["--steps=6", "--threads=1"]);
        let one = bytes(&at(&out("one")));
        for threads in ["2", "4"] {
            run(&out(threads), &["--steps=6", "--threads", threads]);
            assert!(one == bytes(&at(&out(threads))), "{learner}: {threads} threads");
        }
        run(&out("parts"), &["--steps=3"]);
        run(&out("parts"), &["--steps=6", "--resume"]);
        assert!(one == bytes(&at(&out("parts"))), "{learner}: resumed");
        let plain = at(&out("plain"));
        train(&data, &plain, &["--learner", learner, "--meta-batch=2", "--steps=6"]);
        assert!(one[0] != bytes(&plain)[0], "{learner}: nothing was varied");
        let none = at(&out("none"));
        train(&data, &none, &["--learner", learner, "--meta-batch=2", "--steps=6", "--augment=none"]);
        assert!(bytes(&plain) == bytes(&none), "{learner}: none is the default");
    }

    // The checkpoint says what was varied, not by which name; a test may have views of the support.
    let run = at("prototypical-one");
    let description: serde_json::Value =
        serde_json::from_slice(&fs::read(run.join("best.json")).unwrap()).unwrap();
    let varied = &description["experiment"]["set"]["augment"];
    assert_eq!(
        (&varied["flip"], &varied["brightness"], &varied["erase"]),
        (&0.5.into(), &0.4.into(), &0.2.into())
    );
    assert!(fs::read_to_string(run.join("config.toml")).unwrap().contains("augment = \"standard\""));
    let figure = |more: &[&str]| {
        let out = at("eval.json");
        let eval = ["eval", run.to_str().unwrap(), "--episodes=20", "--json", out.to_str().unwrap()];
        succeed(&[&eval[..], more].concat());
        let json: serde_json::Value = serde_json::from_slice(&fs::read(out).unwrap()).unwrap();
        json["per_episode"].clone()
    };
    let plain = figure(&[]);
    assert_eq!(plain, figure(&["--set=augment.support-views=1"]), "tests are not varied");
    assert_ne!(plain, figure(&["--set=augment.support-views=5"]));
    let path = format!("--set=folder.path={}", data.display());
    let other =
        ["train", "--learner=prototypical", "--data=folder", "--image-size=16", "--ways=2", "--queries=3"];
    let other = [&other[..], &[&path, "--set=folder.colour=rgb", "--resume", "--steps=6", "--out"]].concat();
    refuse(&[&other[..], &[run.to_str().unwrap()]].concat(), &["augment"]);
}

#[test]
fn drawings_are_moved_and_signals_shaken() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("glyphs");
    let train = ["train", "--learner=prototypical", "--augment=standard", "--out", out.to_str().unwrap()];
    succeed(&[&train[..], TINY].concat());
    let description = fs::read_to_string(out.join("best.json")).unwrap();
    assert!(description.contains("\"padding\": 3") && !description.contains("flip"), "{description}");
    let bearing = [
        "bench",
        "--data=bearing",
        "--set=bearing.view=raw",
        "--learner=prototypical",
        "--augment=standard",
        "--steps=2",
        "--shots=1",
    ];
    succeed(&[&bearing[..], &["--queries=2", "--episodes=4", "--source=load0", "--target=load1"]].concat());
}

#[test]
fn what_cannot_be_varied_is_refused_before_any_work() {
    let bench = |more: &[&str], words: &[&str]| {
        refuse(&[&["bench", "--learner=finetune"], more].concat(), words);
    };
    bench(&["--augment=standart"], &["no augmentation called `standart`", "did you mean `standard`"]);
    bench(
        &["--set=augment.saturation=0.4"],
        &["`augment.saturation` needs three channels", "grey images of 28×28"],
    );
    bench(&["--set=augment.flipp=0.4"], &["`flipp`", "did you mean `flip`"]);
    bench(&["--set=augment.flip=2"], &["`flip` is 2, but must be 0 to 1"]);
    bench(&["--set=augment.support-views=4"], &["`support-views` is 4, but nothing is varied"]);
    bench(&["--augment=standard", "--set=augment.crop-scale=[0.5, 1.0]"], &["two ways to cut"]);
    bench(
        &["--data=bearing", "--augment=standard"],
        &["for images and signals", "arrays of 1×32×32 numbers"],
    );
    bench(&["--data=sinusoid", "--augment=standard"], &["functions"]);
    bench(
        &["--data=bearing", "--set=bearing.view=raw", "--set=augment.flip=0.5"],
        &["`augment.flip` needs images"],
    );
}
