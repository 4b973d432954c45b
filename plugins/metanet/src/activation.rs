//! What layers and meta-learners put between their products.

use ndarray::{Array2, Zip};

/// Gradient before a ReLU from the one after it: where something came through. `x` may be from before or after it.
pub(crate) fn relu_backward(x: &Array2<f32>, mut d: Array2<f32>) -> Array2<f32> {
    Zip::from(&mut d).and(x).for_each(|d, &x| *d = if x > 0.0 { *d } else { 0.0 });
    d
}

/// Each row's exponentials over their sum.
pub(crate) fn softmax(mut x: Array2<f32>) -> Array2<f32> {
    for mut row in x.rows_mut() {
        let max = row.fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        row.mapv_inplace(|v| (v - max).exp());
        let sum = row.sum();
        row /= sum;
    }
    x
}
