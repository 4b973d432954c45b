//! Episodes and the distributions over tasks they are sampled from.

mod batches;
mod domain_shift;
mod few_shot;
mod manifest;
mod spec;
#[cfg(test)]
mod tests;

use ndarray::{Array2, Array4, ArrayView4};

use crate::{Error, Result};

pub use batches::{FlatBatches, PkBatches};
pub use domain_shift::{DomainShift, Shift};
pub use few_shot::{Count, FewShot};
pub use manifest::Manifest;
pub use spec::{TaskSpec, Tasks};

/// Examples without labels: all that a learner gets to see of the queries.
#[derive(Clone, Debug, PartialEq)]
pub struct Unlabelled {
    /// `[n, channels, height, width]`.
    pub inputs: Array4<f32>,
}

impl Unlabelled {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.inputs.dim().0
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the examples are to be mapped to.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// A class index for each example, `0..ways` within the episode.
    Classes(Vec<usize>),
    /// Values to regress, `[n, outputs]`.
    Values(Array2<f32>),
}

/// Examples with their targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// The inputs.
    pub examples: Unlabelled,
    /// One target for each input.
    pub targets: Targets,
    /// How many of the last examples are of the queries' domain where the others are of another; 0 where domains play
    /// no part, or the target gives no labels.
    pub in_target: usize,
}

impl Labelled {
    /// Examples of one domain.
    pub fn new(inputs: Array4<f32>, targets: Targets) -> Self {
        Self { examples: Unlabelled { inputs }, targets, in_target: 0 }
    }

    /// The inputs, `[n, channels, height, width]`.
    pub fn inputs(&self) -> ArrayView4<'_, f32> {
        self.examples.inputs.view()
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// The class index of each example.
    ///
    /// # Errors
    /// When the targets are values: this is a regression task.
    pub fn classes(&self) -> Result<&[usize]> {
        match &self.targets {
            Targets::Classes(classes) => Ok(classes),
            Targets::Values(_) => Err(Error::invalid(
                "this learner classifies, but the task is a regression; choose a dataset with classes",
            )),
        }
    }

    /// How many classes the labels speak of: the largest label plus one.
    ///
    /// # Errors
    /// As [`Labelled::classes`].
    pub fn ways(&self) -> Result<usize> {
        Ok(self.classes()?.iter().max().map_or(0, |&largest| largest + 1))
    }
}

/// One within-task training (support) and one within-task test (query).
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// Its number: an episode is a pure function of (seed, split, index).
    pub index: u64,
    /// What the learner adapts to.
    pub support: Labelled,
    /// What it is asked afterwards; empty in batches that only have a support set.
    pub query: Labelled,
    /// The dataset's class behind each of the episode's labels; empty for regression.
    pub classes: Vec<usize>,
}
