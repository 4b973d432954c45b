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

    refuse(&["eval", &metric, "--verification", "--episodes", "1"], &["at least two", "1"]);
    succeed(&[&["train", "--learner", "metanet", "--out", &other], TINY].concat());
    refuse(&["eval", &other, "--verification"], &["metanet", "does not compare examples"]);
}
