//! Distances between embeddings, on the host, with their gradient: what pair and triplet losses are made of.

use ndarray::{Array2, ArrayView2, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far apart two embeddings are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// ‖a − b‖.
    #[default]
    Euclidean,
    /// ‖a − b‖².
    Squared,
}

impl Metric {
    /// Distances `[n, m]` between the rows of `left` `[n, features]` and `right` `[m, features]`.
    pub fn between(self, left: ArrayView2<'_, f32>, right: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut distances = Array2::zeros((left.nrows(), right.nrows()));
        for (a, mut row) in left.outer_iter().zip(distances.outer_iter_mut()) {
            for (b, distance) in right.outer_iter().zip(&mut row) {
                // Differences, not ‖a‖² + ‖b‖² − 2 a·b: near points would lose all their digits.
                let square: f32 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
                *distance = match self {
                    Self::Euclidean => square.sqrt(),
                    Self::Squared => square,
                };
            }
        }
        distances
    }

    /// The gradient `[n, features]` in `z` of a loss whose gradient in the distances `[n, n]` between its rows is
    /// `d_distances`. Where a distance is 0 the Euclidean one has no gradient, and 0 is taken.
    pub fn gradient(
        self,
        z: ArrayView2<'_, f32>,
        distances: ArrayView2<'_, f32>,
        d_distances: ArrayView2<'_, f32>,
    ) -> Array2<f32> {
        // Σ_j c_ij (z_i − z_j), with c the derivative of the loss in half the squared distance, both ways.
        let mut c = &d_distances + &d_distances.t();
        match self {
            Self::Euclidean => {
                c.zip_mut_with(&distances, |c, &d| *c = if d > 0.0 { *c / d } else { 0.0 });
            }
            Self::Squared => c *= 2.0,
        }
        &z * &c.sum_axis(Axis(1)).insert_axis(Axis(1)) - c.dot(&z)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_a_derivative_and_finite_at_zero() {
        let z = Array2::from_shape_fn((6, 4), |(i, j)| ((i * 4 + j) as f32 * 1.7).sin());
        let weights = Array2::from_shape_fn((6, 6), |(i, j)| ((i * 6 + j) as f32 * 0.9).cos());
        for metric in [Metric::Euclidean, Metric::Squared] {
            let loss = |z: &Array2<f32>| (&metric.between(z.view(), z.view()) * &weights).sum();
            let gradient =
                metric.gradient(z.view(), metric.between(z.view(), z.view()).view(), weights.view());
            for (i, j) in [(0, 0), (2, 3), (5, 1)] {
                let mut ahead = z.clone();
                ahead[[i, j]] += 1e-2;
                let mut behind = z.clone();
                behind[[i, j]] -= 1e-2;
                let difference = (loss(&ahead) - loss(&behind)) / 2e-2;
                assert!((difference - gradient[[i, j]]).abs() < 2e-2, "{difference} {}", gradient[[i, j]]);
            }
            let same = Array2::<f32>::ones((3, 4));
            let distances = metric.between(same.view(), same.view());
            let gradient = metric.gradient(same.view(), distances.view(), Array2::ones((3, 3)).view());
            assert!(gradient.iter().all(|g| *g == 0.0));
        }
    }
}
