use kshot::backbone::Backbone;
use kshot::episode::{Count, Targets};

use super::*;

fn setup() -> Setup {
    let options = "blocks = 2\nwidth = 4".parse().unwrap();
    let backbone = Backbone::of(&options, [1, 8, 8], Norm::Running).unwrap();
    let problem = Problem::Classification;
    Setup { problem, backbone, base_classes: 3, ways: 2, shots: Count::fixed(2), queries: 1, seed: 7 }
}

fn task(labels: Vec<usize>) -> Labelled {
    // Vertical and horizontal bars, at two places each.
    let inputs = Array4::from_shape_fn((labels.len(), 1, 8, 8), |(n, _, h, w)| {
        let at = if labels[n] == 0 { w } else { h };
        f32::from(at == 2 + 2 * (n % 2))
    });
    Labelled::new(inputs, Targets::Classes(labels))
}

fn learner(head: HeadKind, tuned: usize) -> Finetune {
    let config =
        FinetuneOptions { head, freeze: Freeze { tuned }, inner_rate: 0.1, ..FinetuneOptions::default() };
    Finetune::new(&setup(), config).unwrap()
}

#[test]
fn a_separable_support_set_is_learned_with_either_head_and_any_number_of_tuned_blocks() {
    for head in [HeadKind::Linear, HeadKind::Cosine] {
        for tuned in 0..=2 {
            let support = task(vec![0, 0, 1, 1]);
            let prediction = learner(head, tuned).answer(&support, &support.examples).unwrap();
            assert_eq!(prediction.classes(), [0, 0, 1, 1], "{head:?} with {tuned} tuned blocks");
        }
    }
}

#[test]
fn pre_training_gives_a_gradient_to_the_base_head() {
    let learner = learner(HeadKind::Cosine, 0);
    let episode =
        Episode { index: 0, support: task(vec![0, 1, 2, 1]), query: task(vec![]), classes: vec![0, 1, 2] };
    let outer = learner.outer_gradient(&episode).unwrap();
    assert!(outer.gradient.tensor("head.weight").unwrap().iter().any(|&d| d != 0.0));
    // −log of a uniform guess among three classes, give or take the fresh weights.
    assert!((0.2..3.0).contains(&outer.loss), "{}", outer.loss);
}

#[test]
fn more_tuned_blocks_than_there_are_is_an_error_that_names_the_option() {
    let config = FinetuneOptions { freeze: Freeze { tuned: 3 }, ..FinetuneOptions::default() };
    let error = Finetune::new(&setup(), config).err().unwrap().to_string();
    assert!(error.contains("`freeze`") && error.contains("has 2"), "{error}");
}

#[test]
fn freeze_is_written_as_in_the_documentation() {
    for text in ["all", "all-but-last-2"] {
        assert_eq!(Freeze::try_from(text.to_owned()).unwrap().to_string(), text);
    }
    assert!(Freeze::try_from("most".to_owned()).is_err());
}

#[test]
fn steps_end_at_the_stop_loss() {
    let support = task(vec![0, 0, 1, 1]);
    let answer = |stop_loss: f32, test_steps: u64| {
        let config = FinetuneOptions { inner_rate: 0.1, stop_loss, test_steps, ..FinetuneOptions::default() };
        Finetune::new(&setup(), config).unwrap().answer(&support, &support.examples).unwrap()
    };
    // The first loss, of a head of zeros, is ln 2: below 1 before any step.
    assert_eq!(answer(1.0, 100), answer(0.0, 0));
    assert_ne!(answer(0.01, 100), answer(0.0, 0));
}

#[test]
fn a_regression_goes_on_from_its_pre_trained_head() {
    let backbone = Backbone::of(&Default::default(), [1, 1, 1], Norm::Running).unwrap();
    let setup = Setup { problem: Problem::Regression, backbone, base_classes: 0, ..setup() };
    let values = Targets::Values(ndarray::array![[1.0], [-1.0]]);
    let inputs = Array4::from_shape_fn((2, 1, 1, 1), |(n, ..)| n as f32);
    let support = Labelled::new(inputs, values);
    let error = |test_steps: u64| {
        let config = FinetuneOptions { test_steps, inner_rate: 0.05, ..FinetuneOptions::default() };
        let learner = Finetune::new(&setup, config).unwrap();
        match learner.answer(&support, &support.examples).unwrap() {
            Prediction::Values(values) => (values[[0, 0]] - 1.0).powi(2) + (values[[1, 0]] + 1.0).powi(2),
            Prediction::Scores(_) => panic!("scores for a regression"),
        }
    };
    assert!(error(200) < 0.1 * error(0), "{} {}", error(200), error(0));
    let cosine = FinetuneOptions { head: HeadKind::Cosine, ..FinetuneOptions::default() };
    assert!(Finetune::new(&setup, cosine).err().unwrap().to_string().contains("`linear`"));
}
