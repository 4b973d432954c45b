//! Batch norm (Ioffe & Szegedy 2015) on the columns of `[rows, channels]`.

use dfdx::prelude::*;

use super::device::DeviceResult;
use crate::architecture::NORM_EPSILON;
use crate::tape::{Dev, Matrix, Vector};

/// Whose statistics batch norm uses in a pass.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Statistics {
    Batch,
    Running,
}

/// Sum of each column, as products with ones: dfdx's own sum over rows runs down columns with a stride. Sums of sums
/// of about √rows values each, so that rounding grows with √rows as well.
pub(super) fn column_sums(device: &Dev, x: &Matrix) -> DeviceResult<Vector> {
    let &(rows, columns) = x.shape();
    let inner = (1..=rows.isqrt()).rev().find(|inner| rows % inner == 0).unwrap_or(1);
    let sums = ones_times(device, x.clone().try_reshape_like(&(rows / inner, inner * columns))?)?;
    let sums = ones_times(device, sums.try_reshape_like(&(inner, columns))?)?;
    sums.try_reshape_like(&(columns,))
}

fn ones_times(device: &Dev, x: Matrix) -> DeviceResult<Matrix> {
    let ones: Matrix = device.try_ones_like(&(1, x.shape().0))?;
    ones.try_matmul(x)
}

/// Mean of each column.
pub(super) fn column_means(device: &Dev, x: &Matrix) -> DeviceResult<Vector> {
    let &(rows, _) = x.shape();
    column_sums(device, x)?.try_mul(1.0 / rows as f32)
}

/// Each row plus, or times, a vector.
pub(super) fn rows_of(vector: &Vector, like: &Matrix) -> DeviceResult<Matrix> {
    vector.clone().try_broadcast_like::<_, Axis<0>>(like.shape())
}

/// `x` with mean 0 and variance 1 in each column, and what it took.
pub(super) struct Normalised {
    pub(super) x: Matrix,
    pub(super) mean: Vector,
    /// Biased.
    pub(super) variance: Vector,
    /// 1 / √(variance + ε).
    pub(super) scale: Vector,
}

/// Normalises by the batch's own mean and variance.
pub(super) fn by_batch(device: &Dev, x: Matrix) -> DeviceResult<Normalised> {
    let mean = column_means(device, &x)?;
    let centred = x.clone().try_sub(rows_of(&mean, &x)?)?;
    let variance = column_means(device, &centred.clone().try_square()?)?;
    let scale = inverse_root(&variance)?;
    let x = centred.clone().try_mul(rows_of(&scale, &centred)?)?;
    Ok(Normalised { x, mean, variance, scale })
}

/// Normalises by given statistics.
pub(super) fn by_running(x: Matrix, mean: &Vector, variance: &Vector) -> DeviceResult<Matrix> {
    let centred = x.clone().try_sub(rows_of(mean, &x)?)?;
    let scale = rows_of(&inverse_root(variance)?, &centred)?;
    centred.try_mul(scale)
}

fn inverse_root(variance: &Vector) -> DeviceResult<Vector> {
    variance.clone().try_add(NORM_EPSILON)?.try_sqrt()?.try_recip()
}

/// Gradient in the input of [`by_batch`], through the batch's mean and variance:
/// `scale ∘ (d − mean(d) − x̂ ∘ mean(d ∘ x̂))`.
pub(super) fn by_batch_backward(device: &Dev, normalised: &Normalised, d: Matrix) -> DeviceResult<Matrix> {
    let x = &normalised.x;
    let mean_d = column_means(device, &d)?;
    let mean_dx = column_means(device, &d.clone().try_mul(x.clone())?)?;
    let through_mean = d.try_sub(rows_of(&mean_d, x)?)?;
    let through_variance = rows_of(&mean_dx, x)?.try_mul(x.clone())?;
    through_mean.try_sub(through_variance)?.try_mul(rows_of(&normalised.scale, x)?)
}

/// A change of [`Normalised`] per change of its input.
pub(super) struct NormalisedChange {
    pub(super) x: Matrix,
    /// Change of the scale, relative to it.
    pub(super) scale: Vector,
}

/// Change of [`by_batch`] per change `du` of its input. Its Jacobian is symmetric, so this is the formula of the
/// gradient; with it the scale changes by `−scale² · mean(du ∘ x̂)`.
pub(super) fn by_batch_tangent(
    device: &Dev,
    normalised: &Normalised,
    du: Matrix,
) -> DeviceResult<NormalisedChange> {
    let mean = column_means(device, &du.clone().try_mul(normalised.x.clone())?)?;
    Ok(NormalisedChange {
        x: by_batch_backward(device, normalised, du)?,
        scale: mean.try_mul(normalised.scale.clone())?.try_negate()?,
    })
}

/// [`by_batch_backward`] of `d`, and its change per change `dd` of `d` and `change` of the input: with r the scale's
/// relative change, `backward(dd) + r ∘ backward(d) − scale ∘ (dx̂ ∘ mean(d ∘ x̂) + x̂ ∘ mean(d ∘ dx̂))`.
pub(super) fn by_batch_tangent_backward(
    device: &Dev,
    normalised: &Normalised,
    change: &NormalisedChange,
    d: Matrix,
    dd: Matrix,
) -> DeviceResult<(Matrix, Matrix)> {
    let (x, dx) = (&normalised.x, &change.x);
    let mean_dx = column_means(device, &d.clone().try_mul(x.clone())?)?;
    let mean_ddx = column_means(device, &d.clone().try_mul(dx.clone())?)?;
    let through_x = rows_of(&mean_dx, x)?.try_mul(dx.clone())?;
    let through_x = through_x.try_add(rows_of(&mean_ddx, x)?.try_mul(x.clone())?)?;
    let through_x = through_x.try_mul(rows_of(&normalised.scale, x)?)?;
    let gradient = by_batch_backward(device, normalised, d)?;
    let through_scale = rows_of(&change.scale, x)?.try_mul(gradient.clone())?;
    let through_d = by_batch_backward(device, normalised, dd)?;
    Ok((gradient, through_d.try_add(through_scale)?.try_sub(through_x)?))
}
