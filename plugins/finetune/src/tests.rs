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
    assert!(outer.gradient.tensor("head.weight_v").unwrap().iter().any(|&d| d != 0.0));
    // −log of a uniform guess among three classes, give or take the fresh weights.
    assert!((0.2..3.0).contains(&outer.loss), "{}", outer.loss);
}

/// A start that is a sum over the support, or a step that is, would be another.
#[test]
fn listing_every_example_five_times_changes_neither_the_start_nor_the_answer_of_whole_batches() {
    let support = task(vec![1, 0, 1, 0]);
    let five = support.select(&(0..20).map(|example| example % 4).collect::<Vec<_>>());
    for head in [HeadKind::Linear, HeadKind::Cosine] {
        let learner = learner(head, 0);
        let start = |support: &Labelled| {
            let mut rng = stream(7, "test", 0);
            learner.head.start(support.classes().unwrap(), &by_content(support), &mut rng).unwrap()
        };
        assert_eq!(start(&support), start(&five), "{head:?}");
        let config = FinetuneOptions { head, inner_batch: Some(100), ..FinetuneOptions::default() };
        let learner = Finetune::new(&setup(), config).unwrap();
        let answer =
            |support: &Labelled| scores(learner.answer(support, &task(vec![0, 1]).examples).unwrap());
        let (once, often) = (answer(&support), answer(&five));
        for (once, often) in once.iter().zip(&often) {
            assert!((once - often).abs() < 1e-3, "{head:?}: {once} {often}");
        }
    }
}

fn scores(prediction: Prediction) -> Array2<f32> {
    match prediction {
        Prediction::Scores(scores) => scores,
        Prediction::Values(_) => panic!("values for a classification"),
    }
}

/// Baseline++ learns its head on the task, beyond any start.
#[test]
fn more_passes_bring_a_cosine_head_nearer_to_the_support() {
    let support = task(vec![0, 1, 0, 1, 0, 1]);
    let loss = |test_steps: u64| {
        let config = FinetuneOptions { head: HeadKind::Cosine, test_steps, ..FinetuneOptions::default() };
        let learner = Finetune::new(&setup(), config).unwrap();
        let scores = scores(learner.answer(&support, &support.examples).unwrap());
        support.targets.loss().value(scores.view()).unwrap()
    };
    let losses = [0, 10, 100, 1000].map(loss);
    assert!(losses.is_sorted_by(|fewer, more| *fewer > more + 0.02), "{losses:?}");
}

/// Of every weight of a head, norms among them.
#[test]
fn the_gradient_of_a_head_is_a_difference() {
    for (head, names) in [
        (HeadKind::Linear, ["head.weight", "head.bias"]),
        (HeadKind::Cosine, ["head.weight_v", "head.weight_g"]),
    ] {
        let mut learner = learner(head, 0);
        let (support, query) = (task(vec![0, 1, 1, 0]), task(vec![]));
        let episode = Episode { index: 0, support, query, classes: vec![0, 1, 2] };
        let gradient = learner.outer_gradient(&episode).unwrap().gradient;
        for at in names.map(|name| gradient.layout().get(name).unwrap().range.clone()).into_iter().flatten() {
            let mut loss = |by: f32| {
                learner.learned.theta.values_mut()[at] += by;
                learner.outer_gradient(&episode).unwrap().loss
            };
            let difference = (loss(1e-2) - loss(-2e-2)) / 2e-2;
            loss(1e-2);
            let exact = gradient.values()[at];
            assert!((difference - exact).abs() < 1e-3, "{head:?} {at}: {difference} {exact}");
        }
    }
}

/// A support of one example of each of two classes, a linear head: from zeros all is known.
#[test]
fn two_steps_by_hand() {
    let support = task(vec![0, 1]);
    let config = FinetuneOptions { test_steps: 2, inner_batch: Some(2), ..FinetuneOptions::default() };
    let config = FinetuneOptions { inner_dampening: Some(0.9), ..config };
    let learner = Finetune::new(&setup(), config).unwrap();
    let z = learner.extractor.forward(&learner.learned.theta, support.inputs()).unwrap().mapv(f64::from);
    let mut weight = Array2::<f64>::zeros((2, z.ncols()));
    let mut velocity = weight.clone();
    let (mut bias, mut bias_velocity) = ([0.0_f64; 2], [0.0_f64; 2]);
    for fresh in [1.0, 0.1] {
        let logits = z.dot(&weight.t());
        // (p − y) / 2
        let d = Array2::from_shape_fn((2, 2), |(n, class)| {
            let other = logits[[n, 1 - class]] + bias[1 - class] - logits[[n, class]] - bias[class];
            (1.0 / (1.0 + other.exp()) - f64::from(n == class)) / 2.0
        });
        velocity = velocity * 0.9 + (d.t().dot(&z) + &weight * 1e-3) * fresh;
        weight = weight - &velocity * 0.01;
        for class in 0..2 {
            bias_velocity[class] =
                0.9 * bias_velocity[class] + fresh * (d.column(class).sum() + 1e-3 * bias[class]);
            bias[class] -= 0.01 * bias_velocity[class];
        }
    }
    let by_hand = z.dot(&weight.t()) + &ndarray::Array1::from(bias.to_vec());
    let scores = scores(learner.answer(&support, &support.examples).unwrap());
    for (score, by_hand) in scores.iter().zip(&by_hand) {
        assert!((f64::from(*score) - by_hand).abs() < 1e-6, "{scores} {by_hand}");
    }
}

#[test]
fn a_pass_is_over_every_example_once() {
    let mut batches = Batches::new(vec![3, 0, 2, 1, 4], Some(2), stream(1, "test", 0));
    let passes: Vec<Vec<Vec<usize>>> =
        (0..2).map(|_| batches.pass().map(<[usize]>::to_vec).collect()).collect();
    for pass in &passes {
        assert_eq!(pass.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        let mut seen = pass.concat();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    }
    assert_ne!(passes[0], passes[1]);
    assert!(Batches::new(vec![1, 0], Some(4), stream(1, "test", 0)).are_whole());
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

#[test]
fn pre_training_mixes_and_smooths_as_asked_a_batch_by_its_number() {
    let with = |label_smoothing, mixup| {
        let options = FinetuneOptions { label_smoothing, mixup, ..FinetuneOptions::default() };
        Finetune::new(&setup(), options).unwrap()
    };
    let episode = |index| Episode {
        index,
        support: task(vec![0, 1, 2, 1]),
        query: task(vec![]),
        classes: vec![0, 1, 2],
    };
    let loss = |learner: &Finetune, index| learner.outer_gradient(&episode(index)).unwrap().loss;
    let plain = loss(&with(0.0, 0.0), 0);
    assert_eq!(plain, loss(&with(0.0, 0.0), 1));
    let mixed = with(0.0, 0.5);
    assert_eq!(loss(&mixed, 0), loss(&mixed, 0));
    assert_ne!(loss(&mixed, 0), loss(&mixed, 1));
    // The smoothed loss is affine in ε.
    let [half, whole] = [0.4, 0.8].map(|smoothing| loss(&with(smoothing, 0.0), 0));
    assert!((whole - plain - 2.0 * (half - plain)).abs() < 1e-5 && whole != plain);
    for learner in [with(0.1, 0.0), mixed] {
        assert!(learner.outer_gradient(&episode(0)).unwrap().gradient.values().iter().all(|d| d.is_finite()));
    }
    let regression = Setup { problem: Problem::Regression, ..setup() };
    let error = Finetune::new(&regression, FinetuneOptions { mixup: 0.2, ..FinetuneOptions::default() });
    assert!(error.err().unwrap().to_string().contains("`mixup` are of classes"));
}
