//! `@NAME@`: a learner that adapts by gradient descent. Its initial weights are trained by first-order MAML (Finn et al.
//! 2017, section 5.2).
//!
//! Replace `adapt` and `outer_gradient` by your algorithm; `kshot::inner_loop` has the exact meta-gradients.

#![forbid(unsafe_code)]

use std::sync::Arc;

use kshot::Result;
use kshot::episode::{Count, Episode, Labelled, TaskSpec, Unlabelled};
use kshot::inner_loop::{InnerLoop, Objective, rates};
use kshot::learner::{Adapted, Family, Learned, Learner, Outer, Prediction, Trainable, accuracy};
use kshot::nn::{Network, Norm, network};
use kshot::options::Options;
use kshot::params::Params;
use kshot::registry::Setup;
use kshot::rng::stream;
use kshot::train::TrainConfig;
use ndarray::Axis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kshot::register_learner! {
    /// weights that a few steps of gradient descent adapt
    ///
    /// yours: authors, title, venue, year
    name: "@NAME@",
    family: Family::Optimization,
    norm: Norm::Batch,
    training: |_| TrainConfig {
        steps: 300,
        meta_batch: 2,
        learning_rate: 3e-3,
        validation_episodes: 0,
        ..TrainConfig::default()
    },
    options: @TYPE@Options,
    build: @TYPE@::new,
}

/// Options of `@NAME@`: their doc comments are what `kshot learners @NAME@` prints.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct @TYPE@Options {
    /// Learning rate of the steps on a task.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub inner_rate: f32,
    /// Steps on a task.
    #[schemars(range(min = 1))]
    pub steps: usize,
}

impl Default for @TYPE@Options {
    fn default() -> Self {
        Self { inner_rate: 0.2, steps: 3 }
    }
}

impl Options for @TYPE@Options {}

/// The learner.
pub struct @TYPE@ {
    network: Arc<dyn Network>,
    learned: Learned,
    rate: Params,
    options: @TYPE@Options,
}

impl @TYPE@ {
    /// One with fresh weights.
    ///
    /// # Errors
    /// When the backbone does not fit the input.
    pub fn new(setup: &Setup, options: @TYPE@Options) -> Result<Self> {
        let network = network(setup.backbone.architecture()?.with_head(setup.ways)?)?;
        let theta = network.init(&mut stream(setup.seed, "init", 0));
        let rate = rates(network.layout(), options.inner_rate, |_| true);
        let (ways, shots) = (Count::fixed(setup.ways), setup.shots);
        let task = TaskSpec::FewShot { ways, shots, queries: setup.queries };
        Ok(Self { network, learned: Learned { theta, task }, rate, options })
    }

    fn inner_loop(&self) -> InnerLoop<'_> {
        InnerLoop {
            rates: std::slice::from_ref(&self.rate),
            ..InnerLoop::new(self.network.as_ref(), self.options.steps)
        }
    }
}

impl Learner for @TYPE@ {
    fn is_transductive(&self) -> bool {
        self.network.norm() == Norm::Batch
    }

    fn adapt<'a>(&'a self, support: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
        support.classes()?;
        let loss = support.targets.loss();
        let weights =
            self.inner_loop().adapt(&self.learned.theta, Objective { x: support.inputs(), loss: &loss })?;
        Ok(Box::new(Descended { network: self.network.as_ref(), weights, ways: support.ways()? }))
    }

    fn trainable(&mut self) -> Option<&mut dyn Trainable> {
        Some(self)
    }
}

/// The network after its steps on a task.
struct Descended<'a> {
    network: &'a dyn Network,
    weights: Params,
    ways: usize,
}

impl Adapted for Descended<'_> {
    fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
        let logits = self.network.forward(&self.weights, query.inputs.view())?;
        Ok(Prediction::Scores(logits.slice_axis(Axis(1), (..self.ways).into()).to_owned()))
    }
}

impl Trainable for @TYPE@ {
    fn learned(&mut self) -> &mut Learned {
        &mut self.learned
    }

    fn outer_gradient(&self, episode: &Episode) -> Result<Outer> {
        let (support, query) = (episode.support.targets.loss(), episode.query.targets.loss());
        let outer = self.inner_loop().fomaml(
            &self.learned.theta,
            Objective { x: episode.support.inputs(), loss: &support },
            Objective { x: episode.query.inputs(), loss: &query },
        )?;
        let metrics = vec![("accuracy", accuracy(outer.outputs, episode.query.classes()?))];
        Ok(Outer { loss: outer.loss, gradient: outer.gradient, metrics })
    }
}
