//! Fine-tuning: pre-train an extractor with a classifier of all base classes, then train a new head for each task.
//!
//! Chen, Liu, Kira, Wang, Huang, "A Closer Look at Few-shot Classification", ICLR 2019, §3.2: *Baseline* (linear head)
//! and *Baseline++* (cosine head). A task's head is trained as in the authors' code: steps on four examples of the support
//! with dampened momentum. Freezing all but the last K blocks is the usual transfer of deeper layers (Yosinski et al.,
//! "How transferable are features in deep neural networks?", NeurIPS 2014).
//!
//! ```
//! use kshot::backbone::Backbone;
//! use kshot::episode::{Count, Labelled, Targets, Unlabelled};
//! use kshot::learner::{Learner, Prediction};
//! use kshot::nn::Norm;
//! use kshot::registry::{Problem, Setup};
//! use kshot_finetune::{Finetune, FinetuneOptions};
//! use ndarray::Array4;
//!
//! let backbone = Backbone::of(&"width = 8".parse().expect("TOML"), [1, 28, 28], Norm::Running)?;
//! let setup = Setup { problem: Problem::Classification, backbone, base_classes: 64, ways: 2, shots: Count::fixed(1), queries: 1, seed: 0 };
//! let learner = Finetune::new(&setup, FinetuneOptions { test_steps: 5, ..FinetuneOptions::default() })?;
//! let drawing = |ink: f32| Array4::from_shape_fn((2, 1, 28, 28), |(n, _, y, x)| if [x, y][n] < 14 { ink } else { 0.0 });
//! let support = Labelled::new(drawing(1.0), Targets::Classes(vec![0, 1]));
//! let Prediction::Scores(scores) = learner.answer(&support, &Unlabelled { inputs: drawing(0.9) })? else { unreachable!() };
//! assert_eq!(scores.dim(), (2, 2));
//! # Ok::<(), kshot::Error>(())
//! ```

#![forbid(unsafe_code)]

mod batches;
mod config;
mod head;
mod soft;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use dfdx::shapes::HasShape as _;
use kshot::episode::{Episode, Labelled, Targets, TaskSpec, Unlabelled};
use kshot::learner::{
    Adapted, Family, Learned, Learner, Outer, Prediction, Trainable, accuracy, in_training,
};
use kshot::nn::{Network, Norm, network};
use kshot::optimizer::{Optimizer, OptimizerKind};
use kshot::params::Params;
use kshot::registry::{Problem, Setup};
use kshot::rng::stream;
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use ndarray::{Array2, Array4};

use batches::{Batches, by_content};
pub use config::{FinetuneOptions, Freeze, HeadKind};
use head::Head;
use soft::Mixture;

kshot::register_learner! {
    /// pre-trained extractor, a new head trained on each support set
    ///
    /// Chen et al., A Closer Look at Few-shot Classification, ICLR 2019 (Baseline, Baseline++)
    name: "finetune",
    differs: "a task's linear head starts from zeros, which favour no class. Nothing is varied unless asked for; \
        `--augment standard`, as published, is worth 0.2 points on Omniglot's validation classes (97.5 against 97.3 \
        %), label smoothing of 0.1 is worth 0.4.",
    family: Family::ModelTransfer,
    solves: &[Problem::Classification, Problem::Regression],
    training: |problem| match problem {
        Problem::Classification => {
            TrainConfig { steps: 400, validation_episodes: 100, ..TrainConfig::default() }
        }
        Problem::Regression => {
            TrainConfig { steps: 5000, meta_batch: 25, validate_every: 1000, ..TrainConfig::default() }
        }
    },
    options: FinetuneOptions,
    build: Finetune::new,
}

/// A pre-trained extractor, fine-tuned on every task.
pub struct Finetune {
    options: FinetuneOptions,
    /// The whole extractor, and its two parts: frozen and tuned.
    extractor: Arc<dyn Network>,
    front: Arc<dyn Network>,
    tail: Arc<dyn Network>,
    between: [usize; 3],
    /// The extractor's weights, then those of the base classes' head; of the one output's for a regression.
    learned: Learned,
    head: Head,
    /// Examples of a step on a task (`None`: all) and the dampening of its momentum.
    inner_batch: Option<usize>,
    inner_dampening: f32,
    seed: u64,
}

impl Finetune {
    /// An extractor and a base head with fresh weights.
    ///
    /// # Errors
    /// When an option does not go with the problem, or the backbone does not fit the input.
    pub fn new(setup: &Setup, options: FinetuneOptions) -> Result<Self> {
        let task = match setup.problem {
            Problem::Regression if options.head == HeadKind::Cosine => {
                return Err(Error::invalid(
                    "`head = \"cosine\"` tells classes apart; a regression needs `linear`",
                ));
            }
            Problem::Regression if options.label_smoothing > 0.0 || options.mixup > 0.0 => {
                return Err(Error::invalid(
                    "`label-smoothing` and `mixup` are of classes; a regression has none: leave them out",
                ));
            }
            Problem::Regression => TaskSpec::Regression { shots: options.batch, queries: 0 },
            Problem::Classification => TaskSpec::FlatBatch { size: options.batch },
        };
        let architecture = setup.backbone.architecture()?;
        let parts = architecture.split(options.freeze.tuned);
        let (front, tail) = parts.map_err(|error| error.context("option `freeze`"))?;
        let (between, head) = (tail.input, Head { kind: options.head, features: architecture.features });
        let extractor = network(architecture)?;
        let mut rng = stream(setup.seed, "init", 0);
        let weights = extractor.init(&mut rng);
        let theta = weights.followed_by(&head.init(setup.base_classes.max(1), &mut rng));
        let (front, tail) = (network(front)?, network(tail)?);
        let as_published = setup.problem == Problem::Classification && options.freeze.tuned == 0;
        let inner_batch = options.inner_batch.or(as_published.then_some(4));
        let inner_dampening = options.inner_dampening.unwrap_or(if as_published { 0.9 } else { 0.0 });
        let (learned, seed) = (Learned { theta, task }, setup.seed);
        Ok(Self {
            options,
            extractor,
            front,
            tail,
            between,
            learned,
            head,
            inner_batch,
            inner_dampening,
            seed,
        })
    }

    /// The front's output for some inputs, as the tail's input.
    fn embed(&self, front: &Params, examples: &Unlabelled) -> Result<Array4<f32>> {
        let [c, h, w] = self.between;
        let flat = self.front.forward(front, examples.inputs.view())?;
        flat.into_shape_with_order((examples.len(), c, h, w))
            .map_err(|error| Error::invalid(format!("`finetune`: the front does not fit the tail: {error}")))
    }

    /// Trains tail and head on the embedded support, whose examples `order` lists by what they are; the network's
    /// statistics follow, as in pre-training.
    fn tune(&self, mut theta: Params, support: &Labelled, order: Vec<usize>) -> Result<Params> {
        let FinetuneOptions { test_steps, inner_rate, inner_momentum, inner_weight_decay, .. } = self.options;
        let mut optimizer =
            Optimizer::new(OptimizerKind::Sgd, inner_momentum, inner_weight_decay, theta.layout())
                .with_dampening(self.inner_dampening);
        let mut batches = Batches::new(order, self.inner_batch, stream(self.seed, "finetune/batches", 0));
        let whole = batches.are_whole();
        let mut step = 0;
        for _ in 0..test_steps {
            let (mut pass_loss, mut left) = (0.0, support.len());
            for examples in batches.pass() {
                let batch = if whole { Cow::Borrowed(support) } else { Cow::Owned(support.select(examples)) };
                let criterion = batch.targets.loss();
                step += 1;
                let (loss, gradient) =
                    self.tail.value_and_grad(&theta, batch.inputs(), &mut |z, weights| {
                        criterion.on_tape(self.head.logits(z, weights)?)
                    })?;
                if !loss.is_finite() {
                    return Err(Error::NotFinite(format!(
                        "fine-tuning diverged: the support loss is {loss} at inner step {step}; lower `inner-rate` \
                         ({inner_rate})"
                    )));
                }
                pass_loss += loss * (batch.len() as f32 / support.len() as f32);
                left -= batch.len();
                if left == 0 && pass_loss <= self.options.stop_loss {
                    return Ok(theta);
                }
                optimizer.update(&mut theta, &gradient, inner_rate, step);
                theta.fold_statistics(&gradient)?;
            }
        }
        Ok(theta)
    }
}

impl Learner for Finetune {
    fn is_transductive(&self) -> bool {
        self.extractor.norm() == Norm::Batch
    }

    /// A new head for classes; a regression goes on with the one it was pre-trained with.
    fn adapt<'a>(&'a self, support: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
        let (front, behind) = self.learned.theta.split_at(self.front.layout())?;
        let order = by_content(support);
        let embedded = Labelled::new(self.embed(&front, &support.examples)?, support.targets.clone());
        let start = match &support.targets {
            Targets::Classes(labels) => {
                let (tail, _) = behind.split_at(self.tail.layout())?;
                let mut rng = stream(self.seed, "finetune/head", 0);
                tail.followed_by(&self.head.start(labels, &order, &mut rng)?)
            }
            Targets::Values(_) => behind,
        };
        let theta = self.tune(start, &embedded, order)?;
        Ok(Box::new(Tuned { learner: self, front, theta, targets: &support.targets }))
    }

    fn trainable(&mut self) -> Option<&mut dyn Trainable> {
        Some(self)
    }
}

/// The extractor with its tail and a head tuned to a task.
struct Tuned<'a> {
    learner: &'a Finetune,
    front: Params,
    /// The tail's weights, then the head's.
    theta: Params,
    targets: &'a Targets,
}

impl Adapted for Tuned<'_> {
    fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
        let Finetune { tail, head, .. } = self.learner;
        let embedded = self.learner.embed(&self.front, query)?;
        let z: Array2<f32> = tail.forward(&self.theta, embedded.view())?;
        let outputs = head.scores(&z, &self.theta)?;
        Ok(match self.targets {
            Targets::Classes(_) => Prediction::Scores(outputs),
            Targets::Values(_) => Prediction::Values(outputs),
        })
    }
}

impl Trainable for Finetune {
    fn learned(&mut self) -> &mut Learned {
        &mut self.learned
    }

    /// Pre-training: classification of the base classes; or one function for the points of all tasks.
    fn outer_gradient(&self, episode: &Episode) -> Result<Outer> {
        let FinetuneOptions { label_smoothing, mixup, .. } = self.options;
        let support = &episode.support;
        let draw =
            || Mixture::draw(support.len(), mixup, &mut stream(self.seed, "finetune/mixup", episode.index));
        let mixture = (mixup > 0.0).then(draw).transpose()?;
        let mixed = mixture.as_ref().map(|mixture| mixture.of(support.inputs()));
        let x = mixed.as_ref().map_or(support.inputs(), |mixed| mixed.view());
        let mut metrics = Vec::new();
        let extractor = in_training(&self.extractor, self.seed, episode);
        let (loss, gradient) = extractor.value_and_grad(&self.learned.theta, x, &mut |z, weights| {
            let outputs = self.head.logits(z, weights)?;
            let Targets::Classes(labels) = &support.targets else {
                return support.targets.loss().on_tape(outputs);
            };
            let (scores, classes) = (outputs.as_vec(), outputs.shape().1);
            let right = match &mixture {
                Some(mixture) => mixture.accuracy(&scores, labels),
                None => accuracy(scores, labels),
            };
            metrics.push(("accuracy", right));
            soft::loss(labels, classes, label_smoothing, mixture.as_ref()).on_tape(outputs)
        })?;
        Ok(Outer { loss, gradient, metrics })
    }
}
