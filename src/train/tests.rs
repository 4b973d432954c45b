//! The outer loop on learners small enough to compute by hand.

mod ranks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ndarray::{Array2, Array4};

use super::*;
use crate::backbone::Backbone;
use crate::checkpoint::Checkpoint;
use crate::dataset::Preparation;
use crate::dataset::Split;
use crate::episode::{Count, Episode, Labelled, Targets, TaskSpec, Unlabelled};
use crate::learner::{Adapted, Learned, Learner, Outer, Prediction};
use crate::nn::Norm;
use crate::optimizer::OptimizerKind;
use crate::params::{Layout, Role};
use crate::registry::{Problem, Setup};
use crate::rng::stream;
use crate::schedule::Schedule;
use rand::Rng as _;

/// Points of lines y = a·x with a slope near 3 and noise: a pure function of (split, index).
struct Lines(Split);

impl Tasks for Lines {
    fn episode(&self, index: u64) -> Result<Episode> {
        let mut rng = stream(1, self.0.name(), index);
        let slope = 3.0 + rng.random_range(-0.5..0.5f32);
        let points: Vec<(f32, f32)> = (0..8)
            .map(|_| {
                let x = rng.random_range(-1.0..1.0f32);
                (x, slope * x + rng.random_range(-0.1..0.1f32))
            })
            .collect();
        let labelled = |points: &[(f32, f32)]| {
            Labelled::new(
                Array4::from_shape_fn((points.len(), 1, 1, 1), |i| points[i.0].0),
                Targets::Values(Array2::from_shape_fn((points.len(), 1), |i| points[i.0].1)),
            )
        };
        Ok(Episode {
            index,
            support: labelled(&points[..4]),
            query: labelled(&points[4..]),
            classes: Vec::new(),
        })
    }
}

/// y = w·x with one weight, and a running mean of |x|. Can be told to break in one episode.
struct Slope {
    learned: Learned,
    nan_at: Option<u64>,
    stop_at: Option<u64>,
    stop: Arc<AtomicBool>,
    calls: AtomicU64,
}

impl Slope {
    fn new() -> Self {
        let mut layout = Layout::new();
        layout.push("slope.weight", &[1, 1], Role::Weight);
        layout.push("norm.running_mean", &[1], Role::Statistic);
        Self {
            learned: Learned {
                theta: Params::zeros(&Arc::new(layout)),
                task: TaskSpec::Regression { shots: 4, queries: 4 },
            },
            nan_at: None,
            stop_at: None,
            stop: Arc::default(),
            calls: AtomicU64::new(0),
        }
    }
}

fn pairs(examples: &Labelled) -> Vec<(f32, f32)> {
    let Targets::Values(targets) = &examples.targets else { panic!("a regression") };
    examples.inputs().iter().copied().zip(targets.iter().copied()).collect()
}

impl Learner for Slope {
    fn is_transductive(&self) -> bool {
        false
    }

    fn adapt<'a>(&'a self, _: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
        Ok(Box::new(Line(self.learned.theta.values()[0])))
    }

    fn trainable(&mut self) -> Option<&mut dyn Trainable> {
        Some(self)
    }
}

/// y = w·x.
struct Line(f32);

impl Adapted for Line {
    fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
        Ok(Prediction::Values(Array2::from_shape_fn((query.len(), 1), |(i, _)| {
            self.0 * query.inputs[[i, 0, 0, 0]]
        })))
    }
}

impl Trainable for Slope {
    fn learned(&mut self) -> &mut Learned {
        &mut self.learned
    }

    fn outer_gradient(&self, episode: &Episode) -> Result<Outer> {
        if self.stop_at == Some(self.calls.fetch_add(1, Ordering::Relaxed) + 1) {
            self.stop.store(true, Ordering::Relaxed);
        }
        let points = pairs(&episode.query);
        let n = points.len() as f32;
        let w = self.learned.theta.values()[0];
        let loss = points.iter().map(|(x, y)| (w * x - y).powi(2)).sum::<f32>() / n;
        let slope = points.iter().map(|(x, y)| 2.0 * (w * x - y) * x).sum::<f32>() / n;
        let statistic = points.iter().map(|(x, _)| x.abs()).sum::<f32>() / n;
        let loss = if self.nan_at == Some(episode.index) { f32::NAN } else { loss };
        let gradient = Params::from_values(self.learned.theta.layout(), vec![slope, statistic])?;
        Ok(Outer { loss, gradient, metrics: vec![("error", loss.sqrt())] })
    }
}

fn config() -> TrainConfig {
    TrainConfig {
        steps: 30,
        meta_batch: 4,
        learning_rate: 0.1,
        schedule: Schedule::Cosine,
        validate_every: 10,
        validation_episodes: 20,
        ..TrainConfig::default()
    }
}

fn run_in(
    learner: &mut Slope,
    config: &TrainConfig,
    directory: Option<&Path>,
    resume: bool,
) -> Result<Trained> {
    run_on(Ranks::alone(), learner, config, directory, resume)
}

fn run_on(
    ranks: &Ranks,
    learner: &mut Slope,
    config: &TrainConfig,
    directory: Option<&Path>,
    resume: bool,
) -> Result<Trained> {
    let stop = learner.stop.clone();
    let origin = Origin {
        learner: "slope".to_owned(),
        options: toml::Table::new(),
        setup: Setup {
            problem: Problem::Regression,
            backbone: Backbone::of(&toml::Table::new(), [1, 1, 1], Norm::Running)?,
            base_classes: 0,
            ways: 1,
            shots: Count::fixed(4),
            queries: 4,
            seed: u64::MAX,
        },
        preparation: Preparation::Generated,
        experiment: serde_json::json!({ "dataset": "lines", "noise": 0.1 }),
    };
    let run = Run {
        directory: directory.map(|path| Directory { path, resume, origin }),
        stop: &stop,
        observer: &mut (),
        ranks,
    };
    train(learner, &Lines(Split::Train), Some(&Lines(Split::Validation)), config, run)
}

fn bytes(directory: &Path, name: &str) -> Vec<u8> {
    std::fs::read(directory.join(name)).unwrap()
}

const FILES: [&str; 4] = ["metrics.jsonl", BEST, "best.json", LAST];

#[test]
fn training_lowers_the_error_and_keeps_the_best_weights() {
    let mut learner = Slope::new();
    let before = evaluate(&learner, &Lines(Split::Validation), 20, &Watch::default()).unwrap();
    let trained = run_in(&mut learner, &TrainConfig { steps: 100, ..config() }, None, false).unwrap();
    let after = evaluate(&learner, &Lines(Split::Validation), 20, &Watch::default()).unwrap();
    assert_eq!(trained.steps, 100);
    assert_eq!(trained.validation, Some(after.score));
    assert!(after.score.interval.mean < 0.1 * before.score.interval.mean, "{before:?} {after:?}");
}

#[test]
fn two_steps_of_sgd_by_hand_with_statistics_folded_in_order() {
    let mut learner = Slope::new();
    let config = TrainConfig {
        steps: 2,
        meta_batch: 3,
        optimizer: OptimizerKind::Sgd,
        momentum: 0.5,
        learning_rate: 0.1,
        ..TrainConfig::default()
    };
    let (mut w, mut velocity, mut running) = (0.0f32, 0.0f32, 0.0f32);
    for step in 0..2 {
        let mut sum = 0.0;
        for index in 3 * step..3 * step + 3 {
            let points = pairs(&Lines(Split::Train).episode(index).unwrap().query);
            sum += points.iter().map(|(x, y)| 2.0 * (w * x - y) * x).sum::<f32>() / 4.0;
            running = 0.9 * running + 0.1 * points.iter().map(|(x, _)| x.abs()).sum::<f32>() / 4.0;
        }
        velocity = 0.5 * velocity + sum / 3.0;
        w -= 0.1 * velocity;
    }
    let stop = AtomicBool::new(false);
    let run = Run { directory: None, stop: &stop, observer: &mut (), ranks: Ranks::alone() };
    train(&mut learner, &Lines(Split::Train), None, &config, run).unwrap();
    let values = learner.learned.theta.values();
    assert!((values[0] - w).abs() < 1e-6 && (values[1] - running).abs() < 1e-6, "{values:?} {w} {running}");
}

#[test]
fn one_thread_and_two_write_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<_> = [1, 2]
        .into_iter()
        .map(|threads| {
            let path = directory.path().join(threads.to_string());
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run_in(&mut Slope::new(), &config(), Some(&path), false)).unwrap();
            path
        })
        .collect();
    for name in FILES {
        assert_eq!(bytes(&paths[0], name), bytes(&paths[1], name), "{name}");
    }
}

#[test]
fn an_interrupted_run_resumes_to_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    for config in [config(), TrainConfig { optimizer: OptimizerKind::Sgd, momentum: 0.9, ..config() }] {
        let whole = directory.path().join(format!("whole-{:?}", config.optimizer));
        run_in(&mut Slope::new(), &config, Some(&whole), false).unwrap();

        let parts = directory.path().join(format!("parts-{:?}", config.optimizer));
        let mut learner = Slope::new();
        learner.stop_at = Some(4 * 13);
        let error = run_in(&mut learner, &config, Some(&parts), false).unwrap_err();
        assert!(matches!(error, Error::Interrupted(_)));
        let message = error.to_string();
        assert!(message.contains("step 13 of 30") && message.contains("--resume"), "{message}");

        let mut learner = Slope::new();
        let trained = run_in(&mut learner, &config, Some(&parts), true).unwrap();
        assert_eq!(trained.steps, 30);
        for name in FILES {
            assert_eq!(bytes(&whole, name), bytes(&parts, name), "{name}");
        }
        // Once more: nothing is left to do, and the best weights are there.
        let mut again = Slope::new();
        let repeated = run_in(&mut again, &config, Some(&parts), true).unwrap();
        assert_eq!((again.learned.theta, repeated.best_step), (learner.learned.theta, trained.best_step));
    }
}

#[test]
fn a_run_resumed_from_before_a_crash_forgets_what_was_logged_after() {
    let directory = tempfile::tempdir().unwrap();
    let (whole, crashed) = (directory.path().join("whole"), directory.path().join("crashed"));
    run_in(&mut Slope::new(), &config(), Some(&whole), false).unwrap();
    // Stopped at step 10, then on to the end, then the state of step 10 put back: as if the rest were never saved.
    let mut learner = Slope::new();
    learner.stop_at = Some(4 * 10);
    run_in(&mut learner, &config(), Some(&crashed), false).unwrap_err();
    let last = bytes(&crashed, LAST);
    run_in(&mut Slope::new(), &config(), Some(&crashed), true).unwrap();
    std::fs::write(crashed.join(LAST), last).unwrap();
    run_in(&mut Slope::new(), &config(), Some(&crashed), true).unwrap();
    for name in FILES {
        assert_eq!(bytes(&whole, name), bytes(&crashed, name), "{name}");
    }
}

#[test]
fn a_loss_that_is_not_a_number_stops_and_keeps_the_last_good_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let mut learner = Slope::new();
    learner.nan_at = Some(4 * 14 + 2);
    let error = run_in(&mut learner, &config(), Some(directory.path()), false).unwrap_err();
    assert!(matches!(error, Error::NotFinite(_)));
    let message = error.to_string();
    let best = directory.path().join(BEST);
    for part in
        ["step 15", "training episode 58", "loss is NaN", &best.display().to_string(), "learning-rate"]
    {
        assert!(message.contains(part), "{message}");
    }
    let kept = Checkpoint::read(&best).unwrap();
    assert_eq!(kept.description::<Description>().unwrap().step, 10);
    assert!(kept.params(learner.learned.theta.layout()).unwrap().values()[0].is_finite());
}

#[test]
fn weights_that_overflow_stop_the_training() {
    let config = TrainConfig { learning_rate: f32::MAX, optimizer: OptimizerKind::Sgd, ..config() };
    let error = run_in(&mut Slope::new(), &config, None, false).unwrap_err().to_string();
    assert!(error.contains("step 1: the update made `slope.weight` not finite"), "{error}");
}

#[test]
fn a_resumed_run_must_be_the_same_run() {
    let directory = tempfile::tempdir().unwrap();
    let resume = |config: &TrainConfig| run_in(&mut Slope::new(), config, Some(directory.path()), true);
    let error = resume(&config()).unwrap_err().to_string();
    assert!(error.contains("no run to resume"), "{error}");
    run_in(&mut Slope::new(), &config(), Some(directory.path()), false).unwrap();
    let error = run_in(&mut Slope::new(), &config(), Some(directory.path()), false).unwrap_err().to_string();
    assert!(error.contains("already holds a run"), "{error}");
    let error = resume(&TrainConfig { meta_batch: 5, ..config() }).unwrap_err().to_string();
    assert!(error.contains("`train.meta-batch`"), "{error}");
    // Its rate has come down to nothing, and would jump up again.
    let error = resume(&TrainConfig { steps: 40, ..config() }).unwrap_err().to_string();
    assert!(error.contains("a cosine over 30 steps") && error.contains("jump from 0.0e0 to"), "{error}");
}

#[test]
fn a_run_at_a_constant_rate_goes_on_for_more_steps() {
    let directory = tempfile::tempdir().unwrap();
    let of = |steps| TrainConfig { steps, schedule: Schedule::Constant, ..config() };
    run_in(&mut Slope::new(), &of(30), Some(directory.path()), false).unwrap();
    assert_eq!(run_in(&mut Slope::new(), &of(40), Some(directory.path()), true).unwrap().steps, 40);
}

#[test]
fn a_directory_that_cannot_be_made_is_an_io_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = run_in(&mut Slope::new(), &config(), Some(&file.join("run")), false).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn clipping_limits_the_length_of_the_gradient_and_reports_the_length_it_had() {
    let mut layout = Layout::new();
    layout.push("a", &[1], Role::Weight);
    layout.push("statistic", &[1], Role::Statistic);
    layout.push("b", &[1], Role::Weight);
    let gradient = Params::from_values(&Arc::new(layout), vec![3.0, 100.0, 4.0]).unwrap();
    let clipped = |longest| {
        let mut gradient = gradient.clone();
        assert_eq!(meta_batch::clip(&mut gradient, longest), 5.0);
        gradient.values().to_vec()
    };
    assert_eq!(clipped(0.0), [3.0, 100.0, 4.0]);
    assert_eq!(clipped(10.0), [3.0, 100.0, 4.0]);
    assert_eq!(clipped(1.0), [0.6, 100.0, 0.8]);
}
