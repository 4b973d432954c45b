//! Kernels: inner products of rows after a map that is never computed.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef};
use rayon::prelude::*;

use crate::parallel;

/// A kernel k(x, y) on rows of features.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kernel {
    /// x·y.
    Linear,
    /// exp(−γ ‖x − y‖²).
    Rbf {
        /// γ.
        gamma: f64,
    },
    /// (γ x·y + 1)^degree.
    Polynomial {
        /// γ.
        gamma: f64,
        /// The power.
        degree: i32,
    },
}

impl Kernel {
    /// k of every row of `x` `[n, d]` with every row of `y` `[m, d]`: `[n, m]`.
    pub fn matrix(self, x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Mat<f64> {
        let mut values = Mat::zeros(x.nrows(), y.nrows());
        matmul(&mut values, Accum::Replace, x, y.transpose(), 1.0, parallel());
        let (left, right) = (self.lengths(x), self.lengths(y));
        values.par_col_iter_mut().enumerate().for_each(|(j, column)| {
            for (i, value) in column.iter_mut().enumerate() {
                *value = self.of_product(*value, left[i], right[j]);
            }
        });
        values
    }

    /// k of every row with every row, `[n, n]`: half the work of [`Kernel::matrix`].
    pub fn gram(self, x: MatRef<'_, f64>) -> Mat<f64> {
        let n = x.nrows();
        let mut values = Mat::zeros(n, n);
        triangular::matmul(
            &mut values,
            BlockStructure::TriangularLower,
            Accum::Replace,
            x,
            BlockStructure::Rectangular,
            x.transpose(),
            BlockStructure::Rectangular,
            1.0,
            parallel(),
        );
        let squares = self.lengths(x);
        values.par_col_iter_mut().enumerate().for_each(|(j, column)| {
            for (i, value) in column.iter_mut().enumerate().skip(j) {
                *value = self.of_product(*value, squares[i], squares[j]);
            }
        });
        mirror(&mut values);
        values
    }

    /// Squared lengths of the rows, where the kernel needs them.
    fn lengths(self, x: MatRef<'_, f64>) -> Vec<f64> {
        match self {
            Self::Rbf { .. } => (0..x.nrows()).map(|i| x.row(i).squared_norm_l2()).collect(),
            _ => vec![0.0; x.nrows()],
        }
    }

    fn of_product(self, product: f64, left: f64, right: f64) -> f64 {
        match self {
            Self::Linear => product,
            Self::Rbf { gamma } => (-gamma * (left + right - 2.0 * product).max(0.0)).exp(),
            Self::Polynomial { gamma, degree } => (gamma * product + 1.0).powi(degree),
        }
    }
}

/// Copies what is below the diagonal above it, in tiles, so that both sides stay in cache.
fn mirror(values: &mut Mat<f64>) {
    const TILE: usize = 32;
    let n = values.nrows();
    for from in (0..n).step_by(TILE) {
        for below in (from..n).step_by(TILE) {
            for j in from..(from + TILE).min(n) {
                for i in below.max(j + 1)..(below + TILE).min(n) {
                    values[(j, i)] = values[(i, j)];
                }
            }
        }
    }
}

/// Rows that the median is taken over, evenly spread, at most.
const MEDIAN_ROWS: usize = 500;

/// γ = 1 / (2 median²) of the distances between rows: the median heuristic (Gretton et al., "A Kernel Two-Sample
/// Test", JMLR 2012, section 8). 1 where the median is 0.
pub fn median_gamma(x: MatRef<'_, f64>) -> f64 {
    let step = x.nrows().div_ceil(MEDIAN_ROWS).max(1);
    let rows = Mat::from_fn(x.nrows().div_ceil(step), x.ncols(), |i, j| x[(i * step, j)]);
    let products = Kernel::Linear.gram(rows.as_ref());
    let n = rows.nrows();
    let mut squares = Vec::with_capacity(n * n.saturating_sub(1) / 2);
    for j in 0..n {
        squares.extend((j + 1..n).map(|i| products[(i, i)] + products[(j, j)] - 2.0 * products[(i, j)]));
    }
    if squares.is_empty() {
        return 1.0;
    }
    let middle = squares.len() / 2;
    let (_, median, _) = squares.select_nth_unstable_by(middle, f64::total_cmp);
    if *median > 0.0 { 1.0 / (2.0 * *median) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gram_and_matrix_agree_with_the_definition() {
        let x = Mat::from_fn(70, 5, |i, j| ((i * 5 + j) as f64 * 0.7).sin());
        let (dot, square) = (
            |i: usize, j: usize| (0..5).map(|k| x[(i, k)] * x[(j, k)]).sum::<f64>(),
            |i: usize, j: usize| (0..5).map(|k| (x[(i, k)] - x[(j, k)]).powi(2)).sum::<f64>(),
        );
        for (kernel, expected) in [
            (Kernel::Linear, &(|i, j| dot(i, j)) as &dyn Fn(usize, usize) -> f64),
            (Kernel::Rbf { gamma: 0.3 }, &|i, j| (-0.3 * square(i, j)).exp()),
            (Kernel::Polynomial { gamma: 0.5, degree: 3 }, &|i, j| (0.5 * dot(i, j) + 1.0).powi(3)),
        ] {
            let (gram, matrix) = (kernel.gram(x.as_ref()), kernel.matrix(x.as_ref(), x.as_ref()));
            for i in 0..70 {
                for j in 0..70 {
                    assert!((gram[(i, j)] - expected(i, j)).abs() < 1e-12);
                    assert!((matrix[(i, j)] - expected(i, j)).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn the_median_heuristic_on_points_of_a_line() {
        // Distances 1, 1, 2: the median is 1.
        let x = Mat::from_fn(3, 1, |i, _| i as f64);
        assert!((median_gamma(x.as_ref()) - 0.5).abs() < 1e-12);
        assert_eq!(median_gamma(Mat::<f64>::zeros(4, 2).as_ref()), 1.0);
    }
}
