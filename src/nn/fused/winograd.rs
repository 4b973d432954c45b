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
use super::gemm::{self, Batch, Left, Panels, Sizes, Sum, Target, Term};
use super::simd::{Isa, Simd, dispatch};

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

/// A transform in one dimension. A trait, since a function passed as an argument would not be inlined into a function
/// of the instruction set.
trait Transform<const I: usize, const O: usize> {
    fn apply<S: Simd>(simd: S, x: [S::V; I]) -> [S::V; O];
}

/// One-dimensional Bᵀ: inputs to points.
struct BTransposed;

impl Transform<6, 6> for BTransposed {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, d: [S::V; 6]) -> [S::V; 6] {
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
}

/// One-dimensional B, the transpose of [`BTransposed`].
struct B;

impl Transform<6, 6> for B {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, m: [S::V; 6]) -> [S::V; 6] {
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
}

/// One-dimensional Aᵀ: points to outputs.
struct ATransposed;

impl Transform<6, 4> for ATransposed {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, m: [S::V; 6]) -> [S::V; 4] {
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
}

/// One-dimensional A, the transpose of [`ATransposed`].
struct A;

impl Transform<4, 6> for A {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, d: [S::V; 4]) -> [S::V; 6] {
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
}

/// One-dimensional G: filter to points.
struct G;

impl Transform<3, 6> for G {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, w: [S::V; 3]) -> [S::V; 6] {
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
}

/// One-dimensional Gᵀ, the transpose of [`G`].
struct GTransposed;

impl Transform<6, 3> for GTransposed {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, m: [S::V; 6]) -> [S::V; 3] {
        let k = |x: f32| simd.splat(x);
        let (sum_p, difference_p) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
        let (sum_q, difference_q) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
        [
            simd.fma(k(1.0 / AT_P), sum_p, simd.fma(k(1.0 / AT_Q), sum_q, simd.mul(k(1.0 / AT_0), m[0]))),
            simd.fma(k(P / AT_P), difference_p, simd.mul(k(Q / AT_Q), difference_q)),
            simd.fma(k(P2 / AT_P), sum_p, simd.fma(k(Q2 / AT_Q), sum_q, m[5])),
        ]
    }
}

/// A transform in both dimensions, of `I × I` vectors at offsets `places` from `from` to `O × O` at offsets `to_places`
/// from `to`, in row-major order; added to what is there if `ADD`.
///
/// # Safety
/// All of them can be read, and written.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // columns of one array become columns of another
unsafe fn both<S: Simd, T: Transform<I, O>, const I: usize, const O: usize, const ADD: bool>(
    simd: S,
    from: *const f32,
    places: impl Fn(usize) -> usize,
    to: *mut f32,
    to_places: impl Fn(usize) -> usize,
) {
    let mut columns = [[simd.zero(); I]; O];
    for j in 0..I {
        let mut column = [simd.zero(); I];
        for i in 0..I {
            // SAFETY: the caller's promise.
            column[i] = unsafe { simd.load(from.add(places(i * I + j))) };
        }
        let column = T::apply(simd, column);
        for i in 0..O {
            columns[i][j] = column[i];
        }
    }
    for (i, row) in columns.into_iter().enumerate() {
        for (j, value) in T::apply(simd, row).into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                let at = to.add(to_places(i * O + j));
                simd.store(at, if ADD { simd.add(simd.load(at), value) } else { value });
            }
        }
    }
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
        assert!(self.channels.is_multiple_of(lanes) && self.count * self.image <= images);
        assert!(self.count * self.tiles.len() * self.channels <= self.plane);
        assert!(PLANES * self.plane <= planes);
    }

    /// Each tile with the offsets of its image and of its row in a plane.
    fn tiles(&self) -> impl Iterator<Item = (&Tile, usize, usize)> {
        (0..self.count * self.tiles.len()).map(|row| {
            let (image, tile) = (row / self.tiles.len(), row % self.tiles.len());
            (&self.tiles[tile], image * self.image, row * self.channels)
        })
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
    for (tile, image, row) in shape.tiles() {
        for channel in (0..shape.channels).step_by(S::LANES) {
            // SAFETY: tiles lie in their images, and the row in every plane, by `check`; so in the other kernels.
            unsafe {
                let from = images.as_ptr().add(image + channel);
                let to = planes.as_mut_ptr().add(row + channel);
                let places = |k: usize| tile.inputs[k] as usize;
                both::<S, BTransposed, 6, 6, false>(simd, from, places, to, |k| k * shape.plane);
            }
        }
    }
}

#[inline(always)]
fn raise_kernel<S: Simd>(simd: S, shape: Shape<'_>, planes: &[f32], images: &mut [f32]) {
    shape.check(S::LANES, images.len(), planes.len());
    for (tile, image, row) in shape.tiles() {
        for channel in (0..shape.channels).step_by(S::LANES) {
            // SAFETY: as in `lower_kernel`.
            unsafe {
                let from = planes.as_ptr().add(row + channel);
                let to = images.as_mut_ptr().add(image + channel);
                let places = |k: usize| tile.outputs[k] as usize;
                both::<S, ATransposed, 6, 4, false>(simd, from, |k| k * shape.plane, to, places);
            }
        }
    }
}

#[inline(always)]
fn spread_kernel<S: Simd>(simd: S, shape: Shape<'_>, images: &[f32], planes: &mut [f32]) {
    shape.check(S::LANES, images.len(), planes.len());
    for (tile, image, row) in shape.tiles() {
        for channel in (0..shape.channels).step_by(S::LANES) {
            // SAFETY: as in `lower_kernel`.
            unsafe {
                let from = images.as_ptr().add(image + channel);
                let to = planes.as_mut_ptr().add(row + channel);
                let places = |k: usize| tile.outputs[k] as usize;
                both::<S, A, 4, 6, false>(simd, from, places, to, |k| k * shape.plane);
            }
        }
    }
}

#[inline(always)]
fn gather_kernel<S: Simd>(simd: S, shape: Shape<'_>, planes: &[f32], images: &mut [f32]) {
    shape.check(S::LANES, images.len(), planes.len());
    for (tile, image, row) in shape.tiles() {
        for channel in (0..shape.channels).step_by(S::LANES) {
            // SAFETY: as in `lower_kernel`.
            unsafe {
                let from = planes.as_ptr().add(row + channel);
                let to = images.as_mut_ptr().add(image + channel);
                let places = |k: usize| tile.inputs[k] as usize;
                both::<S, B, 6, 6, true>(simd, from, |k| k * shape.plane, to, places);
            }
        }
    }
}

dispatch! {
    /// U = G w Gᵀ. `filters` is panels of 16 columns, `[columns / 16, 9, rows + 1, 16]`; `transformed` is 36 planes of
    /// `plane` floats, `[columns / 16, rows, 16]` each.
    pub(super) fn filters(
        size: [usize; 2],
        plane: usize,
        filters: &[f32],
        transformed: &mut [f32],
    ) = filters_kernel
}
dispatch! {
    /// dw = Gᵀ dU G, the transpose of [`filters`], of `size` floats in planes of `plane`.
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
    let (panels, tap) = (columns / LINE, (rows + 1) * LINE);
    assert!(columns.is_multiple_of(LINE) && plane >= rows * columns);
    assert!(filters.len() >= 9 * panels * tap && transformed.len() >= PLANES * plane);
    for panel in 0..panels {
        for at in (0..rows * LINE).step_by(S::LANES) {
            // SAFETY: `at` lies in every tap of the panel and in every plane, by the assertions above.
            unsafe {
                let from = filters.as_ptr().add(panel * 9 * tap + at);
                let to = transformed.as_mut_ptr().add(panel * rows * LINE + at);
                both::<S, G, 3, 6, false>(simd, from, |k| k * tap, to, |k| k * plane);
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
    assert!(gradient.len() >= 9 * plane && transformed.len() >= PLANES * plane);
    for at in (0..size).step_by(S::LANES) {
        // SAFETY: `at` lies in every plane of both, by the assertion above.
        unsafe {
            let (from, to) = (transformed.as_ptr().add(at), gradient.as_mut_ptr().add(at));
            both::<S, GTransposed, 6, 3, false>(simd, from, |k| k * plane, to, |k| k * plane);
        }
    }
}

/// One product for each of the 36 points; `planes` are the lengths of a plane of C, A and B.
pub(super) fn multiply(
    isa: Isa,
    planes: [usize; 3],
    sizes: Sizes,
    a: Left<'_>,
    b: Panels<'_>,
    c: Target<'_>,
) {
    let [to, left, right] = planes.map(|length| length as u32);
    let terms: [Term; PLANES] = std::array::from_fn(|k| [k as u32 * left, k as u32 * right]);
    let sums: [Sum; PLANES] =
        std::array::from_fn(|k| Sum { to: k as u32 * to, terms: k as u32..k as u32 + 1 });
    gemm::multiply(isa, Batch { sums: &sums, terms: &terms }, sizes, a, b, c);
}
