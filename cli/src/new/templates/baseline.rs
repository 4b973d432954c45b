//! `@NAME@`: a learner that learns nothing across tasks. A query is of the class whose mean is nearest.
//!
//! Replace `adapt` and `predict` by your method.

#![forbid(unsafe_code)]

use kshot::episode::{Labelled, Unlabelled};
use kshot::learner::{Adapted, Family, Learner, Prediction};
use kshot::nn::{Similarity, head};
use kshot::options::Options;
use kshot::registry::Setup;
use kshot::{Error, Result};
use ndarray::{Array2, ArrayView4};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kshot::register_learner! {
    /// the nearest class mean of raw inputs
    ///
    /// yours: authors, title, venue, year
    name: "@NAME@",
    family: Family::Baseline,
    options: @TYPE@,
    build: |_: &Setup, options: @TYPE@| Ok(options),
}

/// Options of `@NAME@`, which are all there is to it: their doc comments are what `kshot learners @NAME@` prints.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct @TYPE@ {
    /// What inputs are compared by.
    pub similarity: Similarity,
}

impl Default for @TYPE@ {
    fn default() -> Self {
        Self { similarity: Similarity::Cosine }
    }
}

impl Options for @TYPE@ {}

/// Inputs `[n, c, h, w]` as rows `[n, c·h·w]`.
fn rows(x: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
    let (n, width) = (x.dim().0, x.len() / x.dim().0.max(1));
    Array2::from_shape_vec((n, width), x.iter().copied().collect()).map_err(|error| Error::invalid(error.to_string()))
}

impl Learner for @TYPE@ {
    fn is_transductive(&self) -> bool {
        false
    }

    fn adapt<'a>(&'a self, support: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
        let means = head::class_means(rows(support.inputs())?.view(), support.classes()?)?;
        Ok(Box::new(Means { similarity: self.similarity, means }))
    }
}

/// The mean of each class, `[classes, features]`.
struct Means {
    similarity: Similarity,
    means: Array2<f32>,
}

impl Adapted for Means {
    fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
        let query = rows(query.inputs.view())?;
        if query.ncols() != self.means.ncols() {
            return Err(Error::invalid(format!(
                "queries have {} values, but the support has {}",
                query.ncols(),
                self.means.ncols()
            )));
        }
        Ok(Prediction::Scores(self.similarity.between(query.view(), self.means.view())))
    }
}
