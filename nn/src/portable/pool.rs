//! Max-pooling 2×2 with stride 2; an odd last row or column is left out, as in PyTorch.

use dfdx::prelude::*;

use super::conv::{interleave, pad};
use super::device::{DeviceResult, Images};

/// The four corners of each window in row-major order, each `[n, h/2, w/2, c]`.
fn corners(x: &Images) -> DeviceResult<[Images; 4]> {
    let &(n, h, w, c) = x.shape();
    let (oh, ow) = (h / 2, w / 2);
    let even = x.clone().try_slice((0..n, 0..2 * oh, 0..2 * ow, 0..c))?;
    let windows = even.try_reshape_like(&(n, oh, 2, ow, 2, c))?;
    let corner = |y: usize, x: usize| {
        let corner = windows.clone().try_slice((0..n, 0..oh, y..y + 1, 0..ow, x..x + 1, 0..c))?;
        corner.try_reshape_like(&(n, oh, ow, c))
    };
    Ok([corner(0, 0)?, corner(0, 1)?, corner(1, 0)?, corner(1, 1)?])
}

/// The largest of each window.
pub(super) fn forward(x: &Images) -> DeviceResult<Images> {
    let [a, b, c, d] = corners(x)?;
    a.try_maximum(b)?.try_maximum(c)?.try_maximum(d)
}

/// The change of each window's maximum `y` per change `dx` of the images: that of its first maximum in row-major order.
pub(super) fn tangent(x: &Images, y: &Images, dx: &Images) -> DeviceResult<Images> {
    let [x0, x1, x2, _] = corners(x)?;
    let [d0, d1, d2, d3] = corners(dx)?;
    let d = x2.try_eq(y)?.try_choose(d2, d3)?;
    let d = x1.try_eq(y)?.try_choose(d1, d)?;
    x0.try_eq(y)?.try_choose(d0, d)
}

/// Sends each window's gradient to its first maximum in row-major order; ties are common (a drawing's background).
pub(super) fn backward(x: &Images, y: &Images, d: Images) -> DeviceResult<Images> {
    let &(n, h, w, channels) = x.shape();
    let &(_, oh, ow, _) = y.shape();
    let mut left = d;
    let mut corner = |x: Images| -> DeviceResult<_> {
        let zeros = left.device().try_zeros_like(left.shape())?;
        let first = x.try_eq(y)?;
        let taken = first.clone().try_choose(left.clone(), zeros.clone())?;
        left = first.try_choose(zeros, left.clone())?;
        taken.try_reshape_like(&(n, oh, 1, ow, 1, channels))
    };
    let [x0, x1, x2, x3] = corners(x)?;
    let phases = [corner(x0)?, corner(x1)?, corner(x2)?, corner(x3)?];
    pad(interleave(phases)?, (0, h - 2 * oh), (0, w - 2 * ow))
}
