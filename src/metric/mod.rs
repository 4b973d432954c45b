//! Metric learners: embed, then compare.
//!
//! Prototypical, matching, relation, siamese and triplet networks are one shape. A [`Comparison`] is what each paper says:
//! what a training episode costs, and how embedded queries are scored by an embedded support. [`MetricLearner`] is the
//! rest: the network, its weights and those of the comparison behind them, training, evaluation and verification.
//!
//! ```
//! use kshot::metric::{Comparison, Embeddings, EpisodicTraining, MetricLearner, Support, TrainingLoss};
//! use kshot::nn::{HeadWeights, TapedMatrix, head};
//! use kshot::params::Params;
//! use kshot::episode::{Count, Episode, TaskSpec};
//! use kshot::registry::Setup;
//! use kshot::{Result, backbone::Backbone, nn::Norm, registry::Problem};
//! use ndarray::Array2;
//!
//! /// The nearest example by dot product.
//! struct Dot;
//!
//! impl Comparison for Dot {
//!     fn training_task(&self, setup: &Setup) -> TaskSpec {
//!         EpisodicTraining::default().task(setup)
//!     }
//!
//!     fn loss(&self, z: TapedMatrix, _: &HeadWeights<'_>, episode: &Episode) -> Result<TrainingLoss> {
//!         let [_, query] = head::split(z, episode.support.len())?;
//!         TrainingLoss::cross_entropy(query, episode.query.classes()?)
//!     }
//!
//!     fn scores(&self, _: &Params, support: Support<'_>, query: Embeddings<'_>) -> Result<Array2<f32>> {
//!         Ok(query.dot(&head::class_means(support.z, support.labels)?.t()))
//!     }
//!
//!     fn similarity(&self, _: &Params, left: Embeddings<'_>, right: Embeddings<'_>) -> Result<Array2<f32>> {
//!         Ok(left.dot(&right.t()))
//!     }
//! }
//!
//! let backbone = Backbone::of(&toml::Table::new(), [1, 28, 28], Norm::Running)?;
//! let setup = Setup { problem: Problem::Classification, backbone, base_classes: 64, ways: 5, shots: Count::fixed(1), queries: 15, seed: 0 };
//! let learner = MetricLearner::new(&setup, Dot)?;
//! # Ok::<(), kshot::Error>(())
//! ```

mod training;

use std::sync::Arc;

use ndarray::{Array2, ArrayView2, ArrayView4, Axis, concatenate};

use crate::Result;
use crate::episode::{Episode, Labelled, TaskSpec, Unlabelled};
use crate::learner::{
    Adapted, Comparer, Learned, Learner, Outer, Prediction, Trainable, accuracy, in_training,
};
use crate::nn::{HeadWeights, Network, Norm, TapedMatrix, TapedScalar, cross_entropy, embed_both};
use crate::params::Params;
use crate::registry::Setup;
use crate::rng::{Rng, stream};

pub use training::{BatchTraining, EpisodicTraining};

/// Embeddings on the host, `[n, features]`.
pub type Embeddings<'a> = ArrayView2<'a, f32>;

/// An embedded support set.
#[derive(Clone, Copy)]
pub struct Support<'a> {
    /// Its embeddings, `[support, features]`.
    pub z: Embeddings<'a>,
    /// The class of each.
    pub labels: &'a [usize],
}

/// How embeddings are compared, and what that costs in training. θ holds the network's weights, then those of
/// [`Comparison::weights`].
pub trait Comparison: Send + Sync {
    /// What it is trained on.
    fn training_task(&self, setup: &Setup) -> TaskSpec;

    /// Weights of its own behind the network's, for embeddings of this width; none for most.
    fn weights(&self, features: usize, rng: &mut Rng) -> Option<Params> {
        let _ = (features, rng);
        None
    }

    /// The loss of a training episode on its embeddings `[support + queries, features]`, the support's first.
    ///
    /// # Errors
    /// When the episode does not fit, or the device fails.
    fn loss(&self, z: TapedMatrix, weights: &HeadWeights<'_>, episode: &Episode) -> Result<TrainingLoss>;

    /// Scores `[queries, ways]` of embedded queries `[queries, features]`.
    ///
    /// # Errors
    /// When a class has no support.
    fn scores(&self, theta: &Params, support: Support<'_>, query: Embeddings<'_>) -> Result<Array2<f32>>;

    /// How alike embeddings `[n, features]` and `[m, features]` are, `[n, m]`, higher for more alike.
    ///
    /// # Errors
    /// When they do not fit θ.
    fn similarity(&self, theta: &Params, left: Embeddings<'_>, right: Embeddings<'_>) -> Result<Array2<f32>>;
}

/// A loss on the tape, and what else to log of the episode, by name.
pub struct TrainingLoss {
    /// The loss.
    pub loss: TapedScalar,
    /// `accuracy`, `active_triplets` …
    pub metrics: Vec<(&'static str, f32)>,
}

impl TrainingLoss {
    /// The cross-entropy of logits `[queries, classes]`, with their accuracy.
    ///
    /// # Errors
    /// When a label names no class, or the device fails.
    pub fn cross_entropy(logits: TapedMatrix, labels: &[usize]) -> Result<Self> {
        let metrics = vec![("accuracy", accuracy(logits.as_vec(), labels))];
        Ok(Self { loss: cross_entropy(logits, labels)?, metrics })
    }
}

/// A learner that embeds by a network and compares as `C` says.
pub struct MetricLearner<C> {
    network: Arc<dyn Network>,
    /// The network's weights, then the comparison's.
    learned: Learned,
    comparison: C,
    seed: u64,
}

impl<C: Comparison> MetricLearner<C> {
    /// One with fresh weights.
    ///
    /// # Errors
    /// When the backbone does not fit the input.
    pub fn new(setup: &Setup, comparison: C) -> Result<Self> {
        let task = comparison.training_task(setup);
        let network = setup.backbone.build()?;
        let mut rng = stream(setup.seed, "init", 0);
        let theta = network.init(&mut rng);
        let theta = match comparison.weights(network.features(), &mut rng) {
            Some(own) => theta.followed_by(&own),
            None => theta,
        };
        Ok(Self { network, learned: Learned { theta, task }, comparison, seed: setup.seed })
    }
}

impl<C: Comparison> Learner for MetricLearner<C> {
    fn is_transductive(&self) -> bool {
        self.network.norm() == Norm::Batch
    }

    fn adapt<'a>(&'a self, support: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
        let z = self.network.forward(&self.learned.theta, support.inputs())?;
        Ok(Box::new(Embedded { learner: self, z, labels: support.classes()? }))
    }

    /// Support and queries in one batch, where no input sees another.
    fn answer(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction> {
        let [z, z_query] =
            embed_both(self.network.as_ref(), &self.learned.theta, support.inputs(), query.inputs.view())?;
        let labels = support.classes()?;
        let support = Support { z: z.view(), labels };
        Ok(Prediction::Scores(self.comparison.scores(&self.learned.theta, support, z_query.view())?))
    }

    fn trainable(&mut self) -> Option<&mut dyn Trainable> {
        Some(self)
    }

    fn comparer(&self) -> Option<&dyn Comparer> {
        Some(self)
    }
}

/// A support set, embedded.
struct Embedded<'a, C> {
    learner: &'a MetricLearner<C>,
    z: Array2<f32>,
    labels: &'a [usize],
}

impl<C: Comparison> Adapted for Embedded<'_, C> {
    fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
        let MetricLearner { network, learned: Learned { theta, .. }, comparison, .. } = self.learner;
        let z_query = network.forward(theta, query.inputs.view())?;
        let support = Support { z: self.z.view(), labels: self.labels };
        Ok(Prediction::Scores(comparison.scores(theta, support, z_query.view())?))
    }
}

impl<C: Comparison> Trainable for MetricLearner<C> {
    fn learned(&mut self) -> &mut Learned {
        &mut self.learned
    }

    fn outer_gradient(&self, episode: &Episode) -> Result<Outer> {
        let (support, query) = (episode.support.inputs(), episode.query.inputs());
        let both = (!episode.query.is_empty()).then(|| concatenate![Axis(0), support, query]);
        let x = both.as_ref().map_or(support, |both| both.view());
        let mut metrics = Vec::new();
        let network = in_training(&self.network, self.seed, episode);
        let (loss, gradient) = network.value_and_grad(&self.learned.theta, x, &mut |z, weights| {
            let training = self.comparison.loss(z, weights, episode)?;
            metrics = training.metrics;
            Ok(training.loss)
        })?;
        Ok(Outer { loss, gradient, metrics })
    }
}

impl<C: Comparison> Comparer for MetricLearner<C> {
    fn embed(&self, x: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
        self.network.forward(&self.learned.theta, x)
    }

    fn similarity(&self, left: ArrayView2<'_, f32>, right: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        self.comparison.similarity(&self.learned.theta, left, right)
    }
}
