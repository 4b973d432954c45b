//! Experiment files: their keys, with what is wrong in one named with its line.

use std::fmt;
use std::path::Path;

use kshot::options;
use kshot::train::TrainConfig;
use kshot::{Error, Result, file};

use super::Experiment;
use crate::train_keys::value;

/// Keys of a file that only suites have: seeds, and experiments that differ from what is said for all.
pub(crate) const SUITE_KEYS: [&str; 2] = ["seeds", "experiment"];

/// Reads an experiment file, with what is wrong in it named with its line: the keys of an experiment, and those of a suite.
pub(crate) fn read(path: &Path) -> Result<(toml::Table, toml::Table)> {
    let text = file::text(path, file::MOST_SETTINGS, "reading the experiment file")?;
    let at_line = |line: usize, what: &dyn fmt::Display| {
        Error::invalid(format!("the experiment file {}, line {line}: {what}", path.display()))
    };
    let line_of = |span: std::ops::Range<usize>| text[..span.start].matches('\n').count() + 1;
    let broken =
        |error: toml::de::Error| at_line(error.span().map_or(1, line_of), &error.message().to_owned());
    let spanned = toml::de::DeTable::parse(&text).map_err(broken)?;
    let mut keys: toml::Table = text.parse().map_err(broken)?;
    let of_suite: toml::Table = SUITE_KEYS.iter().filter_map(|key| keys.remove_entry(*key)).collect();
    let known = options::schema::<Experiment>();
    for (key, inner) in spanned.get_ref() {
        let line = line_of(key.span());
        let name: &str = key.get_ref();
        if SUITE_KEYS.contains(&name) {
            continue;
        }
        if known.get("properties").and_then(|keys| keys.get(name)).is_none() {
            let all = options::described(&known);
            return Err(at_line(line, &Error::unknown("key", name, all.iter().map(|key| key.name.as_str()))));
        }
        if name == "train" {
            let table = inner.get_ref().as_table();
            let table = table.ok_or_else(|| at_line(line, &"`train` must be a table of keys, as [train]"))?;
            let train = options::schema::<TrainConfig>();
            for key in table.keys() {
                let value = keys["train"].get(key.get_ref().as_ref()).cloned();
                let value = value.unwrap_or(toml::Value::Boolean(false));
                options::check_key("[train]", &train, key.get_ref(), &value)
                    .map_err(|error| at_line(line_of(key.span()), &error))?;
            }
        }
    }
    match of_suite.is_empty() {
        true => toml::from_str::<Experiment>(&text).map_err(broken)?,
        false => keys.clone().try_into().map_err(broken)?,
    };
    Ok((keys, of_suite))
}

/// Puts `over` over `keys`, table by table.
pub(crate) fn merge(keys: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (keys.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => merge(below, above),
            (_, value) => {
                keys.insert(key, value);
            }
        }
    }
}

/// `NAME.KEY=VALUE` as the table of a file: `[set.NAME]`, `KEY = VALUE`.
pub(crate) fn parse_setting(text: &str) -> Result<toml::Table> {
    let parts = text.split_once('=').and_then(|(place, value)| Some((place.split_once('.')?, value)));
    let Some(((name, key), value)) = parts else {
        return Err(Error::invalid(format!(
            "`--set {text}` is not NAME.KEY=VALUE, as in `prototypical.distance=cosine`"
        )));
    };
    let nest = |key: &str, value| toml::Value::Table(toml::Table::from_iter([(key.to_owned(), value)]));
    Ok(toml::Table::from_iter([("set".to_owned(), nest(name, nest(key, self::value(value))))]))
}
