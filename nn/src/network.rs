//! What learners need of a network: the [`Network`] trait.

use std::sync::Arc;

use ndarray::{Array2, Array4, ArrayView4, Axis, concatenate};

use crate::difference::central_difference;
use crate::params::{Layout, Params};
use crate::rng::Rng;
use crate::{Error, Head, Loss, Norm, Result};

/// A loss at θ with everything its evaluation gives.
#[derive(Clone, Debug)]
pub struct LossGradient {
    /// The loss.
    pub loss: f32,
    /// The network's outputs, `[n, features]`.
    pub outputs: Array2<f32>,
    /// The gradient in θ. Slots of running statistics hold the batch's, those of weights after the network's, a head's own, are 0.
    pub gradient: Params,
}

/// A pure function of (θ, inputs) with derivatives.
///
/// In [`Norm::Running`] mode `forward` evaluates (running statistics) and `value_and_grad` trains (the batch's).
///
/// ```
/// use kshot_nn::{Architecture, Fused, Loss, Network, rng::stream};
/// use ndarray::{Array4, array};
///
/// // The network of Finn et al. (2017) for sinusoids: two hidden layers of 40, one output.
/// let network = Fused::new(Architecture::mlp([1, 1, 1], &[40, 40])?.with_head(1)?)?;
/// let mut theta = network.init(&mut stream(0, "init", 0));
/// let x = Array4::from_shape_fn((3, 1, 1, 1), |(n, ..)| n as f32);
/// let loss = Loss::Mse { targets: array![[0.0], [0.8], [0.9]] };
///
/// // One step of gradient descent lowers the loss.
/// let before = network.gradient(&theta, x.view(), &loss)?;
/// theta.add_scaled(-0.01, &before.gradient)?;
/// assert!(network.gradient(&theta, x.view(), &loss)?.loss < before.loss);
/// assert_eq!(network.forward(&theta, x.view())?.dim(), (3, 1));
/// # Ok::<(), kshot_nn::Error>(())
/// ```
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

    /// Value and gradient of `head(network(θ, x))`, in plain dfdx code. Slots of running statistics in the gradient
    /// hold the batch's.
    ///
    /// # Errors
    /// As `forward`, and errors of the head.
    fn value_and_grad(
        &self,
        theta: &Params,
        x: ArrayView4<'_, f32>,
        head: &mut Head<'_>,
    ) -> Result<(f32, Params)>;

    /// `loss(network(θ, x))` and its gradient in θ, as in training.
    ///
    /// # Errors
    /// As `forward`, and when the loss's labels or targets do not match the outputs.
    fn gradient(&self, theta: &Params, x: ArrayView4<'_, f32>, loss: &Loss) -> Result<LossGradient> {
        let mut values = Vec::new();
        let (value, gradient) = self.value_and_grad(theta, x, &mut |outputs, _| {
            values = outputs.as_vec();
            loss.on_tape(outputs)
        })?;
        let outputs = Array2::from_shape_vec((x.dim().0, self.features()), values);
        let outputs = outputs.map_err(|error| Error::device("reading the outputs", error))?;
        Ok(LossGradient { loss: value, outputs, gradient })
    }

    /// The Hessian of `loss(network(θ, x))` in θ, times `direction`, on the batch's statistics. Slots of running
    /// statistics, and of weights after the network's, are 0.
    ///
    /// [`Fused`](super::Fused) and [`Portable`](super::Portable) compute it exactly, by forward-over-reverse
    /// differentiation (Pearlmutter 1994).
    ///
    /// A network of your own inherits the central difference of two gradients, `(∇L(θ + εv) − ∇L(θ − εv)) / 2ε` with
    /// `ε = ∛u · (1 + ‖θ‖) / ‖v‖` and `u = 2⁻²³`. Its error is `ε²/6 · ‖∂³L[v, v]‖` of truncation and about
    /// `u · ‖∇L‖ / ε` of rounding: for a smooth network three to five correct digits.
    ///
    /// Not so for ReLU or max-pooling. The exact product keeps their masks fixed, as automatic differentiation does;
    /// where a mask changes between θ − εv and θ + εv the difference also sees that jump of the gradient, and no ε
    /// is small enough in single precision. The difference is then the product for the loss smoothed over ε, and
    /// differs from the exact one by 0.3 to 4 times its length. Give a network with kinks a product of its own, or
    /// stay with first-order learners.
    ///
    /// # Errors
    /// As `gradient`, and when `direction` does not match the network.
    fn hvp(&self, theta: &Params, x: ArrayView4<'_, f32>, loss: &Loss, direction: &Params) -> Result<Params> {
        central_difference(self.layout(), theta, direction, |theta| {
            Ok(self.gradient(theta, x, loss)?.gradient)
        })
    }

    /// The loss at θ, for its gradient and any number of Hessian-vector products there.
    ///
    /// [`Fused`](super::Fused) and [`Portable`](super::Portable) run the forward pass once for all of them; a network of
    /// your own inherits calls of `gradient` and `hvp`.
    ///
    /// # Errors
    /// As `gradient`.
    fn at<'a>(
        &'a self,
        theta: &Params,
        x: ArrayView4<'a, f32>,
        loss: &'a Loss,
    ) -> Result<Box<dyn LossAt + 'a>> {
        Ok(Box::new(RecomputedLoss { network: self, theta: theta.clone(), x, loss }))
    }

    /// A forward pass on the batch's statistics or, if the network has them, the running ones, and the way back from a gradient in the outputs to
    /// those in θ and in the inputs: for a network on another's outputs, and for what of an image a score depends on.
    ///
    /// ```
    /// use kshot_nn::{Architecture, Fused, Network, Norm, Pooling, rng::stream};
    /// use ndarray::{Array4, array};
    ///
    /// // A saliency map (Simonyan, Vedaldi & Zisserman 2014): the gradient of a class's score in the image.
    /// let conv = Architecture::conv([1, 16, 16], 2, 8, Pooling::Maxpool, Norm::Running)?.with_head(2)?;
    /// let network = Fused::new(conv)?;
    /// let theta = network.init(&mut stream(0, "init", 0));
    /// let image = Array4::from_shape_fn((1, 1, 16, 16), |(.., y, x)| (x * y) as f32 / 256.0);
    /// let trace = network.trace(&theta, image.view(), Norm::Running)?;
    /// let (_, saliency) = trace.back(array![[1.0, 0.0]])?;
    /// assert_eq!(saliency.dim(), image.dim());
    /// # Ok::<(), kshot_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// As `forward`, and for a network of your own, which has none unless you give it one.
    fn trace<'a>(
        &'a self,
        _theta: &'a Params,
        _x: ArrayView4<'_, f32>,
        _statistics: Norm,
    ) -> Result<Box<dyn Trace + 'a>> {
        Err(Error::invalid("this network gives no gradient in its inputs: implement `Network::trace` for it"))
    }

    /// The same network with its drop layers active, if it has any: a pure function as well, whose noise `seed` names. It
    /// drops in every method, evaluation too; the network itself nowhere, so that a learner trains on the one and
    /// evaluates on the other.
    ///
    /// ```
    /// use kshot_nn::{Architecture, Fused, Network, Norm, rng::stream};
    /// use ndarray::Array4;
    ///
    /// let hidden = Architecture::builder([8, 1, 1], Norm::Running).flatten().linear("hidden", 32)?.relu();
    /// let network = Fused::new(hidden.dropout(0.5)?.linear("head", 2)?.finish()?)?;
    /// let theta = network.init(&mut stream(0, "init", 0));
    /// let x = Array4::ones((3, 8, 1, 1));
    /// let outputs = |seed| network.noisy(seed).map(|noisy| noisy.forward(&theta, x.view())).transpose();
    /// assert_eq!(outputs(1)?, outputs(1)?);
    /// assert_ne!(outputs(1)?, outputs(2)?);
    /// # Ok::<(), kshot_nn::Error>(())
    /// ```
    fn noisy(&self, _seed: u64) -> Option<Arc<dyn Network>> {
        None
    }

    /// Numbers that a pass keeps of an example, about: for those who weigh memory against time. None where nobody knows.
    fn activations(&self) -> Option<usize> {
        None
    }
}

/// A forward pass to go back from: see [`Network::trace`].
pub trait Trace {
    /// The outputs, `[n, features]`.
    fn outputs(&self) -> &Array2<f32>;

    /// The gradients in θ and in the inputs, `[n, c, h, w]`, from that in the outputs. On the batch's statistics, slots of
    /// running ones hold the batch's.
    ///
    /// # Errors
    /// When the gradient has another shape than the outputs, or the device fails.
    fn back(&self, d_outputs: Array2<f32>) -> Result<(Params, Array4<f32>)>;
}

/// A loss at one θ: see [`Network::at`].
pub trait LossAt {
    /// The loss, the outputs and the gradient in θ: see [`Network::gradient`].
    ///
    /// # Errors
    /// When the loss's labels or targets do not match the outputs, or the device fails.
    fn gradient(&self) -> Result<LossGradient>;

    /// The Hessian times `direction`: see [`Network::hvp`].
    ///
    /// # Errors
    /// As `gradient`, and when `direction` does not match the network.
    fn hvp(&self, direction: &Params) -> Result<Params>;
}

/// A loss that every call computes again from θ.
struct RecomputedLoss<'a, N: ?Sized> {
    network: &'a N,
    theta: Params,
    x: ArrayView4<'a, f32>,
    loss: &'a Loss,
}

impl<N: Network + ?Sized> LossAt for RecomputedLoss<'_, N> {
    fn gradient(&self) -> Result<LossGradient> {
        self.network.gradient(&self.theta, self.x, self.loss)
    }

    fn hvp(&self, direction: &Params) -> Result<Params> {
        self.network.hvp(&self.theta, self.x, self.loss, direction)
    }
}

/// Outputs for support and queries. On running statistics no input sees another, so both go through in one batch, which
/// keeps all threads busy where a support set of five would not.
///
/// # Errors
/// As [`Network::forward`].
pub fn embed_both(
    network: &dyn Network,
    theta: &Params,
    support: ArrayView4<'_, f32>,
    query: ArrayView4<'_, f32>,
) -> Result<[Array2<f32>; 2]> {
    if network.norm() == Norm::Batch {
        return Ok([network.forward(theta, support)?, network.forward(theta, query)?]);
    }
    let both = concatenate(Axis(0), &[support, query])
        .map_err(|error| Error::invalid(format!("support and queries differ in shape: {error}")))?;
    let outputs = network.forward(theta, both.view())?;
    let (z_support, z_query) = outputs.view().split_at(Axis(0), support.dim().0);
    Ok([z_support.to_owned(), z_query.to_owned()])
}
