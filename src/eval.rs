//! Evaluation: a learner's predictions on fixed episodes, as a mean with its 95 % interval.

use std::time::Instant;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::episode::{Episode, Targets, Tasks};
use crate::learner::{Learner, Prediction};
use crate::parallel::map_episodes;
use crate::stats::{Interval, interval95};
use crate::{Error, Result};

/// What is measured on an episode's queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Share of queries classified correctly, 0–1: more is better.
    Accuracy,
    /// Mean squared error over queries and outputs: less is better.
    Mse,
}

impl Measure {
    /// `accuracy` or `mse`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Mse => "mse",
        }
    }
}

/// A learner's figure on a set of episodes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// What it is.
    pub measure: Measure,
    /// Its mean over episodes and 95 % interval.
    #[serde(flatten)]
    pub interval: Interval,
}

impl Score {
    /// Whether it is strictly better than `other`.
    pub fn is_better_than(&self, other: &Self) -> bool {
        match self.measure {
            Measure::Accuracy => self.interval.mean > other.interval.mean,
            Measure::Mse => self.interval.mean < other.interval.mean,
        }
    }
}

/// The outcome of [`evaluate`].
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean and interval.
    pub score: Score,
    /// The figure of each episode, in order: what a paired comparison needs.
    pub per_episode: Vec<f32>,
    /// Wall-clock seconds it took.
    pub seconds: f64,
}

impl Evaluation {
    /// Episodes per second of wall-clock time.
    pub fn episodes_per_second(&self) -> f64 {
        self.per_episode.len() as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

/// Asks `learner` the queries of episodes `0..episodes`, in parallel; the outcome is the same on any number of threads.
///
/// `on_episode` is called after each episode, from whichever thread it ran on: a place to move a progress bar.
///
/// # Errors
/// When there are fewer episodes than asked for or than the two an interval needs, an episode has no queries or does
/// not fit the learner, or a prediction has the wrong shape or is not a number. The message names the episode.
pub fn evaluate(
    learner: &dyn Learner,
    tasks: &dyn Tasks,
    episodes: u64,
    on_episode: &(dyn Fn() + Sync),
) -> Result<Evaluation> {
    if let Some(there) = tasks.len().filter(|&there| there < episodes) {
        return Err(Error::invalid(format!(
            "there are {there} episodes, but {episodes} were asked for; ask for at most {there}"
        )));
    }
    let started = Instant::now();
    let figures = map_episodes(0..episodes, |number| {
        let episode = tasks.episode(number)?;
        let figure = learner
            .predict(&episode.support, &episode.query.examples)
            .and_then(|prediction| measure(&prediction, &episode))
            .map_err(|error| error.context(format!("evaluation episode {number}")))?;
        on_episode();
        Ok(figure)
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let measure = figures.first().map_or(Measure::Accuracy, |&(measure, _)| measure);
    let per_episode: Vec<f32> = figures.into_iter().map(|(_, value)| value).collect();
    let interval = interval95(&per_episode)?;
    Ok(Evaluation { score: Score { measure, interval }, per_episode, seconds })
}

/// The figure of one episode.
fn measure(prediction: &Prediction, episode: &Episode) -> Result<(Measure, f32)> {
    if episode.query.is_empty() {
        return Err(Error::invalid("there are no queries to evaluate on; ask for at least one a class"));
    }
    match (prediction, &episode.query.targets) {
        (Prediction::Scores(scores), Targets::Classes(classes)) => {
            // −∞ is a score: a class that is ruled out.
            check(scores, (classes.len(), episode.support.ways()?), |s| s.is_nan() || s == f32::INFINITY)?;
            let predicted = prediction.classes();
            let correct = predicted.iter().zip(classes).filter(|(predicted, class)| predicted == class);
            Ok((Measure::Accuracy, correct.count() as f32 / classes.len() as f32))
        }
        (Prediction::Values(values), Targets::Values(targets)) => {
            check(values, targets.dim(), |value| !value.is_finite())?;
            let squares = values.iter().zip(targets).map(|(value, target)| f64::from(value - target).powi(2));
            Ok((Measure::Mse, (squares.sum::<f64>() / targets.len() as f64) as f32))
        }
        (Prediction::Scores(_), Targets::Values(_)) => {
            Err(Error::invalid("the task is a regression, but the learner predicted scores of classes"))
        }
        (Prediction::Values(_), Targets::Classes(_)) => {
            Err(Error::invalid("the task is a classification, but the learner predicted values"))
        }
    }
}

/// Refuses a prediction of another shape, or with a value that is no answer.
fn check(prediction: &Array2<f32>, wanted: (usize, usize), refused: fn(f32) -> bool) -> Result<()> {
    if prediction.dim() != wanted {
        return Err(Error::invalid(format!(
            "the learner predicted {:?} (queries, classes or outputs) where {wanted:?} were asked; this is a fault of \
             the learner",
            prediction.dim()
        )));
    }
    match prediction.indexed_iter().find(|(_, value)| refused(**value)) {
        Some(((query, _), value)) => {
            Err(Error::NotFinite(format!("the prediction for query {query} is {value}, not a finite number")))
        }
        None => Ok(()),
    }
}
