//! Prototype rectification (Liu, Song & Qin 2020, BD-CSPN).

use kshot::Result;
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::algebra::{best, cosines, one_hot, weighted_means};
use crate::{Classifier, Head, Support};

/// Class means, mended by the queries that are labelled by them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct BdCspn {}

/// The queries are moved by the difference of the means (cross-class bias, equation 7) and labelled by the nearest mean;
/// then a class's mean is of all its examples, weighted by exp of their cosines with the first mean (equations 5 and 6).
pub(crate) fn rectified(support: &Support, query: ArrayView2<'_, f64>) -> Array2<f64> {
    let Support { z, labels, ways } = support;
    let own = one_hot(labels, *ways);
    let means = weighted_means(z.view(), &own);
    let shift = |of: ArrayView2<'_, f64>| of.mean_axis(Axis(0)).unwrap_or_default();
    let moved = &query + &(shift(z.view()) - shift(query));
    let near = cosines(moved.view(), means.view());
    let guessed = one_hot(&best(&near), *ways) * near.exp();
    let known = own * cosines(z.view(), means.view()).exp();
    let both = |a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>| {
        concatenate(Axis(0), &[a, b]).unwrap_or_else(|_| a.to_owned())
    };
    weighted_means(both(z.view(), moved.view()).view(), &both(known.view(), guessed.view()))
}

impl Head for BdCspn {
    const TRANSDUCTIVE: bool = true;

    fn fit(&self, support: Support) -> Result<Classifier> {
        Ok(Box::new(move |query| Ok(cosines(query, rectified(&support, query).view()))))
    }
}
