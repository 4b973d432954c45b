//! Power transform and optimal transport (Hu, Gripon & Pateux 2021, PT-MAP).

use kshot::Result;
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::algebra::{one_hot, squared_distances, weighted_means};
use crate::{Classifier, Head, Support};

/// Class means that move towards those of soft labels, which give each class as many queries (algorithm 1).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct PtMap {
    /// The power that features are taken to; negative ones count as 0 (equation 1).
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub power: f64,
    /// How strictly the nearest is meant (λ of equation 4).
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub lambda: f64,
    /// How far means move in a step (α of equation 7), 0–1.
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub rate: f64,
    /// Steps.
    #[schemars(range(min = 1))]
    pub steps: usize,
}

impl Default for PtMap {
    fn default() -> Self {
        Self { power: 0.5, lambda: 10.0, rate: 0.2, steps: 10 }
    }
}

impl Head for PtMap {
    const TRANSDUCTIVE: bool = true;

    fn fit(&self, Support { z, labels, ways }: Support) -> Result<Classifier> {
        let Self { power, lambda, rate, steps } = *self;
        let transform = move |z: ArrayView2<'_, f64>| z.mapv(|value| (value.max(0.0) + 1e-6).powf(power));
        let (z, own) = (transform(z.view()), one_hot(&labels, ways));
        Ok(Box::new(move |query| {
            let query = transform(query);
            let mut means = weighted_means(z.view(), &own);
            let assigned =
                |means: &Array2<f64>| transport(squared_distances(query.view(), means.view()), lambda);
            for _ in 0..steps {
                let shares = concatenate![Axis(0), own, assigned(&means)];
                let all = concatenate![Axis(0), z, query];
                means = &means * (1.0 - rate) + weighted_means(all.view(), &shares) * rate;
            }
            Ok(assigned(&means))
        }))
    }
}

/// The plan of least cost, with an entropy of weight 1/λ, in which each query has one share and each class as many
/// (Sinkhorn & Knopp; Cuturi 2013).
fn transport(mut cost: Array2<f64>, lambda: f64) -> Array2<f64> {
    const STEPS: usize = 1000;
    const TOLERANCE: f64 = 1e-6;
    const LEAST: f64 = 1e-10;
    let each = cost.nrows() as f64 / cost.ncols() as f64;
    let total = cost.mapv(|value| (-lambda * value).exp()).sum();
    for mut row in cost.outer_iter_mut() {
        let least = row.fold(f64::INFINITY, |least, &value| least.min(value));
        // What is added to all costs of a query changes nothing: one far from all classes is brought near.
        let near = if lambda * least < 600.0 && total > 0.0 { total.ln() } else { -lambda * least };
        row.mapv_inplace(|value| (-lambda * value - near).exp());
    }
    for _ in 0..STEPS {
        let queries = cost.sum_axis(Axis(1));
        cost /= &(&queries + LEAST).insert_axis(Axis(1));
        let classes = (cost.sum_axis(Axis(0)) + LEAST) / each;
        cost /= &classes;
        let moved = (cost.sum_axis(Axis(1)) - queries).mapv(f64::abs);
        if moved.iter().all(|&moved| moved < TOLERANCE) {
            break;
        }
    }
    cost
}
