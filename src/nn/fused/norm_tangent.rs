//! How batch norm, ReLU and max-pooling of one image change with θ. Masks stay as they are.
//!
//! With scale·y + shift the normalised values, their change is scale·ẏ + scaleʹ·y + shiftʹ; the change of the gradient
//! scale·g + P·y + Q in the convolution's outputs follows by the product rule. A dot or prime is the derivative along
//! the direction that θ changes in.

use super::norm::{Affine, Shape, route};
use super::simd::{Simd, dispatch};

/// Coefficients of the gradient in the convolution's outputs and their changes.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) affine: Affine<'a>,
    pub(super) affine_tangent: Affine<'a>,
    /// P and Q.
    pub(super) through: Affine<'a>,
    pub(super) through_tangent: Affine<'a>,
}

/// Convolution outputs of an image with the gradient in the block's outputs, and the changes of both.
#[derive(Clone, Copy)]
pub(super) struct Images<'a> {
    pub(super) y: &'a [f32],
    pub(super) y_tangent: &'a [f32],
    pub(super) dz: &'a [f32],
    pub(super) dz_tangent: &'a [f32],
}

dispatch! {
    /// The change of a block's outputs, its spare pixel cleared.
    pub(super) fn activate(
        shape: Shape,
        affine: Affine<'_>,
        affine_tangent: Affine<'_>,
        y: &[f32],
        y_tangent: &[f32],
        z_tangent: &mut [f32],
    ) = activate_kernel
}
dispatch! {
    /// Per channel, the sums of ẏ and (y − mean)·ẏ over an image.
    pub(super) fn statistics(
        image: super::conv::Image,
        mean: &[f32],
        y: &[f32],
        y_tangent: &[f32],
        sums: &mut [f32],
    ) = statistics_kernel
}
dispatch! {
    /// Four sums per channel: of g, g·(y − mean), ġ, and ġ·(y − mean) + g·(ẏ − mean_tangent).
    pub(super) fn gradient_sums(
        shape: Shape,
        affine: Affine<'_>,
        mean: &[f32],
        mean_tangent: &[f32],
        images: Images<'_>,
        sums: &mut [f32],
    ) = gradient_sums_kernel
}
dispatch! {
    /// The gradient in the convolution's outputs and its change.
    pub(super) fn convolved_gradient(
        shape: Shape,
        change: Change<'_>,
        images: Images<'_>,
        dy: &mut [f32],
        dy_tangent: &mut [f32],
    ) = convolved_gradient_kernel
}

/// Offsets of the convolution outputs in the window of an output pixel; the same four times without pooling.
#[inline(always)]
fn window(shape: Shape, row: usize, column: usize) -> [usize; 4] {
    let (step, line) = (shape.convolved.channels, shape.convolved.width * shape.convolved.channels);
    if shape.pool {
        let from = 2 * row * line + 2 * column * step;
        [from, from + step, from + line, from + line + step]
    } else {
        [row * line + column * step; 4]
    }
}

/// The gradients `d` that reach the values of a window: only the first gets any without pooling.
#[inline(always)]
fn reach<S: Simd>(simd: S, pool: bool, v: [S::V; 4], d: S::V) -> [S::V; 4] {
    if pool {
        route(simd, v, d)
    } else {
        let zero = simd.zero();
        [simd.select_gt(v[0], zero, d, zero), zero, zero, zero]
    }
}

fn check(shape: Shape, lanes: usize, y: &[usize], z: &[usize], channels: &[usize]) {
    let least = |lengths: &[usize]| lengths.iter().copied().min().unwrap_or(0);
    shape.check(lanes, least(y), least(z), channels);
}

#[inline(always)]
fn activate_kernel<S: Simd>(
    simd: S,
    shape: Shape,
    affine: Affine<'_>,
    affine_tangent: Affine<'_>,
    y: &[f32],
    y_tangent: &[f32],
    z_tangent: &mut [f32],
) {
    let lengths =
        [affine.scale.len(), affine.shift.len(), affine_tangent.scale.len(), affine_tangent.shift.len()];
    check(shape, S::LANES, &[y.len(), y_tangent.len()], &[z_tangent.len()], &lengths);
    let (output, step) = (shape.output, shape.output.channels);
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: pixels of the images and the channel's coefficients are inside by `check`.
        unsafe {
            let scale = simd.load(affine.scale.as_ptr().add(channel));
            let shift = simd.load(affine.shift.as_ptr().add(channel));
            let scale_tangent = simd.load(affine_tangent.scale.as_ptr().add(channel));
            let shift_tangent = simd.load(affine_tangent.shift.as_ptr().add(channel));
            let (y, y_tangent) = (y.as_ptr().add(channel), y_tangent.as_ptr().add(channel));
            let z_tangent = z_tangent.as_mut_ptr().add(channel);
            for row in 0..output.height {
                for column in 0..output.width {
                    // The change of the first maximum: compare as we go, a later value only where it is greater.
                    let (mut max, mut change) = (simd.zero(), simd.zero());
                    let places = window(shape, row, column);
                    for &at in if shape.pool { &places[..] } else { &places[..1] } {
                        let value = simd.load(y.add(at));
                        let v = simd.fma(value, scale, shift);
                        let rest = simd.fma(value, scale_tangent, shift_tangent);
                        let tangent = simd.fma(scale, simd.load(y_tangent.add(at)), rest);
                        change = simd.select_gt(v, max, tangent, change);
                        max = simd.max(max, v);
                    }
                    simd.store(z_tangent.add((row * output.width + column) * step), change);
                }
            }
            simd.store(z_tangent.add(output.pixels() * step), simd.zero());
        }
    }
}

#[inline(always)]
fn statistics_kernel<S: Simd>(
    simd: S,
    image: super::conv::Image,
    mean: &[f32],
    y: &[f32],
    y_tangent: &[f32],
    sums: &mut [f32],
) {
    let step = image.channels;
    assert!(step.is_multiple_of(S::LANES) && y.len().min(y_tangent.len()) >= image.len());
    assert!(mean.len() >= step && sums.len() >= 2 * step);
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: `channel` is inside each of them, and pixels inside the images.
        unsafe {
            let mean = simd.load(mean.as_ptr().add(channel));
            let (y, y_tangent) = (y.as_ptr().add(channel), y_tangent.as_ptr().add(channel));
            let (mut sum, mut product) = (simd.zero(), simd.zero());
            for pixel in 0..image.pixels() {
                let tangent = simd.load(y_tangent.add(pixel * step));
                sum = simd.add(sum, tangent);
                product = simd.fma(simd.sub(simd.load(y.add(pixel * step)), mean), tangent, product);
            }
            simd.store(sums.as_mut_ptr().add(channel), sum);
            simd.store(sums.as_mut_ptr().add(step + channel), product);
        }
    }
}

#[inline(always)]
fn gradient_sums_kernel<S: Simd>(
    simd: S,
    shape: Shape,
    affine: Affine<'_>,
    mean: &[f32],
    mean_tangent: &[f32],
    images: Images<'_>,
    sums: &mut [f32],
) {
    let Images { y, y_tangent, dz, dz_tangent } = images;
    let lengths = [affine.scale.len(), affine.shift.len(), mean.len(), mean_tangent.len(), sums.len() / 4];
    check(shape, S::LANES, &[y.len(), y_tangent.len()], &[dz.len(), dz_tangent.len()], &lengths);
    let (output, step) = (shape.output, shape.output.channels);
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: pixels of the images and the channel's coefficients are inside by `check`.
        unsafe {
            let scale = simd.load(affine.scale.as_ptr().add(channel));
            let shift = simd.load(affine.shift.as_ptr().add(channel));
            let mean = simd.load(mean.as_ptr().add(channel));
            let mean_tangent = simd.load(mean_tangent.as_ptr().add(channel));
            let mut totals = [simd.zero(); 4];
            for row in 0..output.height {
                for column in 0..output.width {
                    let places = window(shape, row, column);
                    let mut values = [simd.zero(); 4];
                    let mut normalised = [simd.zero(); 4];
                    for k in 0..4 {
                        values[k] = simd.load(y.as_ptr().add(channel + places[k]));
                        normalised[k] = simd.fma(values[k], scale, shift);
                    }
                    let at = channel + (row * output.width + column) * step;
                    let g = reach(simd, shape.pool, normalised, simd.load(dz.as_ptr().add(at)));
                    let g_tangent =
                        reach(simd, shape.pool, normalised, simd.load(dz_tangent.as_ptr().add(at)));
                    for k in 0..4 {
                        let y_tangent = simd.load(y_tangent.as_ptr().add(channel + places[k]));
                        let deviation = simd.sub(values[k], mean);
                        totals[0] = simd.add(totals[0], g[k]);
                        totals[1] = simd.fma(g[k], deviation, totals[1]);
                        totals[2] = simd.add(totals[2], g_tangent[k]);
                        totals[3] = simd.fma(g_tangent[k], deviation, totals[3]);
                        totals[3] = simd.fma(g[k], simd.sub(y_tangent, mean_tangent), totals[3]);
                    }
                }
            }
            for (k, total) in totals.into_iter().enumerate() {
                simd.store(sums.as_mut_ptr().add(k * step + channel), total);
            }
        }
    }
}

#[inline(always)]
fn convolved_gradient_kernel<S: Simd>(
    simd: S,
    shape: Shape,
    change: Change<'_>,
    images: Images<'_>,
    dy: &mut [f32],
    dy_tangent: &mut [f32],
) {
    let Images { y, y_tangent, dz, dz_tangent } = images;
    let all = [change.affine, change.affine_tangent, change.through, change.through_tangent];
    let lengths = all.map(|affine| affine.scale.len().min(affine.shift.len()));
    let inner = [y.len(), y_tangent.len(), dy.len(), dy_tangent.len()];
    check(shape, S::LANES, &inner, &[dz.len(), dz_tangent.len()], &lengths);
    let Shape { convolved, output, pool } = shape;
    let step = convolved.channels;
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: pixels of the images and the channel's coefficients are inside by `check`.
        unsafe {
            let scale = simd.load(change.affine.scale.as_ptr().add(channel));
            let shift = simd.load(change.affine.shift.as_ptr().add(channel));
            let scale_tangent = simd.load(change.affine_tangent.scale.as_ptr().add(channel));
            let p = simd.load(change.through.scale.as_ptr().add(channel));
            let q = simd.load(change.through.shift.as_ptr().add(channel));
            let p_tangent = simd.load(change.through_tangent.scale.as_ptr().add(channel));
            let q_tangent = simd.load(change.through_tangent.shift.as_ptr().add(channel));
            let (y, y_tangent) = (y.as_ptr().add(channel), y_tangent.as_ptr().add(channel));
            let (dy, dy_tangent) = (dy.as_mut_ptr().add(channel), dy_tangent.as_mut_ptr().add(channel));
            // First the parts through the statistics, which every pixel has.
            for pixel in 0..convolved.pixels() {
                let at = pixel * step;
                let value = simd.load(y.add(at));
                simd.store(dy.add(at), simd.fma(value, p, q));
                let rest = simd.fma(value, p_tangent, q_tangent);
                simd.store(dy_tangent.add(at), simd.fma(simd.load(y_tangent.add(at)), p, rest));
            }
            for row in 0..output.height {
                for column in 0..output.width {
                    let places = window(shape, row, column);
                    let mut normalised = [simd.zero(); 4];
                    for k in 0..4 {
                        normalised[k] = simd.fma(simd.load(y.add(places[k])), scale, shift);
                    }
                    let at = channel + (row * output.width + column) * step;
                    let g = reach(simd, pool, normalised, simd.load(dz.as_ptr().add(at)));
                    let g_tangent = reach(simd, pool, normalised, simd.load(dz_tangent.as_ptr().add(at)));
                    let count = if pool { 4 } else { 1 };
                    for k in 0..count {
                        let (to, to_tangent) = (dy.add(places[k]), dy_tangent.add(places[k]));
                        simd.store(to, simd.fma(scale, g[k], simd.load(to)));
                        let sum = simd.fma(scale_tangent, g[k], simd.load(to_tangent));
                        simd.store(to_tangent, simd.fma(scale, g_tangent[k], sum));
                    }
                }
            }
            simd.store(dy.add(convolved.pixels() * step), simd.zero());
            simd.store(dy_tangent.add(convolved.pixels() * step), simd.zero());
        }
    }
}
