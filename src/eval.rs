//! Evaluation: a learner's predictions on fixed episodes, as a mean with its 95 % interval.
//!
//! ```
//! use std::sync::Arc;
//!
//! use kshot::dataset::{Class, ClassSet, Split, TaskSource};
//! use kshot::episode::{Count, Labelled, TaskSpec, Unlabelled};
//! use kshot::eval::{Watch, evaluate};
//! use kshot::learner::{Adapted, Learner, Prediction};
//! use ndarray::Array2;
//!
//! /// Answers every query with the first class.
//! struct First;
//!
//! impl Learner for First {
//!     fn is_transductive(&self) -> bool {
//!         false
//!     }
//!
//!     fn adapt<'a>(&'a self, _: &'a Labelled) -> kshot::Result<Box<dyn Adapted + 'a>> {
//!         Ok(Box::new(First))
//!     }
//! }
//!
//! impl Adapted for First {
//!     fn predict(&self, query: &Unlabelled) -> kshot::Result<Prediction> {
//!         Ok(Prediction::Scores(Array2::zeros((query.len(), 2))))
//!     }
//! }
//!
//! // Three classes of four grey images of 2×2.
//! let pixels: Vec<u8> = (0..3 * 4 * 4).collect();
//! let names = (0..12).map(|image| format!("{image}.png")).collect();
//! let class = |n: u32| Class { name: format!("class{n}"), images: (4 * n..4 * n + 4).collect(), quarter_turns: 0 };
//! let set = ClassSet::new([1, 2, 2], Arc::new(pixels), Arc::new(names), (0..3).map(class).collect())?;
//!
//! // 2-way 1-shot with three queries a class.
//! let spec = TaskSpec::FewShot { ways: Count::fixed(2), shots: Count::fixed(1), queries: 3 };
//! let tasks = spec.open(&TaskSource::Classes(Arc::new(set)), Split::Test, 0)?;
//! let evaluation = evaluate(&First, tasks.as_ref(), 20, &Watch::default())?;
//! assert_eq!(evaluation.score.interval.mean, 0.5);
//! # Ok::<(), kshot::Error>(())
//! ```

mod details;

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::episode::{Episode, Targets, Tasks};
use crate::learner::{Learner, Prediction};
use crate::ranks::Ranks;
use crate::stats::{Interval, interval95, precision};
use crate::{Error, Result};

pub use details::{Answer, Classification, Details};
use details::{OfEpisode, details};

/// What is measured on an episode's queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Of a classification: more figures of each episode, and every answer.
    pub details: Option<Details>,
    /// Wall-clock seconds it took.
    pub seconds: f64,
    /// Whether it was stopped before all episodes were done: its figures are then of the first ones.
    pub interrupted: bool,
}

impl Evaluation {
    /// With the episodes of `next` after one's own.
    fn followed_by(mut self, next: Self) -> Result<Self> {
        self.per_episode.extend(next.per_episode);
        if let (Some(details), Some(next)) = (&mut self.details, next.details) {
            details.extend(next);
        }
        self.score.interval = interval95(&self.per_episode)?;
        self.seconds += next.seconds;
        self.interrupted = next.interrupted;
        Ok(self)
    }

    /// Episodes per second of wall-clock time.
    pub fn episodes_per_second(&self) -> f64 {
        self.per_episode.len() as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

/// Who watches an evaluation and may stop it, and who shares its episodes.
pub struct Watch<'a> {
    /// Called for each episode that is done, from whichever thread it ran on: a place to move a progress bar.
    pub on_episode: &'a (dyn Fn() + Sync),
    /// Set from elsewhere (Ctrl-C) to begin no further episode; those in hand are finished.
    pub stop: &'a AtomicBool,
    /// Who shares the episodes; every rank has the figures of all.
    pub ranks: &'a Ranks,
}

impl Watch<'_> {
    /// Tells of an episode that this rank has done; the others are about as far.
    pub(crate) fn done(&self, number: u64, end: u64) {
        (number..end).take(self.ranks.size()).for_each(|_| (self.on_episode)());
    }
}

/// Nobody.
impl Default for Watch<'_> {
    fn default() -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Self { on_episode: &|| (), stop: &NEVER, ranks: Ranks::alone() }
    }
}

/// Asks `learner` the queries of episodes `0..episodes`, in parallel; the outcome is the same on any number of threads.
///
/// # Errors
/// When there are fewer episodes than asked for or than the two an interval needs (unless there is only one, which has
/// none), an episode has no queries or does
/// not fit the learner, or a prediction has the wrong shape or is not a number: the message names the episode.
/// [`Error::Interrupted`] when it was stopped before two episodes were done.
pub fn evaluate(
    learner: &dyn Learner,
    tasks: &dyn Tasks,
    episodes: u64,
    watch: &Watch<'_>,
) -> Result<Evaluation> {
    if let Some(there) = tasks.limit().filter(|&there| there < episodes) {
        return Err(Error::invalid(format!(
            "there are {there} episodes, but {episodes} were asked for; ask for at most {there}"
        )));
    }
    figure(learner, tasks, 0..episodes, watch)
}

/// Asks `learner` more and more episodes, in batches of `batch`, until the 95 % interval is no wider than `wanted` to either
/// side (accuracy 0–1), or `most` have been asked. What stopping by the interval costs it: [`precision`].
///
/// # Errors
/// As [`evaluate`], and when `wanted` is not above 0 or `batch` is 0.
pub fn evaluate_until(
    learner: &dyn Learner,
    tasks: &dyn Tasks,
    wanted: f64,
    batch: usize,
    most: u64,
    watch: &Watch<'_>,
) -> Result<Evaluation> {
    let most = tasks.limit().map_or(most, |limit| limit.min(most));
    let mut all: Option<Evaluation> = None;
    loop {
        let done = all.as_ref().map_or(0, |all| all.per_episode.len() as u64);
        let so_far = all.as_ref().map_or(&[][..], |all| &all.per_episode);
        let more = precision::more_episodes(so_far, wanted, batch)?.map_or(0, |more| more as u64);
        let more = more.min(most - done);
        match all {
            Some(all) if more < 2 || all.interrupted => return Ok(all),
            _ => {}
        }
        let next = figure(learner, tasks, done..done + more, watch);
        all = Some(match (all, next) {
            (Some(all), Ok(next)) => all.followed_by(next)?,
            (None, next) => next?,
            // Stopped at once: what there is stands.
            (Some(all), Err(Error::Interrupted(_))) => Evaluation { interrupted: true, ..all },
            (_, Err(error)) => return Err(error),
        });
    }
}

/// Asks the queries of these episodes.
fn figure(
    learner: &dyn Learner,
    tasks: &dyn Tasks,
    episodes: Range<u64>,
    watch: &Watch<'_>,
) -> Result<Evaluation> {
    let started = Instant::now();
    let figures = watch.ranks.map_until(episodes.clone(), watch.stop, |number| {
        let episode = tasks.episode(number)?;
        let figure = learner
            .answer(&episode.support, &episode.query.examples)
            .and_then(|prediction| measure(&prediction, &episode))
            .map_err(|error| error.context(format!("evaluation episode {number}")))?;
        watch.done(number, episodes.end);
        Ok(figure)
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let measure = figures.first().map_or(Measure::Accuracy, |figure| figure.measure);
    let per_episode: Vec<f32> = figures.iter().map(|figure| figure.value).collect();
    let mut details = (measure == Measure::Accuracy).then(Details::default);
    if let Some(details) = &mut details {
        for more in figures.into_iter().filter_map(|figure| figure.more) {
            details.push(more);
        }
    }
    let interrupted = (per_episode.len() as u64) < episodes.end - episodes.start;
    let interval = match per_episode.as_slice() {
        [] | [_] if interrupted => {
            return Err(Error::Interrupted("the evaluation was stopped before it had a figure".to_owned()));
        }
        // All there is was asked once: a figure, and no spread to speak of.
        [one] if tasks.limit() == Some(1) => Interval { mean: f64::from(*one), ci95: f64::NAN },
        figures => interval95(figures)?,
    };
    Ok(Evaluation { score: Score { measure, interval }, per_episode, details, seconds, interrupted })
}

/// The figure of one episode.
#[derive(Serialize, Deserialize)]
struct Figure {
    measure: Measure,
    value: f32,
    more: Option<OfEpisode>,
}

fn measure(prediction: &Prediction, episode: &Episode) -> Result<Figure> {
    if episode.query.is_empty() {
        return Err(Error::invalid("there are no queries to evaluate on; ask for at least one a class"));
    }
    match (prediction, &episode.query.targets) {
        (Prediction::Scores(scores), Targets::Classes(classes)) => {
            let ways = episode.support.ways()?;
            if ways < 2 {
                return Err(Error::invalid(
                    "there is one class only, so that any answer is right; ask for 2 ways or more",
                ));
            }
            check_scores(scores, (classes.len(), ways))?;
            let predicted = prediction.classes();
            let correct = predicted.iter().zip(classes).filter(|(predicted, class)| predicted == class);
            let value = correct.count() as f32 / classes.len() as f32;
            let more = Some(details(scores, &predicted, classes, episode)?);
            Ok(Figure { measure: Measure::Accuracy, value, more })
        }
        (Prediction::Values(values), Targets::Values(targets)) => {
            check(values, targets.dim(), |value| !value.is_finite())?;
            let squares = values.iter().zip(targets).map(|(value, target)| f64::from(value - target).powi(2));
            let value = (squares.sum::<f64>() / targets.len() as f64) as f32;
            Ok(Figure { measure: Measure::Mse, value, more: None })
        }
        (Prediction::Scores(_), Targets::Values(_)) => {
            Err(Error::invalid("the task is a regression, but the learner predicted scores of classes"))
        }
        (Prediction::Values(_), Targets::Classes(_)) => {
            Err(Error::invalid("the task is a classification, but the learner predicted values"))
        }
    }
}

/// Refuses scores that are not of this shape, `[queries, classes]`, or no answer.
pub(crate) fn check_scores(scores: &Array2<f32>, wanted: (usize, usize)) -> Result<()> {
    // −∞ is a score: a class that is ruled out. All of them are no answer.
    check(scores, wanted, |s| s.is_nan() || s == f32::INFINITY)?;
    match scores.outer_iter().position(|row| row.iter().all(|&s| s == f32::NEG_INFINITY)) {
        Some(query) => Err(Error::NotFinite(format!(
            "all scores of query {query} are −∞: distances leave what f32 holds; bring the inputs to a scale near 1 \
             (`standardise`)"
        ))),
        None => Ok(()),
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

#[cfg(test)]
mod tests;
