//! Plugin registration: learners and datasets announce themselves with `inventory::submit!`.

use crate::dataset::{Dataset, DatasetContext};
use crate::learner::{Family, Learner};
use crate::nn::BackboneConfig;
use crate::train::TrainConfig;
use crate::{Error, Result};
use serde::de::DeserializeOwned;

/// What the engine tells a learner about the job it is built for.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Shape of one input: `[channels, height, width]`.
    pub input: [usize; 3],
    /// Classes in the training split; 0 for a regression dataset.
    pub base_classes: usize,
    /// Ways of the evaluation tasks (the most, where they vary).
    pub ways: usize,
    /// Labelled examples of each class in the evaluation tasks (the most, where they vary).
    pub shots: usize,
    /// Queries of each class in the evaluation tasks.
    pub queries: usize,
    /// The network every learner of a comparison shares.
    pub backbone: BackboneConfig,
    /// Seed of the run, for initial weights.
    pub seed: u64,
}

/// What kind of task a learner can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Which of the support's classes a query is of.
    Classification,
    /// Which values go with a query.
    Regression,
}

/// A registered learner.
pub struct LearnerEntry {
    /// Name on the command line.
    pub name: &'static str,
    /// Family it is listed under.
    pub family: Family,
    /// One line: what it does.
    pub summary: &'static str,
    /// Authors, title, venue, year.
    pub paper: &'static str,
    /// What it can be asked.
    pub solves: &'static [Problem],
    /// How it is trained where the experiment does not say: what does it justice in about half a minute on two cores.
    pub train: fn(Problem) -> TrainConfig,
    /// Its options, each with its default, `null` where unset.
    pub options: fn() -> Options,
    /// Builds it from its options, with weights drawn from the setup's seed.
    pub build: fn(&Setup, &toml::Table) -> Result<Box<dyn Learner>>,
}

inventory::collect!(LearnerEntry);

/// A registered dataset.
pub struct DatasetEntry {
    /// Name on the command line.
    pub name: &'static str,
    /// One line: what it holds.
    pub summary: &'static str,
    /// Where it comes from: paper, licence.
    pub source: &'static str,
    /// Its options, each with its default, `null` where unset.
    pub options: fn() -> Options,
    /// Opens it. Never downloads.
    pub open: fn(&DatasetContext, &toml::Table) -> Result<Box<dyn Dataset>>,
    /// Whether its files are where they are looked for, and where that is; `None` when it needs no file.
    pub locate: Option<fn(&DatasetContext) -> Result<std::path::PathBuf>>,
}

inventory::collect!(DatasetEntry);

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
    let all = learners();
    all.iter()
        .find(|entry| entry.name == name)
        .copied()
        .ok_or_else(|| unknown("learner", name, all.iter().map(|entry| entry.name)))
}

/// The dataset called `name`.
///
/// # Errors
/// When there is none: says which is nearest.
pub fn dataset(name: &str) -> Result<&'static DatasetEntry> {
    let all = datasets();
    all.iter()
        .find(|entry| entry.name == name)
        .copied()
        .ok_or_else(|| unknown("dataset", name, all.iter().map(|entry| entry.name)))
}

/// "there is no KIND called …; did you mean …?"
pub fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.collect();
    let nearest = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()) / 2);
    Error::invalid(match nearest {
        Some((_, candidate)) => format!("there is no {kind} called `{name}`; did you mean `{candidate}`?"),
        None => format!("there is no {kind} called `{name}`; there are: {}", known.join(", ")),
    })
}

/// Reads a plugin's options into its configuration type.
///
/// Keys are checked against the keys of `T::default()`, so `T` has `#[serde(default, deny_unknown_fields)]`.
///
/// # Errors
/// For an unknown key (says which is nearest) or a value of the wrong type, naming the plugin.
pub fn options<T: DeserializeOwned + Default + serde::Serialize>(
    plugin: &str,
    table: &toml::Table,
) -> Result<T> {
    let known = defaults::<T>();
    if let Some(key) = table.keys().find(|key| !known.contains_key(*key)) {
        return Err(if known.is_empty() {
            Error::invalid(format!("`{plugin}` has no options, but `{key}` was set"))
        } else {
            unknown(&format!("option of `{plugin}`"), key, known.keys().map(String::as_str))
        });
    }
    // Over the defaults as a whole: a flattened part would otherwise take its own type's.
    let mut overlaid = toml::Table::try_from(T::default())
        .map_err(|error| Error::invalid(format!("defaults of `{plugin}`: {error}")))?;
    overlaid.extend(table.clone());
    toml::Value::Table(overlaid)
        .try_into()
        .map_err(|error| Error::invalid(format!("options of `{plugin}`: {}", error.to_string().trim())))
}

/// Option names with their defaults; `null` where unset.
pub type Options = serde_json::Map<String, serde_json::Value>;

/// The defaults of a configuration type, for [`LearnerEntry::options`] and [`DatasetEntry::options`].
pub fn defaults<T: Default + serde::Serialize>() -> Options {
    match serde_json::to_value(T::default()) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => Options::new(),
    }
}
