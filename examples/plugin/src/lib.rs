//! A learner in a crate of its own: the nearest class mean on raw inputs, after a power transform.
//!
//! The nearest-mean classifier of Mensink et al., "Distance-Based Image Classification", TPAMI 2013, without its
//! learned metric. The power x ↦ x^β (β = 0.5 is Tukey's square root) evens out how much the brightest pixels count.

#![forbid(unsafe_code)]

use kshot::episode::{Labelled, Unlabelled};
use kshot::learner::{Adapted, Family, Learner, Prediction};
use kshot::nn::head::class_means;
use kshot::options::Options;
use kshot::registry::Setup;
use kshot::{Error, Result};
use ndarray::{Array2, ArrayView4};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kshot::register_learner! {
    /// nearest class mean of raw inputs, after a power transform
    ///
    /// Mensink et al., Distance-Based Image Classification, TPAMI 2013 (without its metric)
    name: "nearest-mean",
    family: Family::Baseline,
    options: NearestMean,
    build: |_: &Setup, options: NearestMean| Ok(options),
}

/// The learner, which is its options: `--set nearest-mean.power=0.5`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct NearestMean {
    /// β of the transform x ↦ x^β of inputs in 0–1.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub power: f32,
}

impl Default for NearestMean {
    fn default() -> Self {
        Self { power: 0.5 }
    }
}

impl Options for NearestMean {}

impl NearestMean {
    /// `[n, c, h, w]` to `[n, c·h·w]`, transformed.
    fn rows(&self, x: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
        let (n, width) = (x.dim().0, x.len() / x.dim().0.max(1));
        let values = x.iter().map(|value| value.max(0.0).powf(self.power)).collect();
        Array2::from_shape_vec((n, width), values).map_err(|error| Error::invalid(error.to_string()))
    }
}

impl Learner for NearestMean {
    fn is_transductive(&self) -> bool {
        false
    }

    fn adapt<'a>(&'a self, support: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
        let means = class_means(self.rows(support.inputs())?.view(), support.classes()?)?;
        Ok(Box::new(Means { learner: self, means }))
    }
}

/// What is known of a task: the mean of each class, `[classes, features]`.
struct Means<'a> {
    learner: &'a NearestMean,
    means: Array2<f32>,
}

impl Adapted for Means<'_> {
    fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
        let queries = self.learner.rows(query.inputs.view())?;
        if queries.ncols() != self.means.ncols() {
            return Err(Error::invalid(format!(
                "queries have {} values, but the support has {}",
                queries.ncols(),
                self.means.ncols()
            )));
        }
        let distance =
            |q: usize, class: usize| (&queries.row(q) - &self.means.row(class)).mapv(|d| d * d).sum();
        Ok(Prediction::Scores(Array2::from_shape_fn((query.len(), self.means.nrows()), |(q, class)| {
            -distance(q, class)
        })))
    }
}
