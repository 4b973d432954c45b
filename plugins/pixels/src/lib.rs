//! The floor: 1-nearest-neighbour on raw inputs.
//!
//! Cover & Hart, "Nearest Neighbor Pattern Classification", IEEE Trans. Inf. Theory 1967. The baseline "Pixels" of
//! Vinyals et al. 2016, table 1. It learns nothing; whatever learns should beat it.

use kshot::episode::{Episode, Labelled, TaskSpec, Unlabelled};
use kshot::learner::{Family, Learner, Outer, Prediction};
use kshot::params::Params;
use kshot::registry::{LearnerEntry, Problem, Setup, defaults, options};
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// There is nothing to set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PixelsConfig {}

/// 1-nearest-neighbour by Euclidean distance.
pub struct Pixels {
    params: Params,
}

impl Pixels {
    /// It needs nothing.
    pub fn new() -> Self {
        Self { params: Params::empty() }
    }
}

impl Default for Pixels {
    fn default() -> Self {
        Self::new()
    }
}

impl Learner for Pixels {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn training_task(&self) -> TaskSpec {
        TaskSpec::FlatBatch { size: 1 }
    }

    fn is_transductive(&self) -> bool {
        false
    }

    fn outer_gradient(&self, _: &Episode) -> Result<Outer> {
        Err(Error::invalid("`pixels` learns nothing: it cannot be trained"))
    }

    /// Scores of a class: minus the squared distance to its nearest example.
    fn predict(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction> {
        let labels = support.classes()?;
        let mut scores = Array2::from_elem((query.len(), support.ways()?), f32::NEG_INFINITY);
        for (input, mut scores) in query.inputs.outer_iter().zip(scores.outer_iter_mut()) {
            for (example, &label) in support.inputs().outer_iter().zip(labels) {
                let distance: f32 = input.iter().zip(example.iter()).map(|(a, b)| (a - b) * (a - b)).sum();
                scores[label] = scores[label].max(-distance);
            }
        }
        Ok(Prediction::Scores(scores))
    }
}

inventory::submit! {
    LearnerEntry {
        name: "pixels",
        family: Family::Baseline,
        summary: "nearest neighbour on raw inputs, the floor",
        paper: "Cover & Hart, Nearest Neighbor Pattern Classification, IEEE Trans. Inf. Theory 1967",
        solves: &[Problem::Classification],
        train: |_| TrainConfig::default(),
        options: defaults::<PixelsConfig>,
        build: |_: &Setup, table| {
            options::<PixelsConfig>("pixels", table)?;
            Ok(Box::new(Pixels::new()))
        },
    }
}

#[cfg(test)]
mod tests {
    use kshot::episode::Targets;
    use ndarray::Array4;

    use super::*;

    #[test]
    fn a_query_equal_to_a_support_example_gets_its_class_whatever_the_order() {
        let inputs = Array4::from_shape_fn((3, 1, 2, 2), |(n, _, h, w)| (n * 4 + h * 2 + w) as f32);
        let support = Labelled::new(inputs.clone(), Targets::Classes(vec![1, 0, 1]));
        let prediction = Pixels::new().predict(&support, &Unlabelled { inputs }).unwrap();
        assert_eq!(prediction.classes(), [1, 0, 1]);
    }
}
