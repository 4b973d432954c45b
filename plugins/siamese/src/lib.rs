//! Siamese networks: two towers with the same weights, and a loss on pairs.
//!
//! - `contrastive`: the same near, others at least a margin apart. Hadsell, Chopra & LeCun, "Dimensionality Reduction by
//!   Learning an Invariant Mapping", CVPR 2006, equation 4 (without its factor ½).
//! - `logistic`: the probability that two are the same is σ(Σ_j α_j |z¹_j − z²_j| + b), with learned α and b. Koch, Zemel
//!   & Salakhutdinov, "Siamese Neural Networks for One-shot Image Recognition", ICML deep learning workshop 2015,
//!   section 3.1, with embeddings squashed by a sigmoid as there.
//!
//! A training batch has P classes × K examples; each example is in one pair, half of the pairs of one class. A query
//! belongs to the class whose support examples are most similar to it in the mean.
//!
//! ```
//! use kshot_siamese::{contrastive, pair_up};
//! use ndarray::array;
//!
//! // Two classes of four in a batch: two pairs of each class with itself, the rest across.
//! let pairs = pair_up(&[0, 0, 0, 0, 1, 1, 1, 1])?;
//! let z = array![[0.0], [0.0], [0.0], [0.0], [2.0], [2.0], [2.0], [2.0]];
//! let (loss, gradient) = contrastive(z.view(), &pairs, 1.0);
//! assert_eq!((loss, gradient.sum()), (0.0, 0.0));
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
use kshot::nn::head::{class_means, on_host, rows};
use kshot::nn::{HeadWeights, Metric, TapedMatrix, TapedScalar};
use kshot::options::Options;
use kshot::params::{Layout, Params, Role};
use kshot::registry::Setup;
use kshot::rng::Rng;
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use pairs::{Pair, contrastive, pair_up};

kshot::register_learner! {
    /// two towers with shared weights, trained on pairs
    ///
    /// Koch, Zemel, Salakhutdinov, Siamese Neural Networks for One-shot Image Recognition, 2015; Hadsell et al., CVPR
    /// 2006
    name: "siamese",
    training: |_| TrainConfig { steps: 220, validation_episodes: 100, ..TrainConfig::default() },
    comparison: Siamese,
}

/// Options of `siamese`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Siamese {
    /// What a pair costs.
    pub loss: PairLoss,
    /// How far apart two of different classes must be, for the loss `contrastive`.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub margin: f32,
    /// What it is trained on; `per-class` is a multiple of 4.
    #[serde(flatten)]
    pub training: BatchTraining,
}

impl Default for Siamese {
    fn default() -> Self {
        let training = BatchTraining { classes: 32, per_class: 4 };
        Self { loss: PairLoss::Contrastive, margin: 1.0, training }
    }
}

impl Options for Siamese {
    fn check(&self) -> Result<()> {
        match self.training.per_class.is_multiple_of(4) {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "`per-class` is {}, but must be a multiple of 4, so that half of the pairs are of one class",
                self.training.per_class
            ))),
        }
    }
}

/// What a pair costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PairLoss {
    /// d² of the same, max(0, margin − d)² of others.
    Contrastive,
    /// Cross-entropy of σ(Σ_j α_j |z¹_j − z²_j| + b).
    Logistic,
}

/// Weights α `[1, features]` and bias b `[1]` of the logistic variant.
const WEIGHT: &str = "compare.weight";
const BIAS: &str = "compare.bias";

impl Comparison for Siamese {
    fn training_task(&self, setup: &Setup) -> TaskSpec {
        self.training.task(setup)
    }

    /// α = −1 (the farther, the less the same) and b = 0, for `logistic`.
    fn weights(&self, features: usize, _: &mut Rng) -> Option<Params> {
        if self.loss == PairLoss::Contrastive {
            return None;
        }
        let mut layout = Layout::new();
        let alpha = layout.push(WEIGHT, &[1, features], Role::Weight);
        layout.push(BIAS, &[1], Role::Weight);
        let mut weights = Params::zeros(&Arc::new(layout));
        weights.values_mut()[alpha].fill(-1.0);
        Some(weights)
    }

    fn loss(&self, z: TapedMatrix, weights: &HeadWeights<'_>, episode: &Episode) -> Result<TrainingLoss> {
        let pairs = pair_up(episode.support.classes()?)?;
        let loss = match self.loss {
            PairLoss::Contrastive => on_host(z, |z| Ok(contrastive(z, &pairs, self.margin))),
            PairLoss::Logistic => logistic(z, weights, &pairs),
        }?;
        Ok(TrainingLoss { loss, metrics: Vec::new() })
    }

    /// By the mean similarity to a class's examples.
    fn scores(&self, theta: &Params, support: Support<'_>, query: Embeddings<'_>) -> Result<Array2<f32>> {
        mean_by_class(&self.similarity(theta, query, support.z)?, support.labels)
    }

    fn similarity(&self, theta: &Params, a: Embeddings<'_>, b: Embeddings<'_>) -> Result<Array2<f32>> {
        match self.loss {
            PairLoss::Contrastive => Ok(-Metric::Euclidean.between(a, b)),
            PairLoss::Logistic => {
                let missing = || Error::invalid("the weights of the comparison are missing");
                let alpha = theta.tensor(WEIGHT).ok_or_else(missing)?;
                let bias = theta.tensor(BIAS).ok_or_else(missing)?[0];
                let squash = |z: Embeddings<'_>| z.mapv(|z| 1.0 / (1.0 + (-z).exp()));
                let (left, right) = (squash(a), squash(b));
                Ok(Array2::from_shape_fn((left.nrows(), right.nrows()), |(i, j)| {
                    let pairs = left.row(i).into_iter().zip(right.row(j));
                    bias + pairs.zip(alpha).map(|((a, b), alpha)| alpha * (a - b).abs()).sum::<f32>()
                }))
            }
        }
    }
}

/// Mean cross-entropy of the logistic comparison of pairs.
fn logistic(z: TapedMatrix, weights: &HeadWeights<'_>, pairs: &[Pair]) -> Result<TapedScalar> {
    let (alpha, bias) = (weights.matrix(WEIGHT)?, weights.vector(BIAS)?);
    let failed = |error| Error::device("comparing pairs", error);
    let device = z.device().clone();
    // The lefts of all pairs, then the rights.
    let &(n, _) = z.shape();
    let mut selection = vec![0.0; 2 * pairs.len() * n];
    for (k, pair) in pairs.iter().enumerate() {
        selection[k * n + pair.left] = 1.0;
        selection[(pairs.len() + k) * n + pair.right] = 1.0;
    }
    let signs: Vec<f32> = pairs.iter().map(|pair| if pair.same { 1.0 } else { -1.0 }).collect();
    let count = pairs.len();
    let selected = device
        .try_tensor_from_vec(selection, (2 * count, n))
        .and_then(|selection| selection.put_tape(OwnedTape::default()).try_matmul(z.try_sigmoid()?))
        .map_err(failed)?;
    let (selected, tape) = selected.split_tape();
    let left = rows(selected.clone().put_tape(tape), 0, count)?;
    let right = rows(selected.put_tape(OwnedTape::default()), count, 2 * count)?;
    let loss = || {
        let difference = left.try_sub(right)?.try_abs()?;
        let alpha = alpha.put_tape(OwnedTape::default()).try_permute::<_, Axes2<1, 0>>()?;
        let logits = difference.try_matmul(alpha)?;
        let bias = bias.put_tape(OwnedTape::default()).try_broadcast_like::<_, Axis<0>>(&(count, 1))?;
        let signs = device.try_tensor_from_vec(signs, (count, 1))?;
        // −log σ(±logit) = softplus(∓logit), written so that it does not overflow: max(x, 0) + ln(1 + e^{−|x|}).
        let x = logits.try_add(bias)?.try_mul(signs)?.try_negate()?;
        let (x, tape) = x.split_tape();
        let positive = x.clone().put_tape(tape).try_relu()?;
        let rest =
            x.put_tape(OwnedTape::default()).try_abs()?.try_negate()?.try_exp()?.try_add(1.0)?.try_ln()?;
        positive.try_add(rest)?.try_mean()
    };
    loss().map_err(failed)
}

/// Mean over each class's columns: `[queries, support]` to `[queries, classes]`.
fn mean_by_class(similarity: &Array2<f32>, labels: &[usize]) -> Result<Array2<f32>> {
    Ok(class_means(similarity.t(), labels)?.reversed_axes())
}
