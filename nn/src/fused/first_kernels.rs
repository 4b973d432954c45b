//! Kernels of the first block: convolution, norm, ReLU and pooling window by window, forward and backward.
//!
//! A window is `SIDE × SIDE` outputs of the convolution, 2 with pooling and 1 without, and sees `(SIDE + 2)²` pixels of
//! each input channel. Each pixel is broadcast once and multiplied by all filter elements that meet it; with one input
//! channel the filters of eight output channels stay in registers over the whole image.

use super::image::Image;
use super::simd::{Simd, dispatch};
use super::window::{self, Affine, Window, change_of_largest, normalise, normalise_tangent, route};

/// The windows of an image, and where they read and write.
#[derive(Clone, Copy)]
pub(super) struct Windows<'a> {
    /// For each window, where its pixels start in a bordered input, and its output pixel's offset.
    pub(super) places: &'a [[u32; 2]],
    /// Rows of a bordered input are this long, and channels so many floats apart.
    pub(super) pitch: usize,
    pub(super) plane: usize,
    pub(super) inputs: usize,
    pub(super) output: Image,
}

/// Filters, `[inputs·9, channels]`, and the affine map of their outputs.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) filters: &'a [f32],
    pub(super) affine: Affine<'a>,
}

impl Windows<'_> {
    /// Panics unless every access below stays inside; `bordered` and `output` are the lengths of images.
    fn check(&self, side: usize, lanes: usize, weights: Weights<'_>, [bordered, output]: [usize; 2]) {
        let reach = (self.inputs - 1) * self.plane + (side + 1) * self.pitch + side + 1;
        let start = self.places.iter().map(|place| place[0] as usize).max().unwrap_or(0);
        debug_assert!(self.places.iter().all(|place| place[1] as usize + self.output.channels <= output));
        let channels = self.output.channels;
        assert!(start + reach < bordered && self.inputs * 9 * channels <= weights.filters.len());
        assert!(channels.is_multiple_of(lanes) && self.output.len() <= output);
        assert!(weights.affine.len() >= channels);
    }
}

/// Nine filter elements of one input channel, from `filters` on.
///
/// # Safety
/// Nine vectors `channels` floats apart can be read.
#[inline(always)]
unsafe fn nine<S: Simd>(simd: S, filters: *const f32, channels: usize) -> [S::V; 9] {
    let mut w = [simd.zero(); 9];
    for (tap, w) in w.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *w = unsafe { simd.load(filters.add(tap * channels)) };
    }
    w
}

/// Adds one input channel's part of a window's convolution outputs.
///
/// # Safety
/// `SIDE + 2` rows of as many pixels, `pitch` apart, can be read.
#[inline(always)]
unsafe fn convolve<S: Simd, const SIDE: usize>(
    simd: S,
    w: &[S::V; 9],
    pixels: *const f32,
    pitch: usize,
    sums: &mut Window<S, SIDE>,
) {
    for row in 0..SIDE + 2 {
        for column in 0..SIDE + 2 {
            // SAFETY: the caller's promise.
            let pixel = simd.splat(unsafe { *pixels.add(row * pitch + column) });
            for (y, sums) in sums.iter_mut().enumerate() {
                for (x, sum) in sums.iter_mut().enumerate() {
                    if (y..y + 3).contains(&row) && (x..x + 3).contains(&column) {
                        *sum = simd.fma(pixel, w[(row - y) * 3 + column - x], *sum);
                    }
                }
            }
        }
    }
}

/// A window's convolution outputs in the channels at `filters`; `first` are the filters of input channel 0.
///
/// # Safety
/// `place` is one of `windows`, and `check` has passed.
#[inline(always)]
unsafe fn outputs<S: Simd, const SIDE: usize>(
    simd: S,
    windows: Windows<'_>,
    first: &[S::V; 9],
    filters: *const f32,
    pixels: *const f32,
) -> Window<S, SIDE> {
    let mut sums = [[simd.zero(); SIDE]; SIDE];
    // SAFETY: by `check` all pixels of the window and all filters are inside.
    unsafe {
        convolve(simd, first, pixels, windows.pitch, &mut sums);
        for input in 1..windows.inputs {
            let w = nine(simd, filters.add(input * 9 * windows.output.channels), windows.output.channels);
            convolve(simd, &w, pixels.add(input * windows.plane), windows.pitch, &mut sums);
        }
    }
    sums
}

dispatch! {
    /// Outputs `z` of windows of `SIDE × SIDE`, in an image with a border of zeros.
    pub(super) fn activate<const SIDE: usize>(
        windows: Windows<'_>, weights: Weights<'_>, bordered: &[f32], z: &mut [f32],
    ) = activate_kernel::<_, SIDE>
}
dispatch! {
    /// Adds G (`[inputs·9, channels]`) and then Σg (`[channels]`) to `sums`; `routed` is scratch.
    pub(super) fn backward<const SIDE: usize>(
        windows: Windows<'_>, weights: Weights<'_>, bordered: &[f32], dz: &[f32], routed: &mut [f32], sums: &mut [f32],
    ) = backward_kernel::<_, SIDE>
}
dispatch! {
    /// The change of outputs, given the weights and their change.
    pub(super) fn tangent<const SIDE: usize>(
        windows: Windows<'_>, weights: [Weights<'_>; 2], bordered: &[f32], z: &mut [f32],
    ) = tangent_kernel::<_, SIDE>
}

#[inline(always)]
fn activate_kernel<S: Simd, const SIDE: usize>(
    simd: S,
    windows: Windows<'_>,
    weights: Weights<'_>,
    bordered: &[f32],
    z: &mut [f32],
) {
    windows.check(SIDE, S::LANES, weights, [bordered.len(), z.len()]);
    for channel in (0..windows.output.channels).step_by(S::LANES) {
        // SAFETY: windows, filters, coefficients and outputs are inside by `check`.
        unsafe {
            let affine = weights.affine.load(simd, channel);
            let filters = weights.filters.as_ptr().add(channel);
            let first = nine(simd, filters, windows.output.channels);
            for &[start, output] in windows.places {
                let pixels = bordered.as_ptr().add(start as usize);
                let y = outputs::<S, SIDE>(simd, windows, &first, filters, pixels);
                let mut max = simd.zero();
                for v in normalise(simd, y, affine).as_flattened() {
                    max = simd.max(max, *v);
                }
                simd.store(z.as_mut_ptr().add(output as usize + channel), max);
            }
        }
    }
}

#[inline(always)]
fn backward_kernel<S: Simd, const SIDE: usize>(
    simd: S,
    windows: Windows<'_>,
    weights: Weights<'_>,
    bordered: &[f32],
    dz: &[f32],
    routed: &mut [f32],
    sums: &mut [f32],
) {
    let channels = windows.output.channels;
    windows.check(SIDE, S::LANES, weights, [bordered.len(), dz.len()]);
    let size = SIDE * SIDE * S::LANES;
    assert!(routed.len() >= windows.places.len() * size && sums.len() >= (9 * windows.inputs + 1) * channels);
    for channel in (0..channels).step_by(S::LANES) {
        // SAFETY: windows, filters, coefficients and gradients are inside by `check`, the rest by the assertion.
        unsafe {
            // First g of all windows, with the filters in registers, …
            let affine = weights.affine.load(simd, channel);
            let filters = weights.filters.as_ptr().add(channel);
            let first = nine(simd, filters, channels);
            let mut total = simd.zero();
            for (index, &[start, output]) in windows.places.iter().enumerate() {
                let pixels = bordered.as_ptr().add(start as usize);
                let v = normalise(simd, outputs::<S, SIDE>(simd, windows, &first, filters, pixels), affine);
                let g = route(simd, &v, simd.load(dz.as_ptr().add(output as usize + channel)));
                for (k, g) in g.as_flattened().iter().enumerate() {
                    total = simd.add(total, *g);
                    simd.store(routed.as_mut_ptr().add(index * size + k * S::LANES), *g);
                }
            }
            // … then their products with the pixels, with the sums in registers.
            let sums = sums.as_mut_ptr().add(channel);
            for input in 0..windows.inputs {
                let sums = sums.add(input * 9 * channels);
                let mut products = nine(simd, sums, channels);
                for (index, &[start, _]) in windows.places.iter().enumerate() {
                    let pixels = bordered.as_ptr().add(start as usize + input * windows.plane);
                    let g = routed.as_ptr().add(index * size);
                    let g = window::load::<S, SIDE>(simd, g, [SIDE * S::LANES, S::LANES]);
                    correlate(simd, &g, pixels, windows.pitch, &mut products);
                }
                for (tap, product) in products.into_iter().enumerate() {
                    simd.store(sums.add(tap * channels), product);
                }
            }
            let at = sums.add(9 * windows.inputs * channels);
            simd.store(at, simd.add(simd.load(at), total));
        }
    }
}

/// Adds the products of a window's g with the pixels that each of nine filter elements met.
///
/// # Safety
/// As for [`convolve`].
#[inline(always)]
unsafe fn correlate<S: Simd, const SIDE: usize>(
    simd: S,
    g: &Window<S, SIDE>,
    pixels: *const f32,
    pitch: usize,
    products: &mut [S::V; 9],
) {
    for row in 0..SIDE + 2 {
        for column in 0..SIDE + 2 {
            // SAFETY: the caller's promise.
            let pixel = simd.splat(unsafe { *pixels.add(row * pitch + column) });
            for (y, g) in g.iter().enumerate() {
                for (x, g) in g.iter().enumerate() {
                    if (y..y + 3).contains(&row) && (x..x + 3).contains(&column) {
                        let product = &mut products[(row - y) * 3 + column - x];
                        *product = simd.fma(pixel, *g, *product);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn tangent_kernel<S: Simd, const SIDE: usize>(
    simd: S,
    windows: Windows<'_>,
    [weights, weights_tangent]: [Weights<'_>; 2],
    bordered: &[f32],
    z: &mut [f32],
) {
    windows.check(SIDE, S::LANES, weights, [bordered.len(), z.len()]);
    windows.check(SIDE, S::LANES, weights_tangent, [bordered.len(), z.len()]);
    for channel in (0..windows.output.channels).step_by(S::LANES) {
        // SAFETY: windows, filters, coefficients and outputs are inside by `check`.
        unsafe {
            let affine = [weights.affine.load(simd, channel), weights_tangent.affine.load(simd, channel)];
            let filters = weights.filters.as_ptr().add(channel);
            let filters_tangent = weights_tangent.filters.as_ptr().add(channel);
            let first = nine(simd, filters, windows.output.channels);
            let first_tangent = nine(simd, filters_tangent, windows.output.channels);
            for &[start, output] in windows.places {
                let pixels = bordered.as_ptr().add(start as usize);
                let y = outputs::<S, SIDE>(simd, windows, &first, filters, pixels);
                let y_tangent = outputs::<S, SIDE>(simd, windows, &first_tangent, filters_tangent, pixels);
                let v_tangent = normalise_tangent(simd, &y, y_tangent, affine);
                let change = change_of_largest(simd, &normalise(simd, y, affine[0]), &v_tangent);
                simd.store(z.as_mut_ptr().add(output as usize + channel), change);
            }
        }
    }
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
