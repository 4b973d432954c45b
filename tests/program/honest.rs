//! What a test must not see of the training, and what a table must not lose.

use std::fs;

use kshot::registry;

use super::kshot::{TINY, real_data, refuse, run, succeed};

/// Random features and labels: 5 classes in each of two domains, sorted by nothing.
fn noise(path: &std::path::Path) {
    let mut text = "a,b,c,y,domain\n".to_owned();
    let mut state = 1u64;
    for row in 0..200 {
        let mut number = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f64 / (1u64 << 24) as f64
        };
        text += &format!("{:.4},{:.4},{:.4},k{},d{}\n", number(), number(), number(), row % 5, row / 100);
    }
    fs::write(path, text).unwrap();
}

#[test]
fn a_target_is_never_trained_on() {
    let directory = tempfile::tempdir().unwrap();
    let csv = directory.path().join("noise.csv");
    noise(&csv);
    let set = format!("--set=arrays.path={}", csv.display());
    let bench =
        ["bench", "--data=arrays", &set, "--learner=prototypical", "--source=d0", "--ways=5", "--shots=1"];
    let tiny = ["--steps=2", "--episodes=4", "--queries=3", "--set=backbone.kind=mlp"];
    let leaking = [&bench[..], &tiny, &["--target=d1", "--train-domains=d0,d1"]].concat();
    refuse(&leaking, &["`train-domains` names `d1`, which is a target"]);
    succeed(&[&bench[..], &tiny, &["--target=d1"]].concat());

    let run = directory.path().join("run");
    let run = run.to_str().unwrap();
    let train = [
        "train",
        "--out",
        run,
        "--data=arrays",
        &set,
        "--learner=prototypical",
        "--source=d0",
        "--target=d1",
    ];
    succeed(&[&train[..], &["--ways=5", "--shots=1"], &tiny].concat());
    refuse(&["eval", run, "--source=d1", "--target=d0"], &["was trained on the domain `d0`"]);
    let features = format!("--set=no-adaptation.features={run}");
    let transfer = ["bench", "--data=arrays", &set, "--learner=no-adaptation", &features];
    refuse(&[&transfer[..], &["--source=d1", "--target=d0"]].concat(), &["was trained on the domain `d0`"]);
    succeed(&[&transfer[..], &["--source=d0", "--target=d1"]].concat());
}

#[test]
fn a_test_on_classes_that_were_trained_on_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("run");
    let out = out.to_str().unwrap();
    succeed(&[&["train", "--learner=prototypical", "--out", out], TINY].concat());
    // More test classes of the same characters are no trained ones; another order of the division would be.
    succeed(&["eval", out, "--set=glyphs.test-classes=12", "--episodes=4"]);

    let csv = directory.path().join("noise.csv");
    noise(&csv);
    let text = fs::read_to_string(&csv).unwrap().replace(",domain", "").replace(",d0", "").replace(",d1", "");
    fs::write(&csv, text).unwrap();
    let set = format!("--set=arrays.path={}", csv.display());
    let own = directory.path().join("own");
    let own = own.to_str().unwrap();
    let data = ["--data=arrays", &set, "--set=backbone.kind=mlp", "--set=arrays.fractions=[0.6, 0.0, 0.4]"];
    let train = ["train", "--learner=prototypical", "--out", own, "--steps=2", "--validation-episodes=0"];
    succeed(&[&train[..], &data, &["--episodes=4"]].concat());
    refuse(&["eval", own, "--set=arrays.seed=3"], &["was trained on", "test classes"]);
    refuse(
        &["eval", own, "--set=arrays.fractions=[0.0, 0.0, 1.0]"],
        &["was trained on 3 of these 5 test classes"],
    );
    // Nor by way of weights to start from; those of a run without a step saw nothing.
    let beside = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (copy, fresh, none) = (beside("copy"), beside("fresh"), beside("none"));
    let start = ["train", "--learner=prototypical", "--steps=0", "--validation-episodes=0", "--episodes=4"];
    succeed(&[&start[..], &data, &["--out", &copy, "--init", own]].concat());
    refuse(&["eval", &copy, "--set=arrays.seed=3"], &["own was trained on", "test classes"]);
    let other = ["--set=arrays.seed=3", "--out", &none];
    refuse(&[&start[..], &data, &other, &["--init", &copy]].concat(), &["own was trained on"]);
    succeed(&[&start[..], &data, &["--out", &fresh]].concat());
    succeed(&["eval", &fresh, "--set=arrays.seed=3", "--episodes=4"]);
}

#[test]
fn a_vinyals_run_is_not_tested_on_the_split_of_lake() {
    let Some(data) = real_data("omniglot") else { return };
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("run");
    let (out, data) = (out.to_str().unwrap(), format!("--data-dir={}", data.display()));
    let tiny = ["--steps=1", "--episodes=2", "--validation-episodes=0", "--set=backbone.width=4"];
    succeed(
        &[&["train", "--data=omniglot", &data, "--learner=prototypical", "--out", out], &tiny[..]].concat(),
    );
    refuse(&["eval", out, &data, "--split=lake"], &["was trained on", "of these", "test classes"]);
}

#[test]
fn a_cell_that_fails_leaves_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("rows.json");
    let arguments = ["bench", "--data=sinusoid", "--learner=maml", "--set=maml.inner-rate=10", "--steps=0"];
    let more =
        ["--test-steps=0,30", "--validation-episodes=0", "--episodes=4", "--json", json.to_str().unwrap()];
    let ran = run(&[arguments, more].concat());
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("`maml, 30 steps`") && ran.stderr.contains("`inner-rate`"), "{}", ran.stderr);
    assert!(ran.stdout.contains("maml, 0 steps"), "{}", ran.stdout);
    let rows: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    assert_eq!(rows["rows"].as_array().unwrap().len(), 1);
}

#[test]
fn a_learner_that_cannot_train_leaves_the_others() {
    let arguments =
        ["bench", "--learner=siamese,pixels", "--set=siamese.per-class=24", "--validation-episodes=0"];
    let ran = run(&[&arguments[..], &TINY[..4], &["--steps=1", "--episodes=4", "--ways=5"]].concat());
    assert!(ran.stderr.contains("20 examples of a class, not 24"), "{}", ran.stderr);
    let few =
        ["bench", "--learner=maml,pixels", "--set=glyphs.train-classes=3", "--set=glyphs.test-classes=10"];
    let ran = run(&[&few[..], &["--set=backbone.width=8", "--steps=1", "--episodes=4"]].concat());
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("`maml`: a task of 5 classes cannot be drawn from the train split, which has 3"),
        "{}",
        ran.stderr
    );
    assert!(ran.stdout.contains("pixels"), "{}", ran.stdout);
}

#[test]
fn an_interval_over_seeds_is_students() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("rows.json");
    let arguments = ["bench", "--learner=pixels", "--episodes=20", "--json", json.to_str().unwrap()];
    let mean = |more: &[&str]| {
        succeed(&[&arguments[..], more].concat());
        let rows: serde_json::Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
        let row = rows["rows"][0].clone();
        (row["accuracy"].as_f64().unwrap(), row["ci95"].as_f64().unwrap())
    };
    let each: Vec<f64> = ["0", "1", "2"].iter().map(|seed| mean(&["--seed", seed]).0).collect();
    let (together, interval) = mean(&["--seeds", "3"]);
    let variance = each.iter().map(|one| (one - together).powi(2)).sum::<f64>() / 2.0;
    // The 97.5 % quantile of Student's t with 2 degrees of freedom.
    assert!((interval - 4.302_65 * (variance / 3.0).sqrt()).abs() < 1e-5, "{interval} {each:?}");
}

#[test]
fn tasks_of_a_manifest_are_called_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let class = |label: usize| directory.path().join("images").join(format!("c{label}"));
    for label in 0..7 {
        fs::create_dir_all(class(label)).unwrap();
        for number in 0..3 {
            let pixels = format!("P2 2 2 9 {label} {number} 0 5 ");
            fs::write(class(label).join(format!("{number}.pgm")), pixels).unwrap();
        }
    }
    let example = |label: usize, number: usize| serde_json::json!({"file": format!("c{label}/{number}.pgm"), "label": label});
    let episode = serde_json::json!({
        "support": (0..7).flat_map(|label| [example(label, 0), example(label, 1)]).collect::<Vec<_>>(),
        "query": (0..7).map(|label| example(label, 2)).collect::<Vec<_>>(),
    });
    let manifest = directory.path().join("tasks.json");
    fs::write(&manifest, serde_json::json!({"episodes": [episode, episode]}).to_string()).unwrap();
    let set = format!("--set=folder.path={}", directory.path().join("images").display());
    let all = "--set=folder.fractions=[0.0, 0.0, 1.0]";
    let manifest = manifest.to_str().unwrap();
    let ran = succeed(&["bench", "--data=folder", &set, all, "--learner=pixels", "--manifest", manifest]);
    assert!(ran.stdout.contains("7-way 2-shot, 1 query a class, 2 test episodes"), "{}", ran.stdout);
}

#[test]
fn files_that_cannot_be_got_are_not_called_needless() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let ran = run(&["data", "get", "cwru", "--data-dir", data]);
    assert!(ran.stderr.contains("engineering.case.edu"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("needs none"), "{}", ran.stderr);
}

#[test]
fn verification_of_all_there_is_has_intervals_over_its_classes() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("run");
    let out = out.to_str().unwrap();
    let data =
        ["--set=glyphs.test-classes=6", "--set=glyphs.validation-classes=6", "--set=glyphs.drawings=10"];
    let train = ["train", "--learner=prototypical", "--out", out, "--queries=5"];
    succeed(
        &[&train[..], &TINY[..2], &data, &["--steps=2", "--validation-episodes=2", "--episodes=4"]].concat(),
    );
    let ran = succeed(&["eval", out, "--verification"]);
    assert!(ran.stdout.contains("a gallery of 6 classes, 60 examples, not transductive"), "{}", ran.stdout);
    assert!(ran.stdout.contains('±') && !ran.stdout.contains("± 0.00"), "{}", ran.stdout);
}

#[test]
fn a_learner_says_what_differs_from_its_paper() {
    for entry in registry::learners() {
        let text = succeed(&["learners", entry.name]).stdout;
        assert_eq!(text.contains("differs from the paper"), !entry.differs.is_empty(), "{text}");
        // How one is trained here is never quite how it was published.
        assert!(entry.training.is_none() || !entry.differs.is_empty(), "`{}`", entry.name);
    }
}
