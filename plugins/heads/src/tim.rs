//! Transductive information maximisation (Boudiaf et al. 2020, TIM-GD).

use kshot::Result;
use ndarray::{Array2, ArrayView2, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::algebra::{cosines, one_hot, softmax, unit, weighted_means};
use crate::{Classifier, Head, Support};

/// Class means moved by Adam to lower the support's cross-entropy and the queries' conditional entropy, and to raise the
/// entropy of their mean prediction (equation 3).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Tim {
    /// Steps.
    #[schemars(range(min = 1))]
    pub steps: usize,
    /// Learning rate.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub rate: f64,
    /// What cosines are multiplied by.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub temperature: f64,
    /// Weight of the entropy of the mean prediction.
    #[schemars(range(min = 0.0))]
    pub marginal: f64,
    /// Weight of the conditional entropy (α).
    #[schemars(range(min = 0.0))]
    pub conditional: f64,
}

impl Default for Tim {
    fn default() -> Self {
        Self { steps: 50, rate: 1e-2, temperature: 10.0, marginal: 1.0, conditional: 0.1 }
    }
}

impl Head for Tim {
    const TRANSDUCTIVE: bool = true;

    fn fit(&self, Support { z, labels, ways }: Support) -> Result<Classifier> {
        let (config, own, support) = (self.clone(), one_hot(&labels, ways), unit(z.view()));
        let start = weighted_means(z.view(), &own);
        Ok(Box::new(move |query| {
            let (mut means, unit_query) = (start.clone(), unit(query));
            let [mut first, mut second] = [(); 2].map(|()| Array2::<f64>::zeros(means.dim()));
            for step in 1..=config.steps as i32 {
                let gradient = config.gradient(&means, support.view(), &own, unit_query.view());
                first = first * 0.9 + &gradient * 0.1;
                second = second * 0.999 + gradient.mapv(|g| 0.001 * g * g);
                let (a, b) = (1.0 - 0.9_f64.powi(step), 1.0 - 0.999_f64.powi(step));
                means -= &(&first * (config.rate / a) / (second.mapv(|s| (s / b).sqrt()) + 1e-8));
            }
            Ok(cosines(query, means.view()))
        }))
    }
}

impl Tim {
    /// The loss's derivative in the means, of examples of unit length.
    fn gradient(
        &self,
        means: &Array2<f64>,
        support: ArrayView2<'_, f64>,
        own: &Array2<f64>,
        query: ArrayView2<'_, f64>,
    ) -> Array2<f64> {
        let directions = unit(means.view());
        let shares = |z: ArrayView2<'_, f64>| softmax(self.temperature * z.dot(&directions.t()));
        // In the logits: of the cross-entropy, then of the entropies by the derivative g in each share.
        let of_support = (shares(support) - own) / support.nrows() as f64;
        let p = shares(query);
        let mean = p.mean_axis(Axis(0)).unwrap_or_default();
        let conditional = p.mapv(|p| -(p + 1e-12).ln() - p / (p + 1e-12)) * self.conditional;
        let g = (conditional + &mean.mapv(|m| (m + f64::MIN_POSITIVE).ln() + 1.0) * self.marginal)
            / query.nrows() as f64;
        let of_query = &p * &(&g - &(&p * &g).sum_axis(Axis(1)).insert_axis(Axis(1)));
        let in_directions = self.temperature * (of_support.t().dot(&support) + of_query.t().dot(&query));
        // Through the length of each mean.
        let along = (&in_directions * &directions).sum_axis(Axis(1)).insert_axis(Axis(1));
        let lengths = (means * means).sum_axis(Axis(1)).mapv(|s| s.sqrt().max(1e-12)).insert_axis(Axis(1));
        (in_directions - &directions * &along) / lengths
    }
}
