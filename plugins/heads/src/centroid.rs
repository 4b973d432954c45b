//! The nearest class mean (Wang et al. 2019, SimpleShot).

use kshot::Result;
use ndarray::Axis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::algebra::{cosines, one_hot, squared_distances, unit, weighted_means};
use crate::{Classifier, Head, Support};

/// Scores a query by its nearness to the mean of each class.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Centroid {
    /// What is done to features before (SimpleShot, section 3).
    pub transform: Transform,
}

/// What is done to features before class means are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transform {
    /// Nothing; minus the squared distance.
    Plain,
    /// Nothing; the cosine with the mean.
    Cosine,
    /// Unit length; minus the squared distance.
    L2,
    /// The support's mean is subtracted, then unit length; minus the squared distance.
    #[default]
    Cl2n,
}

impl Head for Centroid {
    const TRANSDUCTIVE: bool = false;

    fn fit(&self, Support { z, labels, ways }: Support) -> Result<Classifier> {
        let transform = self.transform;
        let mean = z.mean_axis(Axis(0)).unwrap_or_default();
        let prepare = move |z: ndarray::ArrayView2<'_, f64>| match transform {
            Transform::Plain | Transform::Cosine => z.to_owned(),
            Transform::L2 => unit(z),
            Transform::Cl2n => unit((&z - &mean).view()),
        };
        let means = weighted_means(prepare(z.view()).view(), &one_hot(&labels, ways));
        Ok(Box::new(move |query| {
            let query = prepare(query);
            Ok(match transform {
                Transform::Cosine => cosines(query.view(), means.view()),
                _ => -squared_distances(query.view(), means.view()),
            })
        }))
    }
}
