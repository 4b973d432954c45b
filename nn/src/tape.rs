//! The tape of the head: dfdx's types as kshot uses them, and the loss on top of a network's outputs.

use std::cell::RefCell;
use std::ops::Range;

use dfdx::prelude::*;
use ndarray::{Array2, ArrayView2};

use crate::params::Params;
use crate::{Error, Result};

/// The device of dfdx tensors: `Cpu`, or `Cuda` with feature `cuda`. One per thread.
pub type Dev = dfdx::tensor::AutoDevice;
/// A matrix, `[rows, columns]`, without a tape.
pub type Matrix = Tensor<(usize, usize), f32, Dev>;
/// A vector without a tape.
pub type Vector = Tensor<(usize,), f32, Dev>;
/// A matrix on the gradient tape.
pub type TapedMatrix = Tensor<(usize, usize), f32, Dev, OwnedTape<f32, Dev>>;
/// A scalar on the gradient tape: what a head returns as its loss.
pub type TapedScalar = Tensor<(), f32, Dev, OwnedTape<f32, Dev>>;
/// What turns embeddings `[n, features]`, and weights of its own, into a loss, in plain dfdx code.
pub type Head<'a> = dyn FnMut(TapedMatrix, &HeadWeights<'_>) -> Result<TapedScalar> + 'a;

/// A head's own weights: tensors of θ after those of the network, given out by name and differentiated.
///
/// They come without a tape: an operation on them alone (`permute`, `square`) is only differentiated after
/// `put_tape(OwnedTape::default())`.
pub struct HeadWeights<'a> {
    theta: &'a Params,
    device: Dev,
    vectors: RefCell<Vec<(Range<usize>, Vector)>>,
    matrices: RefCell<Vec<(Range<usize>, Matrix)>>,
    /// Gradients that the head computed itself.
    given: RefCell<Vec<(Range<usize>, Vec<f32>)>>,
}

impl<'a> HeadWeights<'a> {
    fn of(theta: &'a Params) -> Self {
        Self {
            theta,
            device: Dev::default(),
            vectors: RefCell::default(),
            matrices: RefCell::default(),
            given: RefCell::default(),
        }
    }
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

    /// The values of the weights called `name`, for a head that computes on the host: what it computes of their gradient goes
    /// to [`HeadWeights::add_gradient`].
    ///
    /// # Errors
    /// When θ has no such tensor.
    pub fn values(&self, name: &str) -> Result<&[f32]> {
        let (_, range) = self.find(name)?;
        Ok(&self.theta.values()[range])
    }

    /// Adds to the gradient of the loss in the weights called `name`, beside what the tape finds.
    ///
    /// # Errors
    /// When θ has no such tensor, or one of another length.
    pub fn add_gradient(&self, name: &str, gradient: Vec<f32>) -> Result<()> {
        let (shape, range) = self.find(name)?;
        if gradient.len() != range.len() {
            return Err(Error::invalid(format!(
                "the head gives {} numbers for the gradient of `{name}`, which is {shape:?}",
                gradient.len()
            )));
        }
        self.given.borrow_mut().push((range, gradient));
        Ok(())
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

/// What `head` makes of `embeddings` `[n, features]` with weights of its own, `[rows, columns]`: as in training, and not
/// differentiated.
///
/// # Errors
/// Errors of the head, and when the device fails.
pub fn output_of_head(
    theta: &Params,
    embeddings: ArrayView2<'_, f32>,
    head: impl FnOnce(TapedMatrix, &HeadWeights<'_>) -> Result<TapedMatrix>,
) -> Result<Array2<f32>> {
    let weights = HeadWeights::of(theta);
    let host = embeddings.iter().copied().collect();
    let tensor = weights.device.try_tensor_from_vec(host, embeddings.dim());
    let tensor = tensor.map_err(|error| Error::device("copying embeddings", error))?;
    let output = head(tensor.put_tape(OwnedTape::default()), &weights)?;
    Array2::from_shape_vec(*output.shape(), output.as_vec())
        .map_err(|error| Error::device("reading the output of a head", error))
}

/// Value of `head` at `embeddings` `[n, features]`, and its gradient there. The gradient in the head's own weights is
/// added to `gradient`, which has the layout of `theta`.
///
/// # Errors
/// Errors of the head, and when the device fails.
pub fn value_and_grad_of_head(
    theta: &Params,
    embeddings: Array2<f32>,
    gradient: &mut Params,
    head: &mut Head<'_>,
) -> Result<(f32, Array2<f32>)> {
    let failed = |error| Error::device("differentiating the loss", error);
    let shape = embeddings.dim();
    let host = if embeddings.is_standard_layout() {
        embeddings.into_raw_vec_and_offset().0
    } else {
        embeddings.iter().copied().collect()
    };
    let weights = HeadWeights::of(theta);
    let tensor = weights.device.try_tensor_from_vec(host, shape).map_err(failed)?;
    let loss = head(tensor.leaky_trace(), &weights)?;
    let value = loss.as_vec()[0];
    let mut gradients = loss.try_backward().map_err(failed)?;
    // A tensor the loss does not depend on has no gradient yet.
    let mut read = |range: Range<usize>, d: Vec<f32>| {
        gradient.values_mut()[range].iter_mut().zip(d).for_each(|(sum, d)| *sum += d);
    };
    weights.given.into_inner().into_iter().for_each(|(range, d)| read(range, d));
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
