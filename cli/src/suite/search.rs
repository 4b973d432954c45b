//! A search: each combination of the values is trained as usual and judged on validation classes; only the chosen one is asked
//! test episodes.

use std::collections::BTreeMap;
use std::path::Path;

use kshot::eval::{Measure, Score};
use kshot::registry::{self, LearnerEntry};
use kshot::train::BEST;
use kshot::{Error, Result, atomic, file};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Grid;
use super::cell::{Cell, Ready};
use crate::experiment::Combination;
use crate::job::Job;
use crate::measure::evaluated;
use crate::output::{complain, paragraph};
use crate::setting::Setting;
use crate::words::{plural, score};

/// Below a cell's directory: one directory for each combination that is trained.
const TRIALS: &str = "search";
/// What of the chosen training is a cell's own as well: what `eval`, `predict` and `report` read.
const OWN: [&str; 4] = [BEST, "best.json", "metrics.jsonl", "timing.jsonl"];

/// What was tried, and what was chosen: `search` in `result.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Search {
    /// Every combination, in the order of the grid.
    pub(crate) tried: Vec<Trial>,
    /// Which one was chosen, from 0.
    pub(crate) chosen: usize,
    /// Why, in words.
    pub(crate) why: String,
}

/// One combination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Trial {
    /// The values, as `{"sharpness": 10, "train.learning-rate": 0.001}`.
    pub(crate) options: BTreeMap<String, serde_json::Value>,
    /// Its figure on the validation episodes, the same for all.
    pub(crate) validation: Option<Score>,
    /// Why it has none.
    pub(crate) failed: Option<String>,
}

impl Trial {
    /// `sharpness=10, train.learning-rate=0.001`.
    pub(crate) fn in_words(&self) -> String {
        let one = |(name, value): (&String, &serde_json::Value)| {
            format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        self.options.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

impl Search {
    /// What was chosen.
    pub(crate) fn choice(&self) -> Option<&Trial> {
        self.tried.get(self.chosen)
    }
}

/// Refuses a search that nothing could judge.
///
/// # Errors
/// When there are no validation tasks, or the steps that are searched are those that are asked for.
pub(crate) fn refuse(job: &Job, entry: &LearnerEntry, setting: &Setting) -> Result<()> {
    let combinations = job.experiment.combinations(entry);
    if combinations.is_empty() {
        return Ok(());
    }
    let refused = |why: &str| Err(Error::invalid(format!("[search] of `{}`: {why}", entry.name)));
    let steps = combinations.iter().flat_map(Combination::named).any(|(name, _)| name == "test-steps");
    if steps && job.test_steps(entry) != [None] {
        return refused("`test-steps` are searched, and asked for one by one as well: leave out one");
    }
    if job.train_config(entry)?.validation_episodes == 0 {
        return refused(
            "values are chosen on validation tasks, and `validation-episodes` is 0: ask for some",
        );
    }
    if !job.is_validated(setting) {
        let data = job.experiment.data();
        return refused(&format!(
            "values are chosen on validation tasks, and `{data}` has none here: divide some off (`kshot datasets {data}` \
             lists its options), or set the value instead of searching it"
        ));
    }
    Ok(())
}

/// Refuses a search for a learner that no experiment measures.
///
/// # Errors
/// Names it.
pub(crate) fn refuse_unasked(grids: &[Grid]) -> Result<()> {
    let measured: Vec<&str> = grids.iter().flat_map(|grid| &grid.learners).map(|entry| entry.name).collect();
    let searched = grids.iter().flat_map(|grid| grid.jobs[0].experiment.search.keys());
    let learners = registry::learners();
    let mut learners = searched.filter(|name| learners.iter().any(|entry| entry.name == name.as_str()));
    match learners.find(|name| !measured.contains(&name.as_str())) {
        Some(name) => Err(Error::invalid(format!(
            "[search.{name}] is for nothing: no experiment measures `{name}`. Name it among the learners, or leave it out"
        ))),
        None => Ok(()),
    }
}

/// The chosen combination, ready to be tested; its weights and curves are copied to the cell's own directory.
///
/// # Errors
/// As of a training; one whose numbers are no longer finite is a combination without a figure, unless all are.
pub(super) fn searched(cell: &Cell<'_>, first: &Setting, directory: Option<&Path>) -> Result<Ready> {
    let Cell { job, entry, .. } = *cell;
    let combinations = job.experiment.combinations(entry);
    let (mut tried, mut best, mut seconds) = (Vec::new(), None, 0.0);
    for (number, combination) in combinations.iter().enumerate() {
        let name = format!("{}: {combination}", entry.name);
        let place = directory.map(|directory| directory.join(TRIALS).join(in_a_name(number, combination)));
        let own = job.with(job.experiment.with(combination));
        let options = combination.named().map(|(name, value)| Ok((name, json(value)?)));
        let mut trial = Trial { options: options.collect::<Result<_>>()?, validation: None, failed: None };
        let judged = cell.prepared(&own, first, place.as_deref()).and_then(|ready| {
            let score = validation(&own, entry, first, &ready, &name)?;
            Ok((ready, score))
        });
        match judged {
            Ok((ready, found)) => {
                complain(&format!("{name}: {} {} on validation tasks", found.measure.name(), score(found)));
                seconds += ready.trained.as_ref().map_or(0.0, |trained| trained.seconds);
                trial.validation = Some(found);
                let better = |(_, _, known): &(usize, Ready, Score)| found.is_better_than(known);
                if best.as_ref().is_none_or(better) {
                    best = Some((number, ready, found));
                }
            }
            Err(error @ Error::NotFinite(_)) => {
                complain(&paragraph(&error));
                trial.failed =
                    Some("a loss, gradient, weight or prediction was not a finite number".to_owned());
            }
            Err(error) => return Err(error.context(combination)),
        }
        tried.push(trial);
    }
    let Some((chosen, mut ready, found)) = best else {
        return Err(Error::NotFinite(format!(
            "`{}`: no combination that was searched stayed finite",
            entry.name
        )));
    };
    if let Some(directory) = directory {
        let from = directory.join(TRIALS).join(in_a_name(chosen, &combinations[chosen]));
        own(&from, directory)?;
    }
    if let Some(trained) = &mut ready.trained {
        trained.seconds = seconds;
    }
    let most = if found.measure == Measure::Accuracy { "highest" } else { "lowest" };
    let why = format!(
        "the {most} {} on {} that all were asked; of equals the first",
        found.measure.name(),
        plural(job.train_config(entry)?.validation_episodes as usize, "validation episode")
    );
    ready.search = Some(Search { tried, chosen, why });
    Ok(ready)
}

/// A combination's figure on validation tasks: that of its training, or of the same tasks asked once.
fn validation(
    job: &Job,
    entry: &LearnerEntry,
    setting: &Setting,
    ready: &Ready,
    name: &str,
) -> Result<Score> {
    if let Some(score) = ready.trained.as_ref().and_then(|trained| trained.validation) {
        return Ok(score);
    }
    let none = || Error::invalid(format!("`{}`: there are no validation tasks to choose by", entry.name));
    let tasks = job.validation(entry, setting)?.ok_or_else(none)?;
    let wanted = job.train_config(entry)?.validation_episodes;
    let episodes = tasks.limit().map_or(wanted, |limit| limit.min(wanted));
    let evaluation =
        evaluated(&format!("{name}: validation"), ready.learner.as_ref(), tasks.as_ref(), episodes)?;
    match evaluation.interrupted {
        false => Ok(evaluation.score),
        true => Err(Error::Interrupted("stopped before all values were tried".to_owned())),
    }
}

/// Copies what a cell has of its chosen training.
fn own(from: &Path, to: &Path) -> Result<()> {
    for name in OWN {
        let path = from.join(name);
        if path.exists() {
            let bytes = file::bytes(&path, file::MOST_BYTES, "reading the chosen")?;
            atomic::write(&to.join(name), &bytes, "keeping the chosen training in")?;
        }
    }
    Ok(())
}

/// `0-sharpness=5`: the name of a directory, which says what it is.
fn in_a_name(number: usize, combination: &Combination) -> String {
    const LETTERS: usize = 60;
    let plain = |letter: char| match letter {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '=' | '.' | '-' => letter,
        _ => '_',
    };
    let words = combination.to_string().replace(", ", "_");
    format!("{number}-{}", words.chars().map(plain).take(LETTERS).collect::<String>())
}

fn json(value: &toml::Value) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|error| Error::invalid(format!("a value of [search]: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_letters_that_every_system_takes() {
        let experiment: crate::experiment::Experiment =
            toml::from_str("[search.matching]\nfeatures = [\"a/b c\", \"d\"]").unwrap();
        let entry = kshot::registry::learner("matching").unwrap();
        let names: Vec<String> = experiment
            .combinations(entry)
            .iter()
            .enumerate()
            .map(|(number, combination)| in_a_name(number, combination))
            .collect();
        assert_eq!(names, ["0-features=a_b_c", "1-features=d"]);
    }
}
