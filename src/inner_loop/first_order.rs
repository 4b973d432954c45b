//! Reptile: Nichol, Achiam & Schulman, "On First-Order Meta-Learning Algorithms", 2018.
//!
//! θ goes towards the θ_K that K steps on a task end at. What it learns from is that the steps are taken on different
//! minibatches: to leading order the expected gradient has, beside the one of joint training, a term that raises the inner
//! product of gradients of two minibatches of a task (section 5.1). On the same examples each time it hardly does.

use rand::seq::SliceRandom as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{InnerLoop, MetaGradient, Objective};
use crate::nn::LossGradient;
use crate::optimizer::{BETA2, EPSILON};
use crate::params::Params;
use crate::rng::Rng;
use crate::{Error, Result};

/// What an inner step makes of a gradient g.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InnerOptimizer {
    /// θ ← θ − α∘g.
    #[default]
    Sgd,
    /// Adam without its first moment (β₁ = 0), fresh for each task: θ ← θ − α∘g/√v̂.
    Adam,
}

/// Minibatches of `size` of `n` examples, as they come off one shuffled pass after the other: a batch at the end of a pass
/// goes on in the next. No batch is larger than the examples are many.
///
/// ```
/// use kshot::inner_loop::minibatches;
///
/// let batches: Vec<Vec<usize>> = minibatches(5, 2, kshot::rng::stream(1, "batches", 0)).take(5).collect();
/// // Two passes, in which each example comes up twice.
/// let mut seen = batches.concat();
/// seen.sort_unstable();
/// assert_eq!(seen, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
/// ```
pub fn minibatches(n: usize, size: usize, mut rng: Rng) -> impl Iterator<Item = Vec<usize>> {
    let mut order: Vec<usize> = (0..n).collect();
    let mut at = n;
    let mut next = move || {
        if at == n {
            order.shuffle(&mut rng);
            at = 0;
        }
        at += 1;
        order[at - 1]
    };
    std::iter::repeat_with(move || (0..size.min(n)).map(|_| next()).collect())
}

impl InnerLoop<'_> {
    /// The "gradient" of Reptile, θ − θ_K: descending along it goes towards the adapted weights.
    ///
    /// # Errors
    /// As for `step`, and when there is no step.
    pub fn reptile(&self, theta: &Params, support: Objective<'_>) -> Result<MetaGradient> {
        self.reptile_on(theta, std::iter::repeat_n(support, self.steps), InnerOptimizer::Sgd)
    }

    /// The same after a step on each of these batches, whatever `steps` says.
    ///
    /// # Errors
    /// As for `reptile`.
    pub fn reptile_on<'a>(
        &self,
        theta: &Params,
        batches: impl IntoIterator<Item = Objective<'a>>,
        optimizer: InnerOptimizer,
    ) -> Result<MetaGradient> {
        let mut adapted = theta.clone();
        let mut losses = Vec::new();
        let last = self.descend_on(&mut adapted, batches, optimizer, |loss| losses.push(loss))?;
        let Some(LossGradient { outputs, mut gradient, .. }) = last else {
            return Err(Error::invalid("Reptile needs at least one inner step: without, it learns nothing"));
        };
        gradient.update_weights([theta, &adapted], |slot, [theta, adapted]| *slot = theta - adapted);
        let loss = losses.iter().sum::<f32>() / losses.len() as f32;
        Ok(MetaGradient { loss, gradient, outputs, cg_iterations: None })
    }

    /// θ_K after all steps on the support, by this optimizer; no proximal term holds it.
    ///
    /// # Errors
    /// As for `step`.
    pub fn adapt_by(
        &self,
        optimizer: InnerOptimizer,
        theta: &Params,
        support: Objective<'_>,
    ) -> Result<Params> {
        let mut adapted = theta.clone();
        self.descend_on(&mut adapted, std::iter::repeat_n(support, self.steps), optimizer, drop)?;
        Ok(adapted)
    }

    /// A step on each of the batches, in place; tells each loss before it, and gives what the last step came from.
    fn descend_on<'a>(
        &self,
        theta: &mut Params,
        batches: impl IntoIterator<Item = Objective<'a>>,
        optimizer: InnerOptimizer,
        mut tell: impl FnMut(f32),
    ) -> Result<Option<LossGradient>> {
        let (mut second, mut unbias, mut last) = (None, 1.0_f64, None);
        for (k, batch) in batches.into_iter().enumerate() {
            let before = match optimizer {
                InnerOptimizer::Sgd => self.step_at(k, theta, batch)?,
                InnerOptimizer::Adam => {
                    self.check(theta)?;
                    let before = self.network.gradient(theta, batch.x, batch.loss)?;
                    let second = second.get_or_insert_with(|| Params::zeros(theta.layout()));
                    second
                        .update_weights([&before.gradient], |v, [g]| *v = BETA2 * *v + (1.0 - BETA2) * g * g);
                    unbias *= f64::from(BETA2);
                    let scale = (1.0 - unbias) as f32;
                    let mut direction = before.gradient.clone();
                    direction.update_weights([second], |g, [v]| *g /= (v / scale).sqrt() + EPSILON);
                    self.descend(k, theta, &direction);
                    before
                }
            };
            tell(before.loss);
            last = Some(before);
        }
        Ok(last)
    }
}
