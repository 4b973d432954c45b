//! `kshot eval --verification`.

use std::fs;

use super::kshot::{TINY, refuse, succeed};

#[test]
fn verification_prints_its_figures_writes_them_and_is_for_learners_that_compare() {
    let directory = tempfile::tempdir().unwrap();
    let out = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (metric, other, json) = (out("metric"), out("other"), out("figures.json"));
    succeed(&[&["train", "--learner", "prototypical", "--out", &metric], TINY].concat());
    let arguments = ["eval", &metric, "--verification", "--episodes", "3", "--json", &json];
    let text = succeed(&arguments).stdout;
    assert!(text.contains("3 batches of 10 classes × 10 examples"), "{text}");
    assert!(text.contains("equal error rate") && text.contains("MAP@R"), "{text}");
    let figures: serde_json::Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let figures = &figures["verification"];
    let mean = |name: &str| figures[name]["mean"].as_f64().unwrap();
    // Even a tiny training tells drawings apart better than chance.
    assert!(mean("auc") > 0.6 && mean("auc") <= 1.0, "{figures}");
    assert!(mean("eer") < 0.45 && mean("recall_at_5") >= mean("recall_at_1"), "{figures}");
    let first = fs::read(&json).unwrap();
    succeed(&[&arguments[..], &["--threads", "1"]].concat());
    assert!(first == fs::read(&json).unwrap(), "the figures do not depend on the threads");

    // All with all, once: more examples, intervals over the classes.
    let text = succeed(&["eval", &metric, "--verification", "--gallery", "--json", &json]).stdout;
    assert!(text.contains("a gallery of 10 classes, 200 examples"), "{text}");
    let whole: serde_json::Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let (batches, gallery) = (figures, &whole["verification"]);
    for name in ["auc", "eer", "accuracy", "recall_at_1"] {
        let [a, b] = [batches, gallery].map(|figures| figures[name]["mean"].as_f64().unwrap());
        assert!((a - b).abs() < 0.15, "{name}: {a} of batches, {b} of the gallery");
        let spread = gallery[name]["ci95"].as_f64().unwrap();
        assert!(spread > 0.0 && spread < 0.3, "{name}: {spread}");
    }

    refuse(&["eval", &metric, "--verification", "--episodes", "1"], &["at least two", "1"]);
    succeed(&[&["train", "--learner", "metanet", "--out", &other], TINY].concat());
    refuse(&["eval", &other, "--verification"], &["metanet", "does not compare examples"]);
}

#[test]
fn an_open_set_asks_of_classes_that_are_not_in_the_support() {
    let directory = tempfile::tempdir().unwrap();
    let out = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (run, json) = (out("run"), out("figures.json"));
    succeed(&[&["train", "--learner", "prototypical", "--out", &run], TINY].concat());
    let eval = ["eval", &run, "--episodes=40", "--json", &json];
    let text = succeed(&[&eval[..], &["--open-set=3"]].concat()).stdout;
    assert!(text.contains("5-way 1-shot and 3 classes not in the support"), "{text}");
    let read = || serde_json::from_str::<serde_json::Value>(&fs::read_to_string(&json).unwrap()).unwrap();
    let figures = read();
    let auroc = figures["auroc"]["mean"].as_f64().unwrap();
    assert!(auroc > 0.3 && auroc < 1.0, "{figures}");
    assert_eq!(figures["per_episode"].as_array().unwrap().len(), 40);
    succeed(&[&eval[..], &["--open-set=3", "--threads=1"]].concat());
    assert_eq!(figures, read());
    refuse(&["eval", &run, "--open-set", "6"], &["11 classes", "fewer ways"]);
    refuse(&["eval", &run, "--open-set", "0"], &["one that is not"]);
}

#[test]
fn tasks_that_were_written_are_those_that_are_sampled() {
    let directory = tempfile::tempdir().unwrap();
    let out = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (run, tasks, json) = (out("run"), out("tasks.json"), out("figures.json"));
    succeed(&[&["train", "--learner", "prototypical", "--out", &run], TINY].concat());
    let glyphs = &TINY[1..4];
    let text =
        succeed(&[&["tasks", "--out", &tasks, "--episodes=40", "--shots=1-3"], glyphs].concat()).stdout;
    assert!(text.contains("40 tasks of glyphs, 5-way 1-3-shot"), "{text}");
    let accuracy = |more: &[&str]| {
        succeed(&[&["eval", &run, "--episodes=40", "--json", &json], more].concat());
        let figures: serde_json::Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
        figures["per_episode"].clone()
    };
    assert_eq!(accuracy(&["--manifest", &tasks]), accuracy(&["--shots=1-3"]));
    refuse(&["tasks", "--data=bearing", "--source=load0", "--target=load1", "--out", &tasks], &["`bearing`"]);
    refuse(&["tasks", "--data=sinusoid", "--out", &tasks], &["`sinusoid`"]);
}

#[test]
fn an_evaluation_goes_on_until_it_is_as_precise_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    let out = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (run, json) = (out("run"), out("figures.json"));
    succeed(&[&["train", "--learner", "prototypical", "--out", &run], TINY].concat());
    let figures = |more: &[&str]| -> serde_json::Value {
        succeed(&[&["eval", &run, "--json", &json], more].concat());
        serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap()
    };
    let precise = figures(&["--precision=0.8"]);
    let episodes = precise["episodes"].as_u64().unwrap();
    assert!(
        precise["ci95"].as_f64().unwrap() <= 0.008 && episodes >= 300 && episodes % 100 == 0,
        "{precise}"
    );
    let fixed = figures(&["--episodes", &episodes.to_string()]);
    assert_eq!(fixed["per_episode"], precise["per_episode"]);
    for name in ["macro_f1", "balanced_accuracy", "auroc"] {
        assert!((0.0..=1.0).contains(&precise[name]["mean"].as_f64().unwrap()), "{precise}");
    }
    assert_eq!(figures(&["--precision=0.01", "--episodes=200"])["episodes"], 200);
    refuse(&["eval", &run, "--precision=0"], &["above 0"]);
}
