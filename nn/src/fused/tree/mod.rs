//! Any tree of layers: residual networks, filters of any size, signals.

mod backward;
mod forward;
mod join;
mod plan;
mod tangent;
mod view;

use std::sync::Arc;

use ndarray::{Array2, ArrayView4};

use super::arena::Arena;
use super::simd::Isa;
use super::tail::Tail;
use crate::architecture::{Architecture, Norm};
use crate::{Error, Result};
use backward::{Backward, Changes};
pub(crate) use forward::Saved;
use plan::Plan;
pub(crate) use tangent::Tangent;
use tangent::TangentForward;

/// A tree of layers on images, then layers on matrices.
pub(super) struct Tree {
    norm: Norm,
    /// Shape of an input, `[channels, height, width]`.
    input: [usize; 3],
    plan: Plan,
    tail: Tail,
    isa: Isa,
    arena: Arc<Arena>,
    /// As many as images have channels.
    ones: Vec<f32>,
    zeros: Vec<f32>,
}

impl Tree {
    /// # Errors
    /// When layers of images come after layers of matrices.
    pub(super) fn new(architecture: &Architecture, isa: Isa) -> Result<Self> {
        let refused = || {
            Error::invalid(
                "layers of images come first, then one flatten or spatial mean, then layers of matrices",
            )
        };
        let (plan, tail) = Plan::new(isa, architecture.input, &architecture.layers).ok_or_else(refused)?;
        let arena = Arc::default();
        let tail = Tail::new(isa, &arena, plan.joint.features(), tail).ok_or_else(refused)?;
        let channels = plan.raws.iter().map(|image| image.channels).max().unwrap_or(0);
        let (ones, zeros) = (vec![1.0; channels], vec![0.0; channels]);
        let (norm, input) = (architecture.norm, architecture.input);
        Ok(Self { norm, input, plan, tail, isa, arena, ones, zeros })
    }

    pub(super) fn evaluate(&self, theta: &[f32], x: ArrayView4<'_, f32>, noise: Option<u64>) -> Array2<f32> {
        match (self.norm, noise) {
            (Norm::Running, None) => self.evaluate_running(theta, x),
            (statistics, noise) => self.run_forward(theta, x, statistics, noise).0,
        }
    }

    pub(super) fn backward(
        &self,
        theta: &[f32],
        saved: &Saved,
        d_output: &Array2<f32>,
        gradient: &mut [f32],
    ) {
        Backward::<1> { tree: self, theta, saved, changes: None, to_inputs: false }.run([d_output], gradient);
    }

    /// [`Self::backward`], and the gradient in the inputs, `[n, c, h, w]`.
    pub(super) fn back(
        &self,
        theta: &[f32],
        saved: &Saved,
        d_output: &Array2<f32>,
        gradient: &mut [f32],
    ) -> Vec<f32> {
        let pass = Backward::<1> { tree: self, theta, saved, changes: None, to_inputs: true };
        pass.run([d_output], gradient)
    }

    pub(super) fn tangent_forward(
        &self,
        theta: &[f32],
        direction: &[f32],
        saved: &Saved,
    ) -> (Array2<f32>, Tangent) {
        TangentForward { tree: self, theta, direction, saved }.run()
    }

    pub(super) fn tangent_backward(
        &self,
        [theta, direction]: [&[f32]; 2],
        (saved, tangent): (&Saved, &Tangent),
        d_output: [&Array2<f32>; 2],
        product: &mut [f32],
    ) {
        let changes = Some(Changes { direction, tangent });
        Backward::<2> { tree: self, theta, saved, changes, to_inputs: false }.run(d_output, product);
    }
}
