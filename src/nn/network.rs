//! The network trait, and what its implementations share: the tape of the head.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use dfdx::prelude::*;
use ndarray::{Array2, ArrayView4, Axis as Along, concatenate};

use super::difference::central_difference;
use super::{Architecture, Dev, Head, Loss, Matrix, Norm, Vector};
use crate::params::{Layout, Params};
use crate::rng::Rng;
use crate::{Error, Result};

/// A loss at θ with everything its evaluation gives.
#[derive(Clone, Debug)]
pub struct LossGradient {
    /// The loss.
    pub loss: f32,
    /// The network's outputs, `[n, features]`.
    pub outputs: Array2<f32>,
    /// The gradient in θ. Slots of running statistics hold the batch's, those of weights behind the network's are 0.
    pub gradient: Params,
}

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

    /// Value and gradient of `head(network(θ, x))`, in plain dfdx code. Slots of running statistics in the gradient
    /// hold the batch's.
    ///
    /// # Errors
    /// As `forward`, and whatever the head refuses.
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
    /// statistics, and of weights behind the network's, are 0.
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
        Ok(Box::new(Anew { network: self, theta: theta.clone(), x, loss }))
    }
}

/// A loss at one θ: see [`Network::at`].
pub trait LossAt {
    /// As [`Network::gradient`].
    ///
    /// # Errors
    /// As there.
    fn gradient(&self) -> Result<LossGradient>;

    /// As [`Network::hvp`].
    ///
    /// # Errors
    /// As there.
    fn hvp(&self, direction: &Params) -> Result<Params>;
}

/// A loss that is computed anew each time.
struct Anew<'a, N: ?Sized> {
    network: &'a N,
    theta: Params,
    x: ArrayView4<'a, f32>,
    loss: &'a Loss,
}

impl<N: Network + ?Sized> LossAt for Anew<'_, N> {
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
    let both = concatenate(Along(0), &[support, query])
        .map_err(|error| Error::invalid(format!("support and queries differ in shape: {error}")))?;
    let outputs = network.forward(theta, both.view())?;
    let (z_support, z_query) = outputs.view().split_at(Along(0), support.dim().0);
    Ok([z_support.to_owned(), z_query.to_owned()])
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

    /// Gradient of a loss in θ, from its gradient `[n, features]` in the outputs; it has θ's layout. Slots of running
    /// statistics are filled with the batch's, those of weights behind the network's with 0.
    fn backward(&self, theta: &Params, saved: &Self::Saved, d_output: Array2<f32>) -> Result<Params>;
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
    /// and its change `dd_output`, `[n, features]` both. Slots of running statistics, and of weights behind the
    /// network's, are 0.
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
}

impl<P: SecondOrder> Network for P {
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
        let mut gradient = Params::zeros(theta.layout());
        let (value, d_embeddings) = value_and_grad_of_head(theta, embeddings, &mut gradient, head)?;
        let own = self.backward(theta, &saved, d_embeddings)?;
        let length = self.architecture().layout.len();
        gradient.values_mut()[..length].copy_from_slice(&own.values()[..length]);
        Ok((value, gradient))
    }

    fn gradient(&self, theta: &Params, x: ArrayView4<'_, f32>, loss: &Loss) -> Result<LossGradient> {
        forward(self, Cow::Borrowed(theta), x, loss)?.gradient()
    }

    fn hvp(&self, theta: &Params, x: ArrayView4<'_, f32>, loss: &Loss, direction: &Params) -> Result<Params> {
        forward(self, Cow::Borrowed(theta), x, loss)?.hvp(direction)
    }

    fn at<'a>(
        &'a self,
        theta: &Params,
        x: ArrayView4<'a, f32>,
        loss: &'a Loss,
    ) -> Result<Box<dyn LossAt + 'a>> {
        Ok(Box::new(forward(self, Cow::Owned(theta.clone()), x, loss)?))
    }
}

/// A loss after the forward pass at θ.
struct Forward<'a, P: Passes> {
    network: &'a P,
    theta: Cow<'a, Params>,
    saved: P::Saved,
    outputs: Array2<f32>,
    loss: &'a Loss,
}

fn forward<'a, P: Passes>(
    network: &'a P,
    theta: Cow<'a, Params>,
    x: ArrayView4<'_, f32>,
    loss: &'a Loss,
) -> Result<Forward<'a, P>> {
    network.architecture().check(&theta, &x)?;
    let (outputs, saved) = network.forward(&theta, x)?;
    Ok(Forward { network, theta, saved, outputs, loss })
}

impl<P: SecondOrder> LossAt for Forward<'_, P> {
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
        network.tangent_backward(theta, direction, saved, &tangent, d_outputs, dd_outputs)
    }
}

/// A head's own weights: tensors of θ behind those of the network, given out by name and differentiated.
///
/// They come without a tape: an operation on them alone (`permute`, `square`) is only differentiated after
/// `put_tape(OwnedTape::default())`.
pub struct HeadWeights<'a> {
    theta: &'a Params,
    device: Dev,
    vectors: RefCell<Vec<(Range<usize>, Vector)>>,
    matrices: RefCell<Vec<(Range<usize>, Matrix)>>,
}

impl HeadWeights<'_> {
    /// The weights called `name` as a vector.
    ///
    /// # Errors
    /// When θ has no such tensor of one dimension, or the device fails.
    pub fn vector(&self, name: &str) -> Result<Vector> {
        let (shape, range) = self.find(name)?;
        let &[length] = shape else { return Err(wrong_shape(name, shape, 1)) };
        let vector = self.upload(&range, (length,))?;
        self.vectors.borrow_mut().push((range, vector.clone()));
        Ok(vector)
    }

    /// The weights called `name` as a matrix.
    ///
    /// # Errors
    /// When θ has no such tensor of two dimensions, or the device fails.
    pub fn matrix(&self, name: &str) -> Result<Matrix> {
        let (shape, range) = self.find(name)?;
        let &[rows, columns] = shape else { return Err(wrong_shape(name, shape, 2)) };
        let matrix = self.upload(&range, (rows, columns))?;
        self.matrices.borrow_mut().push((range, matrix.clone()));
        Ok(matrix)
    }

    fn find(&self, name: &str) -> Result<(&[usize], Range<usize>)> {
        let entry = self.theta.layout().get(name);
        let entry = entry
            .ok_or_else(|| Error::invalid(format!("the head asks for weights `{name}`, which θ lacks")))?;
        Ok((&entry.shape, entry.range.clone()))
    }

    fn upload<S: Shape>(&self, range: &Range<usize>, shape: S) -> Result<Tensor<S, f32, Dev>> {
        self.device
            .try_tensor_from_vec(self.theta.values()[range.clone()].to_vec(), shape)
            .map_err(|error| Error::device("copying weights of the head", error))
    }
}

fn wrong_shape(name: &str, shape: &[usize], dimensions: usize) -> Error {
    Error::invalid(format!(
        "the head asks for weights `{name}` with {dimensions} dimensions, but they are {shape:?}"
    ))
}

/// Value of `head` at `embeddings` `[n, features]`, and its gradient there. The gradient in the head's own weights is
/// added to `gradient`, which has the layout of `theta`.
///
/// # Errors
/// Whatever the head refuses, or the device.
pub fn value_and_grad_of_head(
    theta: &Params,
    embeddings: Array2<f32>,
    gradient: &mut Params,
    head: &mut Head<'_>,
) -> Result<(f32, Array2<f32>)> {
    let device = Dev::default();
    let failed = |error| Error::device("differentiating the loss", error);
    let shape = embeddings.dim();
    let host = if embeddings.is_standard_layout() {
        embeddings.into_raw_vec_and_offset().0
    } else {
        embeddings.iter().copied().collect()
    };
    let tensor = device.try_tensor_from_vec(host, shape).map_err(failed)?;
    let weights = HeadWeights { theta, device, vectors: RefCell::default(), matrices: RefCell::default() };
    let loss = head(tensor.leaky_trace(), &weights)?;
    let value = loss.as_vec()[0];
    let mut gradients = loss.try_backward().map_err(failed)?;
    // A tensor the loss does not depend on has no gradient yet.
    let mut read = |range: Range<usize>, d: Vec<f32>| {
        gradient.values_mut()[range].iter_mut().zip(d).for_each(|(sum, d)| *sum += d);
    };
    for (range, vector) in weights.vectors.into_inner() {
        gradients.get_or_alloc_mut(&vector).map_err(failed)?;
        read(range, gradients.get(&vector).as_vec());
    }
    for (range, matrix) in weights.matrices.into_inner() {
        gradients.get_or_alloc_mut(&matrix).map_err(failed)?;
        read(range, gradients.get(&matrix).as_vec());
    }
    gradients.get_or_alloc_mut(&tensor).map_err(failed)?;
    let d_embeddings = Array2::from_shape_vec(shape, gradients.get(&tensor).as_vec());
    Ok((value, d_embeddings.map_err(|error| Error::device("reading a gradient", error))?))
}
