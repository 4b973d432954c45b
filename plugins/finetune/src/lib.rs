//! Fine-tuning: pre-train an extractor with a classifier of all base classes, then train a new head for each task.
//!
//! Chen, Liu, Kira, Wang, Huang, "A Closer Look at Few-shot Classification", ICLR 2019, §3.2: *Baseline* (linear head)
//! and *Baseline++* (cosine head). Freezing all but the last K blocks is the usual transfer of deeper layers
//! (Yosinski et al., "How transferable are features in deep neural networks?", NeurIPS 2014).

mod config;
mod head;

use std::sync::Arc;

use kshot::episode::{Episode, Labelled, TaskSpec, Unlabelled};
use kshot::learner::{Family, Learner, Outer, Prediction, accuracy};
use kshot::nn::{Loss, NORM_MOMENTUM, Network, Norm, network};
use kshot::optimizer::{Optimizer, OptimizerKind};
use kshot::params::{Layout, Params, Role};
use kshot::registry::{LearnerEntry, Problem, Setup, defaults, options};
use kshot::rng::stream;
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use ndarray::{Array2, Array4};

pub use config::{FinetuneConfig, Freeze, HeadKind};
use head::Head;

/// A pre-trained extractor, fine-tuned on every task.
pub struct Finetune {
    config: FinetuneConfig,
    /// The whole extractor, and its two parts: frozen and tuned.
    extractor: Arc<dyn Network>,
    front: Arc<dyn Network>,
    tail: Arc<dyn Network>,
    between: [usize; 3],
    /// The extractor's weights, then those of the base classes' head; of the one output's for a regression.
    theta: Params,
    head: Head,
    task: TaskSpec,
}

impl Finetune {
    /// An extractor and a base head with fresh weights.
    ///
    /// # Errors
    /// When an option makes no sense, or the backbone does not fit the input.
    pub fn new(setup: &Setup, config: FinetuneConfig) -> Result<Self> {
        config.check()?;
        let task = match setup.base_classes {
            0 if config.head == HeadKind::Cosine => {
                return Err(Error::invalid(
                    "options of `finetune`: `head = \"cosine\"` tells classes apart; a regression needs `linear`",
                ));
            }
            0 => TaskSpec::Regression { shots: config.batch, queries: 0 },
            _ => TaskSpec::FlatBatch { size: config.batch },
        };
        let architecture = setup.backbone.architecture(setup.input, Norm::Running, None)?;
        let parts = architecture.split(config.freeze.tuned);
        let (front, tail) = parts.map_err(|error| error.context("`finetune`, option `freeze`"))?;
        let (between, head) = (tail.input, Head { kind: config.head, features: architecture.features });
        let extractor = network(architecture)?;
        let mut rng = stream(setup.seed, "init", 0);
        let weights = extractor.init(&mut rng);
        let theta = head.join(&weights, &head.init(setup.base_classes.max(1), &mut rng))?;
        let (front, tail) = (network(front)?, network(tail)?);
        Ok(Self { config, extractor, front, tail, between, theta, head, task })
    }

    /// The front's output for some inputs, as the tail's input.
    fn embed(&self, front: &Params, examples: &Unlabelled) -> Result<Array4<f32>> {
        let [c, h, w] = self.between;
        let flat = self.front.forward(front, examples.inputs.view())?;
        flat.into_shape_with_order((examples.len(), c, h, w))
            .map_err(|error| Error::invalid(format!("`finetune`: the front does not fit the tail: {error}")))
    }

    /// Trains tail and head on the embedded support; the network's statistics follow, as in pre-training.
    fn adapt(&self, mut theta: Params, support: &Array4<f32>, criterion: &Loss) -> Result<Params> {
        let FinetuneConfig { test_steps, inner_rate, inner_momentum, inner_weight_decay, .. } = self.config;
        let mut optimizer =
            Optimizer::new(OptimizerKind::Sgd, inner_momentum, inner_weight_decay, theta.layout());
        for step in 1..=test_steps {
            let (loss, gradient) = self.tail.value_and_grad(&theta, support.view(), &mut |z, weights| {
                criterion.on_tape(self.head.logits(z, weights)?)
            })?;
            if !loss.is_finite() {
                return Err(Error::NotFinite(format!(
                    "fine-tuning diverged: the support loss is {loss} at inner step {step}; lower `inner-rate` \
                     ({inner_rate})"
                )));
            }
            if loss <= self.config.stop_loss {
                break;
            }
            optimizer.update(&mut theta, &gradient, inner_rate, step);
            let layout = theta.layout().clone();
            for range in layout.ranges(Role::Statistic) {
                for (running, batch) in
                    theta.values_mut()[range.clone()].iter_mut().zip(&gradient.values()[range])
                {
                    *running += NORM_MOMENTUM * (batch - *running);
                }
            }
        }
        Ok(theta)
    }
}

impl Learner for Finetune {
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
        self.extractor.norm() == Norm::Batch
    }

    /// Pre-training: classification of the base classes; or one function for the points of all tasks.
    fn outer_gradient(&self, episode: &Episode) -> Result<Outer> {
        let criterion = Loss::of(&episode.support.targets);
        let mut metrics = Vec::new();
        let (loss, gradient) =
            self.extractor.value_and_grad(&self.theta, episode.support.inputs(), &mut |z, weights| {
                let outputs = self.head.logits(z, weights)?;
                if let Loss::CrossEntropy { labels } = &criterion {
                    metrics.push(("accuracy", accuracy(outputs.as_vec(), labels)));
                }
                criterion.on_tape(outputs)
            })?;
        Ok(Outer { loss, gradient, metrics })
    }

    /// A new head for classes; a regression goes on with the one it was pre-trained with.
    fn predict(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction> {
        let (front, tail, pretrained) = parts(&self.theta, self.front.layout(), self.tail.layout())?;
        let embedded = self.embed(&front, &support.examples)?;
        let criterion = Loss::of(&support.targets);
        let start = match &criterion {
            Loss::CrossEntropy { labels } => {
                let features = self.tail.forward(&tail, embedded.view())?;
                self.head.join(&tail, &self.head.start(&features, labels)?)?
            }
            Loss::Mse { .. } => pretrained,
        };
        let theta = self.adapt(start, &embedded, &criterion)?;
        let z: Array2<f32> = self.tail.forward(&theta, self.embed(&front, query)?.view())?;
        let outputs = self.head.scores(&z, &theta)?;
        Ok(match criterion {
            Loss::CrossEntropy { .. } => Prediction::Scores(outputs),
            Loss::Mse { .. } => Prediction::Values(outputs),
        })
    }
}

/// The front's weights, the tail's, and the tail's with the head's: they lie one after the other in θ.
fn parts(theta: &Params, front: &Arc<Layout>, tail: &Arc<Layout>) -> Result<(Params, Params, Params)> {
    let (front_values, rest) = theta.values().split_at(front.len());
    let mut behind = Layout::new();
    for entry in theta.layout().entries().iter().filter(|entry| entry.range.start >= front.len()) {
        behind.push(entry.name.clone(), &entry.shape, entry.role);
    }
    Ok((
        Params::from_values(front, front_values.to_vec())?,
        Params::from_values(tail, rest[..tail.len()].to_vec())?,
        Params::from_values(&Arc::new(behind), rest.to_vec())?,
    ))
}

inventory::submit! {
    LearnerEntry {
        name: "finetune",
        family: Family::ModelTransfer,
        summary: "pre-trained extractor, a new head trained on each support set",
        paper: "Chen et al., A Closer Look at Few-shot Classification, ICLR 2019 (Baseline, Baseline++)",
        solves: &[Problem::Classification, Problem::Regression],
        train: |problem| match problem {
            Problem::Classification => {
                TrainConfig { steps: 400, validation_episodes: 100, ..TrainConfig::default() }
            }
            Problem::Regression => {
                TrainConfig { steps: 5000, meta_batch: 25, validate_every: 1000, ..TrainConfig::default() }
            }
        },
        options: defaults::<FinetuneConfig>,
        build: |setup, table| Ok(Box::new(Finetune::new(setup, options("finetune", table)?)?)),
    }
}

#[cfg(test)]
mod tests;
