//! A learner in a crate of its own: the nearest class mean on raw inputs, after a power transform.
//!
//! The nearest-mean classifier of Mensink et al., "Distance-Based Image Classification", TPAMI 2013, without its
//! learned metric. The power x ↦ x^β (β = 0.5 is Tukey's square root) evens out how much the brightest pixels count.

use kshot::episode::{Episode, Labelled, TaskSpec, Unlabelled};
use kshot::learner::{Family, Learner, Outer, Prediction};
use kshot::params::Params;
use kshot::registry::{LearnerEntry, Problem, defaults, options};
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use ndarray::{Array2, ArrayView4, Axis};
use serde::{Deserialize, Serialize};

/// Options: `--set nearest-mean.power=0.5`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct NearestMeanConfig {
    /// β of the transform x ↦ x^β of inputs in 0–1.
    pub power: f32,
}

impl Default for NearestMeanConfig {
    fn default() -> Self {
        Self { power: 0.5 }
    }
}

/// The learner.
pub struct NearestMean {
    power: f32,
    nothing: Params,
}

impl NearestMean {
    /// Checks the options.
    ///
    /// # Errors
    /// When the power is not a positive number.
    pub fn new(config: &NearestMeanConfig) -> Result<Self> {
        if !(config.power.is_finite() && config.power > 0.0) {
            return Err(Error::invalid(format!(
                "options of `nearest-mean`: `power` is {}; it must be a positive number, as 0.5",
                config.power
            )));
        }
        Ok(Self { power: config.power, nothing: Params::empty() })
    }

    /// `[n, c, h, w]` to `[n, c·h·w]`, transformed.
    fn rows(&self, x: ArrayView4<'_, f32>) -> Array2<f32> {
        let (n, width) = (x.dim().0, x.len() / x.dim().0.max(1));
        let values = x.iter().map(|value| value.max(0.0).powf(self.power)).collect();
        Array2::from_shape_vec((n, width), values).expect("as many values as the input has")
    }
}

impl Learner for NearestMean {
    fn params(&self) -> &Params {
        &self.nothing
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.nothing
    }

    fn training_task(&self) -> TaskSpec {
        TaskSpec::FlatBatch { size: 1 }
    }

    fn is_transductive(&self) -> bool {
        false
    }

    fn outer_gradient(&self, _: &Episode) -> Result<Outer> {
        Err(Error::invalid("`nearest-mean` learns nothing: there is nothing to train"))
    }

    fn predict(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction> {
        let (labels, x) = (support.classes()?, self.rows(support.inputs()));
        let mut means = Array2::zeros((support.ways()?, x.ncols()));
        for (class, mut mean) in means.outer_iter_mut().enumerate() {
            let members: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == class).collect();
            mean.assign(&x.select(Axis(0), &members).mean_axis(Axis(0)).ok_or_else(|| {
                Error::invalid(format!("class {class} has no example in the support set: it has no mean"))
            })?);
        }
        let queries = self.rows(query.inputs.view());
        let distance = |q: usize, class: usize| (&queries.row(q) - &means.row(class)).mapv(|d| d * d).sum();
        Ok(Prediction::Scores(Array2::from_shape_fn((query.len(), means.nrows()), |(q, class)| {
            -distance(q, class)
        })))
    }
}

inventory::submit! {
    LearnerEntry {
        name: "nearest-mean",
        family: Family::Baseline,
        summary: "nearest class mean of raw inputs, after a power transform",
        paper: "Mensink et al., Distance-Based Image Classification, TPAMI 2013 (without its metric)",
        solves: &[Problem::Classification],
        train: |_| TrainConfig::default(),
        options: defaults::<NearestMeanConfig>,
        build: |_, table| Ok(Box::new(NearestMean::new(&options("nearest-mean", table)?)?)),
    }
}
