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
//! between representations, times `sharpness`. Slow and fast weights act side by side (layer augmentation, section 3.3). The outer loss
//! trains all slow weights together.
//!
//! What differs from the paper: u's convolutions have slow weights only (its last layer has both), and d sees one
//! gradient a class, of the mean over the class's examples, in order of the labels, so that the order of the support
//! does not matter. Base learner and d know classes by their label: renaming them gives another answer, as in the paper.
//! b classifies the backbone's features: its fast weights never reach the convolutions, what the authors' code calls
//! `PartialU`.
//!
//! The classifier of the representation loss, `u.classifier`, is never trained, in the authors' code either: it is only
//! used to make the gradients that d reads, and these are data. It stays as drawn from the seed, a fixed code of the
//! labels, and is part of a checkpoint all the same.
//!
//! ```
//! use kshot::backbone::Backbone;
//! use kshot::episode::{Count, Labelled, Targets, Unlabelled};
//! use kshot::learner::{Learner, Prediction};
//! use kshot::nn::Norm;
//! use kshot::registry::{Problem, Setup};
//! use kshot_metanet::{Metanet, MetanetOptions};
//! use ndarray::Array4;
//!
//! let backbone = Backbone::of(&"width = 8".parse().expect("TOML"), [1, 28, 28], Norm::Running)?;
//! let setup = Setup { problem: Problem::Classification, backbone, base_classes: 64, ways: 2, shots: Count::fixed(1), queries: 1, seed: 0 };
//! let learner = Metanet::new(&setup, &MetanetOptions::default())?;
//! let drawing = |ink: f32| Array4::from_shape_fn((2, 1, 28, 28), |(n, _, y, x)| if [x, y][n] < 14 { ink } else { 0.0 });
//! let support = Labelled::new(drawing(1.0), Targets::Classes(vec![0, 1]));
//! let Prediction::Scores(scores) = learner.answer(&support, &Unlabelled { inputs: drawing(0.9) })? else { unreachable!() };
//! assert_eq!(scores.dim(), (2, 2));
//! # Ok::<(), kshot::Error>(())
//! ```

#![forbid(unsafe_code)]

mod activation;
mod head;
mod layers;
mod meta_learners;
#[cfg(test)]
mod tests;
mod weights;

use std::sync::Arc;

use kshot::episode::{Count, Episode, Labelled, TaskSpec, Unlabelled};
use kshot::learner::{
    Adapted, Family, Learned, Learner, Outer, Prediction, Trainable, accuracy, in_training,
};
use kshot::nn::head::on_host;
use kshot::nn::{Loss, Network, Norm, embed_both};
use kshot::options::Options;
use kshot::registry::Setup;
use kshot::rng::stream;
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use ndarray::{Axis, concatenate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use head::Adaptation;
use weights::{Sizes, Weights};

kshot::register_learner! {
    /// a base learner whose fast weights other networks make of loss gradients
    ///
    /// Munkhdalai, Yu, Meta Networks, ICML 2017
    name: "metanet",
    differs: "fast weights reach the last layer of the representation learner, never its convolutions; d sees one \
        gradient a class; the attention is 10 times as sharp. Omniglot, 5-way 1-shot: 96.87 ± 0.27 %, 96.71 \
        ± 0.35 % with bare cosines; published 98.95 %.",
    family: Family::Model,
    training: |_| TrainConfig { steps: 300, validation_episodes: 100, ..TrainConfig::default() },
    options: MetanetOptions,
    build: |setup: &Setup, options: MetanetOptions| Metanet::new(setup, &options),
}

/// Options of `metanet`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct MetanetOptions {
    /// Which fast weights there are: those of the task and of each example, those of each example, or none; all act on the
    /// backbone's features, none on its convolutions.
    pub fast_weights: FastWeights,
    /// What cosines are multiplied by before the softmax of the attention. The paper does not say; 1 would leave even a perfect match
    /// among five a weight of e / (e + 4/e) = 0.65 at most, and is better after a short training on few classes.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub sharpness: f32,
    /// Width of the representation and of the base learner's hidden layer, and of `u.classifier`, which makes the
    /// representation loss and stays as drawn.
    #[schemars(range(min = 1))]
    pub hidden: usize,
    /// Width of the hidden layers of the meta-learners m and d (20 in the paper).
    #[schemars(range(min = 1))]
    pub meta_hidden: usize,
    /// Queries of each class in training episodes.
    #[schemars(range(min = 1))]
    pub train_queries: usize,
}

/// Which fast weights there are: the paper's ablations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FastWeights {
    /// Q* and W*.
    All,
    /// W* only.
    Example,
    /// None: the slow weights alone, which cannot know a task's labels.
    None,
}

impl Default for MetanetOptions {
    fn default() -> Self {
        Self {
            fast_weights: FastWeights::All,
            sharpness: 10.0,
            hidden: 64,
            meta_hidden: 20,
            train_queries: 10,
        }
    }
}

impl Options for MetanetOptions {}

/// A Meta Network.
pub struct Metanet {
    network: Arc<dyn Network>,
    /// The backbone's weights, then those of [`Weights`].
    learned: Learned,
    sizes: Sizes,
    /// Which fast weights there are, and how sharp the attention is.
    fast: (FastWeights, f32),
    seed: u64,
}

impl Metanet {
    /// A network with fresh weights.
    ///
    /// # Errors
    /// When the backbone does not fit the input.
    pub fn new(setup: &Setup, options: &MetanetOptions) -> Result<Self> {
        let network = setup.backbone.build()?;
        let sizes = Sizes {
            features: network.features(),
            hidden: options.hidden,
            ways: setup.ways,
            meta: options.meta_hidden,
        };
        let mut rng = stream(setup.seed, "init", 0);
        let backbone = network.init(&mut rng);
        let theta = backbone.followed_by(&Weights::init(sizes, &mut rng).into_params());
        let task = TaskSpec::FewShot {
            ways: Count::fixed(setup.ways),
            shots: setup.shots,
            queries: options.train_queries,
        };
        let (learned, fast) = (Learned { theta, task }, (options.fast_weights, options.sharpness));
        Ok(Self { network, learned, sizes, fast, seed: setup.seed })
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
    fn is_transductive(&self) -> bool {
        self.network.norm() == Norm::Batch
    }

    fn adapt<'a>(&'a self, support: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
        let labels = support.classes()?;
        let ways = self.ways(labels)?;
        let z = self.network.forward(&self.learned.theta, support.inputs())?;
        let weights = Weights::read(self.sizes, &self.learned.theta)?;
        let adaptation = Adaptation::new(z.view(), labels, ways, &weights, self.fast);
        Ok(Box::new(Known { learner: self, weights, adaptation }))
    }

    /// Support and queries in one batch, where no input sees another.
    fn answer(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction> {
        let [z, z_query] =
            embed_both(self.network.as_ref(), &self.learned.theta, support.inputs(), query.inputs.view())?;
        let labels = support.classes()?;
        let weights = Weights::read(self.sizes, &self.learned.theta)?;
        let adaptation = Adaptation::new(z.view(), labels, self.ways(labels)?, &weights, self.fast);
        Ok(Prediction::Scores(adaptation.answer(z_query.view(), &weights).logits))
    }

    fn trainable(&mut self) -> Option<&mut dyn Trainable> {
        Some(self)
    }
}

/// The fast weights of a task.
struct Known<'a> {
    learner: &'a Metanet,
    weights: Weights,
    adaptation: Adaptation,
}

impl Adapted for Known<'_> {
    fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
        let Metanet { network, learned: Learned { theta, .. }, .. } = self.learner;
        let z = network.forward(theta, query.inputs.view())?;
        Ok(Prediction::Scores(self.adaptation.answer(z.view(), &self.weights).logits))
    }
}

impl Trainable for Metanet {
    fn learned(&mut self) -> &mut Learned {
        &mut self.learned
    }

    fn outer_gradient(&self, episode: &Episode) -> Result<Outer> {
        let (labels, query) = (episode.support.classes()?, episode.query.classes()?);
        let ways = self.ways(labels)?;
        let weights = Weights::read(self.sizes, &self.learned.theta)?;
        let mut d_weights = Weights::zeros(self.sizes);
        let loss = Loss::CrossEntropy { labels: query.to_vec() };
        let mut correct = 0.0;
        let x = concatenate![Axis(0), episode.support.inputs(), episode.query.inputs()];
        let network = in_training(&self.network, self.seed, episode);
        let (value, mut gradient) = network.value_and_grad(&self.learned.theta, x.view(), &mut |z, _| {
            on_host(z, |z| {
                let (z_support, z_query) = z.split_at(Axis(0), labels.len());
                let adaptation = Adaptation::new(z_support, labels, ways, &weights, self.fast);
                let answer = adaptation.answer(z_query, &weights);
                let logits = answer.logits.view();
                correct = accuracy(logits.iter().copied(), query);
                let d_logits = loss.gradient(logits)?;
                Ok((loss.value(logits)?, answer.backward(z, &d_logits, &mut d_weights)))
            })
        })?;
        d_weights.write(&mut gradient);
        Ok(Outer { loss: value, gradient, metrics: vec![("accuracy", correct)] })
    }
}
