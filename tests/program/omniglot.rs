//! Real Omniglot, a short training.

use super::kshot::{real_data, succeed};

#[test]
fn a_short_training_on_omniglot_beats_pixels_on_new_characters() {
    let Some(data) = real_data("omniglot") else { return };
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("rows.json");
    succeed(&[
        "bench",
        "--data",
        "omniglot",
        "--data-dir",
        data.to_str().unwrap(),
        "--learner",
        "pixels,prototypical",
        "--set",
        "backbone.width=16",
        "--steps",
        "60",
        "--validation-episodes",
        "0",
        "--episodes",
        "100",
        "--json",
        json.to_str().unwrap(),
    ]);
    let value: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let accuracy = |row: usize| value["rows"][row]["accuracy"].as_f64().unwrap();
    assert_eq!(value["rows"][0]["learner"], "pixels");
    // The known figure is 43.6 % over many episodes.
    assert!((0.38..0.50).contains(&accuracy(0)), "pixels: {}", accuracy(0));
    assert!(accuracy(1) > 0.6, "prototypical: {}", accuracy(1));
}
