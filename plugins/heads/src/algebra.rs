//! What the heads share: lengths, means, distances, shares.

use faer::linalg::solvers::Solve as _;
use faer::{Mat, Side};
use kshot::{Error, Result};
use ndarray::{Array1, Array2, ArrayView2, Axis};

/// Rows of unit length; rows of zeros stay.
pub(crate) fn unit(x: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut x = x.to_owned();
    for mut row in x.outer_iter_mut() {
        let length = row.dot(&row).sqrt();
        row /= length.max(1e-12);
    }
    x
}

/// 1 for the class of each row, `[n, ways]`.
pub(crate) fn one_hot(labels: &[usize], ways: usize) -> Array2<f64> {
    Array2::from_shape_fn((labels.len(), ways), |(row, class)| f64::from(u8::from(labels[row] == class)))
}

/// Means of rows, weighted by the columns of `weights` `[n, ways]`: `[ways, features]`.
pub(crate) fn weighted_means(z: ArrayView2<'_, f64>, weights: &Array2<f64>) -> Array2<f64> {
    weights.t().dot(&z) / &weights.sum_axis(Axis(0)).insert_axis(Axis(1))
}

/// Squared distances of all rows to all rows, `[n, m]`.
pub(crate) fn squared_distances(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Array2<f64> {
    let squares =
        |x: &ArrayView2<'_, f64>| -> Array1<f64> { x.outer_iter().map(|row| row.dot(&row)).collect() };
    let mut distances = a.dot(&b.t());
    distances *= -2.0;
    distances += &squares(&a).insert_axis(Axis(1));
    distances += &squares(&b);
    distances.mapv_into(|value| value.max(0.0))
}

/// Cosines of all rows with all rows, `[n, m]`.
pub(crate) fn cosines(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Array2<f64> {
    unit(a).dot(&unit(b).t())
}

/// Each row's softmax.
pub(crate) fn softmax(mut logits: Array2<f64>) -> Array2<f64> {
    for mut row in logits.outer_iter_mut() {
        let most = row.fold(f64::NEG_INFINITY, |most, &value| most.max(value));
        row.mapv_inplace(|value| (value - most).exp());
        let sum = row.sum();
        row /= sum;
    }
    logits
}

/// The place of each row's largest value, the first of equals.
pub(crate) fn best(scores: &Array2<f64>) -> Vec<usize> {
    let of = |row: ndarray::ArrayView1<'_, f64>| {
        let first = |best: (usize, f64), (place, &value): (usize, &f64)| match value > best.1 {
            true => (place, value),
            false => best,
        };
        row.iter().enumerate().fold((0, f64::NEG_INFINITY), first).0
    };
    scores.outer_iter().map(of).collect()
}

/// A⁻¹ B for a symmetric positive definite A, by its Cholesky factors.
///
/// # Errors
/// When it has none.
pub(crate) fn solve(a: &Array2<f64>, b: &Array2<f64>) -> Result<Array2<f64>> {
    let mat = |x: &Array2<f64>| Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[[i, j]]);
    let factors = mat(a).llt(Side::Lower).map_err(|_| {
        Error::invalid(
            "the system of the support's features cannot be solved: check for huge or equal values",
        )
    })?;
    let x = factors.solve(mat(b));
    Ok(Array2::from_shape_fn(b.dim(), |(i, j)| x[(i, j)]))
}

/// An orthonormal basis of what the columns span, `[rows, columns]`, of no more columns than rows.
pub(crate) fn orthonormal(x: ArrayView2<'_, f64>) -> Array2<f64> {
    let q = Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[[i, j]]).qr().compute_thin_Q();
    Array2::from_shape_fn((q.nrows(), q.ncols()), |(i, j)| q[(i, j)])
}
