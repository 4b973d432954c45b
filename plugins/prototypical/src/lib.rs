//! Prototypical networks: a class is the mean of its embedded support examples, a query belongs to the nearest.
//!
//! Snell, Swersky, Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017, algorithm 1. The cosine
//! distance is the paper's alternative (§2.7, figure 2).

mod loss;

use std::sync::Arc;

use kshot::episode::{Count, Episode, Labelled, TaskSpec, Unlabelled};
use kshot::learner::{Family, Learner, Outer, Prediction};
use kshot::nn::head::directions_of;
use kshot::nn::{Metric, Network, Norm, embed_both};
use kshot::params::Params;
use kshot::registry::{LearnerEntry, Problem, Setup, defaults, options};
use kshot::rng::stream;
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use ndarray::{Array2, ArrayView4, Axis, concatenate};
use serde::{Deserialize, Serialize};

pub use loss::{Distance, episode_loss, scores};

/// Options of `prototypical`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PrototypicalConfig {
    /// How a query is compared with a prototype.
    pub distance: Distance,
    /// Ways of training episodes; more than at test time help (§2.6). At most the training split's classes.
    pub train_ways: usize,
    /// Queries of each class in training episodes.
    pub train_queries: usize,
}

impl Default for PrototypicalConfig {
    fn default() -> Self {
        Self { distance: Distance::default(), train_ways: 20, train_queries: 5 }
    }
}

/// A prototypical network.
pub struct Prototypical {
    network: Arc<dyn Network>,
    theta: Params,
    distance: Distance,
    task: TaskSpec,
}

impl Prototypical {
    /// A network with fresh weights.
    ///
    /// # Errors
    /// When an option makes no sense or the backbone does not fit the input.
    pub fn new(setup: &Setup, config: &PrototypicalConfig) -> Result<Self> {
        if config.train_ways < 2 || config.train_queries == 0 {
            return Err(Error::invalid(
                "`prototypical`: `train-ways` must be 2 or more and `train-queries` 1 or more",
            ));
        }
        let network = setup.backbone.build(setup.input, Norm::Running, None)?;
        let theta = network.init(&mut stream(setup.seed, "init", 0));
        let task = TaskSpec::FewShot {
            ways: Count::fixed(config.train_ways.min(setup.base_classes.max(2))),
            shots: Count::fixed(setup.shots),
            queries: config.train_queries,
        };
        Ok(Self { network, theta, distance: config.distance, task })
    }
}

impl Learner for Prototypical {
    fn params(&self) -> &Params {
        &self.theta
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.theta
    }

    fn training_task(&self) -> TaskSpec {
        self.task.clone()
    }

    fn is_transductive(&self) -> bool {
        self.network.norm() == Norm::Batch
    }

    fn outer_gradient(&self, episode: &Episode) -> Result<Outer> {
        let (support, query) = (episode.support.classes()?, episode.query.classes()?);
        let x = concatenate![Axis(0), episode.support.inputs(), episode.query.inputs()];
        let mut accuracy = 0.0;
        let (loss, gradient) = self.network.value_and_grad(&self.theta, x.view(), &mut |z, _| {
            let (loss, correct) = episode_loss(z, support, query, self.distance)?;
            accuracy = correct;
            Ok(loss)
        })?;
        Ok(Outer { loss, gradient, metrics: vec![("accuracy", accuracy)] })
    }

    fn predict(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction> {
        let [z_support, z_query] =
            embed_both(self.network.as_ref(), &self.theta, support.inputs(), query.inputs.view())?;
        Ok(Prediction::Scores(scores(z_support.view(), support.classes()?, z_query.view(), self.distance)?))
    }

    fn similarity(
        &self,
        left: ArrayView4<'_, f32>,
        right: ArrayView4<'_, f32>,
    ) -> Result<Option<Array2<f32>>> {
        let embed = |x| self.network.forward(&self.theta, x);
        let (left, right) = (embed(left)?, embed(right)?);
        Ok(Some(match self.distance {
            Distance::Euclidean => -Metric::Squared.between(left.view(), right.view()),
            Distance::Cosine => directions_of(left).dot(&directions_of(right).t()),
        }))
    }
}

inventory::submit! {
    LearnerEntry {
        name: "prototypical",
        family: Family::Metric,
        summary: "nearest class mean in a learned embedding",
        paper: "Snell, Swersky, Zemel, Prototypical Networks for Few-shot Learning, NeurIPS 2017",
        solves: &[Problem::Classification],
        train: |_| TrainConfig { steps: 400, validation_episodes: 100, ..TrainConfig::default() },
        options: defaults::<PrototypicalConfig>,
        build: |setup, table| Ok(Box::new(Prototypical::new(setup, &options("prototypical", table)?)?)),
    }
}
