//! `[search.NAME]`: values of options to choose among, as a grid.

use std::fmt;

use kshot::options;
use kshot::registry::{self, LearnerEntry};
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use toml::Value;

use super::Experiment;

/// Under `search`: the options of the network, and the keys of [train].
const BACKBONE: &str = "backbone";
const TRAIN: &str = "train";
/// Whose episodes judge a choice, so it is none itself.
const JUDGES: &str = "validation-episodes";

/// A value of each option that is searched.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Combination(Vec<Choice>);

#[derive(Clone, Debug, PartialEq)]
struct Choice {
    /// Under which name of `set` it is, or `train`.
    of: String,
    key: String,
    value: Value,
}

impl Choice {
    /// As tables have it: the learner's own by their names alone.
    fn name(&self) -> String {
        match self.of.as_str() {
            BACKBONE | TRAIN => format!("{}.{}", self.of, self.key),
            _ => self.key.clone(),
        }
    }
}

impl Combination {
    /// Names and values, as `train.learning-rate` and 0.001.
    pub(crate) fn named(&self) -> impl Iterator<Item = (String, &Value)> {
        self.0.iter().map(|choice| (choice.name(), &choice.value))
    }
}

/// `sharpness=10, train.learning-rate=0.001`.
impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(name, value): (String, &Value)| format!("{name}={}", plain(value));
        f.write_str(&self.named().map(one).collect::<Vec<_>>().join(", "))
    }
}

/// A value without the quotes of text.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Experiment {
    /// What is searched of a learner, option by option: of itself, then of its network and its training, if it has them.
    fn searched(&self, entry: &LearnerEntry) -> Vec<(&str, &str, &[Value])> {
        let trained = entry.training.is_some();
        let of = [entry.name, BACKBONE, TRAIN].into_iter().filter(|name| trained || *name == entry.name);
        let tables = of.filter_map(|name| self.search.get_key_value(name));
        let options = tables
            .flat_map(|(name, table)| table.as_table().into_iter().flatten().map(move |one| (name, one)));
        let values = options.filter_map(|(name, (key, values))| {
            Some((name.as_str(), key.as_str(), values.as_array()?.as_slice()))
        });
        values.collect()
    }

    /// All combinations of the values searched for a learner, the last option's changing first; none where nothing is searched.
    pub(crate) fn combinations(&self, entry: &LearnerEntry) -> Vec<Combination> {
        let searched = self.searched(entry);
        if searched.is_empty() {
            return Vec::new();
        }
        searched.into_iter().fold(vec![Combination::default()], |combinations, (of, key, values)| {
            let with = |combination: &Combination, value: &Value| {
                let choice = Choice { of: of.to_owned(), key: key.to_owned(), value: value.clone() };
                Combination(combination.0.iter().cloned().chain([choice]).collect())
            };
            combinations.iter().flat_map(|one| values.iter().map(|value| with(one, value))).collect()
        })
    }

    /// The experiment with a combination set, and nothing to search.
    pub(crate) fn with(&self, combination: &Combination) -> Self {
        let mut experiment = Self { search: toml::Table::new(), ..self.clone() };
        for Choice { of, key, value } in &combination.0 {
            let options = match of.as_str() {
                TRAIN => Some(&mut experiment.train.0),
                name => {
                    experiment.set.entry(name).or_insert_with(|| toml::Table::new().into()).as_table_mut()
                }
            };
            if let Some(options) = options {
                options.insert(key.clone(), value.clone());
            }
        }
        experiment
    }

    /// What is searched for a learner, in words: `sharpness of 5, 10, 20`.
    pub(crate) fn search_in_words(&self, entry: &LearnerEntry) -> String {
        let one = |(of, key, values): (&str, &str, &[Value])| {
            let name = Choice { of: of.to_owned(), key: key.to_owned(), value: Value::Boolean(true) }.name();
            format!("{name} of {}", values.iter().map(plain).collect::<Vec<_>>().join(", "))
        };
        self.searched(entry).into_iter().map(one).collect::<Vec<_>>().join("; ")
    }

    /// Refuses a search of what is not there, what no list of values is, and what is set besides.
    pub(super) fn check_search(&self) -> Result<()> {
        for (name, table) in &self.search {
            let (of, schema) = match name.as_str() {
                TRAIN => ("[train]".to_owned(), Some(options::schema::<TrainConfig>())),
                // Which options there are depends on its kind.
                BACKBONE => ("the backbone".to_owned(), None),
                name => match registry::learner(name) {
                    Ok(entry) => (format!("`{name}`"), Some((entry.options)())),
                    Err(_) => {
                        let names = registry::learners().into_iter().map(|entry| entry.name);
                        let what = "learner, `backbone` or `train` to search the options of";
                        return Err(Error::unknown(what, name, names.chain([BACKBONE, TRAIN])));
                    }
                },
            };
            let place = format!("[search.{name}]");
            let Some(table) = table.as_table() else {
                return Err(Error::invalid(format!("`search.{name}` must be a table of lists, as {place}")));
            };
            let set = self.set.get(name).and_then(Value::as_table);
            let set = if name == TRAIN { Some(&self.train.0) } else { set };
            for (key, values) in table {
                let Some(values) = values.as_array().filter(|values| !values.is_empty()) else {
                    return Err(Error::invalid(format!(
                        "{place}: `{key}` must be a list of the values to choose among, as [1, 2, 4]"
                    )));
                };
                if let Some(schema) = &schema {
                    let check = |value| options::check_key(&of, schema, key, value);
                    values.iter().try_for_each(check).map_err(|error| error.context(&place))?;
                }
                if name == TRAIN && key == JUDGES {
                    return Err(Error::invalid(format!(
                        "{place}: `{JUDGES}` are what the others are judged by: set it under [train]"
                    )));
                }
                if set.is_some_and(|set| set.contains_key(key)) {
                    return Err(Error::invalid(format!(
                        "`{key}` of {of} is both set and searched: leave out one"
                    )));
                }
            }
        }
        Ok(())
    }
}
