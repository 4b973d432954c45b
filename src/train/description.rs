//! What a checkpoint says of itself: enough to build its learner again, on other data, without its training split.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BEST, TrainConfig};
use crate::checkpoint::{self, Checkpoint};
use crate::dataset::Preparation;
use crate::eval::Score;
use crate::learner::Learner;
use crate::params::Params;
use crate::registry::{LearnerEntry, Setup};
use crate::verification::Threshold;
use crate::{Error, Result, atomic};

/// What a trained learner was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The learner's registered name.
    pub learner: String,
    /// Its options, all of them.
    pub options: toml::Table,
    /// What it was built for, with the backbone as resolved.
    pub setup: Setup,
    /// How its inputs were made of files.
    pub preparation: Preparation,
    /// The experiment as the program knows it: dataset, tasks.
    pub experiment: Value,
}

/// What a checkpoint holds, in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Version of kshot that wrote it.
    pub version: String,
    /// What the learner was made of.
    #[serde(flatten)]
    pub origin: Origin,
    /// How it was trained.
    pub train: TrainConfig,
    /// Steps behind these weights.
    pub step: u64,
    /// Figure of these weights on the validation episodes, where they were validated.
    pub validation: Option<Score>,
    /// The step of the best weights so far; they are in `best.safetensors`.
    pub best_step: Option<u64>,
    /// Of a learner that compares, with these weights: from which similarity on two examples are taken for the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<Threshold>,
}

impl Description {
    /// How the run was set up, without how far it has come.
    pub(super) fn of_the_run(&self) -> Value {
        // By way of text, which has an f32 in as few digits as tell it from others.
        let text = serde_json::to_string(self);
        let mut value: Value = text.and_then(|text| serde_json::from_str(&text)).unwrap_or_default();
        if let Some(keys) = value.as_object_mut() {
            keys.retain(|key, _| !["step", "validation", "best_step", "thresholds"].contains(&key.as_str()));
        }
        value
    }

    /// What two runs may differ by, as an object. Of the experiment only what nothing else says; without the number of
    /// steps, which may grow when a run is resumed.
    pub fn settings(&self) -> Value {
        let mut value = self.of_the_run();
        let Some(settings) = value.as_object_mut() else { return value };
        settings.remove("version");
        settings.get_mut("train").and_then(Value::as_object_mut).map(|train| train.remove("steps"));
        let mut experiment = settings.remove("experiment").unwrap_or_default();
        if let Some(keys) = experiment.as_object_mut() {
            keys.retain(|key, _| settings.get(key).is_none() && settings["setup"].get(key).is_none());
        }
        settings.insert("experiment".to_owned(), experiment);
        value
    }
}

/// Writes a checkpoint of weights and a description, with a copy of the description beside it, for people and scripts.
///
/// # Errors
/// When a file cannot be written; what was there before is untouched.
pub fn write_run(file: &Path, description: &Description, theta: &Params) -> Result<()> {
    checkpoint::write(file, description, theta, &[])?;
    // kshot never reads the copy back, so it cannot mislead.
    let mut json = serde_json::to_string_pretty(description)
        .map_err(|error| Error::invalid(format!("describing {}: {error}", file.display())))?;
    json.push('\n');
    atomic::write(&file.with_extension("json"), json.as_bytes(), "writing the checkpoint")
}

/// A learner with the weights of a checkpoint, built for `setup` with all its options.
///
/// # Errors
/// When it cannot be built so, or the weights are others than it has.
pub fn restored(
    checkpoint: &Checkpoint,
    entry: &LearnerEntry,
    setup: &Setup,
    options: &toml::Table,
) -> Result<Box<dyn Learner>> {
    let mut learner = (entry.build)(setup, options)?;
    if let Some(trainable) = learner.trainable() {
        let theta = &mut trainable.learned().theta;
        *theta = checkpoint.params(theta.layout())?;
    }
    Ok(learner)
}

/// The checkpoint at `path`, or the best one of the run in that directory, and what it says of itself.
///
/// # Errors
/// When there is none, or it was not written by this version's training.
pub fn read_run(path: &Path) -> Result<(Checkpoint, Description)> {
    let file = if path.is_dir() { path.join(BEST) } else { path.to_path_buf() };
    let checkpoint = Checkpoint::read(&file)?;
    let description = checkpoint.description().map_err(|error| {
        Error::invalid(format!(
            "{} was not written by this version of `kshot train`: {error}",
            file.display()
        ))
    })?;
    Ok((checkpoint, description))
}
