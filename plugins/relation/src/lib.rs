//! Relation networks: whether a query is of a class is learned, not measured.
//!
//! Sung, Yang, Zhang, Xiang, Torr & Hospedales, "Learning to Compare: Relation Network for Few-Shot Learning", CVPR
//! 2018. The relation score of query x_j and class i is r_{i,j} = g(C(f(x_i), f(x_j))) (equation 1): f embeds, C
//! concatenates, g is a learned module ending in a sigmoid; a class of several shots is the sum of its embeddings, here
//! their mean, so that unequal shots compare. Scores are fitted to 1 for the query's class and 0 for others by mean
//! squared error (equation 2).
//!
//! What differs from the paper: f ends in a vector, so that g is a perceptron where the paper's has two convolutions.

mod module;

use std::sync::Arc;

use kshot::episode::{Count, Episode, Labelled, TaskSpec, Unlabelled};
use kshot::learner::{Family, Learner, Outer, Prediction};
use kshot::nn::head::class_means_of;
use kshot::nn::{Network, Norm, embed_both};
use kshot::params::Params;
use kshot::registry::{LearnerEntry, Problem, Setup, defaults, options};
use kshot::rng::stream;
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use ndarray::{Array2, ArrayView4, Axis, concatenate};
use serde::{Deserialize, Serialize};

use module::Module;

/// Options of `relation`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RelationConfig {
    /// Width of the two hidden layers of g.
    pub hidden: usize,
    /// Ways of training episodes. At most the training split's classes.
    pub train_ways: usize,
    /// Queries of each class in training episodes.
    pub train_queries: usize,
}

impl Default for RelationConfig {
    fn default() -> Self {
        Self { hidden: 128, train_ways: 20, train_queries: 5 }
    }
}

/// A relation network.
pub struct Relation {
    network: Arc<dyn Network>,
    /// f's weights, then g's.
    theta: Params,
    module: Module,
    task: TaskSpec,
}

impl Relation {
    /// A network with fresh weights.
    ///
    /// # Errors
    /// When an option makes no sense or the backbone does not fit the input.
    pub fn new(setup: &Setup, config: &RelationConfig) -> Result<Self> {
        if config.train_ways < 2 || config.train_queries == 0 || config.hidden == 0 {
            return Err(Error::invalid(
                "options of `relation`: `train-ways` must be 2 or more, `train-queries` and `hidden` 1 or more",
            ));
        }
        let network = setup.backbone.build(setup.input, Norm::Running, None)?;
        let module = Module { features: network.features(), hidden: config.hidden };
        let mut rng = stream(setup.seed, "init", 0);
        let theta = module.behind(&network.init(&mut rng), &mut rng)?;
        let task = TaskSpec::FewShot {
            ways: Count::fixed(config.train_ways.min(setup.base_classes.max(2))),
            shots: Count::fixed(setup.shots),
            queries: config.train_queries,
        };
        Ok(Self { network, theta, module, task })
    }
}

impl Learner for Relation {
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
        let (loss, gradient) = self.network.value_and_grad(&self.theta, x.view(), &mut |z, weights| {
            let (loss, correct) = self.module.loss(z, weights, support, query)?;
            accuracy = correct;
            Ok(loss)
        })?;
        Ok(Outer { loss, gradient, metrics: vec![("accuracy", accuracy)] })
    }

    fn predict(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction> {
        let [z_support, z_query] =
            embed_both(self.network.as_ref(), &self.theta, support.inputs(), query.inputs.view())?;
        let classes = class_means_of(z_support.view(), support.classes()?)?;
        Ok(Prediction::Scores(self.module.scores(&self.theta, z_query.view(), classes.view())?))
    }

    /// The mean of both orders, as g need not be symmetric.
    fn similarity(
        &self,
        left: ArrayView4<'_, f32>,
        right: ArrayView4<'_, f32>,
    ) -> Result<Option<Array2<f32>>> {
        let embed = |x| self.network.forward(&self.theta, x);
        let (left, right) = (embed(left)?, embed(right)?);
        let there = self.module.scores(&self.theta, left.view(), right.view())?;
        let back = self.module.scores(&self.theta, right.view(), left.view())?;
        Ok(Some((there + back.t()) / 2.0))
    }
}

inventory::submit! {
    LearnerEntry {
        name: "relation",
        family: Family::Metric,
        summary: "a learned comparison of queries with classes",
        paper: "Sung et al., Learning to Compare: Relation Network for Few-Shot Learning, CVPR 2018",
        solves: &[Problem::Classification],
        train: |_| TrainConfig { steps: 300, validation_episodes: 100, ..TrainConfig::default() },
        options: defaults::<RelationConfig>,
        build: |setup, table| Ok(Box::new(Relation::new(setup, &options("relation", table)?)?)),
    }
}

#[cfg(test)]
mod tests;
