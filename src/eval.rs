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

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use ndarray::{Array2, ArrayView1};
use serde::{Deserialize, Serialize};

use crate::episode::{Episode, Targets, Tasks};
use crate::learner::{Learner, Prediction, confidence};
use crate::nn::parallel::map_until;
use crate::stats::classification::{Calibration, Confusion, calibration_of, macro_auroc};
use crate::stats::{Interval, interval95, precision};
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
            details.macro_f1.extend(next.macro_f1);
            details.balanced_accuracy.extend(next.balanced_accuracy);
            details.auroc.extend(next.auroc);
            details.answers.extend(next.answers);
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

/// More of a classification than its accuracy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// Mean of the classes' F1 in each episode, 0–1.
    pub macro_f1: Vec<f32>,
    /// Mean of the classes' recalls in each episode, 0–1.
    pub balanced_accuracy: Vec<f32>,
    /// Mean of the classes' areas under the ROC curve, each against the rest, in each episode, by the softmax of the scores.
    pub auroc: Vec<f32>,
    /// The answers of each episode, in order of its queries.
    pub answers: Vec<Vec<Answer>>,
}

/// What a learner answered to a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The query's class: its number in the dataset's split.
    pub class: u32,
    /// The class it was taken for, in the same manner.
    pub predicted: u32,
    /// How sure the learner was ([`crate::learner::confidence`]).
    pub confidence: f32,
}

/// Figures of a classification besides its accuracy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// Mean over the episodes of the classes' mean F1, 0–1.
    pub macro_f1: Interval,
    /// Mean over the episodes of the classes' mean recall, 0–1.
    pub balanced_accuracy: Interval,
    /// Mean over the episodes of the classes' mean area under the ROC curve, 0–1.
    pub auroc: Interval,
    /// How well confidence agrees with accuracy, over all queries.
    pub calibration: Calibration,
}

impl Details {
    /// The figures over all episodes.
    pub fn summary(&self) -> Classification {
        let over = |values: &[f32]| match values {
            [one] => Interval { mean: f64::from(*one), ci95: f64::NAN },
            all => interval95(all).unwrap_or(Interval { mean: f64::NAN, ci95: f64::NAN }),
        };
        Classification {
            macro_f1: over(&self.macro_f1),
            balanced_accuracy: over(&self.balanced_accuracy),
            auroc: over(&self.auroc),
            calibration: self.calibration(),
        }
    }

    /// Expected calibration error over all answers, and the reliability diagram.
    pub fn calibration(&self) -> Calibration {
        let answers = self.answers.iter().flatten();
        calibration_of(answers.map(|one| (f64::from(one.confidence), one.class == one.predicted)))
    }
}

/// Who watches an evaluation, and may stop it.
pub struct Watch<'a> {
    /// Called after each episode, from whichever thread it ran on: a place to move a progress bar.
    pub on_episode: &'a (dyn Fn() + Sync),
    /// Set from elsewhere (Ctrl-C) to begin no further episode; those in hand are finished.
    pub stop: &'a AtomicBool,
}

/// Nobody.
impl Default for Watch<'_> {
    fn default() -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Self { on_episode: &|| (), stop: &NEVER }
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
    let figures = map_until(episodes.clone(), watch.stop, |number| {
        let episode = tasks.episode(number)?;
        let figure = learner
            .answer(&episode.support, &episode.query.examples)
            .and_then(|prediction| measure(&prediction, &episode))
            .map_err(|error| error.context(format!("evaluation episode {number}")))?;
        (watch.on_episode)();
        Ok(figure)
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let measure = figures.first().map_or(Measure::Accuracy, |figure| figure.measure);
    let per_episode: Vec<f32> = figures.iter().map(|figure| figure.value).collect();
    let mut details = (measure == Measure::Accuracy).then(Details::default);
    if let Some(details) = &mut details {
        for more in figures.into_iter().filter_map(|figure| figure.more) {
            details.macro_f1.push(more.macro_f1);
            details.balanced_accuracy.push(more.balanced_accuracy);
            details.auroc.push(more.auroc);
            details.answers.push(more.answers);
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
struct Figure {
    measure: Measure,
    value: f32,
    more: Option<OfEpisode>,
}

/// More of an episode of classification.
struct OfEpisode {
    macro_f1: f32,
    balanced_accuracy: f32,
    auroc: f32,
    answers: Vec<Answer>,
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

fn details(
    scores: &Array2<f32>,
    predicted: &[usize],
    labels: &[usize],
    episode: &Episode,
) -> Result<OfEpisode> {
    let ways = scores.ncols();
    let confusion = Confusion::of(labels, predicted, ways)?;
    let softmax = |row: ArrayView1<'_, f32>| {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f32> = row.iter().map(|score| (score - most).exp()).collect();
        let sum: f32 = powers.iter().sum();
        powers.into_iter().map(move |power| power / sum)
    };
    let shares: Vec<f32> = scores.outer_iter().flat_map(softmax).collect();
    // Of one class alone there is no curve.
    let auroc = macro_auroc(labels, &shares, ways).unwrap_or(f64::NAN);
    // Where an episode does not say, its labels are the classes.
    let class = |label: usize| episode.classes.get(label).copied().unwrap_or(label) as u32;
    let answer = |((&label, &taken), row): ((&usize, &usize), ArrayView1<'_, f32>)| Answer {
        class: class(label),
        predicted: class(taken),
        confidence: confidence(row),
    };
    Ok(OfEpisode {
        macro_f1: confusion.macro_f1() as f32,
        balanced_accuracy: confusion.balanced_accuracy() as f32,
        auroc: auroc as f32,
        answers: labels.iter().zip(predicted).zip(scores.outer_iter()).map(answer).collect(),
    })
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
mod tests {
    use ndarray::{Array4, array};

    use super::*;
    use crate::episode::{Labelled, Unlabelled};
    use crate::learner::Adapted;

    /// Two classes, four queries of class 0, 0, 1, 1.
    struct TwoWay;

    impl Tasks for TwoWay {
        fn episode(&self, index: u64) -> Result<Episode> {
            let labelled = |classes: Vec<usize>| {
                Labelled::new(
                    Array4::from_elem((classes.len(), 1, 1, 1), index as f32),
                    Targets::Classes(classes),
                )
            };
            let (support, query) = (labelled(vec![0, 1]), labelled(vec![0, 0, 1, 1]));
            Ok(Episode { index, support, query, classes: vec![0, 1] })
        }

        fn limit(&self) -> Option<u64> {
            Some(4)
        }
    }

    /// Answers with what the function makes of the episode's number.
    struct Oracle(fn(usize) -> Prediction);

    impl Learner for Oracle {
        fn is_transductive(&self) -> bool {
            false
        }

        fn adapt<'a>(&'a self, _: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
            Ok(Box::new(Oracle(self.0)))
        }
    }

    impl Adapted for Oracle {
        fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
            Ok(self.0(query.inputs[[0, 0, 0, 0]] as usize))
        }
    }

    fn outcome(episodes: u64, predict: fn(usize) -> Prediction) -> Result<Evaluation> {
        evaluate(&Oracle(predict), &TwoWay, episodes, &Watch::default())
    }

    /// Always class 0 in even episodes (half right), all right in odd ones.
    fn half_or_all(number: usize) -> Prediction {
        let other = if number % 2 == 1 { 1.0 } else { -1.0 };
        Prediction::Scores(array![[0.0, f32::NEG_INFINITY], [0.0, -1.0], [0.0, other], [0.0, other]])
    }

    #[test]
    fn accuracy_and_interval_of_a_hand_computed_example() {
        let evaluation = outcome(4, half_or_all).unwrap();
        assert_eq!(evaluation.per_episode, [0.5, 1.0, 0.5, 1.0]);
        assert_eq!(evaluation.score.measure, Measure::Accuracy);
        // Mean 0.75, s² = 4·0.0625/3, t₃·√(s²/4) with t₃ = 3.182446.
        assert_eq!(evaluation.score.interval.mean, 0.75);
        assert!((evaluation.score.interval.ci95 - 0.459_346_6).abs() < 1e-6);
    }

    /// As [`TwoWay`], without an end.
    struct Endless;

    impl Tasks for Endless {
        fn episode(&self, index: u64) -> Result<Episode> {
            TwoWay.episode(index)
        }
    }

    #[test]
    fn episodes_are_added_until_the_interval_is_as_narrow_as_asked() {
        let until = |wanted, most| {
            let learner = Oracle(half_or_all);
            evaluate_until(&learner, &Endless, wanted, 10, most, &Watch::default())
        };
        let wide = until(0.2, 10_000).unwrap();
        let narrow = until(0.03, 10_000).unwrap();
        assert!(wide.score.interval.ci95 <= 0.2 && narrow.score.interval.ci95 <= 0.03);
        assert!(wide.per_episode.len() < narrow.per_episode.len() && narrow.per_episode.len() % 10 == 0);
        // The same as if as many had been asked for at once.
        let n = narrow.per_episode.len() as u64;
        let at_once = evaluate(&Oracle(half_or_all), &Endless, n, &Watch::default()).unwrap();
        assert_eq!(
            (narrow.per_episode, narrow.score, narrow.details),
            (at_once.per_episode, at_once.score, at_once.details)
        );
        assert_eq!(until(1e-6, 40).unwrap().per_episode.len(), 40);
        assert!(until(0.0, 40).is_err());
    }

    #[test]
    fn what_is_no_answer_is_refused_naming_the_episode() {
        let message = |predict| outcome(2, predict).unwrap_err().to_string();
        let nan =
            message(|_| Prediction::Scores(array![[0.0, 0.0], [f32::NAN, 0.0], [0.0, 0.0], [0.0, 0.0]]));
        assert!(nan.contains("evaluation episode 0") && nan.contains("query 1 is NaN"), "{nan}");
        let shape = message(|_| Prediction::Scores(array![[0.0, 0.0, 0.0]]));
        assert!(shape.contains("(1, 3)") && shape.contains("(4, 2)"), "{shape}");
        let kind = message(|_| Prediction::Values(array![[0.0], [0.0], [0.0], [0.0]]));
        assert!(kind.contains("classification"), "{kind}");
        let few = outcome(5, half_or_all).unwrap_err().to_string();
        assert!(few.contains("there are 4 episodes, but 5"), "{few}");
        assert!(outcome(1, half_or_all).is_err(), "one episode has no interval");
    }

    #[test]
    fn a_stopped_evaluation_has_the_figures_of_the_first_episodes() {
        let stop = AtomicBool::new(false);
        let done = std::sync::atomic::AtomicU64::new(0);
        let on_episode = || {
            if done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let watch = Watch { on_episode: &on_episode, stop: &stop };
        let evaluation = pool.install(|| evaluate(&Oracle(half_or_all), &TwoWay, 4, &watch)).unwrap();
        assert!(evaluation.interrupted);
        assert_eq!(evaluation.per_episode, [0.5, 1.0]);
        let stopped = evaluate(&Oracle(half_or_all), &TwoWay, 4, &Watch { on_episode: &|| (), stop: &stop });
        assert!(matches!(stopped.unwrap_err(), Error::Interrupted(_)));
    }

    #[test]
    fn more_accuracy_is_better_less_error_is_better_and_equal_is_not() {
        let score = |measure, mean| Score { measure, interval: Interval { mean, ci95: 0.1 } };
        assert!(score(Measure::Accuracy, 0.9).is_better_than(&score(Measure::Accuracy, 0.8)));
        assert!(score(Measure::Mse, 0.8).is_better_than(&score(Measure::Mse, 0.9)));
        assert!(!score(Measure::Mse, 0.8).is_better_than(&score(Measure::Mse, 0.8)));
    }
}
