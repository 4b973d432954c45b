//! The network trait, and what its implementations share: the tape of the head.

use std::sync::Arc;

use dfdx::prelude::*;
use ndarray::{Array2, ArrayView4};

use super::{Architecture, Dev, Head, Loss, Norm};
use crate::params::{Layout, Params};
use crate::rng::Rng;
use crate::{Error, Result};

/// A pure function of (θ, inputs) with derivatives.
///
/// In [`Norm::Running`] mode `forward` evaluates (running statistics) and `value_and_grad` trains (the batch's).
pub trait Network: Send + Sync {
    /// Names and places of the weights.
    fn layout(&self) -> &Arc<Layout>;

    /// Width of the output.
    fn features(&self) -> usize;

    /// Which statistics its batch norms use; decides whether a learner on it is transductive.
    fn norm(&self) -> Norm;

    /// Fresh weights.
    fn init(&self, rng: &mut Rng) -> Params;

    /// Outputs `[n, features]` for inputs `[n, c, h, w]`.
    ///
    /// # Errors
    /// When the inputs have another shape than the network, or the device fails.
    fn forward(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<Array2<f32>>;

    /// Value and gradient of `head(network(θ, x))`. Slots of running statistics in the gradient hold the batch's.
    ///
    /// # Errors
    /// As `forward`, and whatever the head refuses.
    fn value_and_grad(
        &self,
        theta: &Params,
        x: ArrayView4<'_, f32>,
        head: &mut Head<'_>,
    ) -> Result<(f32, Params)>;
}

/// The passes of a backend over an [`Architecture`]; [`Network`] follows from them. Host arrays go in and out.
pub(crate) trait Passes: Send + Sync {
    /// What the training forward pass keeps for the backward pass.
    type Saved;

    fn architecture(&self) -> &Architecture;

    /// Evaluation: running statistics in [`Norm::Running`], the batch's in [`Norm::Batch`].
    fn evaluate(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<Array2<f32>>;

    /// Training: always the batch's statistics.
    fn forward(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<(Array2<f32>, Self::Saved)>;

    /// Gradient of a loss in θ, from its gradient `[n, features]` in the outputs. Slots of running statistics are
    /// filled with the batch's.
    fn backward(&self, theta: &Params, saved: Self::Saved, d_output: Array2<f32>) -> Result<Params>;
}

/// Passes that carry a change of θ along: forward-over-reverse differentiation (Pearlmutter 1994, "Fast Exact
/// Multiplication by the Hessian"). Inputs are constant.
pub(crate) trait SecondOrder: Passes {
    /// What the tangent forward pass keeps for the tangent backward pass.
    type Tangent;

    /// Change `[n, features]` of the training outputs per change `direction` of θ.
    fn tangent_forward(
        &self,
        theta: &Params,
        direction: &Params,
        saved: &Self::Saved,
    ) -> Result<(Array2<f32>, Self::Tangent)>;

    /// Change of the gradient in θ per change `direction` of θ, from the gradient `d_output` of a loss in the outputs
    /// and its change `dd_output`, `[n, features]` both. Slots of running statistics are 0.
    #[allow(clippy::too_many_arguments)]
    fn tangent_backward(
        &self,
        theta: &Params,
        direction: &Params,
        saved: &Self::Saved,
        tangent: &Self::Tangent,
        d_output: Array2<f32>,
        dd_output: Array2<f32>,
    ) -> Result<Params>;

    /// The Hessian of `loss(network(θ, x))` in θ, times `direction`.
    fn hessian_vector_product(
        &self,
        theta: &Params,
        x: ArrayView4<'_, f32>,
        loss: &Loss,
        direction: &Params,
    ) -> Result<Params> {
        self.architecture().check(theta, &x)?;
        self.architecture().check(direction, &x)?;
        let (output, saved) = Passes::forward(self, theta, x)?;
        let (change, tangent) = self.tangent_forward(theta, direction, &saved)?;
        let d_output = loss.gradient(output.view())?;
        let dd_output = loss.gradient_tangent(output.view(), change.view())?;
        self.tangent_backward(theta, direction, &saved, &tangent, d_output, dd_output)
    }
}

impl<P: Passes> Network for P {
    fn layout(&self) -> &Arc<Layout> {
        &self.architecture().layout
    }

    fn features(&self) -> usize {
        self.architecture().features
    }

    fn norm(&self) -> Norm {
        self.architecture().norm
    }

    fn init(&self, rng: &mut Rng) -> Params {
        self.architecture().init(rng)
    }

    fn forward(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
        self.architecture().check(theta, &x)?;
        self.evaluate(theta, x)
    }

    fn value_and_grad(
        &self,
        theta: &Params,
        x: ArrayView4<'_, f32>,
        head: &mut Head<'_>,
    ) -> Result<(f32, Params)> {
        self.architecture().check(theta, &x)?;
        let (embeddings, saved) = Passes::forward(self, theta, x)?;
        let (value, d_embeddings) = value_and_grad_of_head(embeddings, head)?;
        Ok((value, self.backward(theta, saved, d_embeddings)?))
    }
}

/// Value of `head` at `embeddings` `[n, features]`, and its gradient there.
///
/// # Errors
/// Whatever the head refuses, or the device.
pub fn value_and_grad_of_head(embeddings: Array2<f32>, head: &mut Head<'_>) -> Result<(f32, Array2<f32>)> {
    let device = Dev::default();
    let shape = embeddings.dim();
    let tensor = device
        .try_tensor_from_vec(embeddings.into_raw_vec_and_offset().0, shape)
        .map_err(|error| Error::device("copying embeddings", error))?;
    let loss = head(tensor.leaky_trace())?;
    let value = loss.as_vec()[0];
    let gradients = loss.try_backward().map_err(|error| Error::device("differentiating the loss", error))?;
    let gradient = gradients.get(&tensor).as_vec();
    let gradient = Array2::from_shape_vec(shape, gradient)
        .map_err(|error| Error::device("reading a gradient", error))?;
    Ok((value, gradient))
}
