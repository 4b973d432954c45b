//! Ridge regression to the labels (Bertinetto et al. 2019, R2D2).

use kshot::Result;
use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::algebra::{one_hot, solve};
use crate::{Classifier, Head, Support};

/// W = (ZᵀZ + λI)⁻¹ ZᵀY, for few examples by way of ZZᵀ (equations 4 and 5).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Ridge {
    /// λ.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub lambda: f64,
}

impl Default for Ridge {
    fn default() -> Self {
        Self { lambda: 1.0 }
    }
}

impl Head for Ridge {
    const TRANSDUCTIVE: bool = false;

    fn fit(&self, Support { z, labels, ways }: Support) -> Result<Classifier> {
        let y = one_hot(&labels, ways);
        let ridged = |gram: Array2<f64>| Array2::eye(gram.nrows()) * self.lambda + gram;
        let weights = match z.nrows() < z.ncols() {
            true => z.t().dot(&solve(&ridged(z.dot(&z.t())), &y)?),
            false => solve(&ridged(z.t().dot(&z)), &z.t().dot(&y))?,
        };
        Ok(Box::new(move |query| Ok(query.dot(&weights))))
    }
}
