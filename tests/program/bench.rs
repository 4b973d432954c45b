//! `kshot bench`.

use serde_json::Value;

use super::kshot::{TINY, refuse, succeed};

fn rows(json: &std::path::Path) -> Vec<Value> {
    let value: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    value["rows"].as_array().unwrap().clone()
}

#[test]
fn learners_are_compared_on_the_same_tasks_and_trained_learners_beat_the_floor() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("rows.json");
    let json_path = json.to_str().unwrap();
    let learners = "pixels,finetune,prototypical";
    let arguments = ["bench", "--learner", learners, "--ways", "3,5", "--steps", "60", "--json", json_path];
    let tiny: Vec<&str> = TINY.iter().copied().filter(|flag| !flag.starts_with("--steps")).collect();
    let ran = succeed(&[&arguments[..], &tiny].concat());
    assert!(ran.stdout.contains("3-way 1-shot") && ran.stdout.contains("5-way 1-shot"), "{}", ran.stdout);
    let rows = rows(&json);
    assert_eq!(rows.len(), 6);
    for row in &rows {
        for key in [
            "learner",
            "family",
            "dataset",
            "ways",
            "shots",
            "queries",
            "episodes",
            "accuracy",
            "ci95",
            "train_seconds",
            "eval_episodes_per_second",
            "transductive",
            "seed",
        ] {
            assert!(!row[key].is_null(), "{key} in {row}");
        }
        let accuracy = row["accuracy"].as_f64().unwrap();
        assert!(accuracy > 1.2 / row["ways"].as_f64().unwrap() && accuracy <= 1.0, "{row}");
    }
    let accuracy = |learner: &str| {
        rows.iter().find(|row| row["learner"] == learner && row["ways"] == 5).unwrap()["accuracy"]
            .as_f64()
            .unwrap()
    };
    assert!(accuracy("prototypical") > accuracy("pixels"), "{rows:?}");
}

#[test]
fn one_learner_and_one_episode_batch_norm_make_a_transductive_row() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("rows.json");
    let batch =
        ["--set", "backbone.norm=batch", "--learner", "prototypical", "--json", json.to_str().unwrap()];
    succeed(&[&["bench"], TINY, &batch].concat());
    assert_eq!(rows(&json)[0]["transductive"], true);
}

#[test]
fn an_unwritable_json_file_is_refused_before_anything_is_trained() {
    let ran = refuse(&["bench", "--json", "/nowhere/at/all/rows.json"], &["/nowhere/at/all/rows.json"]);
    assert!(!ran.stderr.contains("step"), "{}", ran.stderr);
}

#[test]
fn a_learner_that_diverges_does_not_cost_the_others_their_figures() {
    let arguments = ["bench", "--learning-rate", "1e38", "--optimizer", "sgd"];
    let ran = refuse(&[&arguments[..], TINY].concat(), &["step", "episode", "finite"]);
    assert!(ran.stdout.contains("pixels"), "{}", ran.stdout);
}

#[test]
fn a_regression_has_a_row_for_each_number_of_inner_steps() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("rows.json");
    let arguments =
        ["bench", "--data", "sinusoid", "--learner", "maml", "--steps", "400", "--episodes", "100"];
    succeed(&[&arguments[..], &["--validation-episodes", "0", "--json", json.to_str().unwrap()]].concat());
    let rows = rows(&json);
    let steps: Vec<_> = rows.iter().map(|row| row["test_steps"].as_u64().unwrap()).collect();
    assert_eq!(steps, [0, 1, 5, 10]);
    let errors: Vec<_> = rows.iter().map(|row| row["mse"].as_f64().unwrap()).collect();
    assert!(errors.is_sorted_by(|before, after| before > after), "{errors:?}");
}
