//! Inputs that people really bring, of which each once gave a wrong figure, a panic or a groundless refusal.

use std::path::{Path, PathBuf};

use super::kshot::{Ran, refuse, run, succeed};

/// The made-up inputs: `KSHOT_CASES`, else `shared/cases` beside the repository; `None`, said aloud, where they are not there.
fn cases() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/cases");
    let cases = std::env::var_os("KSHOT_CASES").map_or_else(beside, PathBuf::from);
    let there = cases.exists().then_some(cases);
    if there.is_none() {
        eprintln!("SKIPPED: no inputs that broke things; set KSHOT_CASES");
    }
    there
}

/// `bench` of `pixels` on all classes of a case, as test classes.
fn pixels(dataset: &str, path: &Path, more: &[&str]) -> Vec<String> {
    let arguments =
        ["bench", "--learner", "pixels", "--episodes", "200", "--queries", "3", "--data", dataset];
    let set = [
        format!("--set={dataset}.path={}", path.display()),
        format!("--set={dataset}.fractions=[0.0, 0.0, 1.0]"),
    ];
    arguments.iter().map(ToString::to_string).chain(set).chain(more.iter().map(ToString::to_string)).collect()
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// The accuracy, in per cent, in the last line of a table.
fn accuracy(ran: &Ran) -> f64 {
    let line = ran.stdout.lines().last().unwrap();
    line.split_once(" ± ").and_then(|(before, _)| before.split_whitespace().last()?.parse().ok()).unwrap()
}

#[test]
fn transparent_drawings_are_as_accurate_as_those_on_paper() {
    let Some(cases) = cases() else { return };
    let of = |name: &str| {
        accuracy(&succeed(&words(&pixels(
            "folder",
            &cases.join("transparency").join(name),
            &["--image-size=12"],
        ))))
    };
    let (white, alpha) = (of("white"), of("alpha"));
    assert!(white > 50.0 && (white - alpha).abs() < 1.0, "{white} {alpha}");
}

#[test]
fn a_missing_value_is_named_by_its_row_and_column_standardised_or_not() {
    let Some(cases) = cases() else { return };
    for standardise in ["--set=arrays.standardise=true", "--set=arrays.standardise=false"] {
        for (name, what) in [("empty", "the cell is empty"), ("inf", "`inf` is not a finite number")] {
            let path = cases.join(format!("missing/{name}.csv"));
            refuse(&words(&pixels("arrays", &path, &[standardise])), &["line 103", "column `f2`", what]);
        }
        let label = pixels("arrays", &cases.join("missing/label.csv"), &[standardise]);
        refuse(&words(&label), &["line 103, column `y`", "is no name"]);
        let npz = pixels("arrays", &cases.join("missing/dom.npz"), &[standardise]);
        refuse(&words(&npz), &["value 2 of example 101", "NaN"]);
    }
    assert!(accuracy(&succeed(&words(&pixels("arrays", &cases.join("missing/good.csv"), &[])))) > 80.0);
}

#[test]
fn an_index_is_no_feature_and_a_table_without_one_says_so() {
    let Some(cases) = cases() else { return };
    let of = |name: &str| pixels("arrays", &cases.join("csv").join(name), &[]);
    let (index, plain) = (succeed(&words(&of("index.csv"))), succeed(&words(&of("plain.csv"))));
    assert!(index.stderr.contains("numbers the rows"), "{}", index.stderr);
    assert_eq!(accuracy(&index), accuracy(&plain));
    assert!((accuracy(&plain) - 20.0).abs() < 3.0, "{}", plain.stdout);
    refuse(&words(&of("semi.csv")), &["separated by `;`"]);
    refuse(&words(&of("onlyy.csv")), &["no feature"]);
}

#[test]
fn arrays_of_every_kind_hold_the_same() {
    let Some(cases) = cases() else { return };
    for path in ["npy/plain", "npy/f2", "npy/bytes", "mat/plain.mat", "mat/cell.mat", "mat/sparse.mat"] {
        let ran = succeed(&words(&pixels("arrays", &cases.join(path), &[])));
        assert_eq!(accuracy(&ran), 100.0, "{path}: {}", ran.stdout);
    }
}

#[test]
fn a_division_by_directories_is_read_as_it_is() {
    let Some(cases) = cases() else { return };
    let nested = format!("--set=folder.path={}", cases.join("layout/nested").display());
    let ran = run(&["bench", "--learner=pixels", "--data=folder", &nested]);
    assert!(ran.stderr.contains("with 1 + 1 + 1 classes"), "{}", ran.stderr);
}

#[test]
fn a_record_shorter_than_a_window_is_named() {
    let Some(cases) = cases() else { return };
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("cwru")).unwrap();
    let short = cases.join("layout/IR014_load0_DE.short1000.npy");
    std::fs::copy(short, directory.path().join("cwru/B007_load0_DE.npy")).unwrap();
    let data_dir = format!("--data-dir={}", directory.path().display());
    refuse(&["bench", "--data=cwru", &data_dir], &["B007_load0_DE.npy has 1000 samples"]);
}

#[test]
fn trained_learners_are_tested_on_classes_that_are_all_for_testing() {
    let Some(cases) = cases() else { return };
    let own = cases.join("layout/own");
    for learner in ["pixels", "tca", "no-adaptation"] {
        let mut arguments = pixels("folder", &own, &["--ways=10", "--image-size=28"]);
        arguments[2] = learner.to_owned();
        succeed(&words(&arguments));
    }
    let directory = tempfile::tempdir().unwrap();
    for learner in ["finetune", "triplet", "siamese", "prototypical", "matching", "relation"] {
        let out = directory.path().join(learner);
        let out = out.to_str().unwrap();
        let tiny = &super::kshot::TINY[..4];
        succeed(
            &[&["train", "--learner", learner, "--out", out, "--steps=2", "--episodes=4"], tiny].concat(),
        );
        let set = format!("--set=folder.path={}", own.display());
        let eval =
            ["eval", out, "--data=folder", &set, "--set=folder.fractions=[0.0, 0.0, 1.0]", "--ways=10"];
        let ran = succeed(&[&eval[..], &["--queries=3", "--episodes=20"]].concat());
        assert!(ran.stdout.contains("10-way 1-shot"), "{}", ran.stdout);
    }
}

#[test]
fn six_images_a_class_are_enough_for_every_learner_whose_training_fits() {
    let Some(cases) = cases() else { return };
    let set = format!("--set=folder.path={}", cases.join("layout/small6").display());
    let json = tempfile::NamedTempFile::new().unwrap();
    let json = json.path().to_str().unwrap();
    let ran = succeed(&[
        "bench",
        "--data=folder",
        &set,
        "--image-size=12",
        "--set=backbone.width=4",
        "--steps=2",
        "--validation-episodes=2",
        "--episodes=4",
        "--json",
        json,
    ]);
    assert!(ran.stderr.contains("3-way tasks, as the test split has 3 classes"), "{}", ran.stderr);
    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(rows["rows"].as_array().unwrap().len(), kshot::registry::learners().len(), "{}", ran.stderr);
}

#[test]
fn a_full_file_is_an_error_and_not_the_end_of_the_program() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_kshot");
    let train = format!(
        "ulimit -f 8; '{program}' train --learner prototypical --out '{}' {}",
        directory.path().join("run").display(),
        super::kshot::TINY.join(" ")
    );
    let ran: Ran = std::process::Command::new("sh").args(["-c", &train]).output().unwrap().into();
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("too large"), "{}", ran.stderr);
}
