//! Batched matrix products, C = A·B or C += A·B: where nearly all of the time goes.
//!
//! A block of C, up to six rows by one panel of 16 columns, stays in registers while the inner dimension runs: with
//! AVX2 that is 12 accumulators, enough to hide the latency of two multiply-adds a cycle. Each element of C is one
//! chain of multiply-adds in order of the inner dimension, whatever the blocking, so results do not depend on it.

use super::arena::LINE;
use super::simd::{Simd, dispatch};

/// A matrix in each of several planes; element (plane, i, j) is at `plane·planes + i·rows + j·columns`.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a> {
    pub(super) values: &'a [f32],
    pub(super) plane: usize,
    pub(super) row: usize,
    pub(super) column: usize,
}

/// The right factor: panels of 16 columns, element (plane, k, 16·panel + j) at `plane·planes + panel·panels + k·depth + j`.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    pub(super) values: &'a [f32],
    pub(super) plane: usize,
    pub(super) panel: usize,
    pub(super) depth: usize,
}

/// Sizes of a batch of products: C is `rows × columns` (a multiple of 16), the inner dimension `depth`.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) planes: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) depth: usize,
}

/// Where the products go: element (plane, i, j) at `plane·planes + i·row + j`.
pub(super) struct Target<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) plane: usize,
    pub(super) row: usize,
    /// Whether the products are added to what is there.
    pub(super) accumulate: bool,
}

dispatch! {
    /// C = A·B, or C += A·B, in every plane.
    pub(super) fn multiply(sizes: Sizes, a: Strided<'_>, b: Panels<'_>, c: Target<'_>) = multiply_kernel
}

#[inline(always)]
fn multiply_kernel<S: Simd>(simd: S, sizes: Sizes, a: Strided<'_>, b: Panels<'_>, c: Target<'_>) {
    let Sizes { planes, rows, columns, depth } = sizes;
    if planes == 0 || rows == 0 || columns == 0 || depth == 0 {
        return;
    }
    let panels = columns / LINE;
    assert_eq!(columns % LINE, 0);
    assert!((planes - 1) * a.plane + (rows - 1) * a.row + (depth - 1) * a.column < a.values.len());
    assert!((planes - 1) * b.plane + (panels - 1) * b.panel + (depth - 1) * b.depth + LINE <= b.values.len());
    assert!((planes - 1) * c.plane + (rows - 1) * c.row + columns <= c.values.len());
    // Blocks of nearly equal height: five and six rows keep the units busy, a remainder of one would not.
    let tallest = if S::LANES == LINE { 12 } else { 6 };
    let blocks = rows.div_ceil(tallest);
    let (height, higher) = (rows / blocks, rows % blocks);
    for plane in 0..planes {
        for panel in 0..panels {
            let mut row = 0;
            for block in 0..blocks {
                let height = height + usize::from(block < higher);
                let a_at = plane * a.plane + row * a.row;
                let b_at = plane * b.plane + panel * b.panel;
                let c_at = plane * c.plane + row * c.row + panel * LINE;
                // SAFETY: rows `row..row + height` of this plane and panel are inside by the assertions above.
                unsafe {
                    let tile = Tile {
                        depth,
                        a: a.values.as_ptr().add(a_at),
                        a_row: a.row,
                        a_column: a.column,
                        b: b.values.as_ptr().add(b_at),
                        b_depth: b.depth,
                        c: c.values.as_mut_ptr().add(c_at),
                        c_row: c.row,
                        accumulate: c.accumulate,
                    };
                    match S::LANES {
                        16 => tile.of_height::<S, 1>(simd, height),
                        8 => tile.of_height::<S, 2>(simd, height),
                        _ => tile.of_height::<S, 4>(simd, height),
                    }
                }
                row += height;
            }
        }
    }
}

/// One block of C and what it needs.
struct Tile {
    depth: usize,
    a: *const f32,
    a_row: usize,
    a_column: usize,
    b: *const f32,
    b_depth: usize,
    c: *mut f32,
    c_row: usize,
    accumulate: bool,
}

impl Tile {
    /// # Safety
    /// `height` rows of A and C and the panel of B are there; `N` vectors are 16 floats.
    #[inline(always)]
    unsafe fn of_height<S: Simd, const N: usize>(self, simd: S, height: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match height {
                1 => self.run::<S, 1, N>(simd),
                2 => self.run::<S, 2, N>(simd),
                3 => self.run::<S, 3, N>(simd),
                4 => self.run::<S, 4, N>(simd),
                5 => self.run::<S, 5, N>(simd),
                6 => self.run::<S, 6, N>(simd),
                _ if N > 1 => unreachable!("blocks of more than six rows need wider vectors"),
                7 => self.run::<S, 7, N>(simd),
                8 => self.run::<S, 8, N>(simd),
                9 => self.run::<S, 9, N>(simd),
                10 => self.run::<S, 10, N>(simd),
                11 => self.run::<S, 11, N>(simd),
                _ => self.run::<S, 12, N>(simd),
            }
        }
    }

    /// # Safety
    /// As for `of_height`, with `R` rows.
    #[inline(always)]
    unsafe fn run<S: Simd, const R: usize, const N: usize>(self, simd: S) {
        let mut sums = [[simd.zero(); N]; R];
        let (mut a, mut b) = (self.a, self.b);
        for _ in 0..self.depth {
            let mut right = [simd.zero(); N];
            for (j, right) in right.iter_mut().enumerate() {
                // SAFETY: the panel has `depth` rows of 16 floats.
                *right = unsafe { simd.load(b.add(j * S::LANES)) };
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                // SAFETY: row i of the block has `depth` elements.
                let left = simd.splat(unsafe { *a.add(i * self.a_row) });
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = simd.fma(left, right, *sum);
                }
            }
            // Wrapping, since the last step leaves the matrices.
            a = a.wrapping_add(self.a_column);
            b = b.wrapping_add(self.b_depth);
        }
        for (i, sums) in sums.iter().enumerate() {
            for (j, &sum) in sums.iter().enumerate() {
                // SAFETY: row i of the block in C has 16 floats from here.
                unsafe {
                    let at = self.c.add(i * self.c_row + j * S::LANES);
                    let sum = if self.accumulate { simd.add(simd.load(at), sum) } else { sum };
                    simd.store(at, sum);
                }
            }
        }
    }
}
