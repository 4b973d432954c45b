//! Evaluations whose outcome is known.

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
    let nan = message(|_| Prediction::Scores(array![[0.0, 0.0], [f32::NAN, 0.0], [0.0, 0.0], [0.0, 0.0]]));
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
    let watch = Watch { on_episode: &on_episode, stop: &stop, ..Watch::default() };
    let evaluation = pool.install(|| evaluate(&Oracle(half_or_all), &TwoWay, 4, &watch)).unwrap();
    assert!(evaluation.interrupted);
    assert_eq!(evaluation.per_episode, [0.5, 1.0]);
    let stopped = evaluate(&Oracle(half_or_all), &TwoWay, 4, &Watch { stop: &stop, ..Watch::default() });
    assert!(matches!(stopped.unwrap_err(), Error::Interrupted(_)));
}

#[test]
fn more_accuracy_is_better_less_error_is_better_and_equal_is_not() {
    let score = |measure, mean| Score { measure, interval: Interval { mean, ci95: 0.1 } };
    assert!(score(Measure::Accuracy, 0.9).is_better_than(&score(Measure::Accuracy, 0.8)));
    assert!(score(Measure::Mse, 0.8).is_better_than(&score(Measure::Mse, 0.9)));
    assert!(!score(Measure::Mse, 0.8).is_better_than(&score(Measure::Mse, 0.8)));
}
