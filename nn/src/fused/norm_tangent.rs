//! How batch norm, ReLU and max-pooling of one image change with θ. Masks stay as they are.
//!
//! With scale·y + shift the normalised values, their change is scale·ẏ + scaleʹ·y + shiftʹ; the change of the gradient
//! scale·g + P·y + Q in the convolution's outputs follows by the product rule. A dot or prime is the derivative along
//! the direction that θ changes in. Where an argument is a pair, the second is the change of the first.

use super::image::Image;
use super::norm::{BlockShape, Coefficients, Images};
use super::simd::{Simd, dispatch};
use super::window::{Affine, change_of_largest, load, normalise, normalise_tangent, route};

dispatch! {
    /// The change of a block's outputs, its spare pixel cleared.
    pub(super) fn activate<const SIDE: usize>(
        shape: BlockShape, affine: [Affine<'_>; 2], y: [&[f32]; 2], z_tangent: &mut [f32],
    ) = activate_kernel::<_, SIDE>
}
dispatch! {
    /// Per channel, the sums of ẏ and (y − mean)·ẏ over an image.
    pub(super) fn statistics(image: Image, mean: &[f32], y: [&[f32]; 2], sums: &mut [f32]) = statistics_kernel
}
dispatch! {
    /// Four sums per channel: of g, g·(y − mean), ġ, and ġ·(y − mean) + g·(ẏ − mean_tangent).
    pub(super) fn gradient_sums<const SIDE: usize>(
        shape: BlockShape, affine: Affine<'_>, mean: [&[f32]; 2], images: [Images<'_>; 2], sums: &mut [f32],
    ) = gradient_sums_kernel::<_, SIDE>
}
dispatch! {
    /// The gradient in the convolution's outputs and its change.
    pub(super) fn convolved_gradient<const SIDE: usize>(
        shape: BlockShape, coefficients: [Coefficients<'_>; 2], images: [Images<'_>; 2], dy: [&mut [f32]; 2],
    ) = convolved_gradient_kernel::<_, SIDE>
}

#[inline(always)]
fn activate_kernel<S: Simd, const SIDE: usize>(
    simd: S,
    shape: BlockShape,
    affine: [Affine<'_>; 2],
    [y, y_tangent]: [&[f32]; 2],
    z_tangent: &mut [f32],
) {
    let (inner, channels) = (y.len().min(y_tangent.len()), affine.map(Affine::len));
    shape.check(SIDE, S::LANES, inner, z_tangent.len(), &channels);
    let (output, [line, step]) = (shape.output, shape.pitch());
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: pixels of the images and the channel's coefficients are inside by `check`.
        unsafe {
            let affine = [affine[0].load(simd, channel), affine[1].load(simd, channel)];
            let (y, y_tangent) = (y.as_ptr().add(channel), y_tangent.as_ptr().add(channel));
            let z_tangent = z_tangent.as_mut_ptr().add(channel);
            for row in 0..output.height {
                for column in 0..output.width {
                    let [from, to] = shape.places::<SIDE>(row, column);
                    let values = load::<S, SIDE>(simd, y.add(from), [line, step]);
                    let changes = load::<S, SIDE>(simd, y_tangent.add(from), [line, step]);
                    let v_tangent = normalise_tangent(simd, &values, changes, affine);
                    let v = normalise(simd, values, affine[0]);
                    simd.store(z_tangent.add(to), change_of_largest(simd, &v, &v_tangent));
                }
            }
            simd.store(z_tangent.add(output.pixels() * step), simd.zero());
        }
    }
}

#[inline(always)]
fn statistics_kernel<S: Simd>(
    simd: S,
    image: Image,
    mean: &[f32],
    [y, y_tangent]: [&[f32]; 2],
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
fn gradient_sums_kernel<S: Simd, const SIDE: usize>(
    simd: S,
    shape: BlockShape,
    affine: Affine<'_>,
    [mean, mean_tangent]: [&[f32]; 2],
    images: [Images<'_>; 2],
    sums: &mut [f32],
) {
    let [inner, outer] = lengths(images);
    let channels = [affine.len(), mean.len(), mean_tangent.len(), sums.len() / 4];
    shape.check(SIDE, S::LANES, inner, outer, &channels);
    let (output, [line, step]) = (shape.output, shape.pitch());
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: pixels of the images and the channel's coefficients are inside by `check`.
        unsafe {
            let affine = affine.load(simd, channel);
            let mean = simd.load(mean.as_ptr().add(channel));
            let mean_tangent = simd.load(mean_tangent.as_ptr().add(channel));
            let [y, y_tangent] = [images[0].y.as_ptr().add(channel), images[1].y.as_ptr().add(channel)];
            let [dz, dz_tangent] = [images[0].dz.as_ptr().add(channel), images[1].dz.as_ptr().add(channel)];
            let mut totals = [simd.zero(); 4];
            for row in 0..output.height {
                for column in 0..output.width {
                    let [from, at] = shape.places::<SIDE>(row, column);
                    let values = load::<S, SIDE>(simd, y.add(from), [line, step]);
                    let changes = load::<S, SIDE>(simd, y_tangent.add(from), [line, step]);
                    let v = normalise(simd, values, affine);
                    let g = route(simd, &v, simd.load(dz.add(at)));
                    let g_tangent = route(simd, &v, simd.load(dz_tangent.add(at)));
                    for i in 0..SIDE {
                        for j in 0..SIDE {
                            let (g, g_tangent) = (g[i][j], g_tangent[i][j]);
                            let deviation = simd.sub(values[i][j], mean);
                            totals[0] = simd.add(totals[0], g);
                            totals[1] = simd.fma(g, deviation, totals[1]);
                            totals[2] = simd.add(totals[2], g_tangent);
                            totals[3] = simd.fma(g_tangent, deviation, totals[3]);
                            totals[3] = simd.fma(g, simd.sub(changes[i][j], mean_tangent), totals[3]);
                        }
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
fn convolved_gradient_kernel<S: Simd, const SIDE: usize>(
    simd: S,
    shape: BlockShape,
    coefficients: [Coefficients<'_>; 2],
    images: [Images<'_>; 2],
    [dy, dy_tangent]: [&mut [f32]; 2],
) {
    let [inner, outer] = lengths(images);
    let inner = inner.min(dy.len()).min(dy_tangent.len());
    shape.check(SIDE, S::LANES, inner, outer, &coefficients.map(Coefficients::len));
    let (convolved, output, [line, step]) = (shape.convolved, shape.output, shape.pitch());
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: pixels of the images and the channel's coefficients are inside by `check`.
        unsafe {
            let affine = coefficients[0].affine.load(simd, channel);
            let [scale_tangent, _] = coefficients[1].affine.load(simd, channel);
            let [p, q] = coefficients[0].through.load(simd, channel);
            let [p_tangent, q_tangent] = coefficients[1].through.load(simd, channel);
            let [y, y_tangent] = [images[0].y.as_ptr().add(channel), images[1].y.as_ptr().add(channel)];
            let [dz, dz_tangent] = [images[0].dz.as_ptr().add(channel), images[1].dz.as_ptr().add(channel)];
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
                    let [from, at] = shape.places::<SIDE>(row, column);
                    let v = normalise(simd, load::<S, SIDE>(simd, y.add(from), [line, step]), affine);
                    let g = route(simd, &v, simd.load(dz.add(at)));
                    let g_tangent = route(simd, &v, simd.load(dz_tangent.add(at)));
                    for i in 0..SIDE {
                        for j in 0..SIDE {
                            let place = from + i * line + j * step;
                            let (to, to_tangent) = (dy.add(place), dy_tangent.add(place));
                            simd.store(to, simd.fma(affine[0], g[i][j], simd.load(to)));
                            let sum = simd.fma(scale_tangent, g[i][j], simd.load(to_tangent));
                            simd.store(to_tangent, simd.fma(affine[0], g_tangent[i][j], sum));
                        }
                    }
                }
            }
            simd.store(dy.add(convolved.pixels() * step), simd.zero());
            simd.store(dy_tangent.add(convolved.pixels() * step), simd.zero());
        }
    }
}

/// The shorter of the convolution's outputs, and of the gradients.
fn lengths([images, changes]: [Images<'_>; 2]) -> [usize; 2] {
    [images.y.len().min(changes.y.len()), images.dz.len().min(changes.dz.len())]
}
