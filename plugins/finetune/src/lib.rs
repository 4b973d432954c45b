//! Fine-tuning: pre-train an extractor with a classifier of all base classes, then train a new head for each task.
//!
//! Chen, Liu, Kira, Wang, Huang, "A Closer Look at Few-shot Classification", ICLR 2019, §3.2: *Baseline* (linear head)
//! and *Baseline++* (cosine head). Freezing all but the last K blocks is the usual transfer of deeper layers
//! (Yosinski et al., "How transferable are features in deep neural networks?", NeurIPS 2014).

mod config;
mod head;

use std::sync::Arc;

use kshot::episode::{Episode, Labelled, TaskSpec, Unlabelled};
use kshot::learner::{Family, Learner, Outer, Prediction, argmax};
use kshot::nn::{NORM_MOMENTUM, Network, Norm, cross_entropy, network};
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
    /// The extractor's weights, then those of the base classes' head.
    theta: Params,
    head: Head,
}

impl Finetune {
    /// An extractor and a base head with fresh weights.
    ///
    /// # Errors
    /// When an option makes no sense, or the backbone does not fit the input.
    pub fn new(setup: &Setup, config: FinetuneConfig) -> Result<Self> {
        config.check()?;
        let architecture = setup.backbone.architecture(setup.input, Norm::Running, None)?;
        let parts = architecture.split(config.freeze.tuned);
        let (front, tail) = parts.map_err(|error| error.context("`finetune`, option `freeze`"))?;
        let (between, head) = (tail.input, Head { kind: config.head, features: architecture.features });
        let extractor = network(architecture)?;
        let mut rng = stream(setup.seed, "init", 0);
        let weights = extractor.init(&mut rng);
        let theta = head.join(&weights, &head.init(setup.base_classes.max(1), &mut rng))?;
        Ok(Self { config, extractor, front: network(front)?, tail: network(tail)?, between, theta, head })
    }

    /// The front's output for some inputs, as the tail's input.
    fn embed(&self, front: &Params, examples: &Unlabelled) -> Result<Array4<f32>> {
        let [c, h, w] = self.between;
        let flat = self.front.forward(front, examples.inputs.view())?;
        flat.into_shape_with_order((examples.len(), c, h, w))
            .map_err(|error| Error::invalid(format!("`finetune`: the front does not fit the tail: {error}")))
    }

    /// Trains tail and head on the embedded support; the network's statistics follow, as in pre-training.
    fn adapt(&self, mut theta: Params, support: &Array4<f32>, labels: &[usize]) -> Result<Params> {
        let FinetuneConfig { inner_steps, inner_rate, inner_momentum, inner_weight_decay, .. } = self.config;
        let mut optimizer =
            Optimizer::new(OptimizerKind::Sgd, inner_momentum, inner_weight_decay, theta.layout());
        for step in 1..=inner_steps {
            let (loss, gradient) = self.tail.value_and_grad(&theta, support.view(), &mut |z, weights| {
                cross_entropy(self.head.logits(z, weights)?, labels)
            })?;
            if !loss.is_finite() {
                return Err(Error::NotFinite(format!(
                    "fine-tuning diverged: the support loss is {loss} at inner step {step}; lower `inner-rate` \
                     ({inner_rate})"
                )));
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
        TaskSpec::FlatBatch { size: self.config.batch }
    }

    fn is_transductive(&self) -> bool {
        self.extractor.norm() == Norm::Batch
    }

    /// Pre-training: classification of the base classes.
    fn outer_gradient(&self, episode: &Episode) -> Result<Outer> {
        let labels = episode.support.classes()?;
        let mut correct = 0;
        let (loss, gradient) =
            self.extractor.value_and_grad(&self.theta, episode.support.inputs(), &mut |z, weights| {
                let logits = self.head.logits(z, weights)?;
                let classes = episode.classes.len();
                let rows = logits.as_vec();
                let predicted = rows.chunks_exact(classes).map(|row| argmax(row.iter().copied()));
                correct = predicted.zip(labels).filter(|(predicted, label)| predicted == *label).count();
                cross_entropy(logits, labels)
            })?;
        Ok(Outer { loss, gradient, metrics: vec![("accuracy", correct as f32 / labels.len() as f32)] })
    }

    fn predict(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction> {
        let labels = support.classes()?;
        let (front, tail) = parts(&self.theta, self.front.layout(), self.tail.layout())?;
        let embedded = self.embed(&front, &support.examples)?;
        let features = self.tail.forward(&tail, embedded.view())?;
        let head = self.head.start(&features, labels)?;
        let theta = self.adapt(self.head.join(&tail, &head)?, &embedded, labels)?;
        let z: Array2<f32> = self.tail.forward(&theta, self.embed(&front, query)?.view())?;
        Ok(Prediction::Scores(self.head.scores(&z, &theta)?))
    }
}

/// The front's and the tail's weights, which lie one after the other in θ.
fn parts(theta: &Params, front: &Arc<Layout>, tail: &Arc<Layout>) -> Result<(Params, Params)> {
    let (front_values, rest) = theta.values().split_at(front.len());
    Ok((
        Params::from_values(front, front_values.to_vec())?,
        Params::from_values(tail, rest[..tail.len()].to_vec())?,
    ))
}

inventory::submit! {
    LearnerEntry {
        name: "finetune",
        family: Family::ModelTransfer,
        summary: "pre-trained extractor, a new head trained on each support set",
        paper: "Chen et al., A Closer Look at Few-shot Classification, ICLR 2019 (Baseline, Baseline++)",
        solves: &[Problem::Classification],
        train: |_| TrainConfig { steps: 400, validation_episodes: 100, ..TrainConfig::default() },
        options: defaults::<FinetuneConfig>,
        build: |setup, table| Ok(Box::new(Finetune::new(setup, options("finetune", table)?)?)),
    }
}

#[cfg(test)]
mod tests;
