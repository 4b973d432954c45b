//! Winograd's minimal filtering F(4×4, 3×3): 36 products a tile of 16 outputs instead of 144 (Lavin & Gray 2016,
//! "Fast Algorithms for Convolutional Neural Networks").
//!
//! With V = Bᵀ x B and U = G w Gᵀ, a tile of outputs is y = Aᵀ [U ∘ V] A, and the products summed over channels are 36
//! matrix products over all tiles. Both derivatives are the transposed maps around the same kind of products: with
//! Y = A dy Aᵀ, dw = Gᵀ [V ∘ Y summed over tiles] G, and dx = B [U ∘ Y] Bᵀ, added up where tiles overlap.
//!
//! The interpolation points are 0, ±3/4, ±3/2 and ∞. The usual 0, ±1, ±2, ∞ lose twice as much: on 64 channels the
//! norm-wise error in f32 is 7e-7 for outputs (1.2e-6 with the usual points, 1.1e-7 direct), 1.1e-6 for dw and 8e-7 for
//! dx. All constants of Bᵀ and Aᵀ are exact in f32.

use super::arena::LINE;
use super::simd::{Simd, dispatch};

/// Points of the transform in one dimension, and in both.
const POINTS: usize = 6;
pub(super) const PLANES: usize = POINTS * POINTS;
/// Outputs of a tile in one dimension.
pub(super) const TILE: usize = 4;

/// The interpolation points ±P and ±Q, and what the transforms need of them.
const P: f32 = 0.75;
const Q: f32 = 1.5;
const P2: f32 = P * P;
const Q2: f32 = Q * Q;
/// Derivatives of the polynomial with these roots at 0, ±P and ±Q: divisors of the rows of G.
const AT_0: f32 = P2 * Q2;
const AT_P: f32 = 2.0 * P2 * (P2 - Q2);
const AT_Q: f32 = 2.0 * Q2 * (Q2 - P2);

/// Where a tile lies: offsets, in floats from the start of an image, of its 6×6 inputs and 4×4 outputs. What falls
/// outside goes to the image's spare pixel.
#[derive(Clone, Debug)]
pub(super) struct Tile {
    pub(super) inputs: [u32; PLANES],
    pub(super) outputs: [u32; TILE * TILE],
}

/// One-dimensional Bᵀ: inputs to points.
#[inline(always)]
fn b_transposed<S: Simd>(simd: S, d: [S::V; 6]) -> [S::V; 6] {
    let k = |x: f32| simd.splat(x);
    let even_p = simd.fma(k(-Q2), d[2], d[4]);
    let odd_p = simd.fma(k(-Q2), d[1], d[3]);
    let even_q = simd.fma(k(-P2), d[2], d[4]);
    let odd_q = simd.fma(k(-P2), d[1], d[3]);
    [
        simd.fma(k(P2 * Q2), d[0], simd.fma(k(-P2 - Q2), d[2], d[4])),
        simd.fma(k(P), odd_p, even_p),
        simd.fma(k(-P), odd_p, even_p),
        simd.fma(k(Q), odd_q, even_q),
        simd.fma(k(-Q), odd_q, even_q),
        simd.fma(k(P2 * Q2), d[1], simd.fma(k(-P2 - Q2), d[3], d[5])),
    ]
}

/// One-dimensional B, the transpose of [`b_transposed`].
#[inline(always)]
fn b<S: Simd>(simd: S, m: [S::V; 6]) -> [S::V; 6] {
    let k = |x: f32| simd.splat(x);
    let (sum_p, difference_p) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
    let (sum_q, difference_q) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
    let odd_p = simd.mul(k(P), difference_p);
    let odd_q = simd.mul(k(Q), difference_q);
    [
        simd.mul(k(P2 * Q2), m[0]),
        simd.fma(k(P2 * Q2), m[5], simd.fma(k(-Q2), odd_p, simd.mul(k(-P2), odd_q))),
        simd.fma(k(-P2 - Q2), m[0], simd.fma(k(-Q2), sum_p, simd.mul(k(-P2), sum_q))),
        simd.fma(k(-P2 - Q2), m[5], simd.add(odd_p, odd_q)),
        simd.add(m[0], simd.add(sum_p, sum_q)),
        m[5],
    ]
}

/// One-dimensional Aᵀ: points to outputs.
#[inline(always)]
fn a_transposed<S: Simd>(simd: S, m: [S::V; 6]) -> [S::V; 4] {
    let k = |x: f32| simd.splat(x);
    let (sum_p, difference_p) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
    let (sum_q, difference_q) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
    [
        simd.add(m[0], simd.add(sum_p, sum_q)),
        simd.fma(k(P), difference_p, simd.mul(k(Q), difference_q)),
        simd.fma(k(P2), sum_p, simd.mul(k(Q2), sum_q)),
        simd.fma(k(P2 * P), difference_p, simd.fma(k(Q2 * Q), difference_q, m[5])),
    ]
}

/// One-dimensional A, the transpose of [`a_transposed`].
#[inline(always)]
fn a<S: Simd>(simd: S, d: [S::V; 4]) -> [S::V; 6] {
    let k = |x: f32| simd.splat(x);
    let even_p = simd.fma(k(P2), d[2], d[0]);
    let odd_p = simd.fma(k(P2), d[3], d[1]);
    let even_q = simd.fma(k(Q2), d[2], d[0]);
    let odd_q = simd.fma(k(Q2), d[3], d[1]);
    [
        d[0],
        simd.fma(k(P), odd_p, even_p),
        simd.fma(k(-P), odd_p, even_p),
        simd.fma(k(Q), odd_q, even_q),
        simd.fma(k(-Q), odd_q, even_q),
        d[3],
    ]
}

/// One-dimensional G: filter to points.
#[inline(always)]
fn g<S: Simd>(simd: S, w: [S::V; 3]) -> [S::V; 6] {
    let k = |x: f32| simd.splat(x);
    let even_p = simd.mul(k(1.0 / AT_P), simd.fma(k(P2), w[2], w[0]));
    let even_q = simd.mul(k(1.0 / AT_Q), simd.fma(k(Q2), w[2], w[0]));
    [
        simd.mul(k(1.0 / AT_0), w[0]),
        simd.fma(k(P / AT_P), w[1], even_p),
        simd.fma(k(-P / AT_P), w[1], even_p),
        simd.fma(k(Q / AT_Q), w[1], even_q),
        simd.fma(k(-Q / AT_Q), w[1], even_q),
        w[2],
    ]
}

/// One-dimensional Gᵀ, the transpose of [`g`].
#[inline(always)]
fn g_transposed<S: Simd>(simd: S, m: [S::V; 6]) -> [S::V; 3] {
    let k = |x: f32| simd.splat(x);
    let (sum_p, difference_p) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
    let (sum_q, difference_q) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
    [
        simd.fma(k(1.0 / AT_P), sum_p, simd.fma(k(1.0 / AT_Q), sum_q, simd.mul(k(1.0 / AT_0), m[0]))),
        simd.fma(k(P / AT_P), difference_p, simd.mul(k(Q / AT_Q), difference_q)),
        simd.fma(k(P2 / AT_P), sum_p, simd.fma(k(Q2 / AT_Q), sum_q, m[5])),
    ]
}

/// Images and their transforms: `count` images `image` floats apart in one, a plane `plane` floats long for each of
/// the 36 points in the other, with one row of `channels` for each tile.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    pub(super) tiles: &'a [Tile],
    pub(super) count: usize,
    pub(super) image: usize,
    pub(super) plane: usize,
    pub(super) channels: usize,
}

impl Shape<'_> {
    /// That every offset below stays inside buffers of these lengths.
    fn check(&self, lanes: usize, images: usize, planes: usize) {
        let pixel = |offset: &u32| *offset as usize + self.channels <= self.image;
        debug_assert!(self.tiles.iter().all(|t| t.inputs.iter().all(pixel) || t.outputs.iter().all(pixel)));
        assert!(self.channels % lanes == 0 && self.count * self.image <= images);
        assert!(self.count * self.tiles.len() * self.channels <= self.plane && PLANES * self.plane <= planes);
    }
}

dispatch! {
    /// V = Bᵀ x B: images (with zeros in their spare pixel) to planes.
    pub(super) fn lower(shape: Shape<'_>, images: &[f32], planes: &mut [f32]) = lower_kernel
}
dispatch! {
    /// y = Aᵀ m A: planes to images; what is outside goes to the spare pixel.
    pub(super) fn raise(shape: Shape<'_>, planes: &[f32], images: &mut [f32]) = raise_kernel
}
dispatch! {
    /// Y = A dy Aᵀ, the transpose of [`raise`]: images (with zeros in their spare pixel) to planes.
    pub(super) fn spread(shape: Shape<'_>, images: &[f32], planes: &mut [f32]) = spread_kernel
}
dispatch! {
    /// dx += B m Bᵀ, the transpose of [`lower`]: planes to images.
    pub(super) fn gather(shape: Shape<'_>, planes: &[f32], images: &mut [f32]) = gather_kernel
}

#[inline(always)]
fn lower_kernel<S: Simd>(simd: S, shape: Shape<'_>, images: &[f32], planes: &mut [f32]) {
    shape.check(S::LANES, images.len(), planes.len());
    for image in 0..shape.count {
        for (index, tile) in shape.tiles.iter().enumerate() {
            let row = (image * shape.tiles.len() + index) * shape.channels;
            for channel in (0..shape.channels).step_by(S::LANES) {
                // SAFETY: tiles lie in their images, and the row in every plane, by `check`.
                unsafe {
                    let from = images.as_ptr().add(image * shape.image + channel);
                    let to = planes.as_mut_ptr().add(row + channel);
                    let mut t = [[simd.zero(); 6]; 6];
                    for j in 0..6 {
                        let mut column = [simd.zero(); 6];
                        for (i, value) in column.iter_mut().enumerate() {
                            *value = simd.load(from.add(tile.inputs[i * 6 + j] as usize));
                        }
                        let column = b_transposed(simd, column);
                        for i in 0..6 {
                            t[i][j] = column[i];
                        }
                    }
                    for (i, row) in t.into_iter().enumerate() {
                        let row = b_transposed(simd, row);
                        for (j, value) in row.into_iter().enumerate() {
                            simd.store(to.add((i * 6 + j) * shape.plane), value);
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn raise_kernel<S: Simd>(simd: S, shape: Shape<'_>, planes: &[f32], images: &mut [f32]) {
    shape.check(S::LANES, images.len(), planes.len());
    for image in 0..shape.count {
        for (index, tile) in shape.tiles.iter().enumerate() {
            let row = (image * shape.tiles.len() + index) * shape.channels;
            for channel in (0..shape.channels).step_by(S::LANES) {
                // SAFETY: tiles lie in their images, and the row in every plane, by `check`.
                unsafe {
                    let from = planes.as_ptr().add(row + channel);
                    let to = images.as_mut_ptr().add(image * shape.image + channel);
                    let mut t = [[simd.zero(); 4]; 6];
                    for (i, t) in t.iter_mut().enumerate() {
                        let mut m = [simd.zero(); 6];
                        for (j, value) in m.iter_mut().enumerate() {
                            *value = simd.load(from.add((i * 6 + j) * shape.plane));
                        }
                        *t = a_transposed(simd, m);
                    }
                    for j in 0..4 {
                        let column = [t[0][j], t[1][j], t[2][j], t[3][j], t[4][j], t[5][j]];
                        let column = a_transposed(simd, column);
                        for (i, value) in column.into_iter().enumerate() {
                            simd.store(to.add(tile.outputs[i * 4 + j] as usize), value);
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn spread_kernel<S: Simd>(simd: S, shape: Shape<'_>, images: &[f32], planes: &mut [f32]) {
    shape.check(S::LANES, images.len(), planes.len());
    for image in 0..shape.count {
        for (index, tile) in shape.tiles.iter().enumerate() {
            let row = (image * shape.tiles.len() + index) * shape.channels;
            for channel in (0..shape.channels).step_by(S::LANES) {
                // SAFETY: tiles lie in their images, and the row in every plane, by `check`.
                unsafe {
                    let from = images.as_ptr().add(image * shape.image + channel);
                    let to = planes.as_mut_ptr().add(row + channel);
                    let mut t = [[simd.zero(); 4]; 6];
                    for j in 0..4 {
                        let mut column = [simd.zero(); 4];
                        for (i, value) in column.iter_mut().enumerate() {
                            *value = simd.load(from.add(tile.outputs[i * 4 + j] as usize));
                        }
                        let column = a(simd, column);
                        for i in 0..6 {
                            t[i][j] = column[i];
                        }
                    }
                    for (i, row) in t.into_iter().enumerate() {
                        let row = a(simd, row);
                        for (j, value) in row.into_iter().enumerate() {
                            simd.store(to.add((i * 6 + j) * shape.plane), value);
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn gather_kernel<S: Simd>(simd: S, shape: Shape<'_>, planes: &[f32], images: &mut [f32]) {
    shape.check(S::LANES, images.len(), planes.len());
    for image in 0..shape.count {
        for (index, tile) in shape.tiles.iter().enumerate() {
            let row = (image * shape.tiles.len() + index) * shape.channels;
            for channel in (0..shape.channels).step_by(S::LANES) {
                // SAFETY: tiles lie in their images, and the row in every plane, by `check`.
                unsafe {
                    let from = planes.as_ptr().add(row + channel);
                    let to = images.as_mut_ptr().add(image * shape.image + channel);
                    let mut t = [[simd.zero(); 6]; 6];
                    for (i, t) in t.iter_mut().enumerate() {
                        let mut m = [simd.zero(); 6];
                        for (j, value) in m.iter_mut().enumerate() {
                            *value = simd.load(from.add((i * 6 + j) * shape.plane));
                        }
                        *t = b(simd, m);
                    }
                    for j in 0..6 {
                        let column = [t[0][j], t[1][j], t[2][j], t[3][j], t[4][j], t[5][j]];
                        let column = b(simd, column);
                        for (i, value) in column.into_iter().enumerate() {
                            let at = to.add(tile.inputs[i * 6 + j] as usize);
                            simd.store(at, simd.add(simd.load(at), value));
                        }
                    }
                }
            }
        }
    }
}

dispatch! {
    /// U = G w Gᵀ. `filters` is `[9, rows, columns]`; `transformed` is 36 planes, `plane` floats long each, of panels of
    /// 16 columns, `[columns / 16, rows, 16]`.
    pub(super) fn filters(size: [usize; 2], plane: usize, filters: &[f32], transformed: &mut [f32]) = filters_kernel
}
dispatch! {
    /// dw = Gᵀ dU G, the transpose of [`filters`], but rows and columns of a plane lie in the order of `gradient`.
    pub(super) fn filter_gradient(
        size: usize,
        plane: usize,
        transformed: &[f32],
        gradient: &mut [f32],
    ) = filter_gradient_kernel
}

#[inline(always)]
fn filters_kernel<S: Simd>(
    simd: S,
    [rows, columns]: [usize; 2],
    plane: usize,
    filters: &[f32],
    transformed: &mut [f32],
) {
    let size = rows * columns;
    assert!(columns.is_multiple_of(LINE) && plane >= size);
    assert!(filters.len() >= 9 * size && transformed.len() >= PLANES * plane);
    // In the order of `transformed`, a line at a time.
    for line in 0..size / LINE {
        let (panel, row) = (line / rows, line % rows);
        for lane in (0..LINE).step_by(S::LANES) {
            // SAFETY: line and lane lie in every plane of both, by the assertions above.
            unsafe {
                let from = filters.as_ptr().add(row * columns + panel * LINE + lane);
                let to = transformed.as_mut_ptr().add(line * LINE + lane);
                let mut t = [[simd.zero(); 3]; 6];
                for j in 0..3 {
                    let mut column = [simd.zero(); 3];
                    for (i, value) in column.iter_mut().enumerate() {
                        *value = simd.load(from.add((i * 3 + j) * size));
                    }
                    let column = g(simd, column);
                    for i in 0..6 {
                        t[i][j] = column[i];
                    }
                }
                for (i, row) in t.into_iter().enumerate() {
                    let row = g(simd, row);
                    for (j, value) in row.into_iter().enumerate() {
                        simd.store(to.add((i * 6 + j) * plane), value);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn filter_gradient_kernel<S: Simd>(
    simd: S,
    size: usize,
    plane: usize,
    transformed: &[f32],
    gradient: &mut [f32],
) {
    assert!(size.is_multiple_of(LINE) && plane >= size);
    assert!(gradient.len() >= 9 * size && transformed.len() >= PLANES * plane);
    for at in (0..size).step_by(S::LANES) {
        // SAFETY: `at` lies in every plane of both, by the assertions above.
        unsafe {
            let from = transformed.as_ptr().add(at);
            let to = gradient.as_mut_ptr().add(at);
            let mut t = [[simd.zero(); 3]; 6];
            for (i, t) in t.iter_mut().enumerate() {
                let mut m = [simd.zero(); 6];
                for (j, value) in m.iter_mut().enumerate() {
                    *value = simd.load(from.add((i * 6 + j) * plane));
                }
                *t = g_transposed(simd, m);
            }
            for j in 0..3 {
                let column = [t[0][j], t[1][j], t[2][j], t[3][j], t[4][j], t[5][j]];
                let column = g_transposed(simd, column);
                for (i, value) in column.into_iter().enumerate() {
                    simd.store(to.add((i * 3 + j) * size), value);
                }
            }
        }
    }
}
