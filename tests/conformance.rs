//! The conformance suite catches what it is for: eight bugs, each planted in a learner that passes without it.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kshot::Result;
use kshot::conformance;
use kshot::episode::{Count, Episode, Labelled, TaskSpec, Unlabelled};
use kshot::learner::{Adapted, Family, Learned, Learner, Outer, Prediction, Trainable};
use kshot::nn::{Network, Norm, Similarity, head};
use kshot::options::NoOptions;
use kshot::registry::{self, Setup};
use kshot::rng::stream;
use kshot::train::TrainConfig;
use ndarray::{Array2, Axis, concatenate};

/// What is wrong with a [`Toy`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    QueryOrder,
    Threads,
    Gradient,
    State,
    LostWeights,
    SilentlyTransductive,
    Memory,
    OneQuery,
}

/// A prototypical network by hand, with a bug.
struct Toy {
    network: std::sync::Arc<dyn Network>,
    learned: Learned,
    bug: Bug,
    tasks: AtomicU64,
    /// Learned, but not part of θ.
    scale: AtomicU64,
    kept: Mutex<Vec<Vec<f32>>>,
}

impl Toy {
    fn new(setup: &Setup, bug: Bug) -> Result<Self> {
        let network = setup.backbone.build()?;
        let theta = network.init(&mut stream(setup.seed, "init", 0));
        let task = TaskSpec::FewShot { ways: Count::fixed(5), shots: Count::fixed(2), queries: 3 };
        let (tasks, scale) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { network, learned: Learned { theta, task }, bug, tasks, scale, kept: Mutex::default() })
    }

    fn scores(&self, prototypes: &Array2<f32>, query: &Array2<f32>) -> Array2<f32> {
        let mut scores = Similarity::Squared.between(query.view(), prototypes.view());
        match self.bug {
            Bug::QueryOrder => scores.axis_iter_mut(Axis(0)).enumerate().for_each(|(place, mut row)| {
                row[0] += place as f32;
            }),
            Bug::Threads => scores += 0.1 * rayon::current_num_threads() as f32,
            Bug::State => scores.column_mut(0).fill(self.tasks.fetch_add(1, Ordering::Relaxed) as f32),
            Bug::LostWeights => {
                scores.column_mut(0).fill(self.scale.load(Ordering::Relaxed) as f32);
            }
            Bug::SilentlyTransductive => {
                let mean = scores.mean_axis(Axis(0)).unwrap();
                scores -= &mean;
            }
            Bug::Memory => self.kept.lock().unwrap().push(vec![1.0; 40_000]),
            Bug::OneQuery => assert!(scores.nrows() != 1, "an index out of bounds"),
            Bug::None | Bug::Gradient => {}
        }
        scores
    }
}

impl Learner for Toy {
    fn is_transductive(&self) -> bool {
        self.network.norm() == Norm::Batch
    }

    fn adapt<'a>(&'a self, support: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
        let z = self.network.forward(&self.learned.theta, support.inputs())?;
        Ok(Box::new(Known { toy: self, prototypes: head::class_means(z.view(), support.classes()?)? }))
    }

    fn trainable(&mut self) -> Option<&mut dyn Trainable> {
        Some(self)
    }
}

struct Known<'a> {
    toy: &'a Toy,
    prototypes: Array2<f32>,
}

impl Adapted for Known<'_> {
    fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
        let z = self.toy.network.forward(&self.toy.learned.theta, query.inputs.view())?;
        Ok(Prediction::Scores(self.toy.scores(&self.prototypes, &z)))
    }
}

impl Trainable for Toy {
    fn learned(&mut self) -> &mut Learned {
        &mut self.learned
    }

    fn outer_gradient(&self, episode: &Episode) -> Result<Outer> {
        self.scale.fetch_add(1, Ordering::Relaxed);
        let x = concatenate![Axis(0), episode.support.inputs(), episode.query.inputs()];
        let (loss, mut gradient) =
            self.network.value_and_grad(&self.learned.theta, x.view(), &mut |z, _| {
                let [support, query] = head::split(z, episode.support.len())?;
                let prototypes = head::class_means_on_tape(support, episode.support.classes()?)?;
                let logits = Similarity::Squared.logits_on_tape(query, prototypes, 1.0)?;
                head::cross_entropy(logits, episode.query.classes()?)
            })?;
        if self.bug == Bug::Gradient {
            gradient.scale(0.5);
        }
        Ok(Outer { loss, gradient, metrics: Vec::new() })
    }
}

macro_rules! toy {
    ($name:literal, $bug:expr) => {
        kshot::register_learner! {
            /// a toy
            ///
            /// none
            name: $name,
            family: Family::Metric,
            training: |_| TrainConfig::default(),
            options: NoOptions,
            build: |setup: &Setup, _: NoOptions| Toy::new(setup, $bug),
        }
    };
}

toy!("sound", Bug::None);
toy!("query-order", Bug::QueryOrder);
toy!("threads", Bug::Threads);
toy!("gradient", Bug::Gradient);
toy!("state", Bug::State);
toy!("save-and-load", Bug::LostWeights);
toy!("transductive", Bug::SilentlyTransductive);
toy!("memory", Bug::Memory);
toy!("one-query", Bug::OneQuery);

// One test, one learner after another: memory is that of the whole process.
#[test]
fn a_sound_learner_passes_and_each_of_eight_bugs_is_caught_by_the_check_of_its_name() {
    conformance::learner(registry::learner("sound").unwrap()).unwrap();
    for name in [
        "query-order",
        "threads",
        "gradient",
        "state",
        "save-and-load",
        "transductive",
        "memory",
        "one-query",
    ] {
        let faults = conformance::learner(registry::learner(name).unwrap()).expect_err(name);
        assert!(faults.of(name), "{name}: {faults}");
    }
}
