//! Winograd's minimal filtering F(4×4, 3×3): 36 products a tile of 16 outputs instead of 144 (Lavin & Gray 2016,
//! "Fast Algorithms for Convolutional Neural Networks"), and smaller tiles where the image's edges leave less.
//!
//! With V = Bᵀ x B and U = G w Gᵀ, a tile of outputs is y = Aᵀ [U ∘ V] A, and the products summed over channels are a
//! matrix product over all tiles for each of the 36 points. Both derivatives are the transposed maps around the same
//! kind of products: with Y = A dy Aᵀ, dw = Gᵀ [V ∘ Y summed over tiles] G, and dx = B [U ∘ Y] Bᵀ, added up where tiles
//! overlap.

use super::arena::LINE;
use super::image::Image;
use super::simd::{Simd, dispatch};
use super::tiling::{PLANES, Tile, Tiling};
use super::transforms::{A, ATransposed, B, BTransposed, G, GTransposed, Transform};

/// A transform in both dimensions, of `VI × HI` vectors at offsets `places` from `from` to `VO × HO` at offsets
/// `to_places` from `to`, in row-major order; added to what is there if `ADD`. `V` goes down the columns, `H` along rows.
///
/// # Safety
/// All of them can be read, and written.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // columns of one array become columns of another
unsafe fn both<
    S: Simd,
    V: Transform<VI, VO>,
    H: Transform<HI, HO>,
    const VI: usize,
    const VO: usize,
    const HI: usize,
    const HO: usize,
    const ADD: bool,
>(
    simd: S,
    from: *const f32,
    places: impl Fn(usize) -> usize,
    to: *mut f32,
    to_places: impl Fn(usize) -> usize,
) {
    let mut columns = [[simd.zero(); HI]; VO];
    for j in 0..HI {
        let mut column = [simd.zero(); VI];
        for i in 0..VI {
            // SAFETY: the caller's promise.
            column[i] = unsafe { simd.load(from.add(places(i * HI + j))) };
        }
        let column = V::apply(simd, column);
        for i in 0..VO {
            columns[i][j] = column[i];
        }
    }
    for (i, row) in columns.into_iter().enumerate() {
        for (j, value) in H::apply(simd, row).into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                let at = to.add(to_places(i * HO + j));
                simd.store(at, if ADD { simd.add(simd.load(at), value) } else { value });
            }
        }
    }
}

/// Calls [`both`] with the transform of a tile's size.
macro_rules! sized {
    ($size:expr, $simd:ident: $isa:ident, $transform:ident, $add:literal, $($argument:expr),*) => {
        match $size {
            [4, 4] => sized!(@ $isa, $transform, 4, 4, $add, $simd, $($argument),*),
            [4, 3] => sized!(@ $isa, $transform, 4, 3, $add, $simd, $($argument),*),
            [4, 2] => sized!(@ $isa, $transform, 4, 2, $add, $simd, $($argument),*),
            [3, 4] => sized!(@ $isa, $transform, 3, 4, $add, $simd, $($argument),*),
            [3, 3] => sized!(@ $isa, $transform, 3, 3, $add, $simd, $($argument),*),
            [3, 2] => sized!(@ $isa, $transform, 3, 2, $add, $simd, $($argument),*),
            [2, 4] => sized!(@ $isa, $transform, 2, 4, $add, $simd, $($argument),*),
            [2, 3] => sized!(@ $isa, $transform, 2, 3, $add, $simd, $($argument),*),
            _ => sized!(@ $isa, $transform, 2, 2, $add, $simd, $($argument),*),
        }
    };
    (@ $isa:ident, $transform:ident, $v:literal, $h:literal, $add:literal, $($argument:expr),*) => {
        both::<$isa, $transform<$v>, $transform<$h>, _, _, _, _, $add>($($argument),*)
    };
}

/// `count` images in one buffer, and the planes of their transforms in another.
#[derive(Clone, Copy)]
pub(super) struct TiledImages<'a> {
    pub(super) tiling: &'a Tiling,
    pub(super) count: usize,
    pub(super) image: Image,
}

impl TiledImages<'_> {
    /// Panics unless every offset below stays inside buffers of these lengths.
    fn check(&self, lanes: usize, images: usize, planes: usize) {
        let inside = |offset: &u32| *offset as usize + self.image.channels <= self.image.len();
        let tiles = &self.tiling.tiles;
        debug_assert!(tiles.iter().all(|t| t.inputs.iter().all(inside) || t.outputs.iter().all(inside)));
        assert!(self.image.channels.is_multiple_of(lanes) && self.count * self.image.len() <= images);
        assert!(self.tiling.len(self.count, self.image.channels) <= planes);
    }

    /// Offsets of a tile's points for the first image; those of the next are `channels` further on.
    fn points(&self, tile: &Tile) -> [u32; PLANES] {
        let row = (self.count * self.image.channels) as u32;
        let mut points = [0; PLANES];
        for (point, [plane, at]) in points.iter_mut().zip(&tile.rows) {
            *point = at * row + plane * LINE as u32;
        }
        points
    }
}

dispatch! {
    /// V = Bᵀ x B: images (with zeros in their spare pixel) to planes.
    pub(super) fn lower(tiled: TiledImages<'_>, images: &[f32], planes: &mut [f32]) = map_kernel::<_, LOWER>
}
dispatch! {
    /// y = Aᵀ m A: planes to images; what is outside goes to the spare pixel.
    pub(super) fn raise(tiled: TiledImages<'_>, planes: &[f32], images: &mut [f32]) = map_kernel::<_, RAISE>
}
dispatch! {
    /// Y = A dy Aᵀ, the transpose of [`raise`]: images (with zeros in their spare pixel) to planes.
    pub(super) fn spread(tiled: TiledImages<'_>, images: &[f32], planes: &mut [f32]) = map_kernel::<_, SPREAD>
}
dispatch! {
    /// dx += B m Bᵀ, the transpose of [`lower`]: planes to images.
    pub(super) fn gather(tiled: TiledImages<'_>, planes: &[f32], images: &mut [f32]) = map_kernel::<_, GATHER>
}

/// The four maps between images and planes, for [`map_kernel`].
const LOWER: u8 = 0;
const RAISE: u8 = 1;
const SPREAD: u8 = 2;
const GATHER: u8 = 3;

/// One of the four maps, tile by tile.
#[inline(always)]
fn map_kernel<S: Simd, const MAP: u8>(simd: S, tiled: TiledImages<'_>, from: &[f32], to: &mut [f32]) {
    let to_planes = MAP == LOWER || MAP == SPREAD;
    let (images, planes) = if to_planes { (from.len(), to.len()) } else { (to.len(), from.len()) };
    tiled.check(S::LANES, images, planes);
    let (image_step, plane_step) = (tiled.image.len(), tiled.image.channels);
    let (from_step, to_step) = if to_planes { (image_step, plane_step) } else { (plane_step, image_step) };
    for tile in &tiled.tiling.tiles {
        let points = tiled.points(tile);
        let point = |k: usize| points[k] as usize;
        let (input, output) = (|k: usize| tile.inputs[k] as usize, |k: usize| tile.outputs[k] as usize);
        for image in 0..tiled.count {
            for channel in (0..tiled.image.channels).step_by(S::LANES) {
                // SAFETY: tiles lie in their images, and their points in the planes, by `check`.
                unsafe {
                    let from = from.as_ptr().add(image * from_step + channel);
                    let to = to.as_mut_ptr().add(image * to_step + channel);
                    match MAP {
                        LOWER => sized!(tile.size, simd: S, BTransposed, false, from, input, to, point),
                        RAISE => sized!(tile.size, simd: S, ATransposed, false, from, point, to, output),
                        SPREAD => sized!(tile.size, simd: S, A, false, from, output, to, point),
                        _ => sized!(tile.size, simd: S, B, true, from, point, to, input),
                    }
                }
            }
        }
    }
}

dispatch! {
    /// U = G w Gᵀ of a panel of 16 columns: `[9, rows + 1, 16]` to `[36, rows + 1, 16]`.
    pub(super) fn filters(filters: &[f32], transformed: &mut [f32]) = filters_kernel
}
dispatch! {
    /// dw = Gᵀ dU G, the transpose of [`filters`], from float `start` of 36 matrices, which are `stride` apart, to a part of
    /// 9.
    pub(super) fn filter_gradient(
        transformed: &[f32], stride: usize, start: usize, gradient: [&mut [f32]; 9],
    ) = filter_gradient_kernel
}

#[inline(always)]
fn filters_kernel<S: Simd>(simd: S, filters: &[f32], transformed: &mut [f32]) {
    let (tap, point) = (filters.len() / 9, transformed.len() / PLANES);
    assert!(tap == point && tap.is_multiple_of(LINE));
    for at in (0..tap - LINE).step_by(S::LANES) {
        // SAFETY: `at` lies in every tap and in every point, by the assertion above.
        unsafe {
            let (from, to) = (filters.as_ptr().add(at), transformed.as_mut_ptr().add(at));
            both::<S, G, G, _, _, _, _, false>(simd, from, |k| k * tap, to, |k| k * point);
        }
    }
}

#[inline(always)]
fn filter_gradient_kernel<S: Simd>(
    simd: S,
    transformed: &[f32],
    stride: usize,
    start: usize,
    mut gradient: [&mut [f32]; 9],
) {
    let size = gradient[0].len();
    assert!(size.is_multiple_of(LINE) && gradient.iter().all(|tap| tap.len() == size));
    assert!((PLANES - 1) * stride + start + size <= transformed.len());
    let mut lines = [0.0_f32; 9 * LINE];
    for at in (0..size).step_by(S::LANES) {
        // SAFETY: `at` lies in every matrix, by the assertion above, and nine vectors in `lines`.
        unsafe {
            let from = transformed.as_ptr().add(start + at);
            let to = lines.as_mut_ptr();
            both::<S, GTransposed, GTransposed, _, _, _, _, false>(
                simd,
                from,
                |k| k * stride,
                to,
                |k| k * LINE,
            );
        }
        for (tap, line) in gradient.iter_mut().zip(lines.chunks_exact(LINE)) {
            tap[at..at + S::LANES].copy_from_slice(&line[..S::LANES]);
        }
    }
}
