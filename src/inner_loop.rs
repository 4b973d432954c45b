//! Gradient descent within a task, and the gradient of what comes after it: what the optimization family shares.
//!
//! From θ₀ = θ, K inner steps on the support loss, θ_{k+1} = θ_k − α∘∇L_S(θ_k), give the θ_K that the query loss
//! judges. The meta-gradient ∇_θ L_Q(θ_K) needs no graph through the steps. It is the adjoint recursion
//!
//! ```text
//! v_K = ∇L_Q(θ_K)        v_k = v_{k+1} − H_S(θ_k) (α ∘ v_{k+1})        ∇_θ = v_0
//! ```
//!
//! of one Hessian-vector product a step ([`Network::hvp`]). It stores one step's activations at a time, whatever K is,
//! and a copy of θ for each of up to 16 steps; beyond, about 2√K copies, and takes most steps twice.
//!
//! - MAML (Finn, Abbeel & Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks"):
//!   [`InnerLoop::maml`], and without the Hessians, its section 5.2, [`InnerLoop::fomaml`].
//! - ANIL (Raghu et al. 2020, "Rapid Learning or Feature Reuse?"): MAML whose [`rates`] are 0 outside the head.
//! - Meta-SGD (Li et al. 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning"): [`InnerLoop::meta_sgd`]
//!   also differentiates in α, ∇_α = −Σ_k ∇L_S(θ_k) ∘ v_{k+1}.
//! - Reptile (Nichol, Achiam & Schulman 2018, "On First-Order Meta-Learning Algorithms"): [`InnerLoop::reptile`] goes
//!   towards θ_K, and [`InnerLoop::reptile_on`] takes its steps on [`minibatches`].
//! - iMAML (Rajeswaran et al. 2019): [`InnerLoop::imaml`], an implicit gradient instead of the recursion.
//! - MAML++ (Antoniou, Edwards & Storkey 2019, "How to train your MAML", section 4) judges every step, by
//!   [`InnerLoop::step_weights`].
//!
//! Running statistics of batch norm take no part: the inner steps leave θ's as they are, and a meta-gradient's slots
//! hold those of the last batch, as any training gradient's do.
//!
//! ```
//! use kshot::inner_loop::{InnerLoop, Objective, rates};
//! use kshot::nn::{Architecture, Fused, Loss, Network};
//! use ndarray::Array;
//!
//! let network = Fused::new(Architecture::mlp([1, 1, 1], &[40, 40])?.with_head(1)?)?;
//! let theta = network.init(&mut kshot::rng::stream(1, "init", 0));
//! let alpha = rates(theta.layout(), 0.01, |_| true);
//! let inner = InnerLoop { network: &network, rate: &alpha, steps: 1, step_weights: None, proximal: None };
//!
//! // Ten points of a sine to learn from, ten to be judged by.
//! let x = Array::linspace(-5.0_f32, 5.0, 20).into_shape_with_order((20, 1, 1, 1))?;
//! let sine = |x: ndarray::ArrayView4<f32>| Loss::Mse {
//!     targets: x.mapv(f32::sin).into_shape_with_order((10, 1)).expect("ten points"),
//! };
//! let (support_x, query_x) = x.view().split_at(ndarray::Axis(0), 10);
//! let (support_loss, query_loss) = (sine(support_x), sine(query_x));
//! let support = Objective { x: support_x, loss: &support_loss };
//! let query = Objective { x: query_x, loss: &query_loss };
//!
//! let outer = inner.maml(&theta, support, query)?;
//! assert!(outer.loss.is_finite());
//! assert_eq!(outer.gradient.layout(), theta.layout());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::Arc;

use ndarray::{Array2, ArrayView4};

use crate::nn::{Loss, LossAt, LossGradient, Network};
use crate::params::{Layout, Params, Role};
use crate::{Error, Result};

/// Examples `[n, c, h, w]` and a mean loss on the network's outputs for them: a support or query set as gradient
/// descent sees it.
#[derive(Clone, Copy)]
pub struct Objective<'a> {
    /// Inputs, `[n, c, h, w]`.
    pub x: ArrayView4<'a, f32>,
    /// Their loss.
    pub loss: &'a Loss,
}

impl<'a> Objective<'a> {
    /// The same for a shorter time.
    fn reborrow<'b>(self) -> Objective<'b>
    where
        'a: 'b,
    {
        Objective { x: self.x.reborrow(), loss: self.loss }
    }
}

/// Gradient descent within a task.
#[derive(Clone, Copy)]
pub struct InnerLoop<'a> {
    /// What adapts.
    pub network: &'a dyn Network,
    /// α: the learning rate of each weight, in the layout of θ.
    pub rate: &'a Params,
    /// K: the number of steps; with 0 the task is judged without adaptation.
    pub steps: usize,
    /// Weights of the query losses after step 1, 2, … K in the outer loss (MAML++'s multi-step loss); `None` judges
    /// the last step only.
    pub step_weights: Option<&'a [f32]>,
    /// iMAML's proximal term in `adapt` and `imaml`; `None` for all others.
    pub proximal: Option<Proximal>,
}

/// An outer loss and its gradient in the θ that the inner loop started from.
#[derive(Clone, Debug)]
pub struct MetaGradient {
    /// The query loss, weighted over the steps if so wanted; for Reptile the mean support loss of the steps.
    pub loss: f32,
    /// ∇_θ; slots of running statistics hold those of the last batch.
    pub gradient: Params,
    /// The network's outputs for the queries after the last step, `[n, features]`; for Reptile those for the support
    /// before it.
    pub outputs: Array2<f32>,
    /// Iterations of conjugate gradients that iMAML took, of those it was given.
    pub cg_iterations: Option<usize>,
}

/// Learning rates for the weights of a layout: `rate` for the tensors whose name `adapts`, 0 for the others.
///
/// MAML adapts all, ANIL `|name| name.starts_with("head.")`.
pub fn rates(layout: &Arc<Layout>, rate: f32, adapts: impl Fn(&str) -> bool) -> Params {
    let mut alpha = Params::zeros(layout);
    for entry in layout.entries().iter().filter(|entry| entry.role == Role::Weight && adapts(&entry.name)) {
        alpha.values_mut()[entry.range.clone()].fill(rate);
    }
    alpha
}

impl InnerLoop<'_> {
    /// One step in place, `θ ← θ − α∘∇L(θ)`; what it returns was taken before it.
    ///
    /// # Errors
    /// When θ, α, the examples or their loss do not match the network, or the device fails; so below.
    pub fn step(&self, theta: &mut Params, objective: Objective<'_>) -> Result<LossGradient> {
        self.check(theta)?;
        let before = self.network.gradient(theta, objective.x, objective.loss)?;
        self.descend(theta, &before.gradient);
        Ok(before)
    }

    /// `θ ← θ − α∘g`.
    fn descend(&self, theta: &mut Params, gradient: &Params) {
        theta.update_weights([self.rate, gradient], |theta, [alpha, g]| *theta -= alpha * g);
    }

    /// θ_K: the weights after all steps on the support.
    ///
    /// # Errors
    /// As for `step`.
    pub fn adapt(&self, theta: &Params, support: Objective<'_>) -> Result<Params> {
        let mut adapted = theta.clone();
        for _ in 0..self.steps {
            match self.proximal {
                None => drop(self.step(&mut adapted, support)?),
                Some(proximal) => self.proximal_step(proximal, theta, &mut adapted, support)?,
            }
        }
        Ok(adapted)
    }

    /// The meta-gradient of MAML, exact to second order if the network's [`Network::hvp`] is.
    ///
    /// # Errors
    /// As for `step`, and when there are not as many step weights as steps.
    pub fn maml(&self, theta: &Params, support: Objective<'_>, query: Objective<'_>) -> Result<MetaGradient> {
        let mut adapted = theta.clone();
        let mut path = Path::walk(*self, &mut adapted, support.reborrow(), query.x.dim().0, false)?;
        let mut outer = self.judge_last(&adapted, query)?;
        drop(adapted);
        while let Some(step) = path.back()? {
            self.pull_back(step.at.as_ref(), &mut outer.gradient)?;
            outer.add(self.judge(step.k, &step.theta, query)?);
        }
        Ok(outer)
    }

    /// The meta-gradient of first-order MAML: as if θ_K were θ plus a constant. Stores no path.
    ///
    /// # Errors
    /// As for `maml`.
    pub fn fomaml(
        &self,
        theta: &Params,
        support: Objective<'_>,
        query: Objective<'_>,
    ) -> Result<MetaGradient> {
        let mut adapted = theta.clone();
        let mut judged = Vec::new();
        for k in 0..self.steps {
            judged.push(self.judge(k, &adapted, query)?);
            self.step(&mut adapted, support)?;
        }
        let mut outer = self.judge_last(&adapted, query)?;
        judged.into_iter().for_each(|earlier| outer.add(earlier));
        Ok(outer)
    }

    /// The meta-gradient of Meta-SGD: that of [`Self::maml`] in θ, and the gradient in α. Stores gradients beside the
    /// copies of θ.
    ///
    /// # Errors
    /// As for `maml`.
    pub fn meta_sgd(
        &self,
        theta: &Params,
        support: Objective<'_>,
        query: Objective<'_>,
    ) -> Result<(MetaGradient, Params)> {
        let mut adapted = theta.clone();
        let mut path = Path::walk(*self, &mut adapted, support.reborrow(), query.x.dim().0, true)?;
        let mut outer = self.judge_last(&adapted, query)?;
        drop(adapted);
        let mut d_rate = Params::zeros(theta.layout());
        while let Some(step) = path.back()? {
            let gradient = step.gradient.iter();
            gradient.for_each(|g| d_rate.update_weights([g, &outer.gradient], |d, [g, v]| *d -= g * v));
            self.pull_back(step.at.as_ref(), &mut outer.gradient)?;
            outer.add(self.judge(step.k, &step.theta, query)?);
        }
        Ok((outer, d_rate))
    }

    /// `v ← v − H_S(θ_k) (α ∘ v)`: the gradient in θ_{k+1} to the one in θ_k.
    fn pull_back(&self, theta_k: &dyn LossAt, v: &mut Params) -> Result<()> {
        let mut direction = Params::zeros(v.layout());
        direction.update_weights([self.rate, v], |slot, [alpha, v]| *slot = alpha * v);
        let product = theta_k.hvp(&direction)?;
        v.update_weights([&product], |v, [product]| *v -= product);
        Ok(())
    }

    /// The weighted query loss at θ_k and its gradient there, if it counts.
    fn judge(&self, k: usize, theta_k: &Params, query: Objective<'_>) -> Result<Option<MetaGradient>> {
        let weight = self.step_weights.map_or(0.0, |weights| if k == 0 { 0.0 } else { weights[k - 1] });
        (weight != 0.0).then(|| self.weighted(weight, theta_k, query)).transpose()
    }

    /// The weighted query loss at θ_K and its gradient there.
    fn judge_last(&self, adapted: &Params, query: Objective<'_>) -> Result<MetaGradient> {
        let weight = self.step_weights.and_then(|weights| weights.last()).unwrap_or(&1.0);
        self.weighted(*weight, adapted, query)
    }

    fn weighted(&self, weight: f32, theta: &Params, query: Objective<'_>) -> Result<MetaGradient> {
        self.check(theta)?;
        let LossGradient { loss, outputs, mut gradient } =
            self.network.gradient(theta, query.x, query.loss)?;
        gradient.update_weights([], |g, []| *g *= weight);
        Ok(MetaGradient { loss: weight * loss, gradient, outputs, cg_iterations: None })
    }

    /// Refuses learning rates of another layout, and step weights for another number of steps.
    fn check(&self, theta: &Params) -> Result<()> {
        if self.rate.values().len() != theta.values().len() {
            return Err(Error::invalid(format!(
                "the inner loop has learning rates for {} weights, but was given {}",
                self.rate.values().len(),
                theta.values().len()
            )));
        }
        match self.step_weights {
            Some(weights) if weights.len() != self.steps => Err(Error::invalid(format!(
                "the inner loop takes {} steps, but has weights for the query losses after {}",
                self.steps,
                weights.len()
            ))),
            _ => Ok(()),
        }
    }
}

impl MetaGradient {
    /// Adds the loss and gradient at an earlier step, if it counts; outputs and statistics stay the last step's.
    fn add(&mut self, earlier: Option<Self>) {
        if let Some(earlier) = earlier {
            self.loss += earlier.loss;
            self.gradient.update_weights([&earlier.gradient], |sum, [g]| *sum += g);
        }
    }
}

mod first_order;
mod implicit;
mod path;

pub use first_order::{InnerOptimizer, minibatches};
pub use implicit::{ConjugateGradients, Proximal};
use path::Path;

#[cfg(test)]
mod tests;
