//! What a suite is read from: an experiment file, with `seeds`, and with the experiments that differ from it, if there are
//! several.

use std::path::Path;

use kshot::{Error, Result};

use crate::experiment::{Experiment, Flags, SUITE_KEYS, merge, read};

/// In an `[[experiment]]`: a file with its keys, from where the suite's lies.
const FILE: &str = "file";

/// The keys below a part of a suite, those of its own file over what is said for all; and its other keys.
fn with_file(
    flags: &Flags,
    mut shared: toml::Table,
    mut part: toml::Table,
) -> Result<(toml::Table, toml::Table)> {
    if let Some(file) = part.remove(FILE) {
        let name =
            file.as_str().ok_or_else(|| Error::invalid("`file` must be the path of an experiment file"))?;
        let folder = flags.file().and_then(Path::parent).unwrap_or(Path::new(""));
        let (keys, suite) = read(&folder.join(name))?;
        if !suite.is_empty() {
            return Err(Error::invalid(format!("`{name}` is a suite itself")));
        }
        merge(&mut shared, keys);
    }
    Ok((shared, part))
}

/// What is to be measured.
pub(crate) struct Suite {
    pub(crate) experiments: Vec<Experiment>,
    pub(crate) seeds: Vec<u64>,
}

impl Suite {
    /// The suite of a file and flags: the keys of an experiment, which all its experiments share; `seeds`, a number of them or
    /// a list; and `[[experiment]]`, each with the keys that are its own, or with the `file` that has them. Flags go over all.
    ///
    /// # Errors
    /// When the file cannot be read, or a key is not known.
    pub(crate) fn of(flags: &Flags, seeds: Option<u64>) -> Result<Self> {
        let (shared, mut own) = flags.read()?;
        let [seeds_key, experiment_key] = SUITE_KEYS;
        let parts = own.remove(experiment_key).unwrap_or_else(|| vec![toml::Table::new()].into());
        let tables = parts.as_array().filter(|parts| parts.iter().all(toml::Value::is_table));
        let tables = tables
            .ok_or_else(|| Error::invalid("`experiment` must be a list of tables: [[experiment]]"))
            .map_err(|error| flags.in_file(error))?;
        let several = tables.len() > 1;
        let experiments = tables.iter().enumerate().map(|(number, part)| {
            let part = part.as_table().cloned().unwrap_or_default();
            let merged =
                with_file(flags, shared.clone(), part).and_then(|(keys, part)| flags.over(keys, part));
            merged.map_err(|error| match several {
                true => error.context(format!("experiment {} of the suite", number + 1)),
                false => error,
            })
        });
        let experiments: Vec<Experiment> = experiments.collect::<Result<_>>()?;
        let first = experiments.first().map_or(0, Experiment::seed);
        let seeds = match (seeds, own.remove(seeds_key)) {
            (Some(count), _) => (first..first + count).collect(),
            (None, None) => vec![first],
            (None, Some(toml::Value::Integer(count))) => {
                (first..first + u64::try_from(count).unwrap_or(0)).collect()
            }
            (None, Some(toml::Value::Array(list))) => {
                let number = |seed: &toml::Value| seed.as_integer().and_then(|seed| u64::try_from(seed).ok());
                list.iter().map(number).collect::<Option<Vec<u64>>>().unwrap_or_default()
            }
            _ => Vec::new(),
        };
        if seeds.is_empty() {
            return Err(flags.in_file(Error::invalid(
                "`seeds` must be a number of seeds, as 3, or a list, as [0, 1, 2]",
            )));
        }
        Ok(Self { experiments, seeds })
    }
}
