//! A view of one image, `act(scale·y + shift)`, forward and backward, with its changes. Masks are computed again wherever they
//! are needed, by the same operations on the same values.

use super::super::image::Image;
use super::super::norm::Coefficients;
use super::super::simd::{Simd, dispatch};
use super::super::window::Affine;

/// `v` where that is positive, `slope · v` elsewhere.
#[inline(always)]
pub(super) fn activated<S: Simd>(simd: S, v: S::V, slope: S::V) -> S::V {
    simd.select_gt(v, simd.zero(), v, simd.mul(slope, v))
}

/// A gradient, or a change, `d` through the activation of `v`.
#[inline(always)]
pub(super) fn slope_of<S: Simd>(simd: S, v: S::V, d: S::V, slope: S::V) -> S::V {
    simd.select_gt(v, simd.zero(), d, simd.mul(slope, d))
}

/// A view of images: their sizes, and what is made of them.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) image: Image,
    pub(super) affine: Affine<'a>,
    pub(super) slope: f32,
}

impl Look<'_> {
    /// Panics unless every access of the kernels to images and vectors of channels of these lengths stays inside.
    fn check(&self, lanes: usize, images: &[usize], channels: &[usize]) {
        let step = self.image.channels;
        assert!(step.is_multiple_of(lanes) && self.affine.len() >= step);
        assert!(images.iter().all(|&len| len >= self.image.len()) && channels.iter().all(|&len| len >= step));
    }
}

dispatch! {
    /// The view, its spare pixel cleared.
    pub(super) fn activate(look: Look<'_>, y: &[f32], z: &mut [f32]) = activate_kernel
}
dispatch! {
    /// The change of the view, its spare pixel cleared.
    pub(super) fn activate_tangent(
        look: Look<'_>, change: Affine<'_>, y: [&[f32]; 2], z_tangent: &mut [f32],
    ) = activate_tangent_kernel
}
dispatch! {
    /// Two sums per channel: of the gradient g in scale·y + shift, and of g·(y − mean). `d` is the gradient in the view.
    pub(super) fn gradient_sums(look: Look<'_>, mean: &[f32], y: &[f32], d: &[f32], sums: &mut [f32]) = gradient_sums_kernel
}
dispatch! {
    /// Four sums per channel: of g, g·(y − mean), ġ, and ġ·(y − mean) + g·(ẏ − mean_tangent).
    pub(super) fn gradient_sums_tangent(
        look: Look<'_>, mean: [&[f32]; 2], y: [&[f32]; 2], d: [&[f32]; 2], sums: &mut [f32],
    ) = gradient_sums_tangent_kernel
}
dispatch! {
    /// `dy (+)= scale·g + P·y + Q`, added to what is there if `ADD` is 1; its spare pixel is cleared.
    pub(super) fn raw_gradient<const ADD: usize>(
        look: Look<'_>, through: Affine<'_>, y: &[f32], d: &[f32], dy: &mut [f32],
    ) = raw_gradient_kernel::<_, ADD>
}
dispatch! {
    /// [`raw_gradient`] and its change.
    pub(super) fn raw_gradient_tangent<const ADD: usize>(
        look: Look<'_>, coefficients: [Coefficients<'_>; 2], y: [&[f32]; 2], d: [&[f32]; 2], dy: [&mut [f32]; 2],
    ) = raw_gradient_tangent_kernel::<_, ADD>
}

#[inline(always)]
fn activate_kernel<S: Simd>(simd: S, look: Look<'_>, y: &[f32], z: &mut [f32]) {
    look.check(S::LANES, &[y.len(), z.len()], &[]);
    let (image, slope) = (look.image, simd.splat(look.slope));
    for at in (0..image.pixels() * image.channels).step_by(image.channels) {
        for channel in (0..image.channels).step_by(S::LANES) {
            // SAFETY: pixels and channels are inside by `check`.
            unsafe {
                let [scale, shift] = look.affine.load(simd, channel);
                let v = simd.fma(simd.load(y.as_ptr().add(at + channel)), scale, shift);
                simd.store(z.as_mut_ptr().add(at + channel), activated(simd, v, slope));
            }
        }
    }
    image.clear_spare(&mut z[..image.len()]);
}

#[inline(always)]
fn activate_tangent_kernel<S: Simd>(
    simd: S,
    look: Look<'_>,
    change: Affine<'_>,
    [y, y_tangent]: [&[f32]; 2],
    z_tangent: &mut [f32],
) {
    look.check(S::LANES, &[y.len(), y_tangent.len(), z_tangent.len()], &[change.len()]);
    let (image, slope) = (look.image, simd.splat(look.slope));
    for at in (0..image.pixels() * image.channels).step_by(image.channels) {
        for channel in (0..image.channels).step_by(S::LANES) {
            // SAFETY: pixels and channels are inside by `check`.
            unsafe {
                let [scale, shift] = look.affine.load(simd, channel);
                let [scale_tangent, shift_tangent] = change.load(simd, channel);
                let y = simd.load(y.as_ptr().add(at + channel));
                let y_tangent = simd.load(y_tangent.as_ptr().add(at + channel));
                let v = simd.fma(y, scale, shift);
                let v_tangent = simd.fma(scale, y_tangent, simd.fma(y, scale_tangent, shift_tangent));
                simd.store(z_tangent.as_mut_ptr().add(at + channel), slope_of(simd, v, v_tangent, slope));
            }
        }
    }
    image.clear_spare(&mut z_tangent[..image.len()]);
}

#[inline(always)]
fn gradient_sums_kernel<S: Simd>(
    simd: S,
    look: Look<'_>,
    mean: &[f32],
    y: &[f32],
    d: &[f32],
    sums: &mut [f32],
) {
    look.check(S::LANES, &[y.len(), d.len()], &[mean.len(), sums.len() / 2]);
    let (step, slope) = (look.image.channels, simd.splat(look.slope));
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: pixels and channels are inside by `check`.
        unsafe {
            let [scale, shift] = look.affine.load(simd, channel);
            let mean = simd.load(mean.as_ptr().add(channel));
            let (mut sum, mut product) = (simd.zero(), simd.zero());
            for at in (channel..look.image.pixels() * step).step_by(step) {
                let y = simd.load(y.as_ptr().add(at));
                let g = slope_of(simd, simd.fma(y, scale, shift), simd.load(d.as_ptr().add(at)), slope);
                sum = simd.add(sum, g);
                product = simd.fma(g, simd.sub(y, mean), product);
            }
            simd.store(sums.as_mut_ptr().add(channel), sum);
            simd.store(sums.as_mut_ptr().add(step + channel), product);
        }
    }
}

#[inline(always)]
fn gradient_sums_tangent_kernel<S: Simd>(
    simd: S,
    look: Look<'_>,
    [mean, mean_tangent]: [&[f32]; 2],
    [y, y_tangent]: [&[f32]; 2],
    [d, d_tangent]: [&[f32]; 2],
    sums: &mut [f32],
) {
    let images = [y.len(), y_tangent.len(), d.len(), d_tangent.len()];
    look.check(S::LANES, &images, &[mean.len(), mean_tangent.len(), sums.len() / 4]);
    let (step, slope) = (look.image.channels, simd.splat(look.slope));
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: pixels and channels are inside by `check`.
        unsafe {
            let [scale, shift] = look.affine.load(simd, channel);
            let mean = simd.load(mean.as_ptr().add(channel));
            let mean_tangent = simd.load(mean_tangent.as_ptr().add(channel));
            let mut totals = [simd.zero(); 4];
            for at in (channel..look.image.pixels() * step).step_by(step) {
                let y = simd.load(y.as_ptr().add(at));
                let v = simd.fma(y, scale, shift);
                let g = slope_of(simd, v, simd.load(d.as_ptr().add(at)), slope);
                let g_tangent = slope_of(simd, v, simd.load(d_tangent.as_ptr().add(at)), slope);
                let deviation = simd.sub(y, mean);
                let change = simd.sub(simd.load(y_tangent.as_ptr().add(at)), mean_tangent);
                totals[0] = simd.add(totals[0], g);
                totals[1] = simd.fma(g, deviation, totals[1]);
                totals[2] = simd.add(totals[2], g_tangent);
                totals[3] = simd.fma(g_tangent, deviation, simd.fma(g, change, totals[3]));
            }
            for (k, total) in totals.into_iter().enumerate() {
                simd.store(sums.as_mut_ptr().add(k * step + channel), total);
            }
        }
    }
}

#[inline(always)]
fn raw_gradient_kernel<S: Simd, const ADD: usize>(
    simd: S,
    look: Look<'_>,
    through: Affine<'_>,
    y: &[f32],
    d: &[f32],
    dy: &mut [f32],
) {
    look.check(S::LANES, &[y.len(), d.len(), dy.len()], &[through.len()]);
    let (image, slope) = (look.image, simd.splat(look.slope));
    for at in (0..image.pixels() * image.channels).step_by(image.channels) {
        for channel in (0..image.channels).step_by(S::LANES) {
            // SAFETY: pixels and channels are inside by `check`.
            unsafe {
                let [scale, shift] = look.affine.load(simd, channel);
                let [p, q] = through.load(simd, channel);
                let y = simd.load(y.as_ptr().add(at + channel));
                let d = simd.load(d.as_ptr().add(at + channel));
                let g = slope_of(simd, simd.fma(y, scale, shift), d, slope);
                let value = simd.fma(scale, g, simd.fma(y, p, q));
                let to = dy.as_mut_ptr().add(at + channel);
                simd.store(to, if ADD == 1 { simd.add(simd.load(to), value) } else { value });
            }
        }
    }
    image.clear_spare(&mut dy[..image.len()]);
}

#[inline(always)]
fn raw_gradient_tangent_kernel<S: Simd, const ADD: usize>(
    simd: S,
    look: Look<'_>,
    coefficients: [Coefficients<'_>; 2],
    [y, y_tangent]: [&[f32]; 2],
    [d, d_tangent]: [&[f32]; 2],
    [dy, dy_tangent]: [&mut [f32]; 2],
) {
    let images = [y.len(), y_tangent.len(), d.len(), d_tangent.len(), dy.len(), dy_tangent.len()];
    look.check(S::LANES, &images, &coefficients.map(Coefficients::len));
    let (image, slope) = (look.image, simd.splat(look.slope));
    for at in (0..image.pixels() * image.channels).step_by(image.channels) {
        for channel in (0..image.channels).step_by(S::LANES) {
            // SAFETY: pixels and channels are inside by `check`.
            unsafe {
                let [scale, shift] = look.affine.load(simd, channel);
                let [scale_tangent, _] = coefficients[1].affine.load(simd, channel);
                let [p, q] = coefficients[0].through.load(simd, channel);
                let [p_tangent, q_tangent] = coefficients[1].through.load(simd, channel);
                let place = at + channel;
                let y = simd.load(y.as_ptr().add(place));
                let v = simd.fma(y, scale, shift);
                let g = slope_of(simd, v, simd.load(d.as_ptr().add(place)), slope);
                let g_tangent = slope_of(simd, v, simd.load(d_tangent.as_ptr().add(place)), slope);
                let value = simd.fma(scale, g, simd.fma(y, p, q));
                let rest =
                    simd.fma(simd.load(y_tangent.as_ptr().add(place)), p, simd.fma(y, p_tangent, q_tangent));
                let change = simd.fma(scale, g_tangent, simd.fma(scale_tangent, g, rest));
                let (to, to_tangent) = (dy.as_mut_ptr().add(place), dy_tangent.as_mut_ptr().add(place));
                simd.store(to, if ADD == 1 { simd.add(simd.load(to), value) } else { value });
                simd.store(
                    to_tangent,
                    if ADD == 1 { simd.add(simd.load(to_tangent), change) } else { change },
                );
            }
        }
    }
    image.clear_spare(&mut dy[..image.len()]);
    image.clear_spare(&mut dy_tangent[..image.len()]);
}
