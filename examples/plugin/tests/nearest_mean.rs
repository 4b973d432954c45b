//! What the learner must do, and that the registry knows it.

use std::process::Command;

use kshot::episode::{Labelled, Targets, Unlabelled};
use kshot::learner::Learner as _;
use kshot::registry;
use ndarray::Array4;
use nearest_mean::NearestMean;

fn images(rows: &[[f32; 2]]) -> Unlabelled {
    let values = rows.iter().flatten().copied().collect();
    Unlabelled { inputs: Array4::from_shape_vec((rows.len(), 1, 1, 2), values).expect("two pixels a row") }
}

#[test]
fn a_query_is_of_the_class_with_the_nearest_mean() {
    let learner = NearestMean { power: 1.0 };
    // The nearest example to the query (0, 0.6) is of class 1, but the nearest mean, (0, 0.5), is of class 0.
    let support = Labelled::new(
        images(&[[0.0, 0.0], [0.0, 1.0], [0.1, 0.6], [1.0, 0.6]]).inputs,
        Targets::Classes(vec![0, 0, 1, 1]),
    );
    let prediction = learner.answer(&support, &images(&[[0.0, 0.6]])).expect("a prediction");
    assert_eq!(prediction.classes(), [0]);
}

#[test]
fn it_is_registered_and_its_options_are_checked() {
    let entry = registry::learner("nearest-mean").expect("registered");
    let options = kshot::options::described(&(entry.options)());
    assert_eq!((options[0].name.as_str(), options[0].default.as_str()), ("power", "0.5"));
    let error = (entry.resolve)(&"power = -1.0".parse().expect("TOML")).expect_err("refused").to_string();
    assert!(error.contains("`power`"), "{error}");
}

#[test]
fn the_program_lists_it_and_compares_it_with_the_learners_kshot_comes_with() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_nearest-mean")).args(arguments).output();
        let output = output.expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(run(&["learners", "nearest-mean"]).contains("--set nearest-mean.power=0.5"));
    let table = run(&["bench", "--learner", "pixels,nearest-mean", "--episodes", "50"]);
    assert!(table.contains("baseline  pixels") && table.contains("baseline  nearest-mean"), "{table}");
}
