//! An experiment: what is run on what, from a file, flags, or both (flags win).

mod file;
mod search;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use kshot::augment::Preset;
use kshot::dataset::{Dataset, DatasetContext};
use kshot::episode::{Count, Sampling, meta_dataset};
use kshot::options::{self, Options, described};
use kshot::registry::{self, LearnerEntry};
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::setting::Setting;
use crate::train_keys::TrainKeys;
pub(crate) use file::{SUITE_KEYS, merge, parse_setting, read};
pub(crate) use search::Combination;

/// An experiment file and the flags over it.
#[derive(Args)]
pub(crate) struct Flags {
    /// Experiment file (TOML); flags go over its keys
    #[arg(value_name = "EXPERIMENT")]
    experiment: Option<PathBuf>,
    #[command(flatten)]
    keys: Experiment,
    /// Set an option of a learner, a dataset, the backbone or the augmentation, as `prototypical.distance=cosine`,
    /// `backbone.width=32` or `augment.flip=0.5`; `kshot learners` and `kshot datasets` list them
    #[arg(long = "set", value_name = "NAME.KEY=VALUE")]
    set: Vec<String>,
}

/// The keys of an experiment file, each also a flag.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Experiment {
    /// Dataset, or several with commas, of one of which each task is [default: glyphs]
    #[arg(long, value_name = "NAME")]
    pub(crate) data: Option<String>,
    /// Where datasets lie [default: $KSHOT_DATA, else the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Side of an image in pixels, for datasets that scale theirs (short for `--set DATASET.image-size=N`)
    #[arg(long, value_name = "N")]
    pub(crate) image_size: Option<usize>,
    /// Class split, for datasets that have several (short for `--set DATASET.split=NAME`)
    #[arg(long, value_name = "NAME")]
    pub(crate) split: Option<String>,
    /// How training examples are varied: `none`, or `standard`, what papers do with such data; `--set augment.KEY=VALUE` has it
    /// otherwise [default: none]
    #[arg(long, value_name = "HOW")]
    pub(crate) augment: Option<Preset>,
    /// Learner, or several with commas [default of bench: all that fit]
    #[arg(long, value_name = "NAME,…")]
    pub(crate) learner: Option<List<String>>,
    /// Classes in a task: a number, a range (`5-10`), or several with commas [default: 5; all of a
    /// dataset of domains]
    #[arg(long, value_name = "N,…")]
    pub(crate) ways: Option<List<Count>>,
    /// Labelled examples of each class, in the same manner [default: 1; 10 points for a
    /// regression; all of a source domain]
    #[arg(long, value_name = "N,…")]
    pub(crate) shots: Option<List<Count>>,
    /// Queries of each class, or several numbers with commas, which share a training [default: 15;
    /// all of a target domain]
    #[arg(long, value_name = "N,…")]
    pub(crate) queries: Option<List<usize>>,
    /// Labelled domain, or several with commas, for datasets of domains [default: each in turn]
    #[arg(long, value_name = "DOMAIN,…")]
    pub(crate) source: Option<List<String>>,
    /// Domain whose examples are the queries, or several with commas [default: each but the source]
    #[arg(long, value_name = "DOMAIN,…")]
    pub(crate) target: Option<List<String>>,
    /// Labelled target examples of each class beside the source's, or several with commas [default: 0]
    #[arg(long, value_name = "N,…")]
    pub(crate) target_shots: Option<List<usize>>,
    /// Domains that learners are trained on, from each to the others [default: the source]
    #[arg(long, value_name = "DOMAIN,…")]
    pub(crate) train_domains: Option<List<String>>,
    /// Inner steps on test tasks, or several with commas: a figure after each [default: each learner's own; 0,1,5,10
    /// for a regression]
    #[arg(long, value_name = "N,…")]
    pub(crate) test_steps: Option<List<usize>>,
    /// How ways and shots are drawn: `n-way-k-shot`, or `meta-dataset` (5 to 50 ways, unequal shots, up to 500 examples)
    /// [default: n-way-k-shot]
    #[arg(long, value_name = "HOW")]
    pub(crate) sampling: Option<Sampling>,
    /// Test episodes [default: 600]
    #[arg(long, value_name = "N")]
    #[schemars(range(min = 1))]
    pub(crate) episodes: Option<u64>,
    /// Test on the tasks of this JSON file instead of sampled ones
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// Seed of everything drawn: weights, episodes [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Threads; results do not depend on them [default: one a core]
    #[arg(long, value_name = "N")]
    #[schemars(range(min = 1, max = 4096))]
    pub(crate) threads: Option<usize>,
    /// How learners are trained: `[train]` in a file.
    #[command(flatten)]
    pub(crate) train: TrainKeys,
    /// Options of learners, datasets, the backbone and the augmentation: `[set.NAME]` in a file.
    #[arg(skip)]
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")]
    pub(crate) set: toml::Table,
    /// Of suites: lists of values to choose among on validation classes, by learner, `backbone` or `train`: `[search.NAME]` in a
    /// file.
    #[arg(skip)]
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")]
    pub(crate) search: toml::Table,
}

/// Classes in a task where nothing else is said.
pub(crate) const WAYS: usize = 5;
/// Queries of each class where nothing else is said.
pub(crate) const QUERIES: usize = 15;

/// One or several, with commas on the command line, in brackets in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected one value, or several in brackets; counts are `5` or `\"3-8\"`")]
pub(crate) enum List<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> List<T> {
    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl<T: FromStr> FromStr for List<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        Ok(Self::Many(text.split(',').map(|part| part.trim().parse()).collect::<Result<_, _>>()?))
    }
}

impl<T: fmt::Display> fmt::Display for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.as_slice().iter().map(ToString::to_string).collect();
        f.write_str(&parts.join(","))
    }
}

impl Flags {
    /// The file's keys, if there is a file, with the flags over them and `base` (a checkpoint's experiment) below.
    pub(crate) fn experiment(self, base: Option<Experiment>) -> Result<Experiment> {
        let (file, suite) = self.read()?;
        if let Some(key) = suite.keys().next() {
            return Err(self.in_file(Error::invalid(format!(
                "`{key}` is of suites: `kshot run` and `kshot bench` take them"
            ))));
        }
        let over = table(&self.keys)?;
        let mut base = base.unwrap_or_default();
        let other =
            |keys: &toml::Table| keys.get("data").is_some_and(|data| data.as_str() != Some(base.data()));
        if other(&file) || other(&over) {
            // Of the checkpoint's dataset, not of this one.
            (base.image_size, base.split, base.augment) = (None, None, None);
            base.set.remove(AUGMENT);
        }
        let experiment = self.over(table(&base)?, file)?;
        match experiment.search.is_empty() {
            true => Ok(experiment),
            false => Err(self.in_file(Error::invalid(
                "`search` is of suites: `kshot run` and `kshot bench` take it; here set the value, under [set.NAME]",
            ))),
        }
    }

    /// The keys of the file, and those that only suites have.
    pub(crate) fn read(&self) -> Result<(toml::Table, toml::Table)> {
        Ok(self.experiment.as_deref().map(read).transpose()?.unwrap_or_default())
    }

    /// The file, if there is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.experiment.as_deref()
    }

    /// What is wrong in the file.
    pub(crate) fn in_file(&self, error: Error) -> Error {
        match &self.experiment {
            Some(path) => error.context(format!("the file {}", path.display())),
            None => error,
        }
    }

    /// The experiment of these keys, `more` over them, and the flags over both.
    pub(crate) fn over(&self, mut keys: toml::Table, more: toml::Table) -> Result<Experiment> {
        merge(&mut keys, more);
        merge(&mut keys, table(&self.keys)?);
        for setting in &self.set {
            merge(&mut keys, parse_setting(setting)?);
        }
        let experiment: Experiment = keys
            .try_into()
            .map_err(|error: toml::de::Error| Error::invalid(format!("the experiment: {error}")))?;
        experiment.check()?;
        Ok(experiment)
    }
}

/// Whose options vary training examples.
pub(crate) const AUGMENT: &str = "augment";

fn table(experiment: &Experiment) -> Result<toml::Table> {
    toml::Table::try_from(experiment).map_err(|error| Error::invalid(format!("the experiment: {error}")))
}

impl Experiment {
    /// Refuses options of something that is not there, and what is out of its range.
    fn check(&self) -> Result<()> {
        let learners = registry::learners().into_iter().map(|entry| entry.name);
        let datasets = registry::datasets().into_iter().map(|entry| entry.name);
        let known: Vec<&str> = learners.chain(datasets).chain(["backbone", AUGMENT]).collect();
        for (name, options) in &self.set {
            if !known.contains(&name.as_str()) {
                let what = "learner, dataset, `backbone` or `augment` to set options of";
                return Err(Error::unknown(what, name, known.into_iter()));
            }
            if !options.is_table() {
                return Err(Error::invalid(format!(
                    "`set.{name}` must be a table of options, as [set.{name}]"
                )));
            }
        }
        self.train.check()?;
        self.check_search()?;
        options::check(self)
    }

    /// The one learner that is to be trained or evaluated.
    pub(crate) fn only_learner(&self) -> Result<&'static LearnerEntry> {
        match self.learner.as_ref().map(List::as_slice) {
            Some([name]) => registry::learner(name),
            _ => Err(Error::invalid(
                "name the one learner to train, as in `--learner prototypical`; `kshot learners` lists them",
            )),
        }
    }

    /// What a checkpoint must keep for its tasks to be opened again: nothing of this machine or this training.
    pub(crate) fn kept(&self, learner: &str, setting: &Setting) -> Result<serde_json::Value> {
        let pair = setting.pair.as_ref();
        let kept = Self {
            data: Some(self.data().to_owned()),
            image_size: self.image_size,
            split: self.split.clone(),
            augment: self.augment,
            learner: Some(List::One(learner.to_owned())),
            ways: setting.ways.map(List::One),
            shots: setting.shots.map(List::One),
            queries: setting.queries.map(List::One),
            source: pair.map(|pair| List::One(pair.source.clone())),
            target: pair.map(|pair| List::One(pair.target.clone())),
            target_shots: pair.map(|pair| List::One(pair.target_shots)),
            train_domains: self.train_domains.clone(),
            sampling: self.sampling,
            seed: Some(self.seed()),
            set: self.set.clone(),
            ..Self::default()
        };
        let mut value = serde_json::to_value(kept)
            .map_err(|error| Error::invalid(format!("describing the experiment: {error}")))?;
        if let Some(keys) = value.as_object_mut() {
            keys.remove("train");
            keys.retain(|_, value| !value.is_null());
        }
        Ok(value)
    }

    /// The file that measures a learner in these settings again: what was asked, with the training resolved; nothing of this
    /// machine.
    pub(crate) fn config(
        &self,
        learner: &str,
        settings: &[Setting],
        train: Option<TrainConfig>,
    ) -> Result<String> {
        let first = settings.first();
        let pair = first.and_then(|setting| setting.pair.as_ref());
        let train = train.map(toml::Table::try_from).transpose();
        let mut train =
            train.map_err(|error| Error::invalid(format!("[train]: {error}")))?.unwrap_or_default();
        for value in train.iter_mut().map(|(_, value)| value) {
            // As short as `f32` can be told: 0.001, not 0.0010000000474974513.
            if let Some(number) = value.as_float().and_then(|number| (number as f32).to_string().parse().ok())
            {
                *value = toml::Value::Float(number);
            }
        }
        let config = Self {
            data: Some(self.data().to_owned()),
            data_dir: None,
            learner: Some(List::One(learner.to_owned())),
            ways: first.and_then(|setting| setting.ways).map(List::One),
            shots: first.and_then(|setting| setting.shots).map(List::One),
            source: pair.map(|pair| List::One(pair.source.clone())),
            episodes: Some(self.episodes()),
            seed: Some(self.seed()),
            threads: None,
            train: TrainKeys(train),
            ..self.clone()
        };
        toml::to_string(&config)
            .map_err(|error| Error::invalid(format!("describing the experiment: {error}")))
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed.unwrap_or(0)
    }

    /// Queries of each class; of several numbers the largest, which training goes by.
    pub(crate) fn queries(&self) -> usize {
        let most = self.queries.as_ref().and_then(|list| list.as_slice().iter().copied().max());
        most.unwrap_or(match self.sampling() {
            Sampling::NWayKShot => QUERIES,
            Sampling::MetaDataset => meta_dataset::QUERIES,
        })
    }

    pub(crate) fn sampling(&self) -> Sampling {
        self.sampling.unwrap_or_default()
    }

    pub(crate) fn episodes(&self) -> u64 {
        self.episodes.unwrap_or(600)
    }

    pub(crate) fn data(&self) -> &str {
        self.data.as_deref().unwrap_or("glyphs")
    }

    /// The datasets, one or several.
    pub(crate) fn datasets(&self) -> Vec<&str> {
        self.data().split(',').map(str::trim).collect()
    }

    /// What [`Experiment::open_data`] opens: where, and each dataset with its options.
    pub(crate) fn data_with_options(&self) -> (Option<PathBuf>, Vec<(String, toml::Table)>) {
        let each = self.datasets().into_iter().map(|name| (name.to_owned(), self.options(name)));
        (self.data_dir.clone(), each.collect())
    }

    /// Opens the dataset, or joins several.
    pub(crate) fn open_data(&self, context: &DatasetContext) -> Result<Box<dyn Dataset>> {
        let names = self.datasets();
        if let Some(twice) = (1..names.len()).find(|&at| names[..at].contains(&names[at])) {
            return Err(Error::invalid(format!("`data` names `{}` twice", names[twice])));
        }
        let open = |name: &str| (registry::dataset(name)?.open)(context, &self.options(name));
        match names.as_slice() {
            [one] => open(one),
            several => {
                let opened =
                    several.iter().map(|name| Ok((*name, open(name)?))).collect::<Result<Vec<_>>>()?;
                kshot_datasets::joined(&opened)
            }
        }
    }

    /// `[train]` over what the learner does by itself.
    pub(crate) fn train_config(&self, own: TrainConfig) -> Result<TrainConfig> {
        let overlaid = || {
            let mut keys = toml::Table::try_from(own)?;
            merge(&mut keys, self.train.0.clone());
            keys.try_into().map_err(serde::ser::Error::custom)
        };
        let config: TrainConfig =
            overlaid().map_err(|error: toml::ser::Error| Error::invalid(format!("[train]: {error}")))?;
        options::check(&config).map_err(|error| error.context("options of [train]"))?;
        Ok(config)
    }

    /// What is set for the backbone.
    pub(crate) fn backbone(&self) -> toml::Table {
        self.options("backbone")
    }

    /// The options set for a learner, a dataset or the backbone; of several datasets, a table each.
    pub(crate) fn options(&self, name: &str) -> toml::Table {
        let names = self.datasets();
        if names.len() > 1 && name == self.data() {
            let each = names.iter().map(|name| ((*name).to_owned(), toml::Value::Table(self.options(name))));
            return each
                .filter(|(_, options)| options.as_table().is_some_and(|table| !table.is_empty()))
                .collect();
        }
        let mut options = self.set.get(name).and_then(toml::Value::as_table).cloned().unwrap_or_default();
        if names.contains(&name) {
            let size = self.image_size.map(|size| ("image-size", toml::Value::Integer(size as i64)));
            let split = self.split.clone().map(|split| ("split", toml::Value::String(split)));
            let short = size.into_iter().chain(split).map(|(key, value)| (key.to_owned(), value));
            // Of several, those that have such an option are meant.
            let known = registry::dataset(name).ok().filter(|_| names.len() > 1);
            let known = known.map(|entry| described(&(entry.options)()));
            options.extend(short.filter(|(key, _)| {
                known.as_ref().is_none_or(|known| known.iter().any(|option| option.name == *key))
            }));
        }
        options
    }
}

impl Options for Experiment {}

#[cfg(test)]
mod tests;
