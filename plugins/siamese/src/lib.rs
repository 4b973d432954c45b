//! Siamese networks: two towers with the same weights, and a loss on pairs.
//!
//! - `contrastive`: the same near, others at least a margin apart. Hadsell, Chopra & LeCun, "Dimensionality Reduction by
//!   Learning an Invariant Mapping", CVPR 2006, equation 4 (without its factor ½), between embeddings of length 1.
//! - `logistic`: the probability that two are the same is σ(Σ_j α_j |z¹_j − z²_j| + b), with learned α and b. Koch, Zemel
//!   & Salakhutdinov, "Siamese Neural Networks for One-shot Image Recognition", ICML deep learning workshop 2015,
//!   section 3.1, z being the sigmoid of a fully connected layer as there, or of the embedding itself.
//!
//! A training batch has P classes × K examples, and every two of them are a pair; those of one class weigh as much as those
//! of two. A query belongs to the class whose support examples are most similar to it in the mean.
//!
//! ```
//! use kshot_siamese::{all_pairs, contrastive};
//! use ndarray::array;
//!
//! // Two classes of two: a pair of each class with itself, four across, farther apart than the margin.
//! let pairs = all_pairs(&[0, 0, 1, 1])?;
//! let z = array![[0.0], [0.0], [2.0], [2.0]];
//! let (loss, gradient) = contrastive(z.view(), &pairs, 1.0);
//! assert_eq!((pairs.len(), loss, gradient.sum()), (6, 0.0, 0.0));
//! # Ok::<(), kshot::Error>(())
//! ```

#![forbid(unsafe_code)]

mod pairs;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use dfdx::prelude::*;
use kshot::episode::{Episode, TaskSpec};
use kshot::metric::{BatchTraining, Comparison, Embeddings, Support, TrainingLoss};
use kshot::nn::head::{class_means, directions, directions_of, on_host};
use kshot::nn::{HeadWeights, Metric, TapedMatrix};
use kshot::options::Options;
use kshot::params::{Layout, Params, Role};
use kshot::registry::Setup;
use kshot::rng::Rng;
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use ndarray::{Array2, ArrayView2, aview1};
use rand::Rng as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use pairs::{Logistic, Pair, all_pairs, contrastive, logistic};

kshot::register_learner! {
    /// two towers with shared weights, trained on pairs
    ///
    /// Koch, Zemel, Salakhutdinov, Siamese Neural Networks for One-shot Image Recognition, 2015; Hadsell et al., CVPR
    /// 2006
    name: "siamese",
    differs: "by default a contrastive loss between embeddings of length 1, over all pairs of a batch, on Conv4 and \
        without distortions; `logistic` is Koch et al.'s, without their larger network. Omniglot, 5-way 1-shot: \
        97.28 ± 0.29 %; Vinyals et al. 2016 report 96.7 % for such a network, 97.3 % fine-tuned.",
    training: |_| TrainConfig { steps: 220, validation_episodes: 100, ..TrainConfig::default() },
    comparison: Siamese,
}

/// Options of `siamese`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Siamese {
    /// What a pair costs.
    pub loss: PairLoss,
    /// How far apart two of different classes must be, for the loss `contrastive`; between embeddings of length 1, none are
    /// farther apart than 2.
    #[schemars(range(max = 2), extend("exclusiveMinimum" = 0))]
    pub margin: f32,
    /// Width of a fully connected layer behind the backbone, for the loss `logistic` (4096 in the paper); where unset, there is
    /// none.
    #[schemars(range(min = 1))]
    pub hidden: Option<usize>,
    /// What it is trained on.
    #[serde(flatten)]
    pub training: BatchTraining,
}

impl Default for Siamese {
    fn default() -> Self {
        let training = BatchTraining { classes: 32, per_class: 4 };
        Self { loss: PairLoss::Contrastive, margin: 1.0, hidden: None, training }
    }
}

impl Options for Siamese {
    fn check(&self) -> Result<()> {
        match (self.loss, self.hidden) {
            (PairLoss::Contrastive, Some(_)) => Err(Error::invalid(
                "`hidden` is a layer of the loss `logistic`: set `loss = \"logistic\"` as well, or leave it out",
            )),
            _ => Ok(()),
        }
    }
}

/// What a pair costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PairLoss {
    /// The mean of d² over those of one class, and of (margin − d)² over others that are closer than the margin.
    Contrastive,
    /// Cross-entropy of σ(Σ_j α_j |z¹_j − z²_j| + b).
    Logistic,
}

/// Weights α `[1, features]` and bias b `[1]` of the logistic variant.
const ALPHA: &str = "compare.weight";
const BIAS: &str = "compare.bias";
/// Its fully connected layer, `[hidden, features]` and `[hidden]`.
const LAYER: &str = "layer.weight";
const LAYER_BIAS: &str = "layer.bias";

impl Comparison for Siamese {
    fn training_task(&self, setup: &Setup) -> TaskSpec {
        self.training.task(setup)
    }

    /// For `logistic`, α = −1 (the farther, the less the same) and b = 0, and the layer uniform in ±√(6 / (inputs + outputs))
    /// (Glorot & Bengio 2010).
    fn weights(&self, features: usize, rng: &mut Rng) -> Option<Params> {
        if self.loss == PairLoss::Contrastive {
            return None;
        }
        let mut layout = Layout::new();
        let layer = self.hidden.map(|hidden| {
            let layer = layout.push(LAYER, &[hidden, features], Role::Weight);
            layout.push(LAYER_BIAS, &[hidden], Role::Weight);
            layer
        });
        let compared = self.hidden.unwrap_or(features);
        let alpha = layout.push(ALPHA, &[1, compared], Role::Weight);
        layout.push(BIAS, &[1], Role::Weight);
        let mut weights = Params::zeros(&Arc::new(layout));
        weights.values_mut()[alpha].fill(-1.0);
        if let Some(layer) = layer {
            let bound = (6.0 / (features + compared) as f32).sqrt();
            weights.values_mut()[layer].fill_with(|| rng.random_range(-bound..bound));
        }
        Some(weights)
    }

    fn loss(&self, z: TapedMatrix, weights: &HeadWeights<'_>, episode: &Episode) -> Result<TrainingLoss> {
        let pairs = all_pairs(episode.support.classes()?)?;
        let loss = match self.loss {
            PairLoss::Contrastive => on_host(directions(z)?, |z| Ok(contrastive(z, &pairs, self.margin)))?,
            PairLoss::Logistic => {
                let (alpha, bias) = (weights.values(ALPHA)?, weights.values(BIAS)?[0]);
                on_host(self.compared(z, weights)?, |z| {
                    let Logistic { loss, in_z, in_alpha, in_bias } = logistic(z, &pairs, alpha, bias);
                    weights.add_gradient(ALPHA, in_alpha)?;
                    weights.add_gradient(BIAS, vec![in_bias])?;
                    Ok((loss, in_z))
                })?
            }
        };
        Ok(TrainingLoss { loss, metrics: Vec::new() })
    }

    /// By the mean similarity to a class's examples.
    fn scores(&self, theta: &Params, support: Support<'_>, query: Embeddings<'_>) -> Result<Array2<f32>> {
        mean_by_class(&self.similarity(theta, query, support.z)?, support.labels)
    }

    fn similarity(&self, theta: &Params, a: Embeddings<'_>, b: Embeddings<'_>) -> Result<Array2<f32>> {
        match self.loss {
            PairLoss::Contrastive => {
                let [a, b] = [a, b].map(|z| directions_of(z.to_owned()));
                Ok(-Metric::Euclidean.between(a.view(), b.view()))
            }
            PairLoss::Logistic => {
                let (alpha, bias) = (tensor(theta, ALPHA)?, tensor(theta, BIAS)?[0]);
                let [left, right] = [self.squashed(theta, a)?, self.squashed(theta, b)?];
                Ok(Array2::from_shape_fn((left.nrows(), right.nrows()), |(i, j)| {
                    let pairs = left.row(i).into_iter().zip(right.row(j));
                    bias + pairs.zip(alpha).map(|((a, b), alpha)| alpha * (a - b).abs()).sum::<f32>()
                }))
            }
        }
    }
}

impl Siamese {
    /// What the logistic variant compares, `[n, compared]`.
    fn compared(&self, z: TapedMatrix, weights: &HeadWeights<'_>) -> Result<TapedMatrix> {
        let layer = match self.hidden {
            Some(_) => Some((weights.matrix(LAYER)?, weights.vector(LAYER_BIAS)?)),
            None => None,
        };
        let compute = || {
            let z = match layer {
                Some((weight, bias)) => {
                    let weight = weight.put_tape(OwnedTape::default()).try_permute::<_, Axes2<1, 0>>()?;
                    let z = z.try_matmul(weight)?;
                    let shape = *z.shape();
                    z.try_add(bias.put_tape(OwnedTape::default()).try_broadcast_like::<_, Axis<0>>(&shape)?)?
                }
                None => z,
            };
            z.try_sigmoid()
        };
        compute().map_err(|error| Error::device("comparing pairs", error))
    }

    /// [`Siamese::compared`] on the host.
    fn squashed(&self, theta: &Params, z: Embeddings<'_>) -> Result<Array2<f32>> {
        let z = match self.hidden {
            Some(hidden) => {
                let weight = ArrayView2::from_shape((hidden, z.ncols()), tensor(theta, LAYER)?);
                let weight = weight.map_err(|error| Error::invalid(format!("tensor `{LAYER}`: {error}")))?;
                z.dot(&weight.t()) + aview1(tensor(theta, LAYER_BIAS)?)
            }
            None => z.to_owned(),
        };
        Ok(z.mapv_into(|z| 1.0 / (1.0 + (-z).exp())))
    }
}

fn tensor<'a>(theta: &'a Params, name: &str) -> Result<&'a [f32]> {
    theta.tensor(name).ok_or_else(|| Error::invalid(format!("`siamese`: θ has no tensor `{name}`")))
}

/// Mean over each class's columns: `[queries, support]` to `[queries, classes]`.
fn mean_by_class(similarity: &Array2<f32>, labels: &[usize]) -> Result<Array2<f32>> {
    Ok(class_means(similarity.t(), labels)?.reversed_axes())
}
