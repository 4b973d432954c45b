//! Suites: kept cell by cell, gone on with after a kill, compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::kshot::{Ran, command, refuse, run, succeed};
use super::schema::Schema;

/// Three learners, two shots and two seeds on drawings, and one learner on functions: 13 cells.
const SUITE: &str = r#"
episodes = 20
queries = 5
seeds = 2

[train]
steps = 30
validate-every = 5
validation-episodes = 4

[[experiment]]
learner = ["pixels", "prototypical", "maml"]
shots = [1, 2]

[experiment.set.backbone]
width = 4

[experiment.set.glyphs]
train-classes = 20
validation-classes = 6
test-classes = 6

[[experiment]]
data = "sinusoid"
learner = "reptile"
shots = 5
"#;

/// What the seed determines of a suite's directory: figures, episodes, weights.
fn determined(suite: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for cell in fs::read_dir(suite.join("cells")).unwrap() {
        let cell = cell.unwrap().path();
        for name in [
            "result.json",
            "episodes.npz",
            "config.toml",
            "best.safetensors",
            "last.safetensors",
            "metrics.jsonl",
        ] {
            if let Ok(bytes) = fs::read(cell.join(name)) {
                files.insert(format!("{}/{name}", cell.file_name().unwrap().to_string_lossy()), bytes);
            }
        }
    }
    files
}

fn written(root: &Path) -> String {
    let file = root.join("small.toml");
    fs::write(&file, SUITE).unwrap();
    file.to_string_lossy().into_owned()
}

#[test]
fn a_suite_that_is_killed_goes_on_to_the_same_end_and_is_compared() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let suite = written(root);
    let at = |name: &str| root.join(name).to_string_lossy().into_owned();
    let whole = succeed(&["run", &suite, "--out", &at("whole")]);
    assert!(
        whole.stdout.contains("5-way 2-shot") && whole.stdout.contains("± over seeds 0–1"),
        "{}",
        whole.stdout
    );
    assert!(whole.stdout.contains("14 cells in"), "{}", whole.stdout);
    let expected = determined(&root.join("whole"));
    assert_eq!(expected.keys().filter(|name| name.ends_with("result.json")).count(), 14);

    // Killed a moment after each new file of weights, until it comes to its end.
    let mut kills = 0;
    loop {
        let before = files_in(&root.join("again"));
        let mut child = command(&["run", &suite, "--out", &at("again")])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if kills < 6 && files_in(&root.join("again")) > before + 1 + kills {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        match ended {
            Some(status) => {
                assert!(status.success());
                break;
            }
            None => kills += 1,
        }
    }
    assert!(kills > 0);
    let found = determined(&root.join("again"));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, bytes) in &found {
        assert!(*bytes == expected[name], "{name} differs");
    }
    // Several at a time come to the same, and so does a cell's own experiment.
    succeed(&["run", &suite, "--out", &at("two"), "--jobs", "2"]);
    assert!(determined(&root.join("two")) == expected);
    let cells = root.join("whole/cells");
    let trained = fs::read_dir(&cells).unwrap().map(|cell| cell.unwrap().path());
    let trained = trained.into_iter().find(|cell| cell.join("best.safetensors").exists()).unwrap();
    let config = trained.join("config.toml").to_string_lossy().into_owned();
    succeed(&["train", &config, "--out", &at("one")]);
    for name in ["episodes.npz", "best.safetensors", "config.toml"] {
        let [mut a, mut b] =
            [trained.join(name), root.join("one").join(name)].map(|path| fs::read(path).unwrap());
        if name == "best.safetensors" {
            // `train` notes thresholds of verification beside the tensors, which `run` does not look for.
            [a, b] = [a, b].map(|bytes| {
                let head = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                bytes[8 + head as usize..].to_vec()
            });
        }
        assert!(a == b && !a.is_empty(), "{name} differs");
    }

    // Nothing is measured again, and what is no longer asked for is left.
    let ran = succeed(&["run", &suite, "--out", &at("whole")]);
    assert!(
        ran.stderr.contains("14 of 14 cells are there from before") && ran.stdout == whole.stdout,
        "{}",
        ran.stderr
    );
    let fewer = ["run", &suite, "--out", &at("two"), "--seeds", "1"];
    assert!(succeed(&fewer).stderr.contains("7 results in"));

    let compare = |more: &[&str]| succeed(&[&["compare", &at("whole")], more].concat()).stdout;
    let text = compare(&["--against", "pixels"]);
    assert!(text.contains("− pixels") && text.contains("seeds 0–1") && text.contains("sinusoid"), "{text}");
    assert!(compare(&["--markdown"]).contains("| family | learner |"));
    let latex = compare(&["--latex"]);
    let mut table = latex.lines().filter(|line| !line.starts_with('%'));
    assert!(
        latex.contains("\\toprule") && latex.contains("$\\pm$") && !table.any(|line| line.contains('±')),
        "{latex}"
    );
    let csv = compare(&["--csv"]);
    // A row of another length is an error.
    assert!(csv::Reader::from_reader(csv.as_bytes()).records().all(|row| row.unwrap().len() == 19), "{csv}");
    let one = succeed(&["compare", &at("one")]).stdout;
    assert!(one.contains("20 test episodes, seed"), "{one}");
    refuse(&["compare", &at("whole"), "--against", "pixel"], &["did you mean `pixels`"]);
    let all = refuse(&["compare", &at("whole"), "--against", "none of these"], &["there are: "]).stderr;
    assert_eq!(all.matches("pixels").count(), 1, "{all}");
    refuse(&["compare", root.to_str().unwrap()], &["holds no figures"]);
}

/// How many files its cells have so far.
fn files_in(suite: &Path) -> usize {
    let Ok(cells) = fs::read_dir(suite.join("cells")) else { return 0 };
    cells
        .flatten()
        .map(|cell| {
            fs::read_dir(cell.path()).map_or(0, |files| {
                files.flatten().filter(|file| !file.file_name().to_string_lossy().starts_with('.')).count()
            })
        })
        .sum()
}

#[test]
fn a_cell_that_fails_costs_its_own_figures_and_is_measured_again_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let at = |name: &str| root.join(name).to_string_lossy().into_owned();
    fs::write(
        root.join("s.toml"),
        "learner = [\"pixels\", \"prototypical\"]\nepisodes = 10\n[train]\nsteps = 4\noptimizer = \"sgd\"\n\
         learning-rate = 1e38\nvalidation-episodes = 4\n[set.backbone]\nwidth = 4\n",
    )
    .unwrap();
    let bench =
        |more: &[&str]| -> Ran { run(&[&["bench", &at("s.toml"), "--out", &at("out")], more].concat()) };
    let ran = bench(&[]);
    assert!(ran.code == Some(2) && ran.stderr.contains("`prototypical`"), "{}", ran.stderr);
    assert!(ran.stdout.contains("pixels"), "{}", ran.stdout);
    // It would come to the same: it is not measured again unless that is asked for.
    assert!(bench(&[]).stderr.contains("2 of 2 cells"));
    let again = run(&["run", &at("s.toml"), "--out", &at("out"), "--again"]);
    assert!(again.code == Some(2) && again.stderr.contains("1 of 2 cells"), "{}", again.stderr);
    let failed = succeed(&["compare", &at("out")]);
    assert!(failed.stderr.contains("note: no figure: `prototypical`"), "{}", failed.stderr);
}

#[test]
fn what_is_wrong_with_a_suite_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let at = |name: &str| root.join(name).to_string_lossy().into_owned();
    let cases = [
        ("seeds = 0", "`seeds` must be a number of seeds"),
        ("seeds = [1, -2]", "`seeds` must be a number of seeds"),
        ("experiment = 3", "[[experiment]]"),
        ("lerner = \"pixels\"", "did you mean `learner`"),
        (
            "[[experiment]]\nlearner = \"pixels\"\n[[experiment]]\nlerner = \"pixels\"",
            "experiment 2 of the suite",
        ),
    ];
    for (text, expected) in cases {
        fs::write(root.join("s.toml"), text).unwrap();
        refuse(&["run", &at("s.toml"), "--out", &at("out")], &[expected]);
    }
    refuse(&["run"], &["name the suite's file"]);
    refuse(&["train", &written(root), "--learner=pixels"], &["is of suites", "small.toml"]);
    fs::write(root.join("file"), "").unwrap();
    refuse(&["run", &written(root), "--out", &at("file")], &["keeping the suite in"]);
}

#[test]
fn what_is_kept_says_its_form_and_can_be_tested_again() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let arguments = ["bench", "--learner=pixels", "--episodes=30", "--shots=1,5", "--out"];
    succeed(&[&arguments[..], &[out.to_str().unwrap()]].concat());
    let schema = Schema::printed(&["schema", "result"]);
    let mut broken: Value = serde_json::json!({ "form": "1" });
    assert!(schema.check(&broken).is_err());
    broken["rows"] = serde_json::json!([{}]);
    assert!(schema.check(&broken).is_err());
    let cells: Vec<_> = fs::read_dir(out.join("cells")).unwrap().map(|cell| cell.unwrap().path()).collect();
    assert_eq!(cells.len(), 2);
    for cell in cells {
        let kept: Value = serde_json::from_slice(&fs::read(cell.join("result.json")).unwrap()).unwrap();
        assert_eq!((kept["form"].as_u64(), kept["rows"][0]["measure"].as_str()), (Some(2), Some("accuracy")));
        assert_eq!(schema.check(&kept), Ok(()));
        let mean = kept["rows"][0]["mean"].as_f64().unwrap();
        let figures =
            kshot_datasets::arrays::vectors(&cell.join("episodes.npz"), &["row0".to_owned()]).unwrap();
        let again = figures[0].iter().map(|&value| f64::from(value)).sum::<f64>() / 30.0;
        assert!((mean - again).abs() < 1e-9);
        let more = &kept["rows"][0]["classification"];
        let balanced = more["balanced_accuracy"]["mean"].as_f64().unwrap();
        // As many queries of each class: the same.
        assert!((balanced - mean).abs() < 1e-6, "{more}");
        assert!(
            more["auroc"]["mean"].as_f64().unwrap() > mean
                && more["calibration"]["bins"].as_array().unwrap().len() == 15
        );
        let environment: Value = serde_json::from_slice(&fs::read(cell.join("env.json")).unwrap()).unwrap();
        assert!(environment["threads"].as_u64().unwrap() > 0);
    }
}

#[cfg(unix)]
#[test]
fn a_disk_that_is_full_loses_nothing_and_the_same_command_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let at = |name: &str| root.join(name).to_string_lossy().into_owned();
    let learners = "learner = [\"pixels\", \"prototypical\"]\nepisodes = 10\n";
    fs::write(root.join("s.toml"), format!("{learners}[train]\nsteps = 4\nvalidation-episodes = 4\n"))
        .unwrap();
    let kshot = env!("CARGO_BIN_EXE_kshot");
    // No file beyond some 50 kB: the weights are more.
    let limited = format!("ulimit -f 100; exec {kshot} run {} --out {}", at("s.toml"), at("out"));
    let ran: Ran = std::process::Command::new("sh").args(["-c", &limited]).output().unwrap().into();
    assert!(ran.code == Some(2) && ran.stderr.contains("writing the checkpoint"), "{}", ran.stderr);
    assert!(ran.stdout.contains("pixels"), "{}", ran.stdout);
    let again = succeed(&["run", &at("s.toml"), "--out", &at("out")]);
    assert!(again.stderr.contains("1 of 2 cells are there from before"), "{}", again.stderr);
    succeed(&["run", &at("s.toml"), "--out", &at("whole")]);
    assert!(determined(&root.join("out")) == determined(&root.join("whole")));
}

#[test]
fn experiments_that_differ_in_options_are_not_one() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let at = |name: &str| root.join(name).to_string_lossy().into_owned();
    fs::write(
        root.join("s.toml"),
        "episodes = 10\nlearner = \"centroid\"\n[[experiment]]\n[[experiment]]\n[experiment.set.centroid]\n\
         transform = \"plain\"\n[[experiment]]\n[experiment.set.glyphs]\ndrawings = 18\n",
    )
    .unwrap();
    succeed(&["run", &at("s.toml"), "--out", &at("out")]);
    let text = succeed(&["compare", &at("out"), "--against", "centroid (as it is)"]).stdout;
    assert!(text.contains("centroid (transform=plain)") && text.contains("− centroid (as it is)"), "{text}");
    assert!(text.contains("glyphs (drawings=18), 5-way 1-shot"), "{text}");
}

#[test]
fn cells_that_do_not_fit_the_memory_are_refused_by_name_and_the_others_measured() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let at = |name: &str| root.join(name).to_string_lossy().into_owned();
    let text = "learner = [\"pixels\", \"prototypical\"]\nepisodes = 10\nseeds = 2\nthreads = 2\n\
                [train]\nsteps = 2\nvalidation-episodes = 4\n[set.prototypical]\ntrain-queries = 40\n";
    fs::write(root.join("s.toml"), text).unwrap();
    let limited =
        |memory: &str| run(&["run", &at("s.toml"), "--out", &at("out"), "--jobs", "2", "--memory", memory]);
    // A training episode of 400 images of 28×28 is put at some 150 MB.
    let ran = limited("100MB");
    assert!(ran.code == Some(2) && ran.stdout.contains("pixels"), "{}", ran.stderr);
    for words in
        ["glyphs-prototypical-5w1s-seed1-", " takes about ", "`--memory` allows 100 MB", "at most about"]
    {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    // Refused is not failed: with more of it the same command goes on.
    let ran = limited("8GB");
    assert!(ran.code == Some(0) && ran.stderr.contains("2 of 4 cells are there"), "{}", ran.stderr);
    refuse(&["run", &at("s.toml"), "--memory", "8"], &["a number with its unit"]);
}
