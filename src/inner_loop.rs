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
//! - ANIL (Raghu et al. 2020, "Rapid Learning or Feature Reuse?"): MAML whose [`rates`] are 0 outside the head;
//!   [`HeadLoop`] is the same without a pass through the body in each step. BOIL (Oh et al. 2021, "BOIL: Towards
//!   Representation Change for Few-shot Learning"): MAML whose rates are 0 in the head.
//! - Meta-SGD (Li et al. 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning"): [`InnerLoop::meta_sgd`]
//!   also differentiates in α, ∇_α = −Σ_k ∇L_S(θ_k) ∘ v_{k+1}.
//! - Reptile (Nichol, Achiam & Schulman 2018, "On First-Order Meta-Learning Algorithms"): [`InnerLoop::reptile`] goes
//!   towards θ_K, and [`InnerLoop::reptile_on`] takes its steps on [`minibatches`].
//! - iMAML (Rajeswaran et al. 2019): [`InnerLoop::imaml`], an implicit gradient instead of the recursion.
//! - MAML++ (Antoniou, Edwards & Storkey 2019, "How to train your MAML", section 4) judges every step, by
//!   [`InnerLoop::step_weights`], has [`InnerLoop::rates`] for each and tensors of its own, [`InnerLoop::own`].
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
//! let inner = InnerLoop { rates: &[alpha], ..InnerLoop::new(&network, 1) };
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
    /// α of step 1, 2, …: the learning rate of each weight, in the layout of θ. Further steps take the last.
    pub rates: &'a [Params],
    /// Tensors of θ that no step adapts, but which step 2, 3, … and after them the queries see other values of than θ has, as
    /// the affine weights of batch norms in MAML++; further steps take the last. Empty where there are none.
    pub own: &'a [Params],
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

impl<'a> InnerLoop<'a> {
    /// So many steps of a network, without rates yet.
    pub fn new(network: &'a dyn Network, steps: usize) -> Self {
        Self { network, rates: &[], own: &[], steps, step_weights: None, proximal: None }
    }
}

/// That of step k, from 0, of what has one for each, the last being that of all further ones.
fn of_step(each: &[Params], k: usize) -> Option<&Params> {
    each.get(k).or(each.last())
}

impl InnerLoop<'_> {
    /// The first step in place, `θ ← θ − α∘∇L(θ)`; what it returns was taken before it.
    ///
    /// # Errors
    /// When θ, α, the examples or their loss do not match the network, or the device fails; so below.
    pub fn step(&self, theta: &mut Params, objective: Objective<'_>) -> Result<LossGradient> {
        self.step_at(0, theta, objective)
    }

    /// Step k, from 0.
    fn step_at(&self, k: usize, theta: &mut Params, objective: Objective<'_>) -> Result<LossGradient> {
        self.check(theta)?;
        let before = self.network.gradient(theta, objective.x, objective.loss)?;
        self.descend(k, theta, &before.gradient);
        Ok(before)
    }

    /// `θ ← θ − α∘g`, and the values that what comes after step k has of its own.
    fn descend(&self, k: usize, theta: &mut Params, gradient: &Params) {
        let rate = of_step(self.rates, k);
        rate.iter().for_each(|rate| {
            theta.update_weights([rate, gradient], |theta, [alpha, g]| *theta -= alpha * g);
        });
        if let Some(own) = of_step(self.own, k) {
            for entry in own.layout().entries() {
                let place = theta.layout().get(&entry.name).map(|place| place.range.clone());
                place.into_iter().for_each(|place| {
                    theta.values_mut()[place].copy_from_slice(&own.values()[entry.range.clone()]);
                });
            }
        }
    }

    /// θ_K: the weights after all steps on the support.
    ///
    /// # Errors
    /// As for `step`.
    pub fn adapt(&self, theta: &Params, support: Objective<'_>) -> Result<Params> {
        let mut adapted = theta.clone();
        for k in 0..self.steps {
            match self.proximal {
                None => drop(self.step_at(k, &mut adapted, support)?),
                Some(proximal) => self.proximal_step(k, proximal, theta, &mut adapted, support)?,
            }
        }
        Ok(adapted)
    }

    /// The meta-gradient of MAML, exact to second order if the network's [`Network::hvp`] is.
    ///
    /// # Errors
    /// As for `step`, and when there are not as many step weights as steps.
    pub fn maml(&self, theta: &Params, support: Objective<'_>, query: Objective<'_>) -> Result<MetaGradient> {
        Ok(self.through(theta, support, query, Order::Second, false)?.0)
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
            self.step_at(k, &mut adapted, support)?;
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
    ) -> Result<(MetaGradient, StepGradients)> {
        self.through(theta, support, query, Order::Second, true)
    }

    /// The meta-gradient through all steps, of either order, with what belongs to single steps; the gradients in α only if
    /// `rates` are learned, and else zeros.
    ///
    /// # Errors
    /// As for `maml`.
    pub fn through(
        &self,
        theta: &Params,
        support: Objective<'_>,
        query: Objective<'_>,
        order: Order,
        rates: bool,
    ) -> Result<(MetaGradient, StepGradients)> {
        let mut adapted = theta.clone();
        let mut path = Path::walk(*self, &mut adapted, support.reborrow(), query.x.dim().0, rates)?;
        let mut outer = self.judge_last(&adapted, query)?;
        drop(adapted);
        let zeros = |each: &[Params]| each.iter().map(|each| Params::zeros(each.layout())).collect();
        let mut of_steps = StepGradients { rates: zeros(self.rates), own: zeros(self.own) };
        while let Some(mut step) = path.back()? {
            of_steps.take_own(step.k, &mut outer.gradient);
            if let (Some(g), Some(d_rate)) = (&step.gradient, of_step_mut(&mut of_steps.rates, step.k)) {
                d_rate.update_weights([g, &outer.gradient], |d, [g, v]| *d -= g * v);
            }
            if order == Order::Second {
                self.pull_back(step.k, step.at()?.as_ref(), &mut outer.gradient)?;
            }
            outer.add(self.judge(step.k, &step.theta, query)?);
        }
        Ok((outer, of_steps))
    }

    /// `v ← v − H_S(θ_k) (α ∘ v)`: the gradient in θ_{k+1} to the one in θ_k.
    fn pull_back(&self, k: usize, theta_k: &dyn LossAt, v: &mut Params) -> Result<()> {
        let Some(rate) = of_step(self.rates, k) else { return Ok(()) };
        let mut direction = Params::zeros(v.layout());
        direction.update_weights([rate, v], |slot, [alpha, v]| *slot = alpha * v);
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
        let sizes = || self.rates.iter().map(|rate| rate.values().len());
        if self.rates.is_empty() || sizes().any(|rates| rates != theta.values().len()) {
            return Err(Error::invalid(format!(
                "the inner loop has learning rates for {} weights, but was given {}",
                sizes().find(|rates| *rates != theta.values().len()).unwrap_or(0),
                theta.values().len()
            )));
        }
        let own = self.own.iter().flat_map(|own| own.layout().entries());
        if let Some(entry) = own
            .into_iter()
            .find(|entry| theta.layout().get(&entry.name).is_none_or(|place| place.shape != entry.shape))
        {
            return Err(Error::invalid(format!(
                "the steps of the inner loop have values of `{}` as {:?}, which θ has not",
                entry.name, entry.shape
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

/// Whether the Hessians of the steps are taken into account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// They are left out, as if θ_K were θ plus a constant.
    First,
    /// They are.
    Second,
}

/// Gradients in what belongs to single steps.
#[derive(Clone, Debug)]
pub struct StepGradients {
    /// In each of [`InnerLoop::rates`].
    pub rates: Vec<Params>,
    /// In each of [`InnerLoop::own`].
    pub own: Vec<Params>,
}

impl StepGradients {
    /// Moves the gradient in what step k left behind as values of its own out of v.
    fn take_own(&mut self, k: usize, v: &mut Params) {
        let Some(own) = of_step_mut(&mut self.own, k) else { return };
        for entry in own.layout().clone().entries() {
            let Some(place) = v.layout().get(&entry.name).map(|place| place.range.clone()) else { continue };
            let slots = own.values_mut()[entry.range.clone()].iter_mut().zip(&mut v.values_mut()[place]);
            slots.for_each(|(sum, v)| *sum += std::mem::take(v));
        }
    }
}

/// As [`of_step`].
fn of_step_mut(each: &mut [Params], k: usize) -> Option<&mut Params> {
    let last = each.len().checked_sub(1)?;
    each.get_mut(k.min(last))
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
mod head;
mod implicit;
mod path;

pub use first_order::{SecondMoment, minibatches};
pub use head::{HeadGradient, HeadLoop};
pub use implicit::{ConjugateGradients, Proximal};
use path::Path;

#[cfg(test)]
mod tests;
