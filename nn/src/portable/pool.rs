//! Pooling over windows of images.

use dfdx::prelude::*;

use super::device::{DeviceResult, Images};
use super::windows::Windows;
use crate::architecture::{Pool, Reduction};
use crate::tape::Matrix;

/// What each element of the windows sees; nothing outside the image is ever the largest.
fn views(pool: &Pool, x: &Images) -> DeviceResult<Vec<Matrix>> {
    Windows::of_pool(pool).views(x, if pool.reduction == Reduction::Max { f32::NEG_INFINITY } else { 0.0 })
}

fn images(pool: &Pool, x: Matrix) -> DeviceResult<Images> {
    let &(rows, _) = x.shape();
    let [channels, height, width] = pool.output;
    x.try_reshape_like(&(rows / (height * width), height, width, channels))
}

pub(super) fn forward(pool: &Pool, x: &Images) -> DeviceResult<Images> {
    let mut views = views(pool, x)?.into_iter();
    let first = views.next().unwrap_or_else(|| unreachable!("a window has an element"));
    images(
        pool,
        match pool.reduction {
            Reduction::Max => views.try_fold(first, |largest, view| largest.try_maximum(view))?,
            Reduction::Mean => {
                views.try_fold(first, |sum, view| sum.try_add(view))?.try_mul(1.0 / pool.pixels() as f32)?
            }
        },
    )
}

/// The change per change `dx` of the images `x`; of max-pooling, that of each window's first maximum in row-major order.
pub(super) fn tangent(pool: &Pool, x: &Images, y: &Images, dx: &Images) -> DeviceResult<Images> {
    if pool.reduction == Reduction::Mean {
        return forward(pool, dx);
    }
    let y = super::conv::rows(y)?;
    let changes = Windows::of_pool(pool).views(dx, 0.0)?;
    let mut change: Matrix = y.device().try_zeros_like(y.shape())?;
    for (x, dx) in views(pool, x)?.into_iter().zip(changes).rev() {
        change = x.try_eq(&y)?.try_choose(dx, change)?;
    }
    images(pool, change)
}

/// The gradient in the images `x` from that in what was made of them. Of max-pooling, all of a window's goes to its first
/// maximum in row-major order; ties are common (a drawing's background).
pub(super) fn backward(pool: &Pool, x: &Images, y: &Images, d: &Images) -> DeviceResult<Images> {
    let mut left = super::conv::rows(d)?;
    if pool.reduction == Reduction::Mean {
        let part = left.try_mul(1.0 / pool.pixels() as f32)?;
        return Windows::of_pool(pool).scatter(vec![part; pool.pixels()]);
    }
    let y = super::conv::rows(y)?;
    let parts = views(pool, x)?.into_iter().map(|x| {
        let zeros = left.device().try_zeros_like(left.shape())?;
        let first = x.try_eq(&y)?;
        let taken = first.clone().try_choose(left.clone(), zeros.clone())?;
        left = first.try_choose(zeros, left.clone())?;
        Ok(taken)
    });
    let parts = parts.collect::<DeviceResult<_>>()?;
    Windows::of_pool(pool).scatter(parts)
}
