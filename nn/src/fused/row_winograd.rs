//! Winograd's F(4, 3) along signals of one row: 6 products for 4 outputs instead of 12 (Lavin & Gray 2016, §3).
//!
//! A block of tiles at a time, so that what is between stays near the core: its samples at the six points, a matrix product at each,
//! and the outputs of these. Samples beyond the ends are zero.

use super::arena::LINE;
use super::gemm::{Batch, Left, Panels, Sizes, Sum, Target, Term, multiply};
use super::image::Image;
use super::simd::{Isa, Simd, dispatch};
use super::transforms::{ATransposed, BTransposed, G, Transform};

const TAPS: usize = 3;
const POINTS: usize = 6;
/// Outputs of a tile.
const OUTPUTS: usize = 4;
/// Tiles of a block: two blocks of rows of the products with AVX-512, four without.
const TILES: usize = 24;
/// Channels from which on the products are worth the transforms.
const FEWEST_CHANNELS: usize = 32;

/// Whether it is faster than the products themselves.
pub(super) fn fits(taps: usize, input: Image, output: Image) -> bool {
    taps == TAPS && input.channels.min(output.channels) >= FEWEST_CHANNELS && input.width >= OUTPUTS
}

/// Floats of filters at the points, between so many channels.
pub(super) fn filters_len(channels: [usize; 2]) -> usize {
    POINTS * channels[0] * channels[1]
}

dispatch! {
    /// Panels `[taps · channels, 16]` of filters at the points: `[points, panels, channels, 16]`.
    pub(super) fn filters(channels: usize, taps: &[f32], points: &mut [f32]) = filters_kernel
}

#[inline(always)]
fn filters_kernel<S: Simd>(simd: S, channels: usize, taps: &[f32], points: &mut [f32]) {
    let (panel, plane) = (channels * LINE, points.len() / POINTS);
    assert!(panel > 0 && plane.is_multiple_of(panel) && taps.len() == TAPS * plane);
    for at in (0..plane).step_by(S::LANES) {
        let from = at / panel * TAPS * panel + at % panel;
        // SAFETY: vectors do not straddle panels, which are whole lines, and both buffers have all of them by the assertion.
        unsafe {
            let tap = |tap: usize| simd.load(taps.as_ptr().add(from + tap * panel));
            let values = G::apply(simd, [tap(0), tap(1), tap(2)]);
            for (point, value) in values.into_iter().enumerate() {
                simd.store(points.as_mut_ptr().add(point * plane + at), value);
            }
        }
    }
}

/// `signal · filters`, one signal, its outputs as many as its inputs.
pub(super) fn convolve(
    isa: Isa,
    [from, to]: [Image; 2],
    [x, filters]: [&[f32]; 2],
    y: &mut [f32],
    accumulate: bool,
) {
    let all = to.width.div_ceil(OUTPUTS);
    let (samples, products) = (POINTS * TILES * from.channels, POINTS * TILES * to.channels);
    let mut scratch = vec![0.0; samples + products + LINE];
    let aligned = scratch.as_ptr().align_offset(size_of::<[f32; LINE]>()).min(LINE);
    let (lowered, multiplied) = scratch[aligned..].split_at_mut(samples);
    let plane = from.channels * to.channels;
    for first in (0..all).step_by(TILES) {
        let tiles = TILES.min(all - first);
        lower(isa, from, first, tiles, x, lowered);
        let place = |point: usize, size: usize| (point * size) as u32;
        let sums: [Sum; POINTS] = std::array::from_fn(|point| Sum {
            to: place(point, tiles * to.channels),
            terms: point as u32..point as u32 + 1,
        });
        let terms: [Term; POINTS] =
            std::array::from_fn(|point| [place(point, tiles * from.channels), place(point, plane)]);
        let sizes = Sizes { rows: tiles, columns: to.channels, depth: from.channels };
        let a = Left { values: lowered, row: from.channels, column: 1 };
        let b = Panels { values: filters, panel: from.channels * LINE, depth: LINE };
        let c = Target { values: multiplied, row: to.channels, accumulate: false };
        multiply(isa, Batch { sums: &sums, terms: &terms }, sizes, a, b, c);
        raise(isa, to, first, tiles, multiplied, y, accumulate);
    }
}

dispatch! {
    /// Samples of tiles at the points: `[points, tiles, channels]`.
    fn lower(image: Image, first: usize, tiles: usize, x: &[f32], planes: &mut [f32]) = lower_kernel
}

#[inline(always)]
fn lower_kernel<S: Simd>(simd: S, image: Image, first: usize, tiles: usize, x: &[f32], planes: &mut [f32]) {
    let Image { channels, width, .. } = image;
    assert!(channels.is_multiple_of(LINE) && x.len() >= width * channels);
    assert!(planes.len() >= POINTS * tiles * channels);
    for tile in 0..tiles {
        // One sample before the first output, and one beyond the last.
        let start = ((first + tile) * OUTPUTS) as isize - 1;
        for channel in (0..channels).step_by(S::LANES) {
            let mut samples = [simd.zero(); POINTS];
            for (at, sample) in samples.iter_mut().enumerate() {
                let place = start + at as isize;
                if (0..width as isize).contains(&place) {
                    // SAFETY: a sample of the signal, and a whole vector of its channels.
                    *sample = unsafe { simd.load(x.as_ptr().add(place as usize * channels + channel)) };
                }
            }
            for (point, value) in BTransposed::<4>::apply(simd, samples).into_iter().enumerate() {
                // SAFETY: within the planes, by the assertion.
                unsafe {
                    simd.store(planes.as_mut_ptr().add((point * tiles + tile) * channels + channel), value);
                }
            }
        }
    }
}

dispatch! {
    /// Outputs of tiles from their products `[points, tiles, channels]`.
    fn raise(image: Image, first: usize, tiles: usize, planes: &[f32], y: &mut [f32], accumulate: bool) = raise_kernel
}

#[inline(always)]
fn raise_kernel<S: Simd>(
    simd: S,
    image: Image,
    first: usize,
    tiles: usize,
    planes: &[f32],
    y: &mut [f32],
    accumulate: bool,
) {
    let Image { channels, width, .. } = image;
    assert!(channels.is_multiple_of(LINE) && y.len() >= width * channels);
    assert!(planes.len() >= POINTS * tiles * channels);
    for tile in 0..tiles {
        let start = (first + tile) * OUTPUTS;
        for channel in (0..channels).step_by(S::LANES) {
            let mut products = [simd.zero(); POINTS];
            for (point, product) in products.iter_mut().enumerate() {
                // SAFETY: within the planes, by the assertion.
                *product =
                    unsafe { simd.load(planes.as_ptr().add((point * tiles + tile) * channels + channel)) };
            }
            let outputs = ATransposed::<4>::apply(simd, products);
            for (at, output) in (start..width).zip(outputs) {
                // SAFETY: a sample of the signal, and a whole vector of its channels.
                unsafe {
                    let place = y.as_mut_ptr().add(at * channels + channel);
                    simd.store(place, if accumulate { simd.add(simd.load(place), output) } else { output });
                }
            }
        }
    }
}
