//! Kernels of the first block: convolution, norm, ReLU and pooling window by window, forward and backward.

use super::conv::Image;
use super::norm::{Affine, route};
use super::simd::{Simd, dispatch};

/// A pooling window: where the patches of its convolution outputs start in a padded input, and its output.
pub(super) struct Window<const P: usize> {
    pub(super) patches: [u32; P],
    pub(super) output: u32,
}

dispatch! {
    /// Adds to `sums` the inner products of all pairs of rows of `length` floats, (0, 0), (1, 0), (1, 1), (2, 0) ….
    pub(super) fn products(length: usize, rows: &[f32], sums: &mut [f64]) = products_kernel
}

#[inline(always)]
fn products_kernel<S: Simd>(simd: S, length: usize, rows: &[f32], sums: &mut [f64]) {
    assert!(length.is_multiple_of(S::LANES));
    let mut sums = sums.iter_mut();
    for (i, left) in rows.chunks_exact(length).enumerate() {
        // Four products at a time share the loads of `left`.
        for first in (0..=i).step_by(4) {
            let count = (i + 1 - first).min(4);
            let mut totals = [simd.zero(); 4];
            let places: [usize; 4] = std::array::from_fn(|k| (first + k.min(count - 1)) * length);
            for at in (0..length).step_by(S::LANES) {
                // SAFETY: `at` is inside the rows `i` and `first..first + count`.
                unsafe {
                    let left = simd.load(left.as_ptr().add(at));
                    for (total, place) in totals.iter_mut().zip(places) {
                        *total = simd.fma(left, simd.load(rows.as_ptr().add(place + at)), *total);
                    }
                }
            }
            for (total, sum) in totals.into_iter().take(count).zip(&mut sums) {
                let mut lanes = [0.0; 16];
                // SAFETY: vectors have at most 16 floats.
                unsafe { simd.store(lanes.as_mut_ptr(), total) };
                *sum += lanes.into_iter().map(f64::from).sum::<f64>();
            }
        }
    }
}

/// What a convolution of patches needs; made by [`First::with`], which checks that all patches are inside.
#[derive(Clone, Copy)]
pub(super) struct Patches<'a> {
    pub(super) taps: &'a [u32],
    pub(super) filters: &'a [f32],
    pub(super) bordered: &'a [f32],
    pub(super) output: Image,
}

impl Patches<'_> {
    /// Convolution outputs of one window in the channels from `channel` on.
    ///
    /// # Safety
    /// `LANES` channels from `channel` exist.
    #[inline(always)]
    unsafe fn convolve<S: Simd, const P: usize>(
        &self,
        simd: S,
        patches: [u32; P],
        channel: usize,
    ) -> [S::V; P] {
        let mut sums = [simd.zero(); P];
        let channels = self.output.channels;
        // SAFETY: all patches and filters are inside (checked in `with`), and so is `channel`.
        unsafe {
            let pixels = self.bordered.as_ptr();
            let filters = self.filters.as_ptr().add(channel);
            let mut tap = 0;
            while tap < self.taps.len() {
                // Nine at a time, so that the loop unrolls.
                for k in tap..tap + 9 {
                    let offset = *self.taps.get_unchecked(k) as usize;
                    let filter = simd.load(filters.add(k * channels));
                    for (sum, patch) in sums.iter_mut().zip(patches) {
                        *sum = simd.fma(simd.splat(*pixels.add(patch as usize + offset)), filter, *sum);
                    }
                }
                tap += 9;
            }
        }
        sums
    }
}

dispatch! { pub(super) fn activate_pooled(windows: &[Window<4>], patches: Patches<'_>, affine: Affine<'_>, z: &mut [f32]) = activate_kernel }
dispatch! { pub(super) fn activate_single(windows: &[Window<1>], patches: Patches<'_>, affine: Affine<'_>, z: &mut [f32]) = activate_kernel }
dispatch! {
    pub(super) fn backward_pooled(
        windows: &[Window<4>], patches: Patches<'_>, affine: Affine<'_>, dz: &[f32], sums: &mut [f32],
    ) = backward_kernel
}
dispatch! {
    pub(super) fn backward_single(
        windows: &[Window<1>], patches: Patches<'_>, affine: Affine<'_>, dz: &[f32], sums: &mut [f32],
    ) = backward_kernel
}
#[inline(always)]
fn activate_kernel<S: Simd, const P: usize>(
    simd: S,
    windows: &[Window<P>],
    patches: Patches<'_>,
    affine: Affine<'_>,
    z: &mut [f32],
) {
    let channels = patches.output.channels;
    assert!(channels % S::LANES == 0 && z.len() >= patches.output.len());
    assert!(affine.scale.len() >= channels && affine.shift.len() >= channels);
    for window in windows {
        for channel in (0..channels).step_by(S::LANES) {
            // SAFETY: `channel` is inside everywhere and the window's output inside `z`, as asserted.
            unsafe {
                let scale = simd.load(affine.scale.as_ptr().add(channel));
                let shift = simd.load(affine.shift.as_ptr().add(channel));
                let mut max = simd.zero();
                for y in patches.convolve(simd, window.patches, channel) {
                    max = simd.max(max, simd.fma(y, scale, shift));
                }
                simd.store(z.as_mut_ptr().add(window.output as usize + channel), max);
            }
        }
    }
}

#[inline(always)]
fn backward_kernel<S: Simd, const P: usize>(
    simd: S,
    windows: &[Window<P>],
    patches: Patches<'_>,
    affine: Affine<'_>,
    dz: &[f32],
    sums: &mut [f32],
) {
    let channels = patches.output.channels;
    let taps = patches.taps;
    assert!(channels % S::LANES == 0 && dz.len() >= patches.output.len());
    assert!(affine.scale.len() >= channels && affine.shift.len() >= channels);
    assert!(sums.len() >= (taps.len() + 1) * channels);
    for window in windows {
        for channel in (0..channels).step_by(S::LANES) {
            // SAFETY: `channel` is inside everywhere and the window's output inside `dz`, as asserted; patches are
            // inside the bordered image as checked in `First::with`.
            unsafe {
                let scale = simd.load(affine.scale.as_ptr().add(channel));
                let shift = simd.load(affine.shift.as_ptr().add(channel));
                let d = simd.load(dz.as_ptr().add(window.output as usize + channel));
                let mut v = patches.convolve(simd, window.patches, channel);
                for v in &mut v {
                    *v = simd.fma(*v, scale, shift);
                }
                let mut g = [simd.zero(); P];
                let total = if P == 4 {
                    let routed = route(simd, [v[0], v[1], v[2], v[3]], d);
                    g.copy_from_slice(&routed);
                    simd.add(simd.add(routed[0], routed[1]), simd.add(routed[2], routed[3]))
                } else {
                    g[0] = simd.select_gt(v[0], simd.zero(), d, simd.zero());
                    g[0]
                };
                let pixels = patches.bordered.as_ptr();
                let sums = sums.as_mut_ptr().add(channel);
                let mut tap = 0;
                while tap < taps.len() {
                    for k in tap..tap + 9 {
                        let offset = *taps.get_unchecked(k) as usize;
                        let at = sums.add(k * channels);
                        let mut sum = simd.load(at);
                        for (g, patch) in g.into_iter().zip(window.patches) {
                            sum = simd.fma(simd.splat(*pixels.add(patch as usize + offset)), g, sum);
                        }
                        simd.store(at, sum);
                    }
                    tap += 9;
                }
                let at = sums.add(taps.len() * channels);
                simd.store(at, simd.add(simd.load(at), total));
            }
        }
    }
}

dispatch! {
    pub(super) fn tangent_pooled(
        windows: &[Window<4>], patches: [Patches<'_>; 2], affines: [Affine<'_>; 2], z: &mut [f32],
    ) = tangent_kernel
}
dispatch! {
    pub(super) fn tangent_single(
        windows: &[Window<1>], patches: [Patches<'_>; 2], affines: [Affine<'_>; 2], z: &mut [f32],
    ) = tangent_kernel
}

/// The change of each window's first maximum. Filters and affine maps come with their changes.
#[inline(always)]
fn tangent_kernel<S: Simd, const P: usize>(
    simd: S,
    windows: &[Window<P>],
    [patches, patches_tangent]: [Patches<'_>; 2],
    [affine, affine_tangent]: [Affine<'_>; 2],
    z: &mut [f32],
) {
    let channels = patches.output.channels;
    assert!(channels.is_multiple_of(S::LANES) && z.len() >= patches.output.len());
    for affine in [affine, affine_tangent] {
        assert!(affine.scale.len() >= channels && affine.shift.len() >= channels);
    }
    for window in windows {
        for channel in (0..channels).step_by(S::LANES) {
            // SAFETY: `channel` is inside everywhere and the window's output inside `z`, as asserted.
            unsafe {
                let scale = simd.load(affine.scale.as_ptr().add(channel));
                let shift = simd.load(affine.shift.as_ptr().add(channel));
                let scale_tangent = simd.load(affine_tangent.scale.as_ptr().add(channel));
                let shift_tangent = simd.load(affine_tangent.shift.as_ptr().add(channel));
                let y = patches.convolve(simd, window.patches, channel);
                let y_tangent = patches_tangent.convolve(simd, window.patches, channel);
                let (mut max, mut change) = (simd.zero(), simd.zero());
                for (y, y_tangent) in y.into_iter().zip(y_tangent) {
                    let v = simd.fma(y, scale, shift);
                    let tangent = simd.fma(scale, y_tangent, simd.fma(y, scale_tangent, shift_tangent));
                    change = simd.select_gt(v, max, tangent, change);
                    max = simd.max(max, v);
                }
                simd.store(z.as_mut_ptr().add(window.output as usize + channel), change);
            }
        }
    }
}
