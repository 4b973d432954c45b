//! Relation networks: whether a query is of a class is learned, not measured.
//!
//! Sung, Yang, Zhang, Xiang, Torr & Hospedales, "Learning to Compare: Relation Network for Few-Shot Learning", CVPR
//! 2018. The relation score of query x_j and class i is r_{i,j} = g(C(f(x_i), f(x_j))) (equation 1): f embeds, C
//! concatenates, g is a learned module ending in a sigmoid; a class of several shots is the sum of its embeddings, here
//! their mean, so that unequal shots compare. Scores are fitted to 1 for the query's class and 0 for others by mean
//! squared error (equation 2).
//!
//! What differs from the paper, unless asked for: g is a perceptron on embeddings (`module = "convolutional"` on maps is the
//! paper's), scores are fitted by cross-entropy over a query's classes (`loss = "mse"`), and every query is answered alone, on
//! running statistics (`--set backbone.norm=batch` with one query a class is how its figures were taken).
//!
//! ```
//! use kshot::backbone::Backbone;
//! use kshot::episode::Count;
//! use kshot::metric::{Comparison, Support};
//! use kshot::nn::Norm;
//! use kshot::registry::{Problem, Setup};
//! use kshot::rng::stream;
//! use kshot_relation::{Options, Relation};
//! use ndarray::Array2;
//!
//! let backbone = Backbone::of(&"width = 8".parse().expect("TOML"), [1, 28, 28], Norm::Running)?;
//! let setup = Setup { problem: Problem::Classification, backbone, base_classes: 64, ways: 2, shots: Count::fixed(1), queries: 1, seed: 0 };
//! let relation = Relation::new(&setup, Options::default())?;
//! let g = relation.weights(8, &mut stream(0, "init", 0)).expect("the weights of g");
//! let (support, query) = (Array2::zeros((2, 8)), Array2::ones((1, 8)));
//! let scores = relation.scores(&g, Support { z: support.view(), labels: &[0, 1] }, query.view())?;
//! assert_eq!(scores.dim(), (1, 2));
//! # Ok::<(), kshot::Error>(())
//! ```

#![forbid(unsafe_code)]

mod module;

use kshot::Result;
use kshot::episode::{Episode, TaskSpec};
use kshot::learner::Family;
use kshot::metric::{Comparison, Embeddings, EpisodicTraining, MetricLearner, Support, TrainingLoss};
use kshot::nn::{HeadWeights, TapedMatrix, head};
use kshot::params::Params;
use kshot::registry::Setup;
use kshot::rng::Rng;
use kshot::train::TrainConfig;
use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use module::Module;

kshot::register_learner! {
    /// a learned comparison of queries with classes
    ///
    /// Sung et al., Learning to Compare: Relation Network for Few-Shot Learning, CVPR 2018
    name: "relation",
    differs: "by default a perceptron compares two vectors, trained on the cross-entropy of a query's classes, and \
        each query is on its own; published are convolutions on maps of 5×5, the squared error, and queries \
        that share the batch's statistics, one a class. Omniglot, 5-way 1-shot: 98.77 ± 0.17 % on their own; \
        with the batch's statistics 98.96 ± 0.30 % with one query a class, 98.95 ± 0.15 % with 15; published \
        99.6 %.",
    family: Family::Metric,
    training: |_| TrainConfig { steps: 300, validation_episodes: 100, ..TrainConfig::default() },
    compares: true,
    options: Options,
    build: |setup: &Setup, options: Options| MetricLearner::new(setup, Relation::new(setup, options)?),
}

/// Options of `relation`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Options {
    /// What the relation module g is.
    pub module: Kind,
    /// How its scores are fitted.
    pub loss: RelationLoss,
    /// Width of the hidden layers of g; where unset, 128 for a perceptron and, as published, 8 behind convolutions.
    #[schemars(range(min = 1))]
    pub hidden: Option<usize>,
    /// What it is trained on.
    #[serde(flatten)]
    pub training: EpisodicTraining,
}

impl Default for Options {
    fn default() -> Self {
        let training = EpisodicTraining::default();
        Self { module: Kind::Perceptron, loss: RelationLoss::CrossEntropy, hidden: None, training }
    }
}

impl kshot::options::Options for Options {}

/// What the relation module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Two hidden layers on the two embeddings.
    Perceptron,
    /// Two blocks of convolution, batch norm, ReLU and max-pooling on the two's maps, then a hidden layer (figure 2 of the
    /// paper); for a backbone that ends in maps, as `conv4` with `pools = 2`.
    Convolutional,
}

/// How scores are fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RelationLoss {
    /// Cross-entropy of the softmax over a query's classes.
    CrossEntropy,
    /// Squared error of each score's sigmoid, from 1 for the query's class and 0 for others (equation 2).
    Mse,
}

/// How a relation network compares.
pub struct Relation {
    options: Options,
    module: Module,
}

impl Relation {
    /// For embeddings of the setup's backbone.
    ///
    /// # Errors
    /// When the backbone does not fit the input, or the module the backbone.
    pub fn new(setup: &Setup, options: Options) -> Result<Self> {
        Ok(Self { module: Module::new(setup, &options)?, options })
    }
}

impl Comparison for Relation {
    fn training_task(&self, setup: &Setup) -> TaskSpec {
        self.options.training.task(setup)
    }

    /// Those of g.
    fn weights(&self, _: usize, rng: &mut Rng) -> Option<Params> {
        Some(self.module.weights(rng))
    }

    fn loss(&self, z: TapedMatrix, weights: &HeadWeights<'_>, episode: &Episode) -> Result<TrainingLoss> {
        let labels = [episode.support.classes()?, episode.query.classes()?];
        self.module.loss(z, weights, self.options.loss, labels)
    }

    fn scores(&self, theta: &Params, support: Support<'_>, query: Embeddings<'_>) -> Result<Array2<f32>> {
        let classes = head::class_means(support.z, support.labels)?;
        self.module.scores(theta, query, classes.view())
    }

    /// The mean of both orders, as g need not be symmetric.
    fn similarity(&self, theta: &Params, a: Embeddings<'_>, b: Embeddings<'_>) -> Result<Array2<f32>> {
        let (there, back) = (self.module.scores(theta, a, b)?, self.module.scores(theta, b, a)?);
        Ok((there + back.t()) / 2.0)
    }
}

#[cfg(test)]
mod tests;
