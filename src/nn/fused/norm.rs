//! Batch norm, ReLU and max-pooling of one image in one pass, forward and backward.
//!
//! With scale = γ/σ and shift = β − μ·scale, a block's output is z = max over a window of max(0, scale·y + shift). The
//! gradient g in the normalised values is that of z at the window's first maximum if that is positive, and 0
//! elsewhere; the masks are computed again wherever they are needed, by the same operations on the same values.

use super::conv::Image;
use super::simd::{Simd, dispatch};

/// The images of one block around its norm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Outputs of the convolution.
    pub(super) convolved: Image,
    /// Outputs of the block.
    pub(super) output: Image,
    /// Whether there is a 2×2 max-pooling between.
    pub(super) pool: bool,
}

impl Shape {
    /// That every access below stays inside.
    pub(super) fn check(&self, lanes: usize, y: usize, z: usize, channels: &[usize]) {
        let Self { convolved, output, pool } = *self;
        assert!(convolved.channels == output.channels && convolved.channels.is_multiple_of(lanes));
        if pool {
            assert!(2 * output.height <= convolved.height && 2 * output.width <= convolved.width);
        } else {
            assert!(output.height == convolved.height && output.width == convolved.width);
        }
        assert!(convolved.len() <= y && output.len() <= z);
        assert!(channels.iter().all(|&len| len >= convolved.channels));
    }
}

/// Per-channel `scale·y + shift`.
#[derive(Clone, Copy)]
pub(super) struct Affine<'a> {
    pub(super) scale: &'a [f32],
    pub(super) shift: &'a [f32],
}

/// The gradient `d` at the first of four values that is their maximum, if that is positive.
#[inline(always)]
pub(super) fn route<S: Simd>(simd: S, v: [S::V; 4], d: S::V) -> [S::V; 4] {
    let zero = simd.zero();
    let max = simd.max(simd.max(v[0], v[1]), simd.max(v[2], v[3]));
    let d = simd.select_gt(max, zero, d, zero);
    let at_0 = simd.select_gt(max, v[0], zero, d);
    let rest = simd.select_gt(max, v[0], d, zero);
    let at_1 = simd.select_gt(max, v[1], zero, rest);
    let rest = simd.select_gt(max, v[1], rest, zero);
    [at_0, at_1, simd.select_gt(max, v[2], zero, rest), simd.select_gt(max, v[2], rest, zero)]
}

dispatch! {
    /// The outputs `z` of a block, its spare pixel cleared.
    pub(super) fn activate(shape: Shape, affine: Affine<'_>, y: &[f32], z: &mut [f32]) = activate_kernel
}
dispatch! {
    /// Per channel, the mean of an image and the sum of squared deviations from it.
    pub(super) fn statistics(image: Image, y: &[f32], means: &mut [f32], squares: &mut [f32]) = statistics_kernel
}
dispatch! {
    /// Two sums per channel over an image: of g, and of g·(y − mean).
    pub(super) fn gradient_sums(
        shape: Shape,
        affine: Affine<'_>,
        mean: &[f32],
        y: &[f32],
        dz: &[f32],
        sums: &mut [f32],
    ) = gradient_sums_kernel
}
dispatch! {
    /// The gradient in the convolution's outputs, `scale·g + through.scale·y + through.shift`, where `through` is the
    /// gradient through the batch's statistics.
    pub(super) fn convolved_gradient(
        shape: Shape,
        affine: Affine<'_>,
        through: Affine<'_>,
        y: &[f32],
        dz: &[f32],
        dy: &mut [f32],
    ) = convolved_gradient_kernel
}

#[inline(always)]
fn activate_kernel<S: Simd>(simd: S, shape: Shape, affine: Affine<'_>, y: &[f32], z: &mut [f32]) {
    shape.check(S::LANES, y.len(), z.len(), &[affine.scale.len(), affine.shift.len()]);
    let Shape { convolved, output, pool } = shape;
    let (step, line) = (convolved.channels, convolved.width * convolved.channels);
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: pixels of both images and the channel's coefficients are inside by `check`.
        unsafe {
            let scale = simd.load(affine.scale.as_ptr().add(channel));
            let shift = simd.load(affine.shift.as_ptr().add(channel));
            let (y, z) = (y.as_ptr().add(channel), z.as_mut_ptr().add(channel));
            let at = |offset: usize| simd.fma(simd.load(y.add(offset)), scale, shift);
            if pool {
                for row in 0..output.height {
                    for column in 0..output.width {
                        let from = 2 * row * line + 2 * column * step;
                        let upper = simd.max(at(from), at(from + step));
                        let lower = simd.max(at(from + line), at(from + line + step));
                        let max = simd.max(simd.max(upper, lower), simd.zero());
                        simd.store(z.add((row * output.width + column) * step), max);
                    }
                }
            } else {
                for pixel in 0..output.pixels() {
                    simd.store(z.add(pixel * step), simd.max(at(pixel * step), simd.zero()));
                }
            }
            simd.store(z.add(output.pixels() * step), simd.zero());
        }
    }
}

#[inline(always)]
fn statistics_kernel<S: Simd>(simd: S, image: Image, y: &[f32], means: &mut [f32], squares: &mut [f32]) {
    let step = image.channels;
    assert!(
        step.is_multiple_of(S::LANES)
            && y.len() >= image.len()
            && means.len() >= step
            && squares.len() >= step
    );
    let pixels = image.pixels();
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: `channel` is inside each of them, and pixels inside the image.
        unsafe {
            let y = y.as_ptr().add(channel);
            // Four sums, so that additions do not wait for each other.
            let mut sums = [simd.zero(); 4];
            for pixel in 0..pixels / 4 {
                for (k, sum) in sums.iter_mut().enumerate() {
                    *sum = simd.add(*sum, simd.load(y.add((4 * pixel + k) * step)));
                }
            }
            for pixel in pixels / 4 * 4..pixels {
                sums[0] = simd.add(sums[0], simd.load(y.add(pixel * step)));
            }
            let sum = simd.add(simd.add(sums[0], sums[1]), simd.add(sums[2], sums[3]));
            let mean = simd.mul(sum, simd.splat(1.0 / pixels as f32));
            simd.store(means.as_mut_ptr().add(channel), mean);
            let mut sums = [simd.zero(); 4];
            for pixel in 0..pixels / 4 {
                for (k, sum) in sums.iter_mut().enumerate() {
                    let d = simd.sub(simd.load(y.add((4 * pixel + k) * step)), mean);
                    *sum = simd.fma(d, d, *sum);
                }
            }
            for pixel in pixels / 4 * 4..pixels {
                let d = simd.sub(simd.load(y.add(pixel * step)), mean);
                sums[0] = simd.fma(d, d, sums[0]);
            }
            let sum = simd.add(simd.add(sums[0], sums[1]), simd.add(sums[2], sums[3]));
            simd.store(squares.as_mut_ptr().add(channel), sum);
        }
    }
}

#[inline(always)]
fn gradient_sums_kernel<S: Simd>(
    simd: S,
    shape: Shape,
    affine: Affine<'_>,
    mean: &[f32],
    y: &[f32],
    dz: &[f32],
    sums: &mut [f32],
) {
    let lengths = [affine.scale.len(), affine.shift.len(), mean.len(), sums.len() / 2];
    shape.check(S::LANES, y.len(), dz.len(), &lengths);
    let Shape { convolved, output, pool } = shape;
    let (step, line) = (convolved.channels, convolved.width * convolved.channels);
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: pixels of both images and the channel's coefficients are inside by `check`.
        unsafe {
            let scale = simd.load(affine.scale.as_ptr().add(channel));
            let shift = simd.load(affine.shift.as_ptr().add(channel));
            let mean = simd.load(mean.as_ptr().add(channel));
            let (y, dz) = (y.as_ptr().add(channel), dz.as_ptr().add(channel));
            let (mut sum, mut product) = (simd.zero(), simd.zero());
            if pool {
                for row in 0..output.height {
                    for column in 0..output.width {
                        let from = 2 * row * line + 2 * column * step;
                        let y = [
                            simd.load(y.add(from)),
                            simd.load(y.add(from + step)),
                            simd.load(y.add(from + line)),
                            simd.load(y.add(from + line + step)),
                        ];
                        let mut v = y;
                        for v in &mut v {
                            *v = simd.fma(*v, scale, shift);
                        }
                        let d = simd.load(dz.add((row * output.width + column) * step));
                        for (g, y) in route(simd, v, d).into_iter().zip(y) {
                            sum = simd.add(sum, g);
                            product = simd.fma(g, simd.sub(y, mean), product);
                        }
                    }
                }
            } else {
                for pixel in 0..output.pixels() {
                    let y = simd.load(y.add(pixel * step));
                    let d = simd.load(dz.add(pixel * step));
                    let g = simd.select_gt(simd.fma(y, scale, shift), simd.zero(), d, simd.zero());
                    sum = simd.add(sum, g);
                    product = simd.fma(g, simd.sub(y, mean), product);
                }
            }
            simd.store(sums.as_mut_ptr().add(channel), sum);
            simd.store(sums.as_mut_ptr().add(step + channel), product);
        }
    }
}

#[inline(always)]
fn convolved_gradient_kernel<S: Simd>(
    simd: S,
    shape: Shape,
    affine: Affine<'_>,
    through: Affine<'_>,
    y: &[f32],
    dz: &[f32],
    dy: &mut [f32],
) {
    let lengths = [affine.scale.len(), affine.shift.len(), through.scale.len(), through.shift.len()];
    shape.check(S::LANES, y.len().min(dy.len()), dz.len(), &lengths);
    let Shape { convolved, output, pool } = shape;
    let (step, line) = (convolved.channels, convolved.width * convolved.channels);
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: pixels of the images and the channel's coefficients are inside by `check`.
        unsafe {
            let scale = simd.load(affine.scale.as_ptr().add(channel));
            let shift = simd.load(affine.shift.as_ptr().add(channel));
            let slope = simd.load(through.scale.as_ptr().add(channel));
            let constant = simd.load(through.shift.as_ptr().add(channel));
            let (y, dz) = (y.as_ptr().add(channel), dz.as_ptr().add(channel));
            let dy = dy.as_mut_ptr().add(channel);
            if pool {
                for row in 0..output.height {
                    for column in 0..output.width {
                        let from = 2 * row * line + 2 * column * step;
                        let places = [from, from + step, from + line, from + line + step];
                        let mut values = [simd.zero(); 4];
                        let mut normalised = [simd.zero(); 4];
                        for k in 0..4 {
                            values[k] = simd.load(y.add(places[k]));
                            normalised[k] = simd.fma(values[k], scale, shift);
                        }
                        let d = simd.load(dz.add((row * output.width + column) * step));
                        let g = route(simd, normalised, d);
                        for k in 0..4 {
                            let rest = simd.fma(values[k], slope, constant);
                            simd.store(dy.add(places[k]), simd.fma(scale, g[k], rest));
                        }
                    }
                }
                // Rows and columns that no window covers still shaped the statistics.
                for row in 0..convolved.height {
                    let covered = if row < 2 * output.height { 2 * output.width } else { 0 };
                    for column in covered..convolved.width {
                        let at = row * line + column * step;
                        simd.store(dy.add(at), simd.fma(simd.load(y.add(at)), slope, constant));
                    }
                }
            } else {
                for pixel in 0..output.pixels() {
                    let y = simd.load(y.add(pixel * step));
                    let d = simd.load(dz.add(pixel * step));
                    let g = simd.select_gt(simd.fma(y, scale, shift), simd.zero(), d, simd.zero());
                    let rest = simd.fma(y, slope, constant);
                    simd.store(dy.add(pixel * step), simd.fma(scale, g, rest));
                }
            }
            simd.store(dy.add(convolved.pixels() * step), simd.zero());
        }
    }
}
