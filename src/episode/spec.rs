//! What kind of task is wanted, and where it comes from: [`TaskSpec`] opens a [`Tasks`] on a [`TaskSource`].

use std::path::PathBuf;
use std::sync::Arc;

use super::domain_shift::CrossDomain;
use super::{Count, DomainShift, Episode, FewShot, FlatBatches, Manifest, PkBatches, Shift};
use crate::dataset::{FunctionTasks, Split, TaskSource};
use crate::{Error, Result};

/// A distribution over tasks. Episode `index` is a pure function of (seed, split, index).
pub trait Tasks: Send + Sync {
    /// Episode number `index`.
    ///
    /// # Errors
    /// When there is no such episode (a manifest has an end).
    fn episode(&self, index: u64) -> Result<Episode>;

    /// How many episodes there are, where that is limited.
    fn limit(&self) -> Option<u64> {
        None
    }

    /// Which of several datasets episode number `index` is of ([`ClassSet::sources`]), where they are joined.
    ///
    /// [`ClassSet::sources`]: crate::dataset::ClassSet::sources
    fn source(&self, _index: u64) -> Option<usize> {
        None
    }
}

/// What a learner wants to be fed, or an evaluation asks.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskSpec {
    /// N-way K-shot classification (each a number or a range, drawn for each episode) with Q queries a class.
    FewShot {
        /// Classes in a task.
        ways: Count,
        /// Labelled examples of each class.
        shots: Count,
        /// Queries of each class.
        queries: usize,
    },
    /// Classification as Meta-Dataset samples it: unequal shots ([`meta_dataset`](super::meta_dataset)).
    MetaDataset {
        /// Classes in a task, as far as there are.
        ways: Count,
        /// Queries of each class, at most.
        queries: usize,
    },
    /// P classes × K examples, support only: what the pair and triplet losses mine.
    PkBatch {
        /// Classes in a batch (P).
        classes: usize,
        /// Examples of each (K).
        per_class: usize,
    },
    /// A batch drawn from all classes of the split, support only; labels are the split's class numbers.
    FlatBatch {
        /// Examples in a batch.
        size: usize,
    },
    /// A function to regress from `shots` points, to be predicted at `queries` others.
    Regression {
        /// Labelled points.
        shots: usize,
        /// Points to predict.
        queries: usize,
    },
    /// From the domain `source` to the domain `target`.
    DomainShift {
        /// Name of the labelled domain.
        source: String,
        /// Name of the domain whose examples are the queries.
        target: String,
        /// How much of each.
        shift: Shift,
    },
    /// Fixed tasks from a JSON file.
    Manifest {
        /// The file.
        path: PathBuf,
    },
}

impl TaskSpec {
    /// The nearest to it that `source` can meet, with what had to be lowered in words (`5 queries, not 10`): no more
    /// classes than there are, no more examples than the smallest has. Queries give way first, then shots.
    pub fn fitted(&self, source: &TaskSource) -> (Self, Option<String>) {
        let TaskSource::Classes(set) = source else { return (self.clone(), None) };
        let classes = set.classes().len();
        let fewest = set.classes().iter().map(|class| class.images.len()).min().unwrap_or(0);
        let mut lowered = Vec::new();
        let mut lower = |wanted: usize, there: usize, what: &str| {
            // What cannot be met at all is left to be refused.
            if there == 0 || wanted <= there {
                return wanted;
            }
            lowered.push(format!("{there} {what}, not {wanted}"));
            there
        };
        let fitted = match self {
            Self::FewShot { ways, shots, queries } => {
                let most = lower(shots.max(), fewest.saturating_sub(usize::from(*queries > 0)), "shots");
                let queries = lower(*queries, fewest.saturating_sub(most), "queries a class");
                Self::FewShot { ways: *ways, shots: shots.at_most(most), queries }
            }
            Self::PkBatch { classes: wanted, per_class } => Self::PkBatch {
                classes: lower(*wanted, classes, "classes in a batch"),
                per_class: lower(*per_class, fewest, "examples of a class"),
            },
            other => other.clone(),
        };
        let note = (!lowered.is_empty()).then(|| lowered.join(", "));
        (fitted, note)
    }

    /// The tasks of this kind that `source` offers.
    ///
    /// # Errors
    /// When the source cannot meet it: more ways than classes, a class with fewer examples than shots and queries
    /// need, a classification task of a regression dataset or the other way round.
    pub fn open(&self, source: &TaskSource, split: Split, seed: u64) -> Result<Box<dyn Tasks>> {
        match (self, source) {
            (Self::Regression { shots, queries }, TaskSource::Functions(functions)) => {
                Ok(Box::new(Functions {
                    functions: functions.clone(),
                    split,
                    seed,
                    shots: *shots,
                    queries: *queries,
                }))
            }
            (Self::Regression { .. }, TaskSource::Classes(_) | TaskSource::Domains(_)) => {
                Err(Error::invalid(
                    "a regression task was asked of a dataset of classes; choose a dataset of functions (`sinusoid`)",
                ))
            }
            (_, TaskSource::Functions(_)) => Err(Error::invalid(
                "a classification task was asked of a regression dataset; choose a dataset of classes",
            )),
            (Self::DomainShift { source, target, shift }, TaskSource::Domains(domains)) => {
                let (source, target) = (domains.named(source)?, domains.named(target)?);
                Ok(Box::new(DomainShift::new(source, target, *shift, split, seed)?))
            }
            (Self::DomainShift { .. }, TaskSource::Classes(_)) => Err(Error::invalid(
                "a task from domain to domain was asked of a dataset without domains; choose one that has them",
            )),
            (Self::FewShot { ways, shots, queries }, TaskSource::Domains(domains))
                if domains.domains().len() > 1 =>
            {
                Ok(Box::new(CrossDomain::new(domains, *ways, *shots, *queries, split, seed)?))
            }
            (_, TaskSource::Domains(domains)) => {
                self.open(&TaskSource::Classes(domains.merged()?), split, seed)
            }
            (Self::FewShot { ways, shots, queries }, TaskSource::Classes(set)) => {
                Ok(Box::new(FewShot::new(set.clone(), *ways, *shots, *queries, split, seed)?))
            }
            (Self::MetaDataset { ways, queries }, TaskSource::Classes(set)) => {
                Ok(Box::new(FewShot::meta_dataset(set.clone(), *ways, *queries, split, seed)?))
            }
            (Self::PkBatch { classes, per_class }, TaskSource::Classes(set)) => {
                Ok(Box::new(PkBatches::new(set.clone(), *classes, *per_class, split, seed)?))
            }
            (Self::FlatBatch { size }, TaskSource::Classes(set)) => {
                Ok(Box::new(FlatBatches::new(set.clone(), *size, split, seed)?))
            }
            (Self::Manifest { path }, TaskSource::Classes(set)) => {
                Ok(Box::new(Manifest::read(path, set.clone())?))
            }
        }
    }
}

/// Regression tasks as [`Tasks`].
struct Functions {
    functions: Arc<dyn FunctionTasks>,
    split: Split,
    seed: u64,
    shots: usize,
    queries: usize,
}

impl Tasks for Functions {
    fn episode(&self, index: u64) -> Result<Episode> {
        Ok(self.functions.task(self.seed, self.split, index, self.shots, self.queries))
    }
}
