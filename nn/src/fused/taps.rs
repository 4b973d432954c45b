//! Filters between the order of θ, `[outputs, inputs, 3, 3]`, and the matrices, one for each tap, that products take.

use super::arena::LINE;
use super::simd::{Simd, dispatch};

/// Elements of a filter.
const TAPS: usize = 9;

/// The shape of matrices that follow each other, one for each tap of a filter or point of its transform. The line after
/// each keeps them from falling on the same sets of the cache.
#[derive(Clone, Copy)]
pub(super) struct FilterMatrices {
    /// Input channels, with padding; output channels in the transposed convolution.
    pub(super) rows: usize,
    /// The channels on the other side.
    pub(super) columns: usize,
}

impl FilterMatrices {
    pub(super) fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows }
    }

    /// Floats of one matrix.
    pub(super) fn len(self) -> usize {
        self.rows * self.columns
    }

    /// Floats from one matrix to the next.
    pub(super) fn stride(self) -> usize {
        self.len() + LINE
    }
}

/// Filters as `rows × columns` matrices, one for each tap; inputs and outputs are rows or columns by the distances `row`
/// and `column` between neighbours.
#[derive(Clone, Copy)]
pub(super) struct Taps<'a> {
    pub(super) weight: &'a [f32],
    pub(super) rows: usize,
    pub(super) row: usize,
    pub(super) columns: usize,
    pub(super) column: usize,
}

dispatch! {
    /// Copies panel `index` of 16 columns to `to`, `[9, padded rows + 1, 16]`, zero where there is padding.
    pub(super) fn panel(taps: Taps<'_>, index: usize, padded_rows: usize, to: &mut [f32]) = panel_kernel
}
dispatch! {
    /// Sums parts, a matrix of inputs by outputs for each tap, in their order into `weight`, `[up to 16 outputs, inputs,
    /// 9]`; the outputs are those of `panel`.
    pub(super) fn sum(
        parts: &[&[f32]], matrices: FilterMatrices, panel: usize, inputs: usize, weight: &mut [f32],
    ) = sum_kernel
}

#[inline(always)]
fn panel_kernel<S: Simd>(simd: S, taps: Taps<'_>, index: usize, padded_rows: usize, to: &mut [f32]) {
    let first = index * LINE;
    let columns = taps.columns.saturating_sub(first).min(LINE);
    let tap_len = (padded_rows + 1) * LINE;
    assert!(taps.rows <= padded_rows && to.len() >= TAPS * tap_len);
    if columns < LINE || taps.rows < padded_rows {
        to.fill(0.0);
    }
    if columns == 0 || taps.rows == 0 {
        return;
    }
    let last = (taps.rows - 1) * taps.row + (first + columns - 1) * taps.column;
    assert!(last + TAPS <= taps.weight.len());
    for row in 0..taps.rows {
        for lane in (0..columns).step_by(S::LANES) {
            for tap in (0..TAPS).step_by(S::LANES) {
                let count = (TAPS - tap).min(S::LANES);
                let mut block = [simd.zero(); 16];
                // SAFETY: rows, columns and taps lie in `weight`, and lines of taps in `to`, by the assertions above.
                unsafe {
                    let from = taps.weight.as_ptr().add(row * taps.row + (first + lane) * taps.column + tap);
                    for (k, block) in block.iter_mut().enumerate().take((columns - lane).min(S::LANES)) {
                        *block = simd.load_first(from.add(k * taps.column), count);
                    }
                    simd.transpose(&mut block);
                    for (k, block) in block.into_iter().enumerate().take(count) {
                        simd.store(to.as_mut_ptr().add((tap + k) * tap_len + row * LINE + lane), block);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn sum_kernel<S: Simd>(
    simd: S,
    parts: &[&[f32]],
    matrices: FilterMatrices,
    panel: usize,
    inputs: usize,
    weight: &mut [f32],
) {
    let (plane, row, at) = (matrices.stride(), matrices.columns, panel * LINE);
    let outputs = weight.len() / (TAPS * inputs);
    assert!(outputs <= LINE && inputs > 0);
    let last = (TAPS - 1) * plane + (inputs - 1) * row + at;
    assert!(parts.iter().all(|part| last + LINE <= part.len()));
    for input in 0..inputs {
        for lane in (0..outputs).step_by(S::LANES) {
            for tap in (0..TAPS).step_by(S::LANES) {
                let count = (TAPS - tap).min(S::LANES);
                let mut block = [simd.zero(); 16];
                // SAFETY: lines of taps lie in every part, and taps of outputs in `weight`, by the assertions above.
                unsafe {
                    for (k, block) in block.iter_mut().enumerate().take(count) {
                        for part in parts {
                            let from = part.as_ptr().add((tap + k) * plane + input * row + at + lane);
                            *block = simd.add(*block, simd.load(from));
                        }
                    }
                    simd.transpose(&mut block);
                    let to = weight.as_mut_ptr().add((lane * inputs + input) * TAPS + tap);
                    for (k, block) in block.into_iter().enumerate().take((outputs - lane).min(S::LANES)) {
                        simd.store_first::<false>(to.add(k * inputs * TAPS), block, count);
                    }
                }
            }
        }
    }
}
