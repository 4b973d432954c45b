//! What a learner can do, as small traits: the book's first page.
//!
//! Every [`Learner`] adapts to a labelled support set; what comes of it, [`Adapted`], answers queries. What it can do
//! besides is a trait of its own, which it offers or does not: [`Trainable`], to learn across tasks; [`Comparer`], to say
//! how alike two examples are; [`Aligner`], to bring two domains together. [`MetricLearner`](crate::metric::MetricLearner)
//! has the first three for whoever embeds and compares.
//!
//! ```
//! use kshot::episode::{Labelled, Targets, Unlabelled};
//! use kshot::learner::{Adapted, Learner, Prediction};
//! use kshot::{Error, Result};
//! use ndarray::{Array2, Array4};
//!
//! /// The nearest example, by the first value of each.
//! struct Nearest;
//!
//! struct Known<'a>(&'a Labelled);
//!
//! impl Learner for Nearest {
//!     fn is_transductive(&self) -> bool {
//!         false
//!     }
//!
//!     fn adapt<'a>(&'a self, support: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
//!         Ok(Box::new(Known(support)))
//!     }
//! }
//!
//! impl Adapted for Known<'_> {
//!     fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
//!         let mut scores = Array2::from_elem((query.len(), self.0.ways()?), f32::NEG_INFINITY);
//!         for (known, &class) in self.0.inputs().outer_iter().zip(self.0.classes()?) {
//!             for (asked, mut scores) in query.inputs.outer_iter().zip(scores.outer_iter_mut()) {
//!                 scores[class] = scores[class].max(-(asked[[0, 0, 0]] - known[[0, 0, 0]]).abs());
//!             }
//!         }
//!         Ok(Prediction::Scores(scores))
//!     }
//! }
//!
//! let points = |values: &[f32]| Array4::from_shape_fn((values.len(), 1, 1, 1), |(n, ..)| values[n]);
//! let support = Labelled::new(points(&[0.0, 1.0]), Targets::Classes(vec![0, 1]));
//! let adapted = Nearest.adapt(&support)?;
//! assert_eq!(adapted.predict(&Unlabelled { inputs: points(&[0.9, 0.2, 0.7]) })?.classes(), [1, 0, 1]);
//! # Ok::<(), Error>(())
//! ```

use std::sync::Arc;

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayView4, Axis};
use rand::RngCore as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::episode::{Episode, Labelled, TaskSpec, Unlabelled};
use crate::nn::Network;
use crate::params::Params;
use crate::rng::stream;

/// The families of transfer and meta-learning that kshot compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// No learning before the task: the floor.
    Baseline,
    /// Transform features so that source and target look alike (TCA, JDA, CORAL).
    FeatureTransfer,
    /// Share parameters, fine-tune the last layers.
    ModelTransfer,
    /// Learn how to compare (Siamese, triplet, prototypical, matching, relation).
    Metric,
    /// One network produces another's fast weights (Meta Networks).
    Model,
    /// Learn what gradient descent starts from (MAML and its kin).
    Optimization,
}

impl Family {
    /// The name as tables show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::FeatureTransfer => "feature transfer",
            Self::ModelTransfer => "model transfer",
            Self::Metric => "metric",
            Self::Model => "model-based",
            Self::Optimization => "optimization",
        }
    }
}

/// What one training episode gives the outer loop.
#[derive(Clone, Debug)]
pub struct Outer {
    /// The episode's outer loss.
    pub loss: f32,
    /// Its gradient; slots of running statistics hold the statistics of this episode's batch.
    pub gradient: Params,
    /// What else to log, by name: `accuracy`, `active_triplets` …
    pub metrics: Vec<(&'static str, f32)>,
}

/// What a learner says of the queries.
#[derive(Clone, Debug, PartialEq)]
pub enum Prediction {
    /// A score for each class, `[queries, classes]`: the highest wins, the first of equals.
    Scores(Array2<f32>),
    /// Values, `[queries, outputs]`.
    Values(Array2<f32>),
}

impl Prediction {
    /// The class with the highest score for each query; empty for values.
    pub fn classes(&self) -> Vec<usize> {
        match self {
            Self::Scores(scores) => {
                scores.axis_iter(Axis(0)).map(|row| argmax(row.iter().copied())).collect()
            }
            Self::Values(_) => Vec::new(),
        }
    }
}

/// Index of the largest value, the first of equals; NaN never wins.
pub fn argmax(values: impl IntoIterator<Item = f32>) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, value) in values.into_iter().enumerate() {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

/// How sure a query's scores are of the best class: its share of their softmax, the same whatever is added to all of them
/// (Hendrycks & Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples", ICLR 2017).
pub fn confidence(scores: ArrayView1<'_, f32>) -> f32 {
    let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter().map(|score| (score - best).exp()).sum::<f32>().recip()
}

/// Share of examples whose highest score is their label's; 0 of none. Scores are `[examples, classes]`, row by row.
pub fn accuracy(scores: impl IntoIterator<Item = f32>, labels: &[usize]) -> f32 {
    let scores: Vec<f32> = scores.into_iter().collect();
    let classes = (scores.len() / labels.len().max(1)).max(1);
    let rows = scores.chunks_exact(classes).map(|row| argmax(row.iter().copied()));
    let correct = rows.zip(labels).filter(|(predicted, label)| predicted == *label).count();
    correct as f32 / labels.len().max(1) as f32
}

/// A learner: what a plugin's author writes, besides its options and one
/// [`register_learner!`](crate::register_learner).
pub trait Learner: Send + Sync {
    /// Whether a prediction for one query depends on the other queries.
    fn is_transductive(&self) -> bool;

    /// Within-task training on the labelled support. A transductive learner may keep the support and do its work when it
    /// sees the queries.
    ///
    /// # Errors
    /// When the task does not fit the learner, or the device fails.
    fn adapt<'a>(&'a self, support: &'a Labelled) -> Result<Box<dyn Adapted + 'a>>;

    /// Adapts and predicts at once, with the same outcome: for learners that are faster when they see both together.
    ///
    /// # Errors
    /// As [`Learner::adapt`] and [`Adapted::predict`].
    fn answer(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction> {
        self.adapt(support)?.predict(query)
    }

    /// What the outer loop trains, for learners that learn across tasks.
    fn trainable(&mut self) -> Option<&mut dyn Trainable> {
        None
    }

    /// How alike examples are, for learners that compare them.
    fn comparer(&self) -> Option<&dyn Comparer> {
        None
    }

    /// How near two domains come, for learners that bring them together.
    fn aligner(&self) -> Option<&dyn Aligner> {
        None
    }
}

/// A learner that knows the support of a task.
pub trait Adapted: Send + Sync {
    /// Predictions for the queries, whose labels it never sees: as often as there are queries to ask.
    ///
    /// # Errors
    /// When the queries do not fit the support or the learner, or the device fails.
    fn predict(&self, query: &Unlabelled) -> Result<Prediction>;
}

/// A learner that the outer loop trains across tasks.
pub trait Trainable: Learner {
    /// What is learned, for the engine to update, and from what.
    fn learned(&mut self) -> &mut Learned;

    /// Gradient of this episode's outer loss, and metrics. Pure: the engine calls it from many threads.
    ///
    /// # Errors
    /// When the episode does not fit the learner, or the device fails.
    fn outer_gradient(&self, episode: &Episode) -> Result<Outer>;
}

/// `network` as it is in training on `episode`: its drop layers, if it has any, are active, with noise that the run's
/// `seed` and the episode's number name. Evaluations, and inner loops, are on `network` itself.
pub fn in_training(network: &Arc<dyn Network>, seed: u64, episode: &Episode) -> Arc<dyn Network> {
    let noise = stream(seed, "drop", episode.index).next_u64();
    network.noisy(noise).unwrap_or_else(|| network.clone())
}

/// What a learner learns across tasks, and from what.
#[derive(Clone, Debug)]
pub struct Learned {
    /// θ: what the outer loop updates and a checkpoint keeps.
    pub theta: Params,
    /// What the learner wants to be fed: N-way K-shot tasks, P×K batches, flat batches.
    pub task: TaskSpec,
}

/// A learner that embeds examples and compares the embeddings: what verification and retrieval go by.
pub trait Comparer: Send + Sync {
    /// Embeddings `[n, features]` of examples `[n, c, h, w]`.
    ///
    /// # Errors
    /// When the inputs do not fit the learner, or the device fails.
    fn embed(&self, x: ArrayView4<'_, f32>) -> Result<Array2<f32>>;

    /// How alike embeddings `[n, features]` and `[m, features]` are, `[n, m]`, higher for more alike.
    ///
    /// # Errors
    /// When they are no embeddings of this learner.
    fn similarity(&self, left: ArrayView2<'_, f32>, right: ArrayView2<'_, f32>) -> Result<Array2<f32>>;
}

/// A learner that brings a source and a target domain together.
pub trait Aligner: Send + Sync {
    /// How far apart the domains of a task are, before and after.
    ///
    /// # Errors
    /// As [`Learner::answer`].
    fn domain_distances(&self, support: &Labelled, query: &Unlabelled) -> Result<DomainDistances>;

    /// What answering a task will take, as part of a sentence, where it is so much that one wants to know beforehand.
    fn cost(&self, _support: &Labelled, _query: &Unlabelled) -> Option<String> {
        None
    }

    /// Bytes of the matrices that answering a task takes, from above, beside some copies of its examples.
    fn bytes(&self, _support: &Labelled, _query: &Unlabelled) -> u64 {
        0
    }
}

/// How far apart a source and a target are, before they are aligned and after.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DomainDistances {
    /// Squared maximum mean discrepancy before.
    pub mmd2_before: f64,
    /// And after.
    pub mmd2_after: f64,
    /// Proxy A-distance before, 0 (the same) to 2 (told apart without error).
    pub a_distance_before: f64,
    /// And after.
    pub a_distance_after: f64,
}
