//! New files are labelled by a few examples of each class.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::kshot::{Ran, TINY, command, refuse, run, succeed};

/// A PGM of 12×12 with the pattern of a class and noise of its own.
fn draw(path: &Path, class: usize, number: usize) {
    let pixels = (0..144).map(|at| {
        let (row, column) = (at / 12, at % 12);
        let on = [row < 6, column < 6, (row + column) % 4 < 2, row == column][class];
        let noise = (at * 7 + number * 31 + at * number) % 40;
        if on { 200 + noise as u8 } else { 20 + noise as u8 }
    });
    let mut bytes = b"P5 12 12 255\n".to_vec();
    bytes.extend(pixels);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Three classes of 2, 5 and 3 labelled images, and four queries of each below `new`.
fn draw_all(root: &Path) {
    for (class, count) in [2, 5, 3].into_iter().enumerate() {
        (0..count).for_each(|n| draw(&root.join(format!("known/class{class}/{n}.pgm")), class, n));
        (0..4).for_each(|n| draw(&root.join(format!("new/some/{class}-{n}.pgm")), class, 10 + n));
    }
}

fn rows(path: &Path) -> Vec<Value> {
    serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap().as_array().unwrap().clone()
}

/// Of the learners of a bench.
fn accuracies(path: &Path) -> Vec<f64> {
    let table: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    table["rows"].as_array().unwrap().iter().map(|row| row["accuracy"].as_f64().unwrap()).collect()
}

/// Every query's file begins with the number of its class.
fn right(rows: &[Value]) -> usize {
    let own = |row: &Value| {
        let file =
            Path::new(row["file"].as_str().unwrap()).file_name().unwrap().to_string_lossy().into_owned();
        format!("class{}", &file[..1])
    };
    rows.iter().filter(|row| row["label"] == own(row).as_str()).count()
}

#[test]
fn images_are_labelled_listed_and_sorted() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    draw_all(root);
    let at = |name: &str| root.join(name).to_string_lossy().into_owned();
    let pixels = ["predict", "--learner=pixels", "--image-size=12", "--support", &at("known")];
    let files = ["--json", &at("all.json"), "--csv", &at("all.csv"), "--out", &at("sorted")];
    succeed(&[&pixels[..], &files, &[&at("new")]].concat());
    let answers = rows(&root.join("all.json"));
    assert_eq!((answers.len(), right(&answers)), (12, 12));
    for row in &answers {
        let scores: HashMap<String, f64> = serde_json::from_value(row["scores"].clone()).unwrap();
        let mut sorted: Vec<f64> = scores.values().copied().collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        assert!((scores[row["label"].as_str().unwrap()] - sorted[0]).abs() < 1e-6, "{row}");
        assert!((row["margin"].as_f64().unwrap() - (sorted[0] - sorted[1])).abs() < 1e-4, "{row}");
    }
    let csv = fs::read_to_string(root.join("all.csv")).unwrap();
    assert!(
        csv.starts_with("file,label,margin,class0,class1,class2\n") && csv.lines().count() == 13,
        "{csv}"
    );
    assert_eq!(fs::read_dir(root.join("sorted/class1")).unwrap().count(), 4);
    // Again: nothing is overwritten.
    succeed(&[&pixels[..], &files, &[&at("new")]].concat());
    assert_eq!(fs::read_dir(root.join("sorted/class1")).unwrap().count(), 8);

    let shown = succeed(&[&pixels[..], &[&at("new/some/2-1.pgm")]].concat()).stdout;
    assert!(shown.contains("label") && shown.lines().any(|line| line.starts_with("class2 ")), "{shown}");

    // Paths on stdin, one of which is no image: the others are labelled.
    fs::write(root.join("broken.pgm"), "P5 nothing").unwrap();
    let mut child = command(&[&pixels[..], &["--csv=-", "-"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let paths = [at("new/some/0-0.pgm"), at("broken.pgm"), at("new/some/1-0.pgm")].join("\n");
    child.stdin.take().unwrap().write_all(paths.as_bytes()).unwrap();
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert_eq!(ran.stdout.lines().count(), 3, "{}", ran.stdout);
    assert!(ran.stderr.contains("broken.pgm") && ran.stderr.contains("1 of 3 files"), "{}", ran.stderr);
}

#[test]
fn a_trained_learner_labels_each_query_as_if_it_were_alone() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    draw_all(root);
    let at = |name: &str| root.join(name).to_string_lossy().into_owned();
    for learner in ["prototypical", "finetune", "metanet"] {
        let run = at(learner);
        // On other drawings, and other classes.
        succeed(&[&["train", "--learner", learner, "--out", &run], TINY].concat());
        let predict = ["predict", &run, "--support", &at("known"), "--json", &at("all.json")];
        succeed(&[&predict[..], &[&at("new")]].concat());
        let all = rows(&root.join("all.json"));
        assert_eq!(all.len(), 12);
        // So short a training is enough for a metric, not for a head of few and unequal examples.
        assert!(learner != "prototypical" || right(&all) == 12, "{} of 12", right(&all));

        succeed(&[&predict[..], &[&at("new/some/1-2.pgm")]].concat());
        let alone = rows(&root.join("all.json"));
        let among = all.iter().find(|row| row["file"] == alone[0]["file"]).unwrap();
        for class in ["class0", "class1", "class2"] {
            let of = |row: &Value| row["scores"][class].as_f64().unwrap();
            assert!((of(among) - of(&alone[0])).abs() < 1e-3 * of(among).abs().max(1.0), "{learner}");
        }
    }
}

#[test]
fn what_is_like_no_class_is_called_none_and_rows_of_arrays_are_labelled() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    draw_all(root);
    (0..6).for_each(|n| draw(&root.join(format!("strange/{n}.pgm")), 3, n));
    let at = |name: &str| root.join(name).to_string_lossy().into_owned();
    let pixels = [
        "predict",
        "--learner=pixels",
        "--image-size=12",
        "--support",
        &at("known"),
        "--json",
        &at("r.json"),
    ];
    let none = |queries: &str| {
        succeed(&[&pixels[..], &["--reject=0.2", &at(queries)]].concat());
        let rows = rows(&root.join("r.json"));
        rows.iter().filter(|row| row["label"].is_null()).count() as f64 / rows.len() as f64
    };
    assert!(none("strange") > none("new") && none("new") <= 0.5, "{} {}", none("strange"), none("new"));

    fs::write(root.join("known.csv"), "a,b,y\n0,0,low\n0.1,0,low\n5,5,high\n5,5.2,high\n").unwrap();
    fs::write(root.join("new.csv"), "a,b\n4.8,5\n0.05,0.1\n").unwrap();
    let raw = "--set=no-adaptation.unit-length=false";
    let arrays =
        ["predict", "--learner=no-adaptation", raw, "--support", &at("known.csv"), "--json", &at("r.json")];
    succeed(&[&arrays[..], &[&at("new.csv")]].concat());
    let labels: Vec<Value> = rows(&root.join("r.json")).iter().map(|row| row["label"].clone()).collect();
    assert_eq!(labels, ["high", "low"]);

    refuse(&[&pixels[..], &["--reject=2", &at("new")]].concat(), &["`--reject` is 2"]);
    refuse(&[&pixels[..], &[&at("nowhere")]].concat(), &["no such file"]);
    refuse(
        &["predict", "--learner=maml", "--support", &at("known"), &at("new")],
        &["has to be trained first"],
    );
    refuse(&["predict", "--learner=pixels", "--support", &at("new"), &at("new")], &["only the class `some`"]);
    refuse(&["predict", &at("nowhere"), "--support", &at("known"), &at("new")], &["nowhere"]);
    assert_eq!(run(&["predict", &at("new")]).code, Some(2));
}

#[test]
fn embeddings_go_on_where_they_were_stopped_and_are_what_arrays_reads() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    draw_all(root);
    let at = |name: &str| root.join(name).to_string_lossy().into_owned();
    let run = at("run");
    succeed(&[&["train", "--learner=prototypical", "--out", &run], TINY].concat());
    succeed(&["embed", &run, &at("known"), "--out", &at("known.npz")]);
    succeed(&["embed", &run, &at("new"), "--out", &at("new.npz")]);
    // Labelled from the embeddings as from the images.
    let centroid = ["predict", "--learner=centroid", "--json", &at("r.json"), "--support"];
    succeed(&[&centroid[..], &[&at("known.npz"), &at("new.npz")]].concat());
    let features = format!("--set=centroid.features={run}");
    let of_arrays = rows(&root.join("r.json"));
    succeed(&[&centroid[..], &[&at("known"), &features, &at("new")]].concat());
    let of_images = rows(&root.join("r.json"));
    assert_eq!(of_arrays.len(), 12);
    for (a, b) in of_arrays.iter().zip(&of_images) {
        assert_eq!(a["label"], b["label"]);
        assert!((a["margin"].as_f64().unwrap() - b["margin"].as_f64().unwrap()).abs() < 1e-4);
    }

    // A hundred paths; the program is killed when 64 of them are done.
    let mut paths = String::new();
    (0..100).for_each(|n| paths += &format!("{}\n", at(&format!("new/some/{}-{}.pgm", n % 3, n % 4))));
    let embed = |out: &str| {
        let mut command = command(&["embed", &run, "-", "--out", &at(out)]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let whole = |out: &str| -> Ran {
        let mut child = embed(out);
        child.stdin.take().unwrap().write_all(paths.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    };
    assert_eq!(whole("whole.npz").code, Some(0));
    let mut child = embed("again.npz");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&paths.as_bytes()[..paths.len() * 3 / 4]).unwrap();
    let names = root.join("again.npz.part/names");
    while fs::read_to_string(&names).map_or(0, |text| text.lines().count()) < 64 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let ran = whole("again.npz");
    assert!(ran.code == Some(0) && ran.stderr.contains("going on after 64 examples"), "{}", ran.stderr);
    assert_eq!(fs::read(at("again.npz")).unwrap(), fs::read(at("whole.npz")).unwrap());
    assert!(!root.join("again.npz.part").exists());
    refuse(&["embed", &run, &at("new"), "--out", &at("new.csv")], &["does not end in .npz"]);
    refuse(
        &["embed", &run, &at("new"), "--image-size=20", "--out", &at("o.npz")],
        &["as the checkpoint says", "--image-size"],
    );
}

#[test]
fn two_images_are_called_the_same_or_different_at_the_threshold_of_the_validation_classes() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    draw_all(root);
    let at = |name: &str| root.join(name).to_string_lossy().into_owned();
    let run = at("run");
    succeed(&[&["train", "--learner=prototypical", "--out", &run], TINY].concat());
    let verify =
        |a: &str, b: &str, more: &[&str]| succeed(&[&["verify", &run, &at(a), &at(b)], more].concat()).stdout;
    let (one, other) = ("new/some/0-0.pgm", "new/some/2-1.pgm");
    assert!(verify(one, one, &[]).starts_with("same: similarity"), "{}", verify(one, one, &[]));
    let apart = verify(one, other, &["--far=0.05", "--classes", &at("known")]);
    assert!(apart.starts_with("different: ") && apart.contains("at which 5 %"), "{apart}");

    fs::write(root.join("pairs.csv"), format!("{},{}\n{},{}\n", at(one), at(one), at(one), at(other)))
        .unwrap();
    let listed = succeed(&["verify", &run, "--pairs", &at("pairs.csv")]).stdout;
    assert!(listed.lines().next().unwrap().ends_with(",same") && listed.lines().count() == 2, "{listed}");

    refuse(&["verify", &run, &at(one), &at(other), "--far=0.000001"], &["pairs enough for", "--classes"]);
    refuse(&["verify", &run, &at(one), &at("nothing.pgm")], &["nothing.pgm"]);
    fs::write(root.join("pairs.csv"), "only-one\n").unwrap();
    refuse(&["verify", &run, "--pairs", &at("pairs.csv")], &["line 1 has no two paths"]);
    let untold = at("untold");
    let train = ["train", "--learner=finetune", "--out", &untold];
    succeed(&[&train[..], TINY].concat());
    refuse(&["verify", &untold, &at(one), &at(other)], &["`finetune` does not compare"]);
}

#[test]
fn an_encoder_is_asked_for_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    draw_all(root);
    let at = |name: &str| root.join(name).to_string_lossy().into_owned();
    fs::write(root.join("no.onnx"), "no encoder").unwrap();
    // A build without the feature says how to get one with it; one with it, what is wrong.
    refuse(&["embed", &at("no.onnx"), &at("new"), "--out", &at("o.npz")], &["no.onnx"]);
    let predict = ["predict", "--encoder", &at("no.onnx"), "--support", &at("known")];
    refuse(&[&predict[..], &["--learner=centroid", &at("new")]].concat(), &["no.onnx"]);
    let bad = ["--learner=centroid", "--normalise=1,2", &at("new")];
    refuse(&[&predict[..], &bad].concat(), &["three means and three deviations"]);
    refuse(
        &[&predict[..], &["--learner=pixels", "--resize=fitt", &at("new")]].concat(),
        &["did you mean `fit`"],
    );
}

#[test]
fn an_encoder_makes_features_of_a_folder_that_are_kept_and_learned_on() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    draw_all(root);
    let at = |name: &str| root.join(name).to_string_lossy().into_owned();
    let run = at("run");
    succeed(&[&["train", "--learner=prototypical", "--out", &run], TINY].concat());
    let (path, cache) = (format!("folder.path={}", at("known")), at("cache"));
    let bench = |more: &[&str]| -> Ran {
        let same =
            ["bench", "--data=folder", "--set", &path, "--learner=centroid", "--ways=3", "--queries=1"];
        let rest = ["--set=folder.fractions=[0,0,1]", "--episodes=50", "--json", &at("rows.json")];
        let mut command = command(&[&same[..], &rest, more].concat());
        command.env("KSHOT_CACHE", &cache).output().unwrap().into()
    };
    let accuracy = || accuracies(&root.join("rows.json"))[0];
    let encoder = format!("folder.encoder={run}");
    let ran = bench(&["--set", &encoder]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let first = accuracy();
    // The same as a learner that takes the network's features itself.
    let ran = bench(&["--set", &format!("centroid.features={run}")]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(accuracy(), first);
    // What is kept is taken: one file, and numbers put in it are seen.
    let kept: Vec<_> =
        fs::read_dir(root.join("cache/features")).unwrap().map(|file| file.unwrap().path()).collect();
    let bytes = fs::read(&kept[0]).unwrap();
    assert_eq!((kept.len(), bytes.len() % 40), (1, 0));
    fs::write(&kept[0], vec![0; bytes.len()]).unwrap();
    assert_eq!(bench(&["--set", &encoder]).code, Some(0));
    assert_ne!(accuracy(), first);
    // A file cut off is made again.
    fs::write(&kept[0], &bytes[..bytes.len() / 2 + 1]).unwrap();
    assert_eq!(bench(&["--set", &encoder]).code, Some(0));
    assert_eq!((accuracy(), fs::read(&kept[0]).unwrap()), (first, bytes));
    let ran = bench(&["--set", &encoder, "--image-size=28"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("leave out `image-size`"), "{}", ran.stderr);

    // What is learned on features labels images.
    let head = at("head");
    let train = ["train", "--data=folder", "--set", &path, "--set", &encoder, "--learner=prototypical"];
    let rest = ["--set=folder.fractions=[1,0,0]", "--ways=3", "--queries=1", "--steps=5", "--out", &head];
    let few = ["--set=prototypical.train-ways=3", "--set=prototypical.train-queries=1"];
    let ran = succeed(&[&train[..], &rest, &few].concat());
    assert!(ran.stdout.contains("not tested, as there are no test classes"), "{}", ran.stdout);
    let answers = at("answers.json");
    succeed(&["predict", &head, "--support", &at("known"), &at("new"), "--json", &answers]);
    assert!(right(&rows(&root.join("answers.json"))) >= 9);
    let pixels = ["predict", "--learner=pixels", "--encoder", &run, "--support", &at("known"), &at("new")];
    succeed(&[&pixels[..], &["--json", &answers]].concat());
    assert!(right(&rows(&root.join("answers.json"))) >= 9);
}

#[test]
fn two_classes_of_8_and_40_in_train_and_test_are_compared_and_labelled() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for (class, name, count) in [(0, "bad", 8), (3, "ok", 40)] {
        (0..count).for_each(|n| draw(&root.join(format!("train/{name}/{n}.pgm")), class, n));
        (0..6).for_each(|n| draw(&root.join(format!("test/{name}/{n}.pgm")), class, 100 + n));
    }
    let (path, json) = (format!("folder.path={}", root.display()), root.join("rows.json"));
    let bench =
        ["bench", "--data=folder", "--set", &path, "--image-size=12", "--json", json.to_str().unwrap()];
    // All of one side, asked all of the other, and tasks of a few.
    let ran = succeed(&[&bench[..], &["--learner=pixels,ridge,tca"]].concat());
    assert!(ran.stderr.contains("same classes in training and test"), "{}", ran.stderr);
    assert!(accuracies(&json).into_iter().all(|accuracy| accuracy > 0.9), "{}", ran.stdout);
    succeed(&[&bench[..], &["--learner=pixels,logistic", "--shots=5", "--episodes=40"]].concat());
    assert!(accuracies(&json).into_iter().all(|accuracy| accuracy > 0.9));
    let trained = ["--learner=prototypical,finetune", "--shots=3", "--steps=10", "--episodes=20"];
    let small = ["--set=backbone.width=8", "--set=backbone.blocks=2"];
    succeed(&[&bench[..], &trained, &small].concat());
}

#[test]
fn an_encoder_that_was_trained_on_the_test_classes_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    for class in 0..6 {
        (0..8).for_each(|n| draw(Path::new(&at(&format!("all/{class}/{n}.pgm"))), class % 4, 10 * class + n));
    }
    let (path, run) = (format!("folder.path={}", at("all")), at("run"));
    let folder = ["--data=folder", "--set", &path, "--ways=2", "--queries=3"];
    let train = ["train", "--learner=prototypical", "--image-size=12", "--out", &run, "--steps=2"];
    let small =
        ["--set=backbone.width=4", "--set=backbone.blocks=2", "--episodes=4", "--validation-episodes=2"];
    succeed(&[&train[..], &folder, &small, &["--set=prototypical.train-queries=2"]].concat());
    let encoder = format!("folder.encoder={run}");
    let bench = ["bench", "--learner=centroid", "--set", &encoder, "--episodes=4"];
    succeed(&[&bench[..], &folder].concat());
    refuse(
        &[&bench[..], &folder, &["--set=folder.fractions=[0,0,1]"]].concat(),
        &["was trained on 2 of these 6"],
    );
}

#[test]
fn a_bench_of_two_classes_is_of_the_learners_that_need_no_training() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for (class, name) in [(0, "ok"), (2, "cracked")] {
        (0..7).for_each(|n| draw(&root.join(format!("bolts/{name}/{n}.pgm")), class, n));
    }
    let (path, json) = (format!("folder.path={}", root.join("bolts").display()), root.join("rows.json"));
    let bench = ["bench", "--data=folder", "--set", &path, "--image-size=12", "--episodes=20", "--json"];
    let ran = succeed(&[&bench[..], &[json.to_str().unwrap()]].concat());
    assert!(ran.stderr.contains("all 2 classes are for test"), "{}", ran.stderr);
    assert!(ran.stderr.contains("without the learners that are trained"), "{}", ran.stderr);
    assert!(accuracies(&json).len() > 5, "{}", ran.stdout);
}
