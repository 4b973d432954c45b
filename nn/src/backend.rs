//! A backend: the passes over an [`Architecture`], and the [`Network`] that follows from them.

use std::borrow::Cow;
use std::sync::Arc;

use ndarray::{Array2, Array4, ArrayView4};

use crate::network::{LossAt, LossGradient, Network, Trace};
use crate::params::{Layout, Params};
use crate::rng::Rng;
use crate::tape::{Head, value_and_grad_of_head};
use crate::{Architecture, Error, Loss, Norm, Result};

/// The passes over an [`Architecture`]; [`Network`] follows from them. Host arrays go in and out.
pub(crate) trait Backend: Send + Sync {
    /// What the training forward pass keeps for the backward pass.
    type Saved;

    fn architecture(&self) -> &Architecture;

    /// The same with drop layers active, their noise named by `seed`.
    fn with_noise(&self, seed: u64) -> Self
    where
        Self: Sized;

    /// Evaluation: running statistics in [`Norm::Running`], the batch's in [`Norm::Batch`].
    fn evaluate(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<Array2<f32>>;

    /// Training: always the batch's statistics.
    fn forward(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<(Array2<f32>, Self::Saved)>;

    /// Gradient of a loss in θ, from its gradient `[n, features]` in the outputs; it has θ's layout. Slots of running
    /// statistics are filled with the batch's, those of weights after the network's with 0.
    fn backward(&self, theta: &Params, saved: &Self::Saved, d_output: Array2<f32>) -> Result<Params>;

    /// A forward pass on the statistics asked for, to go [`Self::back`] from.
    fn trace(
        &self,
        theta: &Params,
        x: ArrayView4<'_, f32>,
        statistics: Norm,
    ) -> Result<(Array2<f32>, Self::Saved)>;

    /// [`Self::backward`], and the gradient in the inputs, `[n, c, h, w]`.
    fn back(
        &self,
        theta: &Params,
        saved: &Self::Saved,
        d_output: Array2<f32>,
    ) -> Result<(Params, Array4<f32>)>;
}

/// Passes that carry a change of θ along: forward-over-reverse differentiation (Pearlmutter 1994, "Fast Exact
/// Multiplication by the Hessian"). Inputs are constant.
pub(crate) trait SecondOrder: Backend {
    /// What the tangent forward pass keeps for the tangent backward pass.
    type Tangent;

    /// Change `[n, features]` of the training outputs per change `direction` of θ.
    fn tangent_forward(
        &self,
        theta: &Params,
        direction: &Params,
        saved: &Self::Saved,
    ) -> Result<(Array2<f32>, Self::Tangent)>;

    /// Change of the gradient in θ per change `direction` of θ, from `d_output`: the gradient of a loss in the
    /// outputs and its change, `[n, features]` both. Slots of running statistics, and of weights after the
    /// network's, are 0.
    fn tangent_backward(
        &self,
        theta: &Params,
        direction: &Params,
        saved: &Self::Saved,
        tangent: &Self::Tangent,
        d_output: [Array2<f32>; 2],
    ) -> Result<Params>;
}

impl<P: SecondOrder + 'static> Network for P {
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
        let (embeddings, saved) = Backend::forward(self, theta, x)?;
        let mut gradient = Params::zeros(theta.layout());
        let (value, d_embeddings) = value_and_grad_of_head(theta, embeddings, &mut gradient, head)?;
        let own = self.backward(theta, &saved, d_embeddings)?;
        let length = self.architecture().layout.len();
        gradient.values_mut()[..length].copy_from_slice(&own.values()[..length]);
        Ok((value, gradient))
    }

    fn gradient(&self, theta: &Params, x: ArrayView4<'_, f32>, loss: &Loss) -> Result<LossGradient> {
        evaluate(self, Cow::Borrowed(theta), x, loss)?.gradient()
    }

    fn hvp(&self, theta: &Params, x: ArrayView4<'_, f32>, loss: &Loss, direction: &Params) -> Result<Params> {
        evaluate(self, Cow::Borrowed(theta), x, loss)?.hvp(direction)
    }

    fn at<'a>(
        &'a self,
        theta: &Params,
        x: ArrayView4<'a, f32>,
        loss: &'a Loss,
    ) -> Result<Box<dyn LossAt + 'a>> {
        Ok(Box::new(evaluate(self, Cow::Owned(theta.clone()), x, loss)?))
    }

    fn trace<'a>(
        &'a self,
        theta: &'a Params,
        x: ArrayView4<'_, f32>,
        statistics: Norm,
    ) -> Result<Box<dyn Trace + 'a>> {
        self.architecture().check(theta, &x)?;
        // There are no running statistics otherwise.
        let statistics = if self.architecture().norm == Norm::Batch { Norm::Batch } else { statistics };
        let (outputs, saved) = Backend::trace(self, theta, x, statistics)?;
        Ok(Box::new(TracedPass { network: self, theta, saved, outputs }))
    }

    fn noisy(&self, seed: u64) -> Option<Arc<dyn Network>> {
        (self.architecture().drops() > 0).then(|| Arc::new(self.with_noise(seed)) as Arc<dyn Network>)
    }

    fn activations(&self) -> Option<usize> {
        Some(self.architecture().activations())
    }
}

/// A forward pass to go back from.
struct TracedPass<'a, P: Backend> {
    network: &'a P,
    theta: &'a Params,
    saved: P::Saved,
    outputs: Array2<f32>,
}

impl<P: Backend> Trace for TracedPass<'_, P> {
    fn outputs(&self) -> &Array2<f32> {
        &self.outputs
    }

    fn back(&self, d_outputs: Array2<f32>) -> Result<(Params, Array4<f32>)> {
        if d_outputs.dim() != self.outputs.dim() {
            return Err(Error::invalid(format!(
                "a gradient of {:?} in outputs of {:?}",
                d_outputs.dim(),
                self.outputs.dim()
            )));
        }
        self.network.back(self.theta, &self.saved, d_outputs)
    }
}

/// A loss after the forward pass at θ.
struct EvaluatedLoss<'a, P: Backend> {
    network: &'a P,
    theta: Cow<'a, Params>,
    saved: P::Saved,
    outputs: Array2<f32>,
    loss: &'a Loss,
}

fn evaluate<'a, P: Backend>(
    network: &'a P,
    theta: Cow<'a, Params>,
    x: ArrayView4<'_, f32>,
    loss: &'a Loss,
) -> Result<EvaluatedLoss<'a, P>> {
    network.architecture().check(&theta, &x)?;
    let (outputs, saved) = network.forward(&theta, x)?;
    Ok(EvaluatedLoss { network, theta, saved, outputs, loss })
}

impl<P: SecondOrder> LossAt for EvaluatedLoss<'_, P> {
    fn gradient(&self) -> Result<LossGradient> {
        let d_outputs = self.loss.gradient(self.outputs.view())?;
        let gradient = self.network.backward(&self.theta, &self.saved, d_outputs)?;
        let loss = self.loss.value(self.outputs.view())?;
        Ok(LossGradient { loss, outputs: self.outputs.clone(), gradient })
    }

    fn hvp(&self, direction: &Params) -> Result<Params> {
        let Self { network, theta, saved, outputs, loss } = self;
        network.architecture().check_weights(direction)?;
        let (change, tangent) = network.tangent_forward(theta, direction, saved)?;
        let d_outputs = loss.gradient(outputs.view())?;
        let dd_outputs = loss.gradient_tangent(outputs.view(), change.view())?;
        network.tangent_backward(theta, direction, saved, &tangent, [d_outputs, dd_outputs])
    }
}
