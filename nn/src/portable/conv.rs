//! Convolution 3×3, padding 1, stride 1 or 2, as nine matrix products: `y = Σ_k view_k(x) · W_k`.

use dfdx::prelude::*;

use super::device::{DeviceResult, Images};
use crate::tape::{Dev, Matrix};

/// Zeros before and after, along height and along width.
pub(super) fn pad(x: Images, rows: (usize, usize), columns: (usize, usize)) -> DeviceResult<Images> {
    let device = x.device().clone();
    let &(n, h, w, c) = x.shape();
    let zeros = |h: usize, w: usize| device.try_zeros_like(&(n, h, w, c));
    let x = (zeros(rows.0, w)?, x).try_concat_along(Axis::<1>)?;
    let x = (x, zeros(rows.1, w)?).try_concat_along(Axis::<1>)?;
    let height = rows.0 + h + rows.1;
    let x = (zeros(height, columns.0)?, x).try_concat_along(Axis::<2>)?;
    (x, zeros(height, columns.1)?).try_concat_along(Axis::<2>)
}

/// The nine shifted (and, for stride 2, thinned) copies of `x` that the filter's taps see, in row-major order of the
/// taps, each `[n·oh·ow, c]`.
pub(super) fn views(x: &Images, stride: usize, [oh, ow]: [usize; 2]) -> DeviceResult<Vec<Matrix>> {
    let &(n, h, w, c) = x.shape();
    // Padded to whole strides, so that stepping is slicing one phase of [.., rows, stride, columns, stride, ..].
    let reach = 2 / stride;
    let (rows, columns) = (oh + reach, ow + reach);
    let padded = pad(x.clone(), (1, rows * stride - h - 1), (1, columns * stride - w - 1))?;
    let phases = padded.try_reshape_like(&(n, rows, stride, columns, stride, c))?;
    let mut views = Vec::with_capacity(9);
    for ky in 0..3 {
        for kx in 0..3 {
            let (y, py, x, px) = (ky / stride, ky % stride, kx / stride, kx % stride);
            let view =
                phases.clone().try_slice((0..n, y..y + oh, py..py + 1, x..x + ow, px..px + 1, 0..c))?;
            views.push(view.try_reshape_like(&(n * oh * ow, c))?);
        }
    }
    Ok(views)
}

/// The filter `[out, in, 3, 3]` as nine matrices `[in, out]`, one a tap.
pub(super) fn taps(device: &Dev, weight: &[f32], input: usize, output: usize) -> DeviceResult<Vec<Matrix>> {
    (0..9)
        .map(|k| {
            let tap =
                (0..input).flat_map(|i| (0..output).map(move |o| weight[(o * input + i) * 9 + k])).collect();
            device.try_tensor_from_vec(tap, (input, output))
        })
        .collect()
}

/// `Σ_k view_k · W_k`, `[n·oh·ow, out]`.
pub(super) fn sum_of_products(
    views: Vec<Matrix>,
    taps: impl Iterator<Item = Matrix>,
) -> DeviceResult<Matrix> {
    let mut products = views.into_iter().zip(taps).map(|(view, tap)| view.try_matmul(tap));
    let first = products.next().unwrap_or_else(|| unreachable!("a filter has nine taps"))?;
    products.try_fold(first, |sum, product| sum.try_add(product?))
}

/// Gradient in the filter, one matrix `[out, in]` a tap.
pub(super) fn weight_gradient(views: Vec<Matrix>, d: &Matrix) -> DeviceResult<Vec<Matrix>> {
    let turned = d.clone().try_permute::<_, Axes2<1, 0>>()?;
    views.into_iter().map(|view| turned.clone().try_matmul(view)).collect()
}

/// Matrices `[out, in]`, one a tap, to a filter `[out, in, 3, 3]`.
pub(super) fn write_taps(taps: Vec<Matrix>, filter: &mut [f32]) {
    for (k, tap) in taps.into_iter().enumerate() {
        for (slot, value) in filter.iter_mut().skip(k).step_by(9).zip(tap.as_vec()) {
            *slot = value;
        }
    }
}

/// Gradient in the input `[n, h, w, in]`: a convolution of the (for stride 2, spread out) output gradient
/// `[n·oh·ow, out]` with the filter turned by 180°.
pub(super) fn input_gradient(
    d: Matrix,
    taps: &[Matrix],
    stride: usize,
    [oh, ow]: [usize; 2],
    (n, h, w, c): (usize, usize, usize, usize),
) -> DeviceResult<Images> {
    let &(_, output) = d.shape();
    let d = if stride == 1 {
        d.try_reshape_like(&(n, oh, ow, output))?
    } else {
        spread(d.try_reshape_like(&(n, oh, 1, ow, 1, output))?)?.try_slice((0..n, 0..h, 0..w, 0..output))?
    };
    let turned = taps.iter().rev().map(|tap| tap.clone().permute::<_, Axes2<1, 0>>());
    sum_of_products(views(&d, 1, [h, w])?, turned)?.try_reshape_like(&(n, h, w, c))
}

type Phases = Tensor<(usize, usize, usize, usize, usize, usize), f32, Dev>;

/// `[n, oh, 1, ow, 1, c]` to `[n, 2·oh, 2·ow, c]` with zeros in between.
fn spread(d: Phases) -> DeviceResult<Images> {
    let zeros = d.device().try_zeros_like(d.shape())?;
    interleave([d, zeros.clone(), zeros.clone(), zeros])
}

/// Four phases `[n, oh, 1, ow, 1, c]`, in row-major order of their place in a 2×2 window, to `[n, 2·oh, 2·ow, c]`.
pub(super) fn interleave([a, b, c, d]: [Phases; 4]) -> DeviceResult<Images> {
    let &(n, oh, _, ow, _, channels) = a.shape();
    let top = (a, b).try_concat_along(Axis::<4>)?;
    let bottom = (c, d).try_concat_along(Axis::<4>)?;
    (top, bottom).try_concat_along(Axis::<2>)?.try_reshape_like(&(n, 2 * oh, 2 * ow, channels))
}
