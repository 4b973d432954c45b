//! Episodes and the distributions over tasks they are sampled from.
//!
//! ```
//! use std::sync::Arc;
//!
//! use kshot::dataset::{Class, ClassSet, Split, TaskSource};
//! use kshot::episode::{Count, TaskSpec};
//!
//! // Three classes of four grey images of 2×2.
//! let pixels: Vec<u8> = (0..3 * 4 * 4).collect();
//! let names = (0..12).map(|image| format!("{image}.png")).collect();
//! let class = |n: u32| Class { name: format!("class{n}"), images: (4 * n..4 * n + 4).collect(), quarter_turns: 0 };
//! let set = ClassSet::new([1, 2, 2], Arc::new(pixels), Arc::new(names), (0..3).map(class).collect())?;
//!
//! // 2-way 1-shot with three queries a class.
//! let spec = TaskSpec::FewShot { ways: Count::fixed(2), shots: Count::fixed(1), queries: 3 };
//! let tasks = spec.open(&TaskSource::Classes(Arc::new(set)), Split::Test, 0)?;
//! let episode = tasks.episode(7)?;
//! assert_eq!((episode.support.len(), episode.query.len()), (2, 6));
//! assert_eq!(episode, tasks.episode(7)?); // A pure function of seed, split and number.
//! # Ok::<(), kshot::Error>(())
//! ```

mod augmented;
mod batches;
mod domain_shift;
mod few_shot;
mod groups;
mod manifest;
pub mod meta_dataset;
mod spec;
#[cfg(test)]
mod tests;

use ndarray::{Array2, Array4, ArrayView4, Axis};

use crate::nn::Loss;
use crate::{Error, Result};

pub use augmented::{Augmented, SupportViews};
pub use batches::{FlatBatches, PkBatches};
pub use domain_shift::{DomainShift, Shift};
pub use few_shot::{Count, FewShot};
pub use manifest::Manifest;
pub use meta_dataset::Sampling;
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

impl Targets {
    /// What a learner is trained by: cross-entropy for classes, squared error for values.
    pub fn loss(&self) -> Loss {
        match self {
            Self::Classes(labels) => Loss::CrossEntropy { labels: labels.clone() },
            Self::Values(values) => Loss::Mse { targets: values.clone() },
        }
    }

    /// Those of some examples, in this order.
    fn select(&self, examples: &[usize]) -> Self {
        match self {
            Self::Classes(labels) => Self::Classes(examples.iter().map(|&example| labels[example]).collect()),
            Self::Values(values) => Self::Values(values.select(Axis(0), examples)),
        }
    }
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

    /// Some of the examples, in this order, as of one domain: a minibatch.
    ///
    /// # Panics
    /// When there is no such example.
    pub fn select(&self, examples: &[usize]) -> Self {
        Self::new(self.inputs().select(Axis(0), examples), self.targets.select(examples))
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
