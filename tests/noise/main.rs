//! A backbone that drops values: in training, where the learner says so, and never in an evaluation.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use kshot::backbone::Backbone;
use kshot::dataset::{Class, ClassSet, Split, TaskSource};
use kshot::episode::{Count, Episode, TaskSpec};
use kshot::learner::{Family, Learner, Prediction};
use kshot::nn::Norm;
use kshot::registry::{self, LearnerEntry, Problem, Setup};

// Linking the program registers what it comes with.
use kshot_cli as _;

/// Eight classes of sixteen images of 16×16, of no meaning.
fn source() -> TaskSource {
    let pixels: Vec<u8> = (0..128 * 256_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let names = (0..128).map(|image| image.to_string()).collect();
    let class =
        |n: u32| Class { name: n.to_string(), images: (16 * n..16 * n + 16).collect(), quarter_turns: 0 };
    let classes = (0..8).map(class).collect();
    TaskSource::Classes(Arc::new(
        ClassSet::new([1, 16, 16], Arc::new(pixels), Arc::new(names), classes).unwrap(),
    ))
}

fn learner(entry: &LearnerEntry, rate: f64, seed: u64) -> Box<dyn Learner> {
    let mut settings: toml::Table = "kind = 'resnet12'\nwidths = [4, 5, 6, 7]".parse().unwrap();
    settings.insert("drop-rate".to_owned(), rate.into());
    let backbone = Backbone::of(&settings, [1, 16, 16], Norm::Running).unwrap();
    let (problem, shots) = (Problem::Classification, Count::fixed(2));
    let setup = Setup { problem, backbone, base_classes: 8, ways: 2, shots, queries: 2, seed };
    (entry.build)(&setup, &toml::Table::new()).unwrap()
}

fn training(learner: &mut dyn Learner, number: u64) -> Episode {
    let task = learner.trainable().unwrap().learned().task.clone();
    task.open(&source(), Split::Train, 0).unwrap().episode(number).unwrap()
}

/// The bits of an outer gradient, on another episode's number if it is given.
fn gradient(learner: &mut dyn Learner, number: u64) -> Vec<u32> {
    let episode = Episode { index: number, ..training(learner, 0) };
    let outer = learner.trainable().unwrap().outer_gradient(&episode).unwrap();
    outer.gradient.values().iter().map(|value| value.to_bits()).collect()
}

#[test]
fn learners_drop_in_training_alone() {
    let task = TaskSpec::FewShot { ways: Count::fixed(2), shots: Count::fixed(2), queries: 2 };
    let task = task.open(&source(), Split::Test, 0).unwrap().episode(0).unwrap();
    let answer = |learner: &dyn Learner| match learner.answer(&task.support, &task.query.examples).unwrap() {
        Prediction::Scores(scores) => scores,
        Prediction::Values(values) => values,
    };
    let trained = registry::learners().into_iter().filter(|entry| entry.training.is_some());
    let mut dropping = Vec::new();
    for entry in trained.filter(|entry| entry.solves.contains(&Problem::Classification)) {
        let (mut plain, mut noisy) = (learner(entry, 0.0, 3), learner(entry, 0.3, 3));
        assert!(answer(plain.as_ref()) == answer(noisy.as_ref()), "{} drops in an evaluation", entry.name);
        let (without, with) = (gradient(plain.as_mut(), 0), gradient(noisy.as_mut(), 0));
        if entry.family == Family::Optimization {
            assert!(without == with, "{} drops, though its inner loop does not", entry.name);
            continue;
        }
        assert!(without != with, "{} drops nothing in training", entry.name);
        assert!(with == gradient(noisy.as_mut(), 0), "{}: an episode's noise is its own", entry.name);
        dropping.push(entry.name);
    }
    assert!(dropping.contains(&"finetune") && dropping.contains(&"metanet"), "{dropping:?}");
    assert!(dropping.contains(&"prototypical"), "{dropping:?}");
}

/// On the same examples and weights.
#[test]
fn run_and_episode_name_the_noise() {
    let entry = registry::learner("prototypical").unwrap();
    let mut one = learner(entry, 0.3, 3);
    let before = gradient(one.as_mut(), 0);
    assert!(before != gradient(one.as_mut(), 1));
    let mut other = learner(entry, 0.3, 4);
    let theta = one.trainable().unwrap().learned().theta.clone();
    other.trainable().unwrap().learned().theta = theta.clone();
    assert!(before != gradient(other.as_mut(), 0));
    let mut again = learner(entry, 0.3, 3);
    again.trainable().unwrap().learned().theta = theta;
    assert!(before == gradient(again.as_mut(), 0));
}
