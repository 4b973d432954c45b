//! The directory of a run: `best.safetensors` with its description again in `best.json` for people and scripts,
//! `last.safetensors` to resume from, and the logs.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::description::write_run;
use super::{Best, Description, State};
use crate::checkpoint::{self, Checkpoint};
use crate::log::{Observer as _, RunLog};
use crate::params::Params;
use crate::schedule::Schedule;
use crate::{Error, Result};

/// Name of the checkpoint with the best weights.
pub const BEST: &str = "best.safetensors";
/// Name of the checkpoint to resume from.
pub const LAST: &str = "last.safetensors";

/// The files of a run, open.
pub(super) struct Files {
    best: PathBuf,
    last: PathBuf,
    description: Description,
    pub(super) log: RunLog,
}

impl Files {
    /// Starts a run in `directory`, which is made if it is not there; or resumes the one it holds, into `theta` and
    /// `state`.
    pub(super) fn open(
        directory: &Path,
        description: Description,
        resume: bool,
        theta: &mut Params,
        state: &mut State,
    ) -> Result<Self> {
        let (best, last) = (directory.join(BEST), directory.join(LAST));
        if resume {
            restore(&best, &last, &description, theta, state)?;
        } else if best.exists() || last.exists() {
            return Err(Error::invalid(format!(
                "{} already holds a run; resume it, or choose another directory",
                directory.display()
            )));
        }
        std::fs::create_dir_all(directory)
            .map_err(|error| Error::io("creating the run directory", directory, error))?;
        Ok(Self { best, last, description, log: RunLog::open(directory, state.step)? })
    }

    /// Saves the best weights.
    pub(super) fn save_best(&self, best: &Best) -> Result<()> {
        let description = Description {
            step: best.step,
            validation: best.score,
            best_step: Some(best.step),
            ..self.description.clone()
        };
        write_run(&self.best, &description, &best.params)
    }

    /// Saves everything that a resumed run goes on from; the logs come first, so that they reach at least as far.
    pub(super) fn save_last(&mut self, theta: &Params, state: &State) -> Result<()> {
        self.log.flush()?;
        let description = Description {
            step: state.step,
            validation: None,
            best_step: state.best.as_ref().map(|best| best.step),
            ..self.description.clone()
        };
        checkpoint::write(&self.last, &description, theta, &state.optimizer.moments())
    }

    /// What is trained.
    pub(super) fn description(&self) -> &Description {
        &self.description
    }

    /// Where the checkpoint to resume from is.
    pub(super) fn last(&self) -> &Path {
        &self.last
    }

    /// Says which checkpoints are there.
    pub(super) fn kept(&self) -> String {
        let there: Vec<String> = [&self.best, &self.last]
            .iter()
            .filter(|path| path.exists())
            .map(|path| path.display().to_string())
            .collect();
        if there.is_empty() {
            "no checkpoint had been saved yet".to_owned()
        } else {
            format!("the last good weights are kept in {}", there.join(" and "))
        }
    }
}

/// Reads `last.safetensors` and `best.safetensors` back.
///
/// After a crash between the two writes, the best is of a later step than the last: the resumed run comes to the same
/// weights there, and equal is not better, so it ends as if uninterrupted.
fn restore(
    best: &Path,
    last: &Path,
    description: &Description,
    theta: &mut Params,
    state: &mut State,
) -> Result<()> {
    if !last.exists() {
        return Err(Error::invalid(format!(
            "there is no run to resume: {} does not exist; start it without resuming",
            last.display()
        )));
    }
    let layout = theta.layout().clone();
    let saved = Checkpoint::read(last)?;
    let known: Description = saved.description()?;
    if let Some(key) = difference(&comparable(&known), &comparable(description)) {
        return Err(Error::invalid(format!(
            "the run of {} was started with another `{key}`; resume it with the same settings, or start a new run in \
             another directory",
            last.display()
        )));
    }
    let (before, now) = (&known.train, &description.train);
    if now.schedule == Schedule::Cosine && before.steps != now.steps {
        return Err(Error::invalid(format!(
            "the learning rate of {} falls along a cosine over {} steps and stands at step {}; over {} it would jump from \
             {:.1e} to {:.1e}. Resume it with the same `steps`, or start a new run",
            last.display(),
            before.steps,
            known.step,
            now.steps,
            before.learning_rate().at(known.step),
            now.learning_rate().at(known.step)
        )));
    }
    *theta = saved.params(&layout)?;
    for (name, moment) in state.optimizer.moments_mut() {
        *moment = saved.moment(name, &layout)?;
    }
    state.step = known.step;
    if known.best_step.is_some() || best.exists() {
        let saved = Checkpoint::read(best)?;
        let known: Description = saved.description()?;
        state.best = Some(Best { step: known.step, score: known.validation, params: saved.params(&layout)? });
    }
    Ok(())
}

/// What must be the same in a resumed run: all but the number of steps, which may grow unless the schedule is spread
/// over them.
fn comparable(description: &Description) -> Value {
    let mut train = serde_json::to_value(&description.train).unwrap_or_default();
    if let Some(train) = train.as_object_mut() {
        train.remove("steps");
    }
    let mut origin = serde_json::to_value(&description.origin).unwrap_or_default();
    origin["train"] = train;
    origin
}

/// The first key, `train.meta-batch`, under which two values differ.
fn difference(a: &Value, b: &Value) -> Option<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a.keys().chain(b.keys()).find_map(|key| {
            let inner = difference(a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null))?;
            Some(if inner.is_empty() { key.clone() } else { format!("{key}.{inner}") })
        }),
        _ => (a != b).then(String::new),
    }
}
