//! The trait a learner implements: the book's first page.

use ndarray::{Array2, ArrayView4, Axis};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::episode::{Episode, Labelled, TaskSpec, Unlabelled};
use crate::params::Params;

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

/// Share of examples whose highest score is their label's; 0 of none. Scores are `[examples, classes]`, row by row.
pub fn accuracy(scores: impl IntoIterator<Item = f32>, labels: &[usize]) -> f32 {
    let scores: Vec<f32> = scores.into_iter().collect();
    let classes = (scores.len() / labels.len().max(1)).max(1);
    let rows = scores.chunks_exact(classes).map(|row| argmax(row.iter().copied()));
    let correct = rows.zip(labels).filter(|(predicted, label)| predicted == *label).count();
    correct as f32 / labels.len().max(1) as f32
}

/// A learner: everything a plugin's author writes, besides a configuration and one `inventory::submit!`.
pub trait Learner: Send + Sync {
    /// What the outer loop learns; empty for a learner without training.
    fn params(&self) -> &Params;

    /// The same, for the engine to update.
    fn params_mut(&mut self) -> &mut Params;

    /// What it wants to be fed in training: N-way K-shot, a P×K batch, a flat batch.
    fn training_task(&self) -> TaskSpec;

    /// Whether a prediction for one query depends on the other queries.
    fn is_transductive(&self) -> bool;

    /// Gradient of this episode's outer loss, and metrics. Pure: the engine calls it from many threads.
    ///
    /// # Errors
    /// When the episode does not fit the learner, or the device fails.
    fn outer_gradient(&self, episode: &Episode) -> Result<Outer>;

    /// Within-task training on the labelled support, then predictions for the queries, whose labels it never sees.
    ///
    /// # Errors
    /// When the task does not fit the learner, or the device fails.
    fn predict(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction>;

    /// How alike the examples of two sets `[n, c, h, w]` and `[m, c, h, w]` are, `[n, m]`, higher for more alike:
    /// what verification and retrieval go by. `None` for a learner that does not compare examples.
    ///
    /// # Errors
    /// When the inputs do not fit the learner, or the device fails.
    fn similarity(
        &self,
        left: ArrayView4<'_, f32>,
        right: ArrayView4<'_, f32>,
    ) -> Result<Option<Array2<f32>>> {
        let _ = (left, right);
        Ok(None)
    }

    /// Figures of one task that say more than its accuracy, by name, for a report: how far apart its domains are,
    /// before and after. None for most.
    ///
    /// # Errors
    /// As [`Learner::predict`].
    fn task_measures(&self, support: &Labelled, query: &Unlabelled) -> Result<Vec<(&'static str, f64)>> {
        let _ = (support, query);
        Ok(Vec::new())
    }
}
