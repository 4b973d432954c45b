//! The implicit meta-gradient: Rajeswaran, Finn, Kakade & Levine, "Meta-Learning with Implicit Gradients", NeurIPS 2019.
//!
//! If φ minimises L_S(φ) + λ/2 ‖φ − θ‖², then dφ/dθ = (I + H_S(φ)/λ)⁻¹ (lemma 1), so the meta-gradient solves
//! (I + H_S(φ)/λ) g = ∇L_Q(φ): by conjugate gradients, one Hessian-vector product an iteration, without a path to store.
//! φ is as near the minimum as the inner steps come.
//!
//! The Hessian of a network is not positive away from a minimum, and conjugate gradients end where they come upon a
//! direction in which I + H_S/λ is not: with a small λ after few iterations. The authors' code
//! (github.com/aravindr93/imaml_dev) damps the system instead, (1 + damping) v + H_S v/(λ + damping of λ):
//! [`ConjugateGradients::default`].

use super::{InnerLoop, MetaGradient, Objective};
use crate::Result;
use crate::params::Params;

/// The proximal term λ/2 ‖φ − θ‖² of the inner problem.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proximal {
    /// λ.
    pub lambda: f32,
}

/// How the implicit gradient's linear system is solved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConjugateGradients {
    /// Iterations, at most.
    pub iterations: usize,
    /// Added to 1, the factor of I.
    pub damping: f32,
    /// Added to λ, below H_S.
    pub lambda_damping: f32,
}

impl Default for ConjugateGradients {
    /// Those of the authors' code.
    fn default() -> Self {
        Self { iterations: 5, damping: 1.0, lambda_damping: 10.0 }
    }
}

impl From<usize> for ConjugateGradients {
    /// The system as it is, undamped.
    fn from(iterations: usize) -> Self {
        Self { iterations, damping: 0.0, lambda_damping: 0.0 }
    }
}

impl InnerLoop<'_> {
    /// `φ ← φ − α∘(∇L_S(φ) + λ (φ − θ))`.
    pub(super) fn proximal_step(
        &self,
        k: usize,
        Proximal { lambda }: Proximal,
        theta: &Params,
        adapted: &mut Params,
        support: Objective<'_>,
    ) -> Result<()> {
        self.check(adapted)?;
        let mut gradient = self.network.gradient(adapted, support.x, support.loss)?.gradient;
        gradient.update_weights([adapted, theta], |g, [phi, theta]| *g += lambda * (phi - theta));
        self.descend(k, adapted, &gradient);
        Ok(())
    }

    /// The implicit meta-gradient of iMAML by conjugate gradients (its algorithm 2), given as a number of iterations or with
    /// a damping; with no iteration, or λ → ∞ and no damping, that is ∇L_Q(φ), as for `fomaml`.
    ///
    /// Where a direction of negative curvature comes up, the iteration ends with what it has:
    /// [`MetaGradient::cg_iterations`] says how many were taken.
    ///
    /// # Errors
    /// As for `step`; without a proximal term λ is 1.
    pub fn imaml(
        &self,
        theta: &Params,
        support: Objective<'_>,
        query: Objective<'_>,
        solver: impl Into<ConjugateGradients>,
    ) -> Result<MetaGradient> {
        let ConjugateGradients { iterations, damping, lambda_damping } = solver.into();
        let proximal = self.proximal.unwrap_or(Proximal { lambda: 1.0 });
        let adapted = InnerLoop { proximal: Some(proximal), ..*self }.adapt(theta, support)?;
        let mut outer = self.judge_last(&adapted, query)?;
        let optimum = self.network.at(&adapted, support.x, support.loss)?;
        let (whole, lambda) = (1.0 + damping, proximal.lambda + lambda_damping);
        let system = |v: &Params| -> Result<Params> {
            let mut product = optimum.hvp(v)?;
            product.update_weights([v], |hv, [v]| *hv = whole * v + *hv / lambda);
            Ok(product)
        };
        outer.cg_iterations = Some(conjugate_gradients(system, &mut outer.gradient, iterations)?);
        Ok(outer)
    }
}

/// Replaces `b` by an approximate solution x of `A x = b` (Hestenes & Stiefel 1952): every x on the way from 0 descends
/// as `b` does. Where already `b` has negative curvature, it stays. Gives the number of iterations taken.
fn conjugate_gradients(
    system: impl Fn(&Params) -> Result<Params>,
    b: &mut Params,
    iterations: usize,
) -> Result<usize> {
    let (mut residual, mut direction) = (b.clone(), b.clone());
    let mut square = b.dot(b);
    let enough = square * 1e-12;
    for iteration in 0..iterations {
        if square <= enough {
            return Ok(iteration);
        }
        let image = system(&direction)?;
        let curvature = direction.dot(&image);
        if curvature <= 0.0 {
            return Ok(iteration);
        }
        let step = (square / curvature) as f32;
        if iteration == 0 {
            b.update_weights([], |x, []| *x = 0.0);
        }
        b.update_weights([&direction], |x, [p]| *x += step * p);
        residual.update_weights([&image], |r, [image]| *r -= step * image);
        let next = residual.dot(&residual);
        let ratio = (next / square) as f32;
        direction.update_weights([&residual], |p, [r]| *p = r + ratio * *p);
        square = next;
    }
    Ok(iterations)
}
