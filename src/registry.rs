//! Plugins announce themselves: learners, datasets and backbones, each by one macro.
//!
//! ```
//! use kshot::registry;
//!
//! // The backbones that come with the engine; a program has the learners and datasets of the crates linked into it.
//! let names: Vec<&str> = registry::backbones().iter().map(|entry| entry.name).collect();
//! assert_eq!(names, ["conv1d", "conv4", "mlp", "resnet10", "resnet12", "resnet18", "wrn28-10"]);
//! let error = registry::backbone("conv5").err().expect("there is none");
//! assert_eq!(error.to_string(), "there is no backbone called `conv5`; did you mean `conv4`?");
//! ```

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use schemars::Schema;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::backbone::Backbone;
pub use crate::backbone::entry::{BackboneEntry, backbone, backbones};
use crate::dataset::{Dataset, DatasetContext, Description};
use crate::episode::Count;
use crate::learner::{Family, Learner};
use crate::named::find;
use crate::nn::Norm;
use crate::train::TrainConfig;

/// What the engine tells a learner about the job it is built for; a checkpoint keeps it, so that the learner can be built
/// again without the data it was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Setup {
    /// What it is asked.
    pub problem: Problem,
    /// The network every learner of a comparison shares, for inputs of one shape.
    pub backbone: Backbone,
    /// Classes to train on; 0 where nothing is trained, or for a regression.
    pub base_classes: usize,
    /// Ways of the evaluation tasks (the most, where they vary).
    pub ways: usize,
    /// Labelled examples of each class in the evaluation tasks: a number, or the range they vary in.
    pub shots: Count,
    /// Queries of each class in the evaluation tasks.
    pub queries: usize,
    /// Seed of the run, for initial weights.
    pub seed: u64,
}

/// What kind of task a learner can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// Which of the support's classes a query is of.
    Classification,
    /// Which values go with a query.
    Regression,
}

/// A registered learner; see [`register_learner!`](crate::register_learner).
pub struct LearnerEntry {
    /// Name on the command line.
    pub name: &'static str,
    /// Family it is listed under.
    pub family: Family,
    /// One line: what it does.
    pub summary: &'static str,
    /// Authors, title, venue, year.
    pub paper: &'static str,
    /// What differs from the paper, and how much that matters where it was measured; empty where nothing does.
    pub differs: &'static str,
    /// What it can be asked.
    pub solves: &'static [Problem],
    /// Statistics of batch norm as it was published; an experiment may ask for the other.
    pub norm: Norm,
    /// How it is trained where the experiment does not say: what does it justice in about half a minute on two cores.
    /// `None` for a learner that learns nothing across tasks.
    pub training: Option<fn(Problem) -> TrainConfig>,
    /// Whether it compares examples: what verification and retrieval need.
    pub compares: bool,
    /// Its options.
    pub options: fn() -> Schema,
    /// Its options as they are once read, defaults included.
    pub resolve: fn(&toml::Table) -> Result<toml::Table>,
    /// Builds it from its options, with weights drawn from the setup's seed.
    pub build: fn(&Setup, &toml::Table) -> Result<Box<dyn Learner>>,
}

inventory::collect!(LearnerEntry);

/// A registered dataset; see [`register_dataset!`](crate::register_dataset).
pub struct DatasetEntry {
    /// Name on the command line.
    pub name: &'static str,
    /// One line: what it holds.
    pub summary: &'static str,
    /// Where it comes from: paper, licence.
    pub source: &'static str,
    /// Its options.
    pub options: fn() -> Schema,
    /// Opens it. Never downloads.
    pub open: fn(&DatasetContext, &toml::Table) -> Result<Box<dyn Dataset>>,
    /// Where its files are, refused where they are not; `None` when it needs no file.
    pub locate: Option<fn(&DatasetContext) -> Result<PathBuf>>,
    /// Keeps its inputs on disk as they are once read, so that it need not fit into memory; `None` when there is nothing to
    /// prepare.
    pub prepare: Option<Prepare>,
}

/// How a dataset is prepared: where it is opened, with these options, until the last is set (Ctrl-C).
pub type Prepare = fn(&DatasetContext, &toml::Table, &AtomicBool) -> Result<Prepared>;

/// A dataset that is kept on disk as it is once read.
pub struct Prepared {
    /// What it is kept under.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// What is in it.
    pub description: Description,
    /// Whether it was there before.
    pub was_there: bool,
}

inventory::collect!(DatasetEntry);

/// Registers a learner under a name, which stands nowhere else.
///
/// Its doc comment is what the program's lists say: one line of what it does, an empty one, then authors, title, venue and
/// year. `build` is a function from a [`Setup`](crate::registry::Setup) and the options to the learner. What is left out:
/// `differs`, what is not as in the paper and how much that matters, for one that follows it; `solves` for a learner of
/// classifications only; `training`, how it is trained where the experiment does not say, for one that learns nothing across
/// tasks; `norm` for one that was published with running statistics of batch norm; `compares`
/// for one without a [`Comparer`](crate::learner::Comparer).
///
/// A metric learner whose options are its [`Comparison`](crate::metric::Comparison) needs less: name, `training` and
/// `comparison`.
///
/// ```
/// use kshot::episode::{Labelled, Unlabelled};
/// use kshot::learner::{Adapted, Family, Learner, Prediction};
/// use kshot::options::NoOptions;
/// use kshot::registry::{self, Problem, Setup};
/// use ndarray::Array2;
///
/// /// Answers every query with the first class.
/// struct First;
///
/// struct Ways(usize);
///
/// impl Learner for First {
///     fn is_transductive(&self) -> bool {
///         false
///     }
///
///     fn adapt<'a>(&'a self, support: &'a Labelled) -> kshot::Result<Box<dyn Adapted + 'a>> {
///         Ok(Box::new(Ways(support.ways()?)))
///     }
/// }
///
/// impl Adapted for Ways {
///     fn predict(&self, query: &Unlabelled) -> kshot::Result<Prediction> {
///         Ok(Prediction::Scores(Array2::zeros((query.len(), self.0))))
///     }
/// }
///
/// kshot::register_learner! {
///     /// the first class, whatever is asked
///     ///
///     /// none
///     name: "first",
///     family: Family::Baseline,
///     options: NoOptions,
///     build: |_: &Setup, _: NoOptions| Ok(First),
/// }
///
/// assert!(registry::learner("first")?.training.is_none());
/// # Ok::<(), kshot::Error>(())
/// ```
#[macro_export]
macro_rules! register_learner {
    (
        $(#[doc = $line:literal])+
        name: $name:literal,
        $(differs: $differs:literal,)?
        training: $training:expr,
        comparison: $comparison:ty $(,)?
    ) => {
        $crate::register_learner! {
            $(#[doc = $line])+
            name: $name,
            $(differs: $differs,)?
            family: $crate::learner::Family::Metric,
            training: $training,
            compares: true,
            options: $comparison,
            build: $crate::metric::MetricLearner::<$comparison>::new,
        }
    };
    (
        #[doc = $summary:literal]
        #[doc = $blank:literal]
        $(#[doc = $paper:literal])+
        name: $name:literal,
        $(differs: $differs:literal,)?
        family: $family:expr,
        $(solves: $solves:expr,)?
        $(norm: $norm:expr,)?
        $(training: $training:expr,)?
        $(compares: $compares:expr,)?
        options: $options:ty,
        build: $build:expr $(,)?
    ) => {
        $crate::inventory::submit! {
            $crate::registry::LearnerEntry {
                name: $name,
                family: $family,
                summary: $summary.trim_ascii(),
                paper: concat!($($paper),+).trim_ascii(),
                differs: $crate::either!($($differs)?, ""),
                solves: $crate::either!($($solves)?, &[$crate::registry::Problem::Classification]),
                norm: $crate::either!($($norm)?, $crate::nn::Norm::Running),
                training: $crate::either!($(Some($training))?, None),
                compares: $crate::either!($($compares)?, false),
                options: $crate::options::schema::<$options>,
                resolve: |table| $crate::options::resolved::<$options>(concat!("`", $name, "`"), table),
                build: |setup, table| {
                    let options: $options = $crate::options::read(concat!("`", $name, "`"), table)?;
                    let built = ($build)(setup, options)
                        .map_err(|error: $crate::Error| error.context(concat!("`", $name, "`")))?;
                    Ok(Box::new(built))
                },
            }
        }
    };
}

/// Registers a dataset under a name, which stands nowhere else.
///
/// Its doc comment is what the program's lists say: one line of what it holds, an empty one, then where it comes from.
/// `open` is a function from a [`DatasetContext`](crate::dataset::DatasetContext) and the options to the dataset, boxed;
/// `locate` says where its files are, left out by a dataset that needs none; `prepare` keeps its inputs on disk, left out where
/// reading them takes neither long nor much memory.
#[macro_export]
macro_rules! register_dataset {
    (
        #[doc = $summary:literal]
        #[doc = $blank:literal]
        $(#[doc = $source:literal])+
        name: $name:literal,
        options: $options:ty,
        open: $open:expr
        $(, locate: $locate:expr)?
        $(, prepare: $prepare:expr)? $(,)?
    ) => {
        $crate::inventory::submit! {
            $crate::registry::DatasetEntry {
                name: $name,
                summary: $summary.trim_ascii(),
                source: concat!($($source),+).trim_ascii(),
                options: $crate::options::schema::<$options>,
                open: |context, table| {
                    let options: $options = $crate::options::read(concat!("`", $name, "`"), table)?;
                    ($open)(context, options)
                },
                locate: $crate::either!($(Some($locate))?, None),
                prepare: $crate::either!($(Some(|context, table, stop| {
                    let options: $options = $crate::options::read(concat!("`", $name, "`"), table)?;
                    ($prepare)(context, options, stop)
                }))?, None),
            }
        }
    };
}

/// Registers a backbone under a name, which stands nowhere else: the options are the backbone, as their
/// [`Layers`](crate::backbone::Layers) say what it is made of. Its doc comment is what the program's lists say: one line of
/// what it is made of, an empty one, then authors, title, venue and year.
#[macro_export]
macro_rules! register_backbone {
    (
        #[doc = $summary:literal]
        #[doc = $blank:literal]
        $(#[doc = $paper:literal])+
        name: $name:literal,
        options: $options:ty $(,)?
    ) => {
        $crate::inventory::submit! {
            $crate::registry::BackboneEntry {
                name: $name,
                summary: $summary.trim_ascii(),
                paper: concat!($($paper),+).trim_ascii(),
                options: $crate::options::schema::<$options>,
                resolve: |input, table| {
                    $crate::backbone::resolved::<$options>(concat!("backbone `", $name, "`"), input, table)
                },
                build: |input, norm, table| {
                    let options: $options = $crate::options::read(concat!("backbone `", $name, "`"), table)?;
                    $crate::backbone::Layers::architecture(&options, input, norm)
                },
            }
        }
    };
}

/// The first of two expressions, where it is given.
#[doc(hidden)]
#[macro_export]
macro_rules! either {
    ($given:expr, $other:expr) => {
        $given
    };
    (, $other:expr) => {
        $other
    };
}

/// All registered learners, by family, then name.
pub fn learners() -> Vec<&'static LearnerEntry> {
    let mut all: Vec<_> = inventory::iter::<LearnerEntry>.into_iter().collect();
    all.sort_by_key(|entry| (entry.family, entry.name));
    all
}

/// All registered datasets, by name.
pub fn datasets() -> Vec<&'static DatasetEntry> {
    let mut all: Vec<_> = inventory::iter::<DatasetEntry>.into_iter().collect();
    all.sort_by_key(|entry| entry.name);
    all
}

/// The learner called `name`.
///
/// # Errors
/// When there is none: says which is nearest.
pub fn learner(name: &str) -> Result<&'static LearnerEntry> {
    find("learner", name, learners(), |entry| entry.name)
}

/// The dataset called `name`.
///
/// # Errors
/// As [`learner`].
pub fn dataset(name: &str) -> Result<&'static DatasetEntry> {
    find("dataset", name, datasets(), |entry| entry.name)
}
