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

mod pairs;

use std::sync::Arc;

use dfdx::prelude::*;
use kshot::episode::{Episode, Labelled, TaskSpec, Unlabelled};
use kshot::learner::{Family, Learner, Outer, Prediction};
use kshot::nn::head::{class_means_of, on_host, rows};
use kshot::nn::{HeadWeights, Metric, Network, Norm, TapedMatrix, TapedScalar, embed_both};
use kshot::params::{Layout, Params, Role};
use kshot::registry::{LearnerEntry, Problem, Setup, defaults, options};
use kshot::rng::stream;
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use ndarray::{Array2, ArrayView4};
use serde::{Deserialize, Serialize};

pub use pairs::{Pair, contrastive, pair_up};

/// Options of `siamese`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SiameseConfig {
    /// What a pair costs.
    pub loss: PairLoss,
    /// The margin of `contrastive`.
    pub margin: f32,
    /// P: classes of a training batch. At most the training split's.
    pub classes: usize,
    /// K: examples of each, a multiple of 4.
    pub per_class: usize,
}

impl Default for SiameseConfig {
    fn default() -> Self {
        Self { loss: PairLoss::Contrastive, margin: 1.0, classes: 32, per_class: 4 }
    }
}

/// What a pair costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PairLoss {
    /// d² of the same, max(0, margin − d)² of others.
    Contrastive,
    /// Cross-entropy of σ(Σ_j α_j |z¹_j − z²_j| + b).
    Logistic,
}

impl SiameseConfig {
    fn check(&self, base_classes: usize) -> Result<()> {
        let wrong = match self {
            _ if self.classes.min(base_classes) < 2 => {
                "`classes` must be 2 or more, for pairs of two classes"
            }
            _ if self.per_class == 0 || !self.per_class.is_multiple_of(4) => {
                "`per-class` must be a multiple of 4, so that half of the pairs are of one class"
            }
            _ if !(self.margin.is_finite() && self.margin > 0.0) => {
                "`margin` must be a positive number, as 1"
            }
            _ => return Ok(()),
        };
        Err(Error::invalid(format!("options of `siamese`: {wrong}")))
    }
}

/// Weights α `[1, features]` and bias b `[1]` of the logistic variant.
const WEIGHT: &str = "compare.weight";
const BIAS: &str = "compare.bias";

/// A siamese network.
pub struct Siamese {
    network: Arc<dyn Network>,
    /// The tower's weights; for `logistic` those of the comparison after them.
    theta: Params,
    config: SiameseConfig,
    task: TaskSpec,
}

impl Siamese {
    /// A network with fresh weights.
    ///
    /// # Errors
    /// When an option makes no sense or the backbone does not fit the input.
    pub fn new(setup: &Setup, config: SiameseConfig) -> Result<Self> {
        config.check(setup.base_classes)?;
        let network = setup.backbone.build(setup.input, Norm::Running, None)?;
        let tower = network.init(&mut stream(setup.seed, "init", 0));
        let theta = match config.loss {
            PairLoss::Contrastive => tower,
            PairLoss::Logistic => with_comparison(&tower, network.features())?,
        };
        let classes = config.classes.min(setup.base_classes);
        let task = TaskSpec::PkBatch { classes, per_class: config.per_class };
        Ok(Self { network, theta, config, task })
    }

    /// How similar embeddings `[n, features]` and `[m, features]` are, `[n, m]`.
    fn compare(&self, left: &Array2<f32>, right: &Array2<f32>) -> Result<Array2<f32>> {
        match self.config.loss {
            PairLoss::Contrastive => Ok(-Metric::Euclidean.between(left.view(), right.view())),
            PairLoss::Logistic => {
                let missing = || Error::invalid("the weights of the comparison are missing");
                let alpha = self.theta.tensor(WEIGHT).ok_or_else(missing)?;
                let bias = self.theta.tensor(BIAS).ok_or_else(missing)?[0];
                let squash = |z: &Array2<f32>| z.mapv(|z| 1.0 / (1.0 + (-z).exp()));
                let (left, right) = (squash(left), squash(right));
                Ok(Array2::from_shape_fn((left.nrows(), right.nrows()), |(i, j)| {
                    let pairs = left.row(i).into_iter().zip(right.row(j));
                    bias + pairs.zip(alpha).map(|((a, b), alpha)| alpha * (a - b).abs()).sum::<f32>()
                }))
            }
        }
    }
}

/// The tower's weights, then α = −1 (the farther, the less the same) and b = 0.
fn with_comparison(tower: &Params, features: usize) -> Result<Params> {
    let mut layout = Layout::clone(tower.layout());
    layout.push(WEIGHT, &[1, features], Role::Weight);
    layout.push(BIAS, &[1], Role::Weight);
    let mut values = tower.values().to_vec();
    values.extend(std::iter::repeat_n(-1.0, features));
    values.push(0.0);
    Params::from_values(&Arc::new(layout), values)
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

impl Learner for Siamese {
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
        let pairs = pair_up(episode.support.classes()?)?;
        let (loss, gradient) = self.network.value_and_grad(
            &self.theta,
            episode.support.inputs(),
            &mut |z, weights| match self.config.loss {
                PairLoss::Contrastive => on_host(z, |z| Ok(contrastive(z, &pairs, self.config.margin))),
                PairLoss::Logistic => logistic(z, weights, &pairs),
            },
        )?;
        Ok(Outer { loss, gradient, metrics: Vec::new() })
    }

    fn predict(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction> {
        let [z_support, z_query] =
            embed_both(self.network.as_ref(), &self.theta, support.inputs(), query.inputs.view())?;
        let similarity = self.compare(&z_query, &z_support)?;
        Ok(Prediction::Scores(mean_by_class(&similarity, support.classes()?)?))
    }

    fn similarity(
        &self,
        left: ArrayView4<'_, f32>,
        right: ArrayView4<'_, f32>,
    ) -> Result<Option<Array2<f32>>> {
        let embed = |x| self.network.forward(&self.theta, x);
        self.compare(&embed(left)?, &embed(right)?).map(Some)
    }
}

/// Mean over each class's columns: `[queries, support]` to `[queries, classes]`.
fn mean_by_class(similarity: &Array2<f32>, labels: &[usize]) -> Result<Array2<f32>> {
    Ok(class_means_of(similarity.t(), labels)?.reversed_axes())
}

inventory::submit! {
    LearnerEntry {
        name: "siamese",
        family: Family::Metric,
        summary: "two towers with shared weights, trained on pairs",
        paper: "Koch, Zemel, Salakhutdinov, Siamese Neural Networks for One-shot Image Recognition, 2015; Hadsell et al., CVPR 2006",
        solves: &[Problem::Classification],
        train: |_| TrainConfig { steps: 220, validation_episodes: 100, ..TrainConfig::default() },
        options: defaults::<SiameseConfig>,
        build: |setup, table| Ok(Box::new(Siamese::new(setup, options("siamese", table)?)?)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use kshot::nn::{BackboneConfig, value_and_grad_of_head};

    fn setup() -> Setup {
        let backbone = BackboneConfig { width: 8, ..BackboneConfig::default() };
        Setup { input: [1, 28, 28], base_classes: 10, ways: 5, shots: 1, queries: 1, backbone, seed: 0 }
    }

    #[test]
    fn the_logistic_loss_is_the_cross_entropy_of_its_comparison() {
        let config = SiameseConfig { loss: PairLoss::Logistic, ..SiameseConfig::default() };
        let learner = Siamese::new(&setup(), config).unwrap();
        let z = Array2::from_shape_fn((8, 8), |(i, j)| ((i * 8 + j) as f32 * 1.3).sin() * 3.0);
        let pairs = pair_up(&[0, 0, 0, 0, 1, 1, 1, 1]).unwrap();
        let logits = learner.compare(&z, &z).unwrap();
        let expected: f32 = pairs
            .iter()
            .map(|pair| {
                let logit = logits[[pair.left, pair.right]] * if pair.same { 1.0 } else { -1.0 };
                (1.0 + (-logit).exp()).ln()
            })
            .sum::<f32>()
            / pairs.len() as f32;
        let mut gradient = Params::zeros(learner.theta.layout());
        let (loss, _) = value_and_grad_of_head(&learner.theta, z, &mut gradient, &mut |z, weights| {
            logistic(z, weights, &pairs)
        })
        .unwrap();
        assert!((loss - expected).abs() < 1e-5, "{loss} {expected}");
        assert!(gradient.tensor(WEIGHT).unwrap().iter().any(|g| *g != 0.0));
    }

    #[test]
    fn options_that_cannot_be_paired_are_refused() {
        for (config, key) in [
            (SiameseConfig { classes: 1, ..SiameseConfig::default() }, "`classes`"),
            (SiameseConfig { per_class: 6, ..SiameseConfig::default() }, "`per-class`"),
            (SiameseConfig { margin: 0.0, ..SiameseConfig::default() }, "`margin`"),
        ] {
            let error = Siamese::new(&setup(), config).err().unwrap().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
