//! Pieces of losses on embeddings, on dfdx's tape: what a learner's head is put together from.

use dfdx::prelude::*;
use ndarray::{Array2, ArrayView2};

use crate::tape::{Dev, Matrix, TapedMatrix, TapedScalar};
use crate::{Error, Result};

/// Mean softmax cross-entropy of `logits` `[n, classes]` against class indices.
///
/// # Errors
/// When a label is not below the number of classes, their number is not n, or the device fails.
pub fn cross_entropy(logits: TapedMatrix, labels: &[usize]) -> Result<TapedScalar> {
    let &(n, classes) = logits.shape();
    if labels.len() != n || n == 0 {
        return Err(Error::invalid(format!("cross-entropy: {} labels for {n} examples", labels.len())));
    }
    if let Some(label) = labels.iter().find(|&&label| label >= classes) {
        return Err(Error::invalid(format!(
            "cross-entropy: a label is {label}, but there are {classes} classes"
        )));
    }
    let mut one_hot = vec![0.0; n * classes];
    for (row, &label) in labels.iter().enumerate() {
        one_hot[row * classes + label] = 1.0;
    }
    let device = logits.device().clone();
    let compute = || {
        let one_hot = device.try_tensor_from_vec(one_hot, (n, classes))?;
        logits.try_log_softmax::<Axis<1>>()?.try_mul(one_hot)?.try_sum()?.try_mul(-1.0 / n as f32)
    };
    compute().map_err(|error| Error::device("computing the cross-entropy", error))
}

/// Mean over all elements of the squared difference of `outputs` and `targets`, `[n, features]` both.
///
/// # Errors
/// When the shapes differ, there is no element, or the device fails.
pub fn mean_squared_error(outputs: TapedMatrix, targets: ArrayView2<'_, f32>) -> Result<TapedScalar> {
    let &shape = outputs.shape();
    if targets.dim() != shape || targets.is_empty() {
        return Err(Error::invalid(format!(
            "mean squared error: targets {:?} for outputs {shape:?}",
            targets.dim()
        )));
    }
    let device = outputs.device().clone();
    let compute = || {
        let targets = device.try_tensor_from_vec(targets.iter().copied().collect(), shape)?;
        outputs.try_sub(targets)?.try_square()?.try_mean()
    };
    compute().map_err(|error| Error::device("computing the mean squared error", error))
}

/// The matrix `[classes, n]` whose product with embeddings `[n, features]` is each class's mean.
///
/// # Errors
/// When a class below the largest label has no example, or the device fails.
pub fn averaging_matrix(labels: &[usize]) -> Result<Matrix> {
    let classes = labels.iter().max().map_or(0, |&largest| largest + 1);
    let mut counts = vec![0usize; classes];
    labels.iter().for_each(|&label| counts[label] += 1);
    if let Some(class) = counts.iter().position(|&count| count == 0) {
        return Err(no_example(class));
    }
    let mut weights = vec![0.0; classes * labels.len()];
    for (example, &label) in labels.iter().enumerate() {
        weights[label * labels.len() + example] = 1.0 / counts[label] as f32;
    }
    Dev::default()
        .try_tensor_from_vec(weights, (classes, labels.len()))
        .map_err(|error| Error::device("copying class weights", error))
}

/// Each class's mean of embeddings `[n, features]`: `[classes, features]`.
///
/// # Errors
/// As [`averaging_matrix`].
pub fn class_means_on_tape(z: TapedMatrix, labels: &[usize]) -> Result<TapedMatrix> {
    let means = averaging_matrix(labels)?.put_tape(OwnedTape::default()).try_matmul(z);
    means.map_err(|error| Error::device("averaging the classes", error))
}

/// Rows `from..to`, with the gradient flowing back to them.
///
/// A product with a selection matrix: the gradient of dfdx 0.13's own `slice` overwrites instead of adding.
///
/// # Errors
/// When the device fails.
pub fn rows(x: TapedMatrix, from: usize, to: usize) -> Result<TapedMatrix> {
    let &(n, _) = x.shape();
    let mut selection = vec![0.0; (to - from) * n];
    for row in from..to {
        selection[(row - from) * n + row] = 1.0;
    }
    let device = x.device().clone();
    device
        .try_tensor_from_vec(selection, (to - from, n))
        .and_then(|selection| selection.put_tape(OwnedTape::default()).try_matmul(x))
        .map_err(|error| Error::device("selecting rows", error))
}

/// The first `at` rows, and the rest: a training batch's support and queries.
///
/// # Errors
/// When there are fewer rows, or the device fails.
pub fn split(x: TapedMatrix, at: usize) -> Result<[TapedMatrix; 2]> {
    let &(n, _) = x.shape();
    if at > n {
        return Err(Error::invalid(format!("{n} embeddings were to be split behind {at}")));
    }
    let (x, tape) = x.split_tape();
    Ok([rows(x.clone().put_tape(tape), 0, at)?, rows(x.put_tape(OwnedTape::default()), at, n)?])
}

/// A loss whose value and gradient in `x` are known, as those of an implicit function are: for heads that tape cannot
/// differentiate.
///
/// # Errors
/// When the gradient has another shape than `x`, or the device fails.
pub fn with_gradient(x: TapedMatrix, value: f32, gradient: ArrayView2<'_, f32>) -> Result<TapedScalar> {
    let device = x.device().clone();
    if *x.shape() != gradient.dim() {
        return Err(Error::invalid(format!(
            "a gradient of {:?} was given for weights or embeddings of {:?}",
            gradient.dim(),
            x.shape()
        )));
    }
    let compute = || {
        let gradient = device.try_tensor_from_vec(gradient.iter().copied().collect(), gradient.dim())?;
        // Less a copy of itself it is 0, whatever rounds.
        let copy = device.try_tensor_from_vec(x.as_vec(), *x.shape())?;
        x.try_sub(copy)?.try_mul(gradient)?.try_sum::<(), _>()?.try_add(value)
    };
    compute().map_err(|error| Error::device("giving a gradient", error))
}

/// Each row at length 1 (a row of zeros stays), with a finite gradient everywhere.
///
/// Not dfdx's `normalize`, which subtracts the mean as well.
///
/// # Errors
/// When the device fails.
pub fn directions(x: TapedMatrix) -> Result<TapedMatrix> {
    let compute = || {
        let (x, tape) = x.split_tape();
        let squares = x.clone().put_tape(tape).try_square()?.try_sum::<_, Axis<1>>()?;
        let scale = squares.try_add(DIRECTION_EPSILON)?.try_sqrt()?.try_recip()?;
        scale.try_broadcast_like::<_, Axis<1>>(x.shape())?.try_mul(x)
    };
    compute().map_err(|error| Error::device("normalising rows", error))
}

/// Each class's mean of embeddings `[n, features]`, on the host: `[classes, features]`. On the tape this is the product
/// with [`averaging_matrix`].
///
/// # Errors
/// When a class below the largest label has no example.
pub fn class_means(z: ArrayView2<'_, f32>, labels: &[usize]) -> Result<Array2<f32>> {
    let classes = labels.iter().max().map_or(0, |&largest| largest + 1);
    let mut means = Array2::zeros((classes, z.ncols()));
    let mut counts = vec![0.0f32; classes];
    for (row, &label) in z.outer_iter().zip(labels) {
        means.row_mut(label).scaled_add(1.0, &row);
        counts[label] += 1.0;
    }
    for (class, (mut mean, &count)) in means.outer_iter_mut().zip(&counts).enumerate() {
        if count == 0.0 {
            return Err(no_example(class));
        }
        mean /= count;
    }
    Ok(means)
}

fn no_example(class: usize) -> Error {
    Error::invalid(format!("class {class} has no example in the support set: its mean is undefined"))
}

/// [`directions`] on the host.
pub fn directions_of(mut z: Array2<f32>) -> Array2<f32> {
    for mut row in z.outer_iter_mut() {
        let length = (row.dot(&row) + DIRECTION_EPSILON).sqrt();
        row /= length;
    }
    z
}

/// A loss that is computed on the host with its gradient: `loss` gets embeddings `[n, features]`, gives a value and its
/// gradient there. On the tape it is the linear function with that value and gradient.
///
/// # Errors
/// Errors of `loss`, and when the device fails.
pub fn on_host(
    z: TapedMatrix,
    loss: impl FnOnce(ArrayView2<'_, f32>) -> Result<(f32, Array2<f32>)>,
) -> Result<TapedScalar> {
    let &shape = z.shape();
    let device = z.device().clone();
    let failed = |error| Error::device("differentiating a loss of the host", error);
    let host = Array2::from_shape_vec(shape, z.as_vec())
        .map_err(|error| Error::device("reading embeddings", error))?;
    let (value, gradient) = loss(host.view())?;
    let linear: f32 = gradient.iter().zip(&host).map(|(g, z)| g * z).sum();
    let gradient = device.try_tensor_from_vec(gradient.iter().copied().collect(), shape).map_err(failed)?;
    let on_tape = || z.try_mul(gradient)?.try_sum()?.try_add(value - linear);
    on_tape().map_err(failed)
}

/// Added to a squared length before its root.
pub const DIRECTION_EPSILON: f32 = 1e-12;
