//! Batched matrix products, C = A·B or C += A·B: where nearly all of the time goes.
//!
//! A block of C, up to six rows (with AVX-512 twelve) by one panel of 16 columns, stays in registers while the inner
//! dimension runs: 12 accumulators, enough to hide the latency of two multiply-adds a cycle. Each element of C is one
//! chain of multiply-adds in order of the inner dimension, whatever the blocking, so results do not depend on it.
//!
//! A product may be a sum of several, C = A₁·B₁ + A₂·B₂ + …, each of the factors at another place of the same buffers: a
//! direct convolution is such a sum, and so never copies its images.

use std::ops::Range;

use super::arena::LINE;
use super::simd::{Simd, dispatch};

/// The left factor; element (i, k) is at `i·row + k·column`.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) values: &'a [f32],
    pub(super) row: usize,
    pub(super) column: usize,
}

/// The right factor: panels of 16 columns, element (k, 16·panel + j) is at `panel·panels + k·depth + j`.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    pub(super) values: &'a [f32],
    pub(super) panel: usize,
    pub(super) depth: usize,
}

/// Sizes of each product: C is `rows × columns`, the inner dimension `depth`. Where `columns` is no multiple of 16, what
/// the last panel of B holds beyond them is read and has no effect.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) depth: usize,
}

/// Where the products go: element (i, j) at `i·row + j`.
pub(super) struct Target<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) row: usize,
    /// Whether the products are added to what is there.
    pub(super) accumulate: bool,
}

/// Offsets of a left and of a right factor.
pub(super) type Term = [u32; 2];

/// A batch of sums of products: for each, the offset of its C and the range of its terms.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a> {
    pub(super) sums: &'a [Sum],
    pub(super) terms: &'a [Term],
}

/// One sum of products: the offset of its C, and which terms of the batch it has.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    pub(super) to: u32,
    pub(super) terms: Range<u32>,
}

/// The product of all of the buffers alone.
pub(super) const ONE: Batch<'static> = Batch { sums: &[Sum { to: 0, terms: 0..1 }], terms: &[[0, 0]] };

impl Batch<'_> {
    /// Panics unless every access of the products stays inside their buffers.
    #[inline(always)]
    fn check(self, sizes: Sizes, a: Left<'_>, b: Panels<'_>, c: &Target<'_>) {
        let Sizes { rows, columns, depth } = sizes;
        assert!(self.sums.iter().all(|sum| sum.terms.end as usize <= self.terms.len()));
        let furthest = self.sums.iter().fold(0, |most, sum| most.max(sum.to)) as usize;
        assert!(furthest + (rows - 1) * c.row + columns <= c.values.len());
        let furthest =
            self.terms.iter().fold([0, 0], |most, term| [most[0].max(term[0]), most[1].max(term[1])]);
        let [left, right] = furthest.map(|offset| offset as usize);
        assert!(left + (rows - 1) * a.row + (depth - 1) * a.column < a.values.len());
        assert!(
            right + (columns.div_ceil(LINE) - 1) * b.panel + (depth - 1) * b.depth + LINE <= b.values.len()
        );
    }
}

/// The most rows that a block of C has with vectors of `lanes` floats.
pub(super) fn tallest(lanes: usize) -> usize {
    if lanes == LINE { 12 } else { 6 }
}

dispatch! {
    /// C = A·B, or C += A·B, summed over the terms of each sum.
    pub(super) fn multiply(batch: Batch<'_>, sizes: Sizes, a: Left<'_>, b: Panels<'_>, c: Target<'_>) = multiply_kernel
}

#[inline(always)]
fn multiply_kernel<S: Simd>(
    simd: S,
    batch: Batch<'_>,
    sizes: Sizes,
    a: Left<'_>,
    b: Panels<'_>,
    c: Target<'_>,
) {
    let Sizes { rows, columns, depth } = sizes;
    if rows == 0 || columns == 0 || depth == 0 {
        return;
    }
    batch.check(sizes, a, b, &c);
    // Blocks of nearly equal height: five and six rows keep the units busy, a remainder of one would not.
    let blocks = rows.div_ceil(tallest(S::LANES));
    let (height, higher) = (rows / blocks, rows % blocks);
    for sum in batch.sums {
        let terms = &batch.terms[sum.terms.start as usize..sum.terms.end as usize];
        for panel in 0..columns.div_ceil(LINE) {
            let mut row = 0;
            for block in 0..blocks {
                let height = height + usize::from(block < higher);
                let c_at = sum.to as usize + row * c.row + panel * LINE;
                // SAFETY: rows `row..row + height` of this panel are inside for every term by `check`.
                unsafe {
                    let tile = Tile {
                        terms,
                        depth,
                        a: a.values.as_ptr().add(row * a.row),
                        a_row: a.row,
                        a_column: a.column,
                        b: b.values.as_ptr().add(panel * b.panel),
                        b_depth: b.depth,
                        c: c.values.as_mut_ptr().add(c_at),
                        c_row: c.row,
                        width: LINE.min(columns - panel * LINE),
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
struct Tile<'a> {
    terms: &'a [Term],
    depth: usize,
    a: *const f32,
    a_row: usize,
    a_column: usize,
    b: *const f32,
    b_depth: usize,
    c: *mut f32,
    c_row: usize,
    /// Columns that go to C.
    width: usize,
    accumulate: bool,
}

impl Tile<'_> {
    /// # Safety
    /// `height` rows of A and C and the panel of B are there, for every term; `N` vectors are 16 floats.
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
        for &[left, right] in self.terms {
            // SAFETY: the term's factors are there.
            let (mut a, mut b) = unsafe { (self.a.add(left as usize), self.b.add(right as usize)) };
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
        }
        for (i, sums) in sums.iter().enumerate() {
            // SAFETY: row i of the block in C has `width` floats from here, and vectors of a row are 16.
            unsafe {
                let to = self.c.add(i * self.c_row);
                if self.width == LINE {
                    for (j, &sum) in sums.iter().enumerate() {
                        let at = to.add(j * S::LANES);
                        simd.store(at, if self.accumulate { simd.add(simd.load(at), sum) } else { sum });
                    }
                } else {
                    for (j, &sum) in sums.iter().enumerate() {
                        let count = self.width.saturating_sub(j * S::LANES).min(S::LANES);
                        let at = to.wrapping_add(j * S::LANES);
                        match self.accumulate {
                            true => simd.store_first::<true>(at, sum, count),
                            false => simd.store_first::<false>(at, sum, count),
                        }
                    }
                }
            }
        }
    }
}
