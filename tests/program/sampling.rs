//! Tasks as Meta-Dataset samples them, of one dataset and of several.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::kshot::{TINY, refuse, succeed};

/// Bitmaps as Quick, Draw! has them: six categories in each split, squares in places of their own.
fn drawings(data: &Path) {
    let folder = data.join("quickdraw");
    fs::create_dir(&folder).unwrap();
    let splits = [
        ["cat", "dog", "car", "tree", "sun", "star"],
        ["ant", "anvil", "bus", "eye", "hat", "nose"],
        ["angel", "axe", "bat", "bee", "cow", "saw"],
    ];
    for (place, name) in splits.iter().flat_map(|names| names.iter().enumerate()) {
        let pixel = |at: usize| {
            let (drawing, y, x) = (at / 784, at / 28 % 28, at % 28);
            let inside = (4 * place..4 * place + 4).contains(&y) && x >= drawing % 5;
            if inside { 255 } else { (at * 7 % 11 * drawing) as u8 }
        };
        let head = "{'descr': '|u1', 'fortran_order': False, 'shape': (30, 784), }";
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((head.len() as u16).to_le_bytes());
        bytes.extend(head.as_bytes());
        bytes.extend((0..30 * 784).map(pixel));
        fs::write(folder.join(format!("{name}.npy")), bytes).unwrap();
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn several_datasets_are_one_distribution_with_a_table_by_dataset() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    drawings(directory.path());
    let (data, json, out) = (format!("--data-dir={}", at("")), at("rows.json"), at("run"));
    let both = ["--data=glyphs,quickdraw", "--sampling=meta-dataset", &data];
    let bench = ["bench", "--learner=pixels,prototypical,maml", "--json", &json];
    let ran = succeed(&[&bench[..], &both, TINY].concat());
    assert!(ran.stdout.contains("5-50-way and shots as in Meta-Dataset"), "{}", ran.stdout);
    assert!(ran.stdout.contains("accuracy in %, by dataset"), "{}", ran.stdout);
    for row in read(Path::new(&json))["rows"].as_array().unwrap() {
        assert_eq!(row["sampling"], "meta-dataset");
        let mean = |name: &str| row["by_dataset"][name]["mean"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&mean("glyphs")) && mean("quickdraw") > 0.5, "{row}");
    }
    succeed(&[&["train", "--learner=prototypical", "--out", &out], &both[..], TINY].concat());
    let eval = |more: &[&str]| succeed(&[&["eval", &out, &data, "--episodes=40"], more].concat()).stdout;
    let text = eval(&[]);
    assert!(text.contains("glyphs,quickdraw") && text.contains("mean over datasets"), "{text}");
    // Of one of them alone, and as they were before.
    let alone = eval(&["--data=quickdraw", "--sampling=n-way-k-shot", "--ways=5", "--shots=1"]);
    assert!(alone.contains("quickdraw, 5-way 1-shot") && !alone.contains("by dataset"), "{alone}");
    // The same tasks of a file.
    let tasks = at("tasks.json");
    succeed(&[&["tasks", "--out", &tasks, "--episodes=40"], &both[..], &TINY[1..4]].concat());
    let figure = |text: &str| text.split(": test ").nth(1).unwrap().split(" over").next().unwrap().to_owned();
    assert_eq!(figure(&eval(&["--manifest", &tasks])), figure(&text));
}

#[test]
fn what_cannot_be_joined_or_sampled_so_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let data = format!("--data-dir={}", directory.path().display());
    drawings(directory.path());
    let bench = |more: &[&str], words: &[&str]| {
        refuse(&[&["bench", "--learner=pixels", "--episodes=4", &data], more].concat(), words);
    };
    bench(&["--data=glyphs,glyphs"], &["`data` names `glyphs` twice"]);
    bench(&["--data=glyphs,sinusoid"], &["`sinusoid` has no classes"]);
    bench(&["--data=glyphs,quickdrew"], &["did you mean `quickdraw`"]);
    bench(
        &["--data=glyphs,quickdraw", "--set=quickdraw.image-size=20"],
        &["joining glyphs, quickdraw", "`image-size`"],
    );
    bench(&["--sampling=meta-dataset", "--shots=1"], &["leave out `shots`"]);
    bench(&["--sampling=meta"], &["meta-dataset"]);
    bench(&["--data=bearing", "--sampling=meta-dataset"], &["`sampling` is of datasets of classes"]);
    bench(
        &["--sampling=meta-dataset", "--set=glyphs.test-classes=4"],
        &["a task of 5 classes", "which has 4"],
    );
}

#[test]
fn every_learner_answers_supports_of_unequal_shots() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("rows.json");
    let bench = ["bench", "--sampling=meta-dataset", "--ways=5-8", "--json", json.to_str().unwrap()];
    let few = ["--steps=2", "--validation-episodes=2", "--validate-every=2", "--episodes=3"];
    succeed(&[&bench, &TINY[..4], &few].concat());
    let learners = succeed(&["learners"]).stdout;
    let classify = learners.lines().filter(|line| line.trim_start().starts_with("classification")).count();
    assert_eq!(read(&json)["rows"].as_array().unwrap().len(), classify, "{learners}");
}
