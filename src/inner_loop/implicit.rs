//! The implicit meta-gradient: Rajeswaran, Finn, Kakade & Levine, "Meta-Learning with Implicit Gradients", NeurIPS 2019.
//!
//! If φ minimises L_S(φ) + λ/2 ‖φ − θ‖², then dφ/dθ = (I + H_S(φ)/λ)⁻¹ (lemma 1), so the meta-gradient solves
//! (I + H_S(φ)/λ) g = ∇L_Q(φ): by conjugate gradients, one Hessian-vector product an iteration, without a path to store.
//! φ is as near the minimum as the inner steps come.

use super::{InnerLoop, MetaGradient, Objective, for_weights};
use crate::Result;
use crate::params::{Params, Role};

/// The proximal term λ/2 ‖φ − θ‖² of the inner problem.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proximal {
    /// λ.
    pub lambda: f32,
}

impl InnerLoop<'_> {
    /// `φ ← φ − α∘(∇L_S(φ) + λ (φ − θ))`.
    pub(super) fn proximal_step(
        &self,
        Proximal { lambda }: Proximal,
        theta: &Params,
        adapted: &mut Params,
        support: Objective<'_>,
    ) -> Result<()> {
        self.check(adapted)?;
        let gradient = self.network.gradient(adapted, support.x, support.loss)?.gradient;
        for_weights(adapted, [self.rate, &gradient, theta], |phi, [alpha, g, theta]| {
            *phi -= alpha * (g + lambda * (*phi - theta));
        });
        Ok(())
    }

    /// The implicit meta-gradient of iMAML after `iterations` of conjugate gradients (its algorithm 2); with none, or
    /// λ → ∞, that is ∇L_Q(φ), as for `fomaml`.
    ///
    /// The Hessian of a network need not be positive: where a direction of negative curvature comes up, the iteration
    /// ends with what it has.
    ///
    /// # Errors
    /// As for `step`; without a proximal term λ is 1.
    pub fn imaml(
        &self,
        theta: &Params,
        support: Objective<'_>,
        query: Objective<'_>,
        iterations: usize,
    ) -> Result<MetaGradient> {
        let proximal = self.proximal.unwrap_or(Proximal { lambda: 1.0 });
        let adapted = InnerLoop { proximal: Some(proximal), ..*self }.adapt(theta, support)?;
        let mut outer = self.judge_last(&adapted, query)?;
        let optimum = self.network.at(&adapted, support.x, support.loss)?;
        let system = |v: &Params| -> Result<Params> {
            let mut product = optimum.hvp(v)?;
            for_weights(&mut product, [v], |hv, [v]| *hv = v + *hv / proximal.lambda);
            Ok(product)
        };
        conjugate_gradients(system, &mut outer.gradient, iterations)?;
        Ok(outer)
    }
}

/// Replaces `b` by an approximate solution x of `A x = b` (Hestenes & Stiefel 1952): every x on the way from 0 descends
/// as `b` does. Where already `b` has negative curvature, it stays.
fn conjugate_gradients(
    system: impl Fn(&Params) -> Result<Params>,
    b: &mut Params,
    iterations: usize,
) -> Result<()> {
    let (mut residual, mut direction) = (b.clone(), b.clone());
    let mut square = dot(b, b);
    let enough = square * 1e-12;
    for iteration in 0..iterations {
        if square <= enough {
            break;
        }
        let image = system(&direction)?;
        let curvature = dot(&direction, &image);
        if curvature <= 0.0 {
            break;
        }
        let step = (square / curvature) as f32;
        if iteration == 0 {
            for_weights(b, [], |x, []| *x = 0.0);
        }
        for_weights(b, [&direction], |x, [p]| *x += step * p);
        for_weights(&mut residual, [&image], |r, [image]| *r -= step * image);
        let next = dot(&residual, &residual);
        let ratio = (next / square) as f32;
        for_weights(&mut direction, [&residual], |p, [r]| *p = r + ratio * *p);
        square = next;
    }
    Ok(())
}

/// ⟨a, b⟩ over the weights, summed in double precision.
fn dot(a: &Params, b: &Params) -> f64 {
    let products = a.layout().ranges(Role::Weight).flat_map(|range| {
        a.values()[range.clone()].iter().zip(&b.values()[range]).map(|(a, b)| f64::from(*a) * f64::from(*b))
    });
    products.sum()
}
