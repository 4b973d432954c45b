//! Meta Networks: a base learner whose fast weights are made, task by task, by other networks out of loss gradients.
//!
//! Munkhdalai & Yu, "Meta Networks", ICML 2017, algorithm 1. Its letters:
//!
//! | | what | slow weights | fast weights |
//! | --- | --- | --- | --- |
//! | u | representation learner: the backbone and a linear layer | Q | Q*, one for the task |
//! | b | base learner: a perceptron that classifies representations | W | W*, one for each example |
//! | d | LSTM that makes Q* of the gradients of a representation loss | G | |
//! | m | perceptron that makes an example's W* of the gradient of its loss | Z | |
//!
//! The W* of the support examples are a memory; a query reads its own from it by soft attention, the softmax of cosines
//! between representations. Slow and fast weights act side by side (layer augmentation, section 3.3). The outer loss
//! trains all slow weights together.
//!
//! What differs from the paper: u's convolutions have slow weights only (its last layer has both), and d sees one
//! gradient a class, of the mean over the class's examples, in order of the labels, so that the order of the support
//! does not matter. Base learner and d know classes by their label: renaming them gives another answer, as in the paper.

mod head;
mod layers;
mod meta_learners;
#[cfg(test)]
mod tests;
mod weights;

use std::sync::Arc;

use kshot::episode::{Count, Episode, Labelled, TaskSpec, Unlabelled};
use kshot::learner::{Family, Learner, Outer, Prediction, accuracy};
use kshot::nn::head::on_host;
use kshot::nn::{Loss, Network, Norm, embed_both};
use kshot::params::{Layout, Params};
use kshot::registry::{LearnerEntry, Problem, Setup, defaults, options};
use kshot::rng::stream;
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use ndarray::{Axis, concatenate};
use serde::{Deserialize, Serialize};

use head::Task;
use weights::{Sizes, Weights};

/// Options of `metanet`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MetanetConfig {
    /// Which fast weights there are.
    pub fast_weights: FastWeights,
    /// Width of the representation and of the base learner's hidden layer.
    pub hidden: usize,
    /// Width of the hidden layers of m and d (20 in the paper).
    pub meta_hidden: usize,
    /// Queries of each class in training episodes.
    pub train_queries: usize,
}

/// Which fast weights there are: the paper's ablations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FastWeights {
    /// Q* and W*.
    All,
    /// W* only.
    Example,
    /// None: the slow weights alone, which cannot know a task's labels.
    None,
}

impl Default for MetanetConfig {
    fn default() -> Self {
        Self { fast_weights: FastWeights::All, hidden: 64, meta_hidden: 20, train_queries: 10 }
    }
}

impl MetanetConfig {
    fn check(&self) -> Result<()> {
        for (key, value) in [
            ("hidden", self.hidden),
            ("meta-hidden", self.meta_hidden),
            ("train-queries", self.train_queries),
        ] {
            if value == 0 {
                return Err(Error::invalid(format!("options of `metanet`: `{key}` must be 1 or more")));
            }
        }
        Ok(())
    }
}

/// A Meta Network.
pub struct Metanet {
    network: Arc<dyn Network>,
    /// The backbone's weights, then those of [`Weights`].
    theta: Params,
    sizes: Sizes,
    fast: FastWeights,
    task: TaskSpec,
}

impl Metanet {
    /// A network with fresh weights.
    ///
    /// # Errors
    /// When an option makes no sense or the backbone does not fit the input.
    pub fn new(setup: &Setup, config: &MetanetConfig) -> Result<Self> {
        config.check()?;
        let network = setup.backbone.build(setup.input, Norm::Running, None)?;
        let sizes = Sizes {
            features: network.features(),
            hidden: config.hidden,
            ways: setup.ways,
            meta: config.meta_hidden,
        };
        let mut rng = stream(setup.seed, "init", 0);
        let backbone = network.init(&mut rng);
        let mut layout = Layout::clone(network.layout());
        Weights::extend(sizes, &mut layout);
        let mut theta = Params::zeros(&Arc::new(layout));
        theta.values_mut()[..backbone.values().len()].copy_from_slice(backbone.values());
        Weights::init(sizes, &mut rng).write(&mut theta);
        let task = TaskSpec::FewShot {
            ways: Count::fixed(setup.ways),
            shots: Count::fixed(setup.shots),
            queries: config.train_queries,
        };
        Ok(Self { network, theta, sizes, fast: config.fast_weights, task })
    }

    /// Number of classes of a support set, if the base learner can tell so many apart and each has an example.
    fn ways(&self, labels: &[usize]) -> Result<usize> {
        let ways = labels.iter().max().map_or(0, |&largest| largest + 1);
        if ways > self.sizes.ways {
            return Err(Error::invalid(format!(
                "the task has {ways} classes, but the base learner was made for {}",
                self.sizes.ways
            )));
        }
        match (0..ways).find(|class| !labels.contains(class)) {
            Some(class) => Err(Error::invalid(format!("class {class} has no example in the support set"))),
            None => Ok(ways),
        }
    }
}

impl Learner for Metanet {
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
        let (labels, query) = (episode.support.classes()?, episode.query.classes()?);
        let ways = self.ways(labels)?;
        let weights = Weights::read(self.sizes, &self.theta)?;
        let mut d_weights = Weights::zeros(self.sizes);
        let loss = Loss::CrossEntropy { labels: query.to_vec() };
        let mut correct = 0.0;
        let x = concatenate![Axis(0), episode.support.inputs(), episode.query.inputs()];
        let (value, mut gradient) = self.network.value_and_grad(&self.theta, x.view(), &mut |z, _| {
            on_host(z, |z| {
                let answer = Task { z, labels, ways }.answer(&weights, self.fast);
                let logits = answer.logits.view();
                correct = accuracy(logits.iter().copied(), query);
                let d_logits = loss.gradient(logits)?;
                Ok((loss.value(logits)?, answer.backward(&d_logits, &mut d_weights)))
            })
        })?;
        d_weights.write(&mut gradient);
        Ok(Outer { loss: value, gradient, metrics: vec![("accuracy", correct)] })
    }

    fn predict(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction> {
        let labels = support.classes()?;
        let ways = self.ways(labels)?;
        let weights = Weights::read(self.sizes, &self.theta)?;
        let [z_support, z_query] =
            embed_both(self.network.as_ref(), &self.theta, support.inputs(), query.inputs.view())?;
        let z = concatenate![Axis(0), z_support, z_query];
        Ok(Prediction::Scores(Task { z: z.view(), labels, ways }.answer(&weights, self.fast).logits))
    }
}

inventory::submit! {
    LearnerEntry {
        name: "metanet",
        family: Family::Model,
        summary: "a base learner whose fast weights other networks make of loss gradients",
        paper: "Munkhdalai, Yu, Meta Networks, ICML 2017",
        solves: &[Problem::Classification],
        train: |_| TrainConfig { steps: 300, validation_episodes: 100, ..TrainConfig::default() },
        options: defaults::<MetanetConfig>,
        build: |setup, table| Ok(Box::new(Metanet::new(setup, &options("metanet", table)?)?)),
    }
}
