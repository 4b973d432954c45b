//! Laplacian regularisation (Ziko et al. 2020, LaplacianShot).

use kshot::Result;
use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::algebra::{softmax, squared_distances};
use crate::bd_cspn::rectified;
use crate::{Classifier, Head, Support};

/// Soft labels Y that are near the distances to rectified class means and alike for neighbours: the fixed point of
/// Y = softmax(−D + λ W Y), W the graph of nearest queries (algorithm 1, equation 9).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct LaplacianShot {
    /// Neighbours of each query.
    #[schemars(range(min = 1))]
    pub neighbours: usize,
    /// λ: how much neighbours count.
    #[schemars(range(min = 0.0))]
    pub lambda: f64,
    /// Steps at most; it ends where the bound settles.
    #[schemars(range(min = 1))]
    pub steps: usize,
}

impl Default for LaplacianShot {
    fn default() -> Self {
        Self { neighbours: 3, lambda: 0.7, steps: 20 }
    }
}

impl Head for LaplacianShot {
    const TRANSDUCTIVE: bool = true;

    fn fit(&self, support: Support) -> Result<Classifier> {
        let Self { neighbours, lambda, steps } = *self;
        Ok(Box::new(move |query| {
            let distances = squared_distances(query, rectified(&support, query).view());
            let graph = nearest(&squared_distances(query, query), neighbours);
            let mut y = softmax(-&distances);
            let mut before = f64::INFINITY;
            for step in 0..steps {
                y = softmax(lambda * graph.dot(&y) - &distances);
                // The bound of equation 7.
                let pull = &distances - &(lambda * graph.dot(&y));
                let bound = (&y * &(pull + &y.mapv(|share| (share + 1e-12).ln()))).sum();
                if step > 1 && (bound - before).abs() <= 1e-6 * before.abs() {
                    break;
                }
                before = bound;
            }
            Ok(y)
        }))
    }
}

/// 1 for each row's nearest others, `[n, n]`.
fn nearest(distances: &Array2<f64>, count: usize) -> Array2<f64> {
    let n = distances.nrows();
    let mut graph = Array2::zeros((n, n));
    for row in 0..n {
        let mut others: Vec<usize> = (0..n).filter(|&other| other != row).collect();
        others.sort_by(|&a, &b| distances[[row, a]].total_cmp(&distances[[row, b]]));
        others.iter().take(count).for_each(|&other| graph[[row, other]] = 1.0);
    }
    graph
}
