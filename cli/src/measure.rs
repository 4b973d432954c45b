//! Training and evaluating one learner, with progress on the terminal and an ear for Ctrl-C.

use kshot::episode::Tasks;
use kshot::eval::{Evaluation, Watch, evaluate, evaluate_until};
use kshot::learner::{Learner, Trainable};
use kshot::registry::LearnerEntry;
use kshot::train::{Directory, Run, Trained, train};
use kshot::{Error, Result};

use crate::job::Job;
use crate::output::complain;
use crate::progress::{Progress, episode_bar};
use crate::setting::Setting;
use crate::stop::STOP;
use crate::world::sharing;

/// Trains a learner for a setting, in a directory if one is given.
pub(crate) fn trained(
    job: &Job,
    entry: &LearnerEntry,
    setting: &Setting,
    learner: &mut dyn Trainable,
    directory: Option<Directory<'_>>,
) -> Result<Trained> {
    let config = job.train_config(entry)?;
    let (tasks, validation) = (job.training(learner, setting)?, job.validation(entry, setting)?);
    job.say_what_was_fitted(entry.name, learner, setting)?;
    let mut progress = Progress::new(entry.name, config.steps);
    let run = Run { directory, stop: &STOP, observer: &mut progress, ranks: sharing() };
    train(learner, tasks.as_ref(), validation.as_deref(), &config, run)
}

/// Evaluates a learner on test episodes.
pub(crate) fn evaluated(
    label: &str,
    learner: &dyn Learner,
    tasks: &dyn Tasks,
    episodes: u64,
) -> Result<Evaluation> {
    if let Some(aligner) = learner.aligner() {
        let task = tasks.episode(0)?;
        if let Some(cost) = aligner.cost(&task.support, &task.query.examples) {
            complain(&format!("note: {label}: each task takes {cost}"));
        }
    }
    let bar = episode_bar(label, episodes);
    let watch = Watch { on_episode: &|| bar.inc(1), stop: &STOP, ranks: sharing() };
    let evaluation = evaluate(learner, tasks, episodes, &watch);
    bar.finish_and_clear();
    evaluation
}

/// Evaluates a learner on test episodes until the interval is this narrow, or `most` have been asked.
pub(crate) fn evaluated_until(
    label: &str,
    learner: &dyn Learner,
    tasks: &dyn Tasks,
    wanted: f64,
    most: u64,
) -> Result<Evaluation> {
    // Fewer looks cost less coverage.
    const BATCH: usize = 100;
    let bar = episode_bar(label, most);
    let watch = Watch { on_episode: &|| bar.inc(1), stop: &STOP, ranks: sharing() };
    let evaluation = evaluate_until(learner, tasks, wanted, BATCH, most, &watch);
    bar.finish_and_clear();
    evaluation
}

/// Says that an evaluation was stopped, once what it found has been printed.
pub(crate) fn completed(evaluation: &Evaluation, episodes: u64) -> Result<()> {
    match evaluation.interrupted {
        false => Ok(()),
        true => Err(Error::Interrupted(format!(
            "the evaluation stopped after {} of {episodes} episodes; the figure above is of these",
            evaluation.per_episode.len()
        ))),
    }
}
