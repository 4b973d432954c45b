//! Batch norm (Ioffe & Szegedy 2015) on the columns of `[rows, channels]`.

use dfdx::prelude::*;

use super::device::DeviceResult;
use crate::architecture::{BatchNorm, NORM_EPSILON};
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
pub(crate) struct Normalised {
    pub(super) x: Matrix,
    pub(super) mean: Vector,
    /// Biased.
    pub(super) variance: Vector,
    /// 1 / √(variance + ε).
    pub(super) scale: Vector,
    /// Whose mean and variance they are.
    statistics: Statistics,
}

impl Normalised {
    pub(super) fn is_of_batch(&self) -> bool {
        self.statistics == Statistics::Batch
    }
}

/// Normalises by the batch's own mean and variance.
pub(super) fn by_batch(device: &Dev, x: Matrix) -> DeviceResult<Normalised> {
    let mean = column_means(device, &x)?;
    let centred = x.clone().try_sub(rows_of(&mean, &x)?)?;
    let variance = column_means(device, &centred.clone().try_square()?)?;
    let scale = inverse_root(&variance)?;
    let x = centred.clone().try_mul(rows_of(&scale, &centred)?)?;
    Ok(Normalised { x, mean, variance, scale, statistics: Statistics::Batch })
}

/// Normalises by given statistics.
fn by_running(x: Matrix, mean: &Vector, variance: &Vector) -> DeviceResult<Normalised> {
    let centred = x.clone().try_sub(rows_of(mean, &x)?)?;
    let scale = inverse_root(variance)?;
    let x = rows_of(&scale, &centred)?.try_mul(centred)?;
    let (mean, variance) = (mean.clone(), variance.clone());
    Ok(Normalised { x, mean, variance, scale, statistics: Statistics::Running })
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
pub(crate) struct NormalisedChange {
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

/// Batch norm with its weights, or a change of them, on the device.
pub(super) struct Normalisation<'a> {
    device: &'a Dev,
    norm: &'a BatchNorm,
    gamma: Vector,
    beta: Vector,
    /// Running mean and variance.
    running: Option<(Vector, Vector)>,
}

impl<'a> Normalisation<'a> {
    pub(super) fn upload(device: &'a Dev, norm: &'a BatchNorm, theta: &[f32]) -> DeviceResult<Self> {
        let vector = |range: &std::ops::Range<usize>| {
            device.try_tensor_from_vec(theta[range.clone()].to_vec(), (range.len(),))
        };
        let running = match &norm.running {
            Some((mean, variance)) => Some((vector(mean)?, vector(variance)?)),
            None => None,
        };
        Ok(Self { device, norm, gamma: vector(&norm.weight)?, beta: vector(&norm.bias)?, running })
    }

    /// `x` is `[rows, channels]`.
    pub(super) fn forward(&self, x: Matrix, statistics: Statistics) -> DeviceResult<(Matrix, Normalised)> {
        let normalised = match (&self.running, statistics) {
            (Some((mean, variance)), Statistics::Running) => by_running(x, mean, variance)?,
            _ => by_batch(self.device, x)?,
        };
        let scaled = rows_of(&self.gamma, &normalised.x)?.try_mul(normalised.x.clone())?;
        Ok((rows_of(&self.beta, &scaled)?.try_add(scaled)?, normalised))
    }

    pub(super) fn tangent_forward(
        &self,
        change: &Self,
        normalised: &Normalised,
        dx: Matrix,
    ) -> DeviceResult<(Matrix, NormalisedChange)> {
        let tangent = by_batch_tangent(self.device, normalised, dx)?;
        let x = &normalised.x;
        let scaled = rows_of(&self.gamma, x)?.try_mul(tangent.x.clone())?;
        let scaled = rows_of(&change.gamma, x)?.try_mul(x.clone())?.try_add(scaled)?;
        Ok((rows_of(&change.beta, x)?.try_add(scaled)?, tangent))
    }

    /// Writes the gradient in the weights, with the batch's statistics if it used them, and returns the one in the input.
    pub(super) fn backward(
        &self,
        normalised: &Normalised,
        d: Matrix,
        gradient: &mut [f32],
    ) -> DeviceResult<Matrix> {
        self.write(gradient, &d, &d.clone().try_mul(normalised.x.clone())?)?;
        if !normalised.is_of_batch() {
            let scale = self.gamma.clone().try_mul(normalised.scale.clone())?;
            return rows_of(&scale, &d)?.try_mul(d);
        }
        if let Some((mean, variance)) = &self.norm.running {
            let rows = d.shape().0;
            let unbiased = rows as f32 / (rows.max(2) - 1) as f32;
            gradient[mean.clone()].copy_from_slice(&normalised.mean.as_vec());
            gradient[variance.clone()]
                .copy_from_slice(&normalised.variance.clone().try_mul(unbiased)?.as_vec());
        }
        let d = rows_of(&self.gamma, &d)?.try_mul(d)?;
        by_batch_backward(self.device, normalised, d)
    }

    /// [`Self::backward`] of `d` and its change `dd`: writes the change of the gradient in the weights, and returns the
    /// gradient in the input and that one's change.
    pub(super) fn tangent_backward(
        &self,
        change: &Self,
        normalised: &Normalised,
        tangent: &NormalisedChange,
        (d, dd): (Matrix, Matrix),
        product: &mut [f32],
    ) -> DeviceResult<(Matrix, Matrix)> {
        let (x, dx) = (&normalised.x, &tangent.x);
        let d_gamma = dd.clone().try_mul(x.clone())?.try_add(d.clone().try_mul(dx.clone())?)?;
        self.write(product, &dd, &d_gamma)?;
        let dd = rows_of(&self.gamma, x)?.try_mul(dd)?;
        let dd = rows_of(&change.gamma, x)?.try_mul(d.clone())?.try_add(dd)?;
        let d = rows_of(&self.gamma, x)?.try_mul(d)?;
        by_batch_tangent_backward(self.device, normalised, tangent, d, dd)
    }

    /// Writes what the columns of `beta` and `gamma` add up to.
    fn write(&self, gradient: &mut [f32], beta: &Matrix, gamma: &Matrix) -> DeviceResult<()> {
        let [beta, gamma] = [beta, gamma].map(|rows| column_sums(self.device, rows));
        gradient[self.norm.bias.clone()].copy_from_slice(&beta?.as_vec());
        gradient[self.norm.weight.clone()].copy_from_slice(&gamma?.as_vec());
        Ok(())
    }
}
