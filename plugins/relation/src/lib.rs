//! Relation networks: whether a query is of a class is learned, not measured.
//!
//! Sung, Yang, Zhang, Xiang, Torr & Hospedales, "Learning to Compare: Relation Network for Few-Shot Learning", CVPR
//! 2018. The relation score of query x_j and class i is r_{i,j} = g(C(f(x_i), f(x_j))) (equation 1): f embeds, C
//! concatenates, g is a learned module ending in a sigmoid; a class of several shots is the sum of its embeddings, here
//! their mean, so that unequal shots compare. Scores are fitted to 1 for the query's class and 0 for others by mean
//! squared error (equation 2).
//!
//! What differs from the paper: f ends in a vector, so that g is a perceptron where the paper's has two convolutions.
//!
//! ```
//! use kshot::metric::{Comparison, Support};
//! use kshot::rng::stream;
//! use kshot_relation::Relation;
//! use ndarray::array;
//!
//! let relation = Relation::default();
//! let g = relation.weights(2, &mut stream(0, "init", 0)).expect("the weights of g");
//! let (support, query) = (array![[1.0, 0.0], [0.0, 1.0]], array![[3.0, 3.0]]);
//! let scores = relation.scores(&g, Support { z: support.view(), labels: &[0, 1] }, query.view())?;
//! assert_eq!(scores.dim(), (1, 2));
//! # Ok::<(), kshot::Error>(())
//! ```

#![forbid(unsafe_code)]

mod module;

use kshot::Result;
use kshot::episode::{Episode, TaskSpec};
use kshot::metric::{Comparison, Embeddings, EpisodicTraining, Support, TrainingLoss};
use kshot::nn::{HeadWeights, TapedMatrix, head};
use kshot::options::Options;
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
    training: |_| TrainConfig { steps: 300, validation_episodes: 100, ..TrainConfig::default() },
    comparison: Relation,
}

/// Options of `relation`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Relation {
    /// Width of the two hidden layers of the relation module g.
    #[schemars(range(min = 1))]
    pub hidden: usize,
    /// What it is trained on.
    #[serde(flatten)]
    pub training: EpisodicTraining,
}

impl Default for Relation {
    fn default() -> Self {
        Self { hidden: 128, training: EpisodicTraining::default() }
    }
}

impl Options for Relation {}

impl Comparison for Relation {
    fn training_task(&self, setup: &Setup) -> TaskSpec {
        self.training.task(setup)
    }

    /// Those of g.
    fn weights(&self, features: usize, rng: &mut Rng) -> Option<Params> {
        Some(Module { hidden: self.hidden }.weights(features, rng))
    }

    fn loss(&self, z: TapedMatrix, weights: &HeadWeights<'_>, episode: &Episode) -> Result<TrainingLoss> {
        Module { hidden: self.hidden }.loss(z, weights, episode.support.classes()?, episode.query.classes()?)
    }

    fn scores(&self, theta: &Params, support: Support<'_>, query: Embeddings<'_>) -> Result<Array2<f32>> {
        let classes = head::class_means(support.z, support.labels)?;
        Module { hidden: self.hidden }.scores(theta, query, classes.view())
    }

    /// The mean of both orders, as g need not be symmetric.
    fn similarity(&self, theta: &Params, a: Embeddings<'_>, b: Embeddings<'_>) -> Result<Array2<f32>> {
        let module = Module { hidden: self.hidden };
        let (there, back) = (module.scores(theta, a, b)?, module.scores(theta, b, a)?);
        Ok((there + back.t()) / 2.0)
    }
}

#[cfg(test)]
mod tests;
