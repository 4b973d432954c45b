//! `@NAME@`: a metric learner. A query is of the class whose mean embedding has the most similar direction.
//!
//! Replace `loss` and `scores` by your formula; the network, training, checkpoints and verification are the engine's.

#![forbid(unsafe_code)]

use kshot::Result;
use kshot::episode::{Episode, TaskSpec};
use kshot::metric::{Comparison, Embeddings, EpisodicTraining, Support, TrainingLoss};
use kshot::nn::{HeadWeights, Similarity, TapedMatrix, head};
use kshot::options::Options;
use kshot::params::Params;
use kshot::registry::Setup;
use kshot::train::TrainConfig;
use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kshot::register_learner! {
    /// the class mean of the most similar direction
    ///
    /// yours: authors, title, venue, year
    name: "@NAME@",
    training: |_| TrainConfig { steps: 300, validation_episodes: 100, ..TrainConfig::default() },
    comparison: @TYPE@,
}

/// Options of `@NAME@`: their doc comments are what `kshot learners @NAME@` prints.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct @TYPE@ {
    /// What cosines are multiplied by before the softmax.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub sharpness: f32,
    /// What it is trained on.
    #[serde(flatten)]
    pub training: EpisodicTraining,
}

impl Default for @TYPE@ {
    fn default() -> Self {
        Self { sharpness: 20.0, training: EpisodicTraining::default() }
    }
}

impl Options for @TYPE@ {}

impl Comparison for @TYPE@ {
    fn training_task(&self, setup: &Setup) -> TaskSpec {
        self.training.task(setup)
    }

    fn loss(&self, z: TapedMatrix, _: &HeadWeights<'_>, episode: &Episode) -> Result<TrainingLoss> {
        let [support, query] = head::split(z, episode.support.len())?;
        let means = head::class_means_on_tape(support, episode.support.classes()?)?;
        let logits = Similarity::Cosine.logits_on_tape(query, means, self.sharpness)?;
        TrainingLoss::cross_entropy(logits, episode.query.classes()?)
    }

    fn scores(&self, _: &Params, support: Support<'_>, query: Embeddings<'_>) -> Result<Array2<f32>> {
        let means = head::class_means(support.z, support.labels)?;
        Ok(Similarity::Cosine.logits(query, means.view(), self.sharpness))
    }

    fn similarity(&self, _: &Params, a: Embeddings<'_>, b: Embeddings<'_>) -> Result<Array2<f32>> {
        Ok(Similarity::Cosine.between(a, b))
    }
}
