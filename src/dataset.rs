//! Datasets: what episodes are sampled from. Implementations live in the `datasets` crate and in plugins.

mod class_set;
mod domains;
mod images;
mod quarter_turn;
mod store;
mod values;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::episode::Episode;

pub use class_set::{Class, ClassSet};
pub use domains::{Domain, Domains};
pub use images::{Background, Images, Normalise, Resample, Resize};
pub use store::{Description, Store, StoreWriter, Stored};
pub use values::Values;

/// The disjoint parts of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Meta-training: base classes.
    Train,
    /// Choosing a checkpoint: classes of its own.
    Validation,
    /// Meta-test: classes never seen before.
    Test,
}

impl Split {
    /// `train`, `validation` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// Where a dataset is opened.
#[derive(Clone, Debug)]
pub struct DatasetContext {
    /// Where datasets lie, by precedence: `--data-dir`, `KSHOT_DATA`, the user's data directory.
    pub data_dir: PathBuf,
    /// Where what took long to make may be kept; nowhere if there is none.
    pub cache_dir: Option<PathBuf>,
    /// Told how much of what takes long is done: what it is, done, in all.
    pub progress: fn(&str, u64, u64),
}

impl DatasetContext {
    /// Datasets that lie here, opened in silence, nothing kept.
    pub fn at(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), cache_dir: None, progress: |_, _, _| () }
    }
}

impl Default for DatasetContext {
    fn default() -> Self {
        Self::at("")
    }
}

/// A dataset, opened.
pub trait Dataset: Send + Sync {
    /// The tasks of one split.
    ///
    /// # Errors
    /// When the split has no classes or cannot be read.
    fn split(&self, split: Split) -> Result<TaskSource>;

    /// Shape of one input, `[channels, height, width]`.
    fn input(&self) -> [usize; 3];

    /// How its inputs were made of files.
    fn preparation(&self) -> Preparation;

    /// What whoever reads its figures should know: what was left out, what the preparation looked at.
    fn notes(&self) -> &[String] {
        &[]
    }

    /// Figures that papers give for whole source to whole target, to be shown beside one's own.
    fn published(&self) -> &'static [Published] {
        &[]
    }
}

/// How inputs are made of files: what whoever prepares another file in the same way has to know, besides the inputs' shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Preparation {
    /// Images.
    Images(Images),
    /// Features that an encoder makes of images.
    Features {
        /// How the encoder is shown an image.
        images: Images,
        /// Shape of what it is shown, `[channels, height, width]`.
        shape: [usize; 3],
        /// Its `.onnx` file, or the directory of a run.
        encoder: PathBuf,
    },
    /// Numbers of files, as features or signals.
    Numbers {
        /// Whether each feature was brought to mean 0 and deviation 1 (within each domain, where there are several).
        standardise: bool,
    },
    /// No file: drawn or simulated.
    Generated,
}

/// One method's published accuracies from domain to domain.
pub struct Published {
    /// The method, as the table's head shows it.
    pub method: &'static str,
    /// Where they are from: paper, table.
    pub paper: &'static str,
    /// (source, target, accuracy in %).
    pub accuracies: &'static [(&'static str, &'static str, f64)],
}

/// What a split offers to sample tasks from.
#[derive(Clone)]
pub enum TaskSource {
    /// Classes with examples: N-way K-shot tasks, batches, manifests.
    Classes(Arc<ClassSet>),
    /// The same classes in several domains: tasks that learn in one and are asked in another. All splits offer the
    /// same; each domain has examples of its own for training and for test.
    Domains(Arc<Domains>),
    /// A distribution over functions: regression tasks.
    Functions(Arc<dyn FunctionTasks>),
}

impl TaskSource {
    /// Number of classes; 0 for functions.
    pub fn class_count(&self) -> usize {
        match self {
            Self::Classes(set) => set.classes().len(),
            Self::Domains(domains) => domains.class_names().len(),
            Self::Functions(_) => 0,
        }
    }
}

/// A distribution over regression tasks.
pub trait FunctionTasks: Send + Sync {
    /// Task `index` of `split` under `seed`, with this many support and query points: a pure function of its arguments.
    fn task(&self, seed: u64, split: Split, index: u64, support: usize, query: usize) -> Episode;
}
