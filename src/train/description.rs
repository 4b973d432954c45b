//! What a checkpoint says of itself: enough to build its learner again, on other data, without its training split.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BEST, TrainConfig};
use crate::checkpoint::Checkpoint;
use crate::dataset::Preparation;
use crate::eval::Score;
use crate::learner::Learner;
use crate::registry::{LearnerEntry, Setup};
use crate::{Error, Result};

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
