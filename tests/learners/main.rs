//! What every registered learner must do, whichever it is.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may panic")]

use kshot::dataset::{DatasetContext, Split, TaskSource};
use kshot::episode::{Count, Episode, Labelled, Targets, TaskSpec, Unlabelled};
use kshot::learner::{Learner, Prediction};
use kshot::nn::BackboneConfig;
use kshot::registry::{self, LearnerEntry, Problem, Setup};
use ndarray::{Array2, Axis};

mod trained;

// Linking the program registers what it comes with.
use kshot_cli as _;

fn classifiers() -> impl Iterator<Item = &'static LearnerEntry> {
    let all = registry::learners();
    assert!(all.iter().any(|entry| entry.name == "prototypical"), "the learners are linked in");
    all.into_iter().filter(|entry| entry.solves.contains(&Problem::Classification))
}

fn glyphs(split: Split) -> TaskSource {
    let open = registry::dataset("glyphs").unwrap().open;
    open(&DatasetContext::default(), &toml::Table::new()).unwrap().split(split).unwrap()
}

/// The learner for 3-way tasks of up to 2 shots on a small backbone, moved a few steps from where it starts.
fn trained(entry: &LearnerEntry, source: &TaskSource) -> Box<dyn Learner> {
    let setup = Setup {
        input: [1, 28, 28],
        base_classes: source.class_count(),
        ways: 3,
        shots: 2,
        queries: 4,
        backbone: BackboneConfig { width: 8, ..BackboneConfig::default() },
        seed: 3,
    };
    let mut learner = (entry.build)(&setup, &toml::Table::new()).unwrap();
    if learner.params().layout().is_empty() {
        return learner;
    }
    let tasks = learner.training_task().open(source, Split::Train, 3).unwrap();
    for number in 0..3 {
        let outer = learner.outer_gradient(&tasks.episode(number).unwrap()).unwrap();
        assert!(outer.loss.is_finite(), "{}", entry.name);
        assert_eq!(outer.gradient.layout(), learner.params().layout(), "{}", entry.name);
        learner.params_mut().add_scaled(-0.01, &outer.gradient);
    }
    learner
}

fn episode(shots: usize) -> Episode {
    let spec = TaskSpec::FewShot { ways: Count::fixed(3), shots: Count::fixed(shots), queries: 4 };
    spec.open(&glyphs(Split::Test), Split::Test, 5).unwrap().episode(0).unwrap()
}

fn scores(learner: &dyn Learner, support: &Labelled, query: &Unlabelled) -> Array2<f32> {
    match learner.predict(support, query).unwrap() {
        Prediction::Scores(scores) => scores,
        Prediction::Values(_) => panic!("values for a classification"),
    }
}

/// The examples at `places`, in that order.
fn pick(set: &Labelled, places: &[usize]) -> Labelled {
    Labelled::new(
        set.inputs().select(Axis(0), places),
        Targets::Classes(places.iter().map(|&place| set.classes().unwrap()[place]).collect()),
    )
}

/// Equal but for rounding, on the scale of the scores.
fn close(a: &Array2<f32>, b: &Array2<f32>, tolerance: f32) -> bool {
    let scale = a.iter().filter(|value| value.is_finite()).fold(1.0_f32, |most, value| most.max(value.abs()));
    a.dim() == b.dim() && a.iter().zip(b).all(|(a, b)| a == b || (a - b).abs() <= tolerance * scale)
}

#[test]
fn the_order_of_the_support_does_not_matter() {
    let (train, episode) = (glyphs(Split::Train), episode(2));
    for entry in classifiers() {
        let learner = trained(entry, &train);
        let shuffled = pick(&episode.support, &[4, 0, 3, 5, 1, 2]);
        let before = scores(learner.as_ref(), &episode.support, &episode.query.examples);
        let after = scores(learner.as_ref(), &shuffled, &episode.query.examples);
        assert!(close(&before, &after, 2e-3), "{}: {before:?} {after:?}", entry.name);
    }
}

/// Learners whose head has a weight vector of its own for each label from the start: renaming the classes gives them
/// another starting point, as in the papers.
const HEAD_BY_LABEL: &[&str] = &["anil", "fomaml", "imaml", "maml", "meta-sgd", "metanet", "reptile"];

#[test]
fn renaming_the_classes_renames_the_predictions() {
    let (train, episode) = (glyphs(Split::Train), episode(2));
    let renamed = [2, 0, 1];
    for entry in classifiers().filter(|entry| !HEAD_BY_LABEL.contains(&entry.name)) {
        let learner = trained(entry, &train);
        let mut support = episode.support.clone();
        if let Targets::Classes(labels) = &mut support.targets {
            labels.iter_mut().for_each(|label| *label = renamed[*label]);
        }
        let before = scores(learner.as_ref(), &episode.support, &episode.query.examples);
        let after = scores(learner.as_ref(), &support, &episode.query.examples);
        let moved = Array2::from_shape_fn(before.dim(), |(query, class)| after[[query, renamed[class]]]);
        assert!(close(&before, &moved, 2e-3), "{}: {before:?} {moved:?}", entry.name);
    }
}

#[test]
fn an_inductive_learner_answers_each_query_alone() {
    let (train, episode) = (glyphs(Split::Train), episode(1));
    for entry in classifiers() {
        let learner = trained(entry, &train);
        if learner.is_transductive() {
            continue;
        }
        let together = scores(learner.as_ref(), &episode.support, &episode.query.examples);
        for place in [0, 7] {
            let alone = pick(&episode.query, &[place]);
            let alone = scores(learner.as_ref(), &episode.support, &alone.examples);
            let row = together.select(Axis(0), &[place]);
            assert!(close(&row, &alone, 1e-3), "{}: {row:?} {alone:?}", entry.name);
        }
    }
}

#[test]
fn unequal_shots_one_query_and_one_class_are_answered_or_refused_in_words() {
    let (train, episode) = (glyphs(Split::Train), episode(2));
    let one_query = pick(&episode.query, &[1]);
    for entry in classifiers() {
        let learner = trained(entry, &train);
        // Two shots of classes 0 and 2, one of class 1 (the order of the support is class by class).
        let unequal = pick(&episode.support, &[0, 1, 2, 4, 5]);
        let answer = scores(learner.as_ref(), &unequal, &one_query.examples);
        assert_eq!(answer.dim(), (1, 3), "{}", entry.name);
        assert!(answer.iter().all(|score| !score.is_nan()), "{}: {answer:?}", entry.name);
        let one_class = pick(&episode.support, &[0, 1]);
        match learner.predict(&one_class, &one_query.examples) {
            Ok(prediction) => assert_eq!(prediction.classes(), [0], "{}", entry.name),
            Err(error) => assert!(error.to_string().contains("class"), "{}: {error}", entry.name),
        }
    }
}

#[test]
fn similarity_is_of_the_inputs_alone() {
    let (train, episode) = (glyphs(Split::Train), episode(2));
    for entry in classifiers() {
        let learner = trained(entry, &train);
        let x = episode.query.inputs();
        let Some(all) = learner.similarity(x, x).unwrap() else { continue };
        assert_eq!(all.dim(), (12, 12), "{}", entry.name);
        let part = pick(&episode.query, &[3, 8]);
        let some = learner.similarity(part.inputs(), x).unwrap().unwrap();
        assert!(close(&some, &all.select(Axis(0), &[3, 8]), 1e-3), "{}", entry.name);
        // An image is at least as like itself as like any other.
        let own = all.diag().insert_axis(Axis(1));
        if !["relation"].contains(&entry.name) {
            assert!((&all - &own).iter().all(|d| *d <= 1e-3), "{}", entry.name);
        }
    }
}
