//! Reptile: Nichol, Achiam & Schulman, "On First-Order Meta-Learning Algorithms", 2018.
//!
//! θ goes towards the θ_K that K steps on a task end at. What it learns from is that the steps are taken on different
//! minibatches: to leading order the expected gradient has, beside the one of joint training, a term that raises the inner
//! product of gradients of two minibatches of a task (section 5.1). On the same examples each time it hardly does.

use super::{InnerLoop, MetaGradient, Objective};
use crate::nn::LossGradient;
use crate::optimizer::{BETA2, EPSILON};
use crate::params::Params;
use crate::rng::Rng;
use crate::{Error, Result};
use rand::seq::SliceRandom as _;

/// The second moment of Adam, which goes on from step to step and from task to task: sums in which what came a step
/// before counts β₂ times as much.
#[derive(Clone, Debug)]
pub struct SecondMoment {
    /// Of g², laid out as the weights.
    pub squares: Params,
    /// Of ones, which the sum is divided by; 0 before the first step.
    pub ones: f32,
}

impl SecondMoment {
    /// That of no step so far.
    pub fn new(theta: &Params) -> Self {
        Self { squares: Params::zeros(theta.layout()), ones: 0.0 }
    }

    /// Takes in a gradient, which becomes what Adam without its first moment (β₁ = 0) descends along: g/√v̂.
    fn take(&mut self, gradient: &mut Params) {
        self.squares.update_weights([&*gradient], |v, [g]| *v = BETA2 * *v + (1.0 - BETA2) * g * g);
        self.ones = BETA2 * self.ones + (1.0 - BETA2);
        gradient.update_weights([&self.squares], |g, [v]| *g /= (v / self.ones).sqrt() + EPSILON);
    }
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
        self.reptile_on(theta, std::iter::repeat_n(support, self.steps), None)
    }

    /// The same after a step on each of these batches, whatever `steps` says, of Adam without its first moment where there is
    /// the second to go on from.
    ///
    /// # Errors
    /// As for `reptile`.
    pub fn reptile_on<'a>(
        &self,
        theta: &Params,
        batches: impl IntoIterator<Item = Objective<'a>>,
        adam: Option<&mut SecondMoment>,
    ) -> Result<MetaGradient> {
        let mut adapted = theta.clone();
        let mut losses = Vec::new();
        let last = self.descend_on(&mut adapted, batches, adam, |loss| losses.push(loss))?;
        let Some(LossGradient { outputs, mut gradient, .. }) = last else {
            return Err(Error::invalid("Reptile needs at least one inner step: without, it learns nothing"));
        };
        gradient.update_weights([theta, &adapted], |slot, [theta, adapted]| *slot = theta - adapted);
        let loss = losses.iter().sum::<f32>() / losses.len() as f32;
        Ok(MetaGradient { loss, gradient, outputs, cg_iterations: None })
    }

    /// θ_K after all steps on the support, of Adam as in `reptile_on`; no proximal term holds it.
    ///
    /// # Errors
    /// As for `step`.
    pub fn adapt_by(
        &self,
        theta: &Params,
        support: Objective<'_>,
        adam: Option<&mut SecondMoment>,
    ) -> Result<Params> {
        let mut adapted = theta.clone();
        self.descend_on(&mut adapted, std::iter::repeat_n(support, self.steps), adam, drop)?;
        Ok(adapted)
    }

    /// A step on each of the batches, in place; tells each loss before it, and gives what the last step came from.
    fn descend_on<'a>(
        &self,
        theta: &mut Params,
        batches: impl IntoIterator<Item = Objective<'a>>,
        mut adam: Option<&mut SecondMoment>,
        mut tell: impl FnMut(f32),
    ) -> Result<Option<LossGradient>> {
        let mut last = None;
        for (k, batch) in batches.into_iter().enumerate() {
            let before = match &mut adam {
                None => self.step_at(k, theta, batch)?,
                Some(moment) => {
                    self.check(theta)?;
                    let before = self.network.gradient(theta, batch.x, batch.loss)?;
                    let mut direction = before.gradient.clone();
                    moment.take(&mut direction);
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
