//! What training is for: properties of learners before and after it, on classes they never saw. And what the READMEs say.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may panic")]

mod readme;

use kshot::backbone::Backbone;
use kshot::dataset::{DatasetContext, Split, TaskSource};
use kshot::episode::{Count, TaskSpec};
use kshot::eval::{Watch, evaluate};
use kshot::learner::{Learner, Trainable};
use kshot::nn::Norm;
use kshot::optimizer::{Optimizer, OptimizerKind};
use kshot::registry::{self, Problem, Setup};

// Linking the program registers what it comes with.
use kshot_cli as _;

fn glyphs(split: Split) -> TaskSource {
    let open = registry::dataset("glyphs").unwrap().open;
    open(&DatasetContext::default(), &toml::Table::new()).unwrap().split(split).unwrap()
}

fn setup() -> Setup {
    Setup {
        problem: Problem::Classification,
        backbone: Backbone::of(&toml::toml! { width = 16 }, [1, 28, 28], Norm::Running).unwrap(),
        base_classes: glyphs(Split::Train).class_count(),
        ways: 5,
        shots: Count::fixed(1),
        queries: 5,
        seed: 1,
    }
}

fn build(name: &str, options: &str) -> Box<dyn Learner> {
    (registry::learner(name).unwrap().build)(&setup(), &toml::from_str(options).unwrap()).unwrap()
}

fn train(learner: &mut dyn Learner, steps: u64) {
    let learner: &mut dyn Trainable = learner.trainable().unwrap();
    let tasks = learner.learned().task.open(&glyphs(Split::Train), Split::Train, 1).unwrap();
    let mut optimizer = Optimizer::new(OptimizerKind::Adam, 0.0, 0.0, learner.learned().theta.layout());
    for step in 1..=steps {
        let outer = learner.outer_gradient(&tasks.episode(step).unwrap()).unwrap();
        optimizer.update(&mut learner.learned().theta, &outer.gradient, 3e-3, step);
        learner.learned().theta.fold_statistics(&outer.gradient).unwrap();
    }
}

/// All but `reptile`, which has shots of its own, train on N-way K-shot tasks of the shots that are asked.
#[test]
fn learners_train_with_the_range_of_shots_that_they_are_tested_with() {
    let shots: Count = "1-5".parse().unwrap();
    let setup = Setup { shots, ..setup() };
    let mut ranged = Vec::new();
    for entry in registry::learners() {
        let mut learner = (entry.build)(&setup, &toml::Table::new()).unwrap();
        let Some(learner) = learner.trainable() else { continue };
        if let TaskSpec::FewShot { shots: trained, .. } = learner.learned().task
            && entry.name != "reptile"
        {
            assert_eq!(trained, shots, "{}", entry.name);
            ranged.push(entry.name);
        }
    }
    assert!(["maml", "metanet", "prototypical"].iter().all(|name| ranged.contains(name)), "{ranged:?}");
}

/// Mean of d(a, n) − d(a, p) over a batch of unseen classes.
fn gap(learner: &dyn Learner) -> f32 {
    let spec = TaskSpec::PkBatch { classes: 20, per_class: 5 };
    let batch = spec.open(&glyphs(Split::Test), Split::Test, 1).unwrap().episode(0).unwrap().support;
    let labels = batch.classes().unwrap();
    // Minus the squared distances, as `triplet` compares.
    let comparer = learner.comparer().unwrap();
    let z = comparer.embed(batch.inputs()).unwrap();
    let similarity = comparer.similarity(z.view(), z.view()).unwrap();
    let mean = |same: bool| {
        let pairs =
            similarity.indexed_iter().filter(|((i, j), _)| i != j && (labels[*i] == labels[*j]) == same);
        let distances: Vec<f32> = pairs.map(|(_, s)| (-s).max(0.0).sqrt()).collect();
        distances.iter().sum::<f32>() / distances.len() as f32
    };
    mean(false) - mean(true)
}

#[test]
fn triplet_training_raises_the_gap_on_unseen_classes() {
    // Batch-hard goes through a collapse first (Hermans et al. 2017, section 3.2): more steps than a test has.
    let mut learner = build("triplet", "mining = 'batch-all'");
    train(learner.as_mut(), 1);
    let before = gap(learner.as_ref());
    train(learner.as_mut(), 60);
    let after = gap(learner.as_ref());
    assert!(after > before + 0.1, "{before} {after}");
}

#[test]
fn meta_networks_need_their_fast_weights() {
    let spec = TaskSpec::FewShot { ways: Count::fixed(5), shots: Count::fixed(1), queries: 5 };
    let tasks = spec.open(&glyphs(Split::Test), Split::Test, 1).unwrap();
    let accuracy = |fast: &str| {
        let mut learner =
            build("metanet", &format!("fast-weights = '{fast}'\nhidden = 32\nmeta-hidden = 10"));
        train(learner.as_mut(), 80);
        evaluate(learner.as_ref(), tasks.as_ref(), 60, &Watch::default()).unwrap().score.interval
    };
    let (with, without) = (accuracy("all"), accuracy("none"));
    assert!(with.low() > without.high() + 0.05, "{with:?} {without:?}");
}
