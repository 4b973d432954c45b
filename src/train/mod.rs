//! The outer loop: meta-batches of episodes update what a learner learns across tasks.
//!
//! A step takes episodes `step·meta_batch ..` of the training tasks, adds up their gradients in order of their number
//! and updates the weights with the mean: the same seed gives the same bits on any number of threads, interrupted and
//! resumed or not.
//!
//! ```
//! use kshot::episode::{Episode, Labelled, Targets, TaskSpec, Tasks, Unlabelled};
//! use kshot::learner::{Adapted, Learned, Learner, Outer, Prediction, Trainable};
//! use kshot::params::{Layout, Params, Role};
//! use kshot::ranks::Ranks;
//! use kshot::train::{Run, TrainConfig, train};
//! use kshot::Result;
//! use ndarray::{Array2, Array4};
//!
//! /// One task for ever: y = 3 at x = 1.
//! struct Three;
//!
//! impl Tasks for Three {
//!     fn episode(&self, index: u64) -> Result<Episode> {
//!         let point = || Labelled::new(Array4::ones((1, 1, 1, 1)), Targets::Values(Array2::from_elem((1, 1), 3.0)));
//!         Ok(Episode { index, support: point(), query: point(), classes: Vec::new() })
//!     }
//! }
//!
//! /// y = θ·x, with θ learned across tasks.
//! struct Slope(Learned);
//!
//! impl Learner for Slope {
//!     fn is_transductive(&self) -> bool {
//!         false
//!     }
//!
//!     fn adapt<'a>(&'a self, _: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
//!         Ok(Box::new(Line(self.0.theta.values()[0])))
//!     }
//!
//!     fn trainable(&mut self) -> Option<&mut dyn Trainable> {
//!         Some(self)
//!     }
//! }
//!
//! struct Line(f32);
//!
//! impl Adapted for Line {
//!     fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
//!         Ok(Prediction::Values(Array2::from_elem((query.len(), 1), self.0)))
//!     }
//! }
//!
//! impl Trainable for Slope {
//!     fn learned(&mut self) -> &mut Learned {
//!         &mut self.0
//!     }
//!
//!     fn outer_gradient(&self, _: &Episode) -> Result<Outer> {
//!         let off = self.0.theta.values()[0] - 3.0;
//!         let gradient = Params::from_values(self.0.theta.layout(), vec![2.0 * off])?;
//!         Ok(Outer { loss: off * off, gradient, metrics: Vec::new() })
//!     }
//! }
//!
//! let mut layout = Layout::new();
//! layout.push("slope", &[1], Role::Weight);
//! let task = TaskSpec::Regression { shots: 1, queries: 1 };
//! let mut slope = Slope(Learned { theta: Params::zeros(&layout.into()), task });
//! let config = TrainConfig { steps: 200, learning_rate: 0.1, ..TrainConfig::default() };
//! let run = Run { directory: None, stop: &false.into(), observer: &mut (), ranks: Ranks::alone() };
//! train(&mut slope, &Three, None, &config, run)?;
//! assert!((slope.0.theta.values()[0] - 3.0).abs() < 0.01);
//! # Ok::<(), kshot::Error>(())
//! ```

mod config;
mod description;
mod files;
mod init;
mod logged;
mod meta_batch;
mod standing;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::episode::Tasks;
use crate::eval::{Score, Watch, evaluate};
use crate::learner::Trainable;
use crate::log::{Observer, Summary};
use crate::nn::parallel::on_the_pool;
use crate::optimizer::Optimizer;
use crate::params::Params;
use crate::ranks::Ranks;
use crate::{Error, Result, options};

pub use config::TrainConfig;
pub use description::{Description, Origin, read_run, restored, write_run};
use files::Files;
pub use files::{BEST, LAST};
pub use init::{Loaded, Names};

/// What surrounds a training.
pub struct Run<'a> {
    /// Where checkpoints and logs go; without it nothing is written.
    pub directory: Option<Directory<'a>>,
    /// Set from elsewhere (Ctrl-C) to stop before the next step.
    pub stop: &'a AtomicBool,
    /// Who is told of progress, besides the logs in `directory`.
    pub observer: &'a mut dyn Observer,
    /// Who shares the episodes. Only the first writes in `directory`; all have the same weights at any time.
    pub ranks: &'a Ranks,
}

/// Where a run is kept.
pub struct Directory<'a> {
    /// The directory, made if it is not there.
    pub path: &'a Path,
    /// Go on with the run in it rather than start one there.
    pub resume: bool,
    /// What the learner was made of, for the checkpoints; a resumed run must have the same.
    pub origin: Origin,
}

/// The outcome of [`train`].
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// Updates done, over all parts of a resumed run.
    pub steps: u64,
    /// Update after which the weights were the best.
    pub best_step: u64,
    /// Their figure on the validation episodes, if there were any.
    pub validation: Option<Score>,
    /// Wall-clock seconds since this call, validations included.
    pub seconds: f64,
}

/// What a run has come to, besides the weights.
struct State {
    step: u64,
    optimizer: Optimizer,
    best: Option<Best>,
}

/// The best weights so far.
struct Best {
    step: u64,
    score: Option<Score>,
    params: Params,
}

/// Trains `learner` on `tasks` and leaves it with the weights that were best on `validation` (the last, without).
///
/// # Errors
/// - [`Error::Invalid`] for settings that make no sense, a directory that already holds a run or holds none to resume,
///   or a task that does not fit the learner;
/// - [`Error::NotFinite`] when a loss, gradient, weight or prediction is not a finite number: names step and episode,
///   and says where the last good weights are;
/// - [`Error::Io`] when a checkpoint or log cannot be written: the checkpoints of before stay;
/// - [`Error::Interrupted`] when stopped: says how to resume.
pub fn train(
    learner: &mut dyn Trainable,
    tasks: &dyn Tasks,
    validation: Option<&dyn Tasks>,
    config: &TrainConfig,
    run: Run<'_>,
) -> Result<Trained> {
    options::check(config)?;
    let started = Instant::now();
    let layout = learner.learned().theta.layout().clone();
    let optimizer = Optimizer::new(config.optimizer, config.momentum, config.weight_decay, &layout);
    let mut state = State { step: 0, optimizer, best: None };
    let theta = &mut learner.learned().theta;
    let init = config.init.as_ref().map(|path| init::load(path, &config.names, theta)).transpose()?;
    if config.frozen
        && config.steps > 0
        && init.as_ref().is_some_and(|loaded| loaded.has_all_weights(&layout))
    {
        return Err(Error::invalid(
            "`frozen` leaves nothing to train, as `init` has all weights of this learner: set `steps = 0` to take them as \
             they are, or leave `frozen` out",
        ));
    }
    let ranks = run.ranks;
    // The first rank alone reads what it is going to write over.
    let mut files = None;
    let begun = ranks.from_first(|| {
        if let Some(directory) = run.directory {
            let description = Description {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                origin: directory.origin,
                train: config.clone(),
                step: 0,
                validation: None,
                best_step: None,
                thresholds: Vec::new(),
            };
            let theta = &mut learner.learned().theta;
            files = Some(Files::open(directory.path, description, directory.resume, theta, &mut state)?);
        }
        Ok(state.sent(&learner.learned().theta))
    })?;
    if !ranks.is_first() {
        state.take(begun, &mut learner.learned().theta)?;
    }
    let mut training = Training {
        learner,
        tasks,
        validation,
        config,
        observer: run.observer,
        ranks,
        state,
        files,
        frozen: Vec::new(),
    };
    if let Some(loaded) = init {
        training.start_from(&loaded)?;
    }
    on_the_pool(|| training.run(run.stop, started))
}

/// A training under way.
struct Training<'a> {
    learner: &'a mut dyn Trainable,
    tasks: &'a dyn Tasks,
    validation: Option<&'a dyn Tasks>,
    config: &'a TrainConfig,
    observer: &'a mut dyn Observer,
    ranks: &'a Ranks,
    state: State,
    files: Option<Files>,
    /// Places of weights that stay as they are, and what they are.
    frozen: Vec<(Range<usize>, Vec<f32>)>,
}

impl Training<'_> {
    fn run(mut self, stop: &AtomicBool, started: Instant) -> Result<Trained> {
        self.log_settings()?;
        while self.state.step < self.config.steps {
            if self.ranks.any(stop.load(Ordering::Relaxed))? {
                return Err(self.interrupt());
            }
            self.step().map_err(|error| self.explain(error))?;
        }
        self.finish(started)
    }

    /// One update; then, where it is due, a validation and a save.
    fn step(&mut self) -> Result<()> {
        self.update()?;
        if self.is_due(self.state.step) {
            self.validate()?;
            self.save_last()?;
        }
        Ok(())
    }

    /// Whether a validation and a save follow this step.
    fn is_due(&self, step: u64) -> bool {
        step.is_multiple_of(self.config.validate_every) || step == self.config.steps
    }

    fn update(&mut self) -> Result<()> {
        let started = Instant::now();
        let (config, step) = (self.config, self.state.step + 1);
        let first = self.state.step * config.meta_batch;
        let layout = self.learner.learned().theta.layout().clone();
        let episodes = first..first + config.meta_batch;
        let outcomes = meta_batch::outcomes(self.learner, self.tasks, episodes, &layout, self.ranks)
            .map_err(|error| error.context(format!("step {step}")))?;

        let theta = &mut self.learner.learned().theta;
        let mut gradient = meta_batch::mean_gradient(&outcomes, theta)?;
        let norm = meta_batch::clip(&mut gradient, config.clip);
        let rate = config.learning_rate().at(self.state.step);
        self.state.optimizer.update(theta, &gradient, rate, step);
        outcomes.iter().try_for_each(|outer| theta.fold_statistics(&outer.gradient))?;
        for (place, values) in &self.frozen {
            theta.values_mut()[place.clone()].copy_from_slice(values);
        }
        if let Some(tensor) = meta_batch::not_finite(theta) {
            return Err(Error::NotFinite(format!("step {step}: the update made `{tensor}` not finite")));
        }
        self.state.step = step;
        if self.is_due(step) {
            let theta = self.learner.learned().theta.clone();
            self.log_tensors("weights", &theta)?;
            self.log_tensors("gradients", &gradient)?;
        }

        let mut measured = meta_batch::mean_metrics(&outcomes);
        measured.extend([("learning_rate", rate), ("gradient_norm", norm)]);
        let per_second = config.meta_batch as f64 / started.elapsed().as_secs_f64().max(1e-9);
        self.log("train", &measured, per_second)
    }

    /// Says what was loaded, and keeps what is to stay.
    fn start_from(&mut self, loaded: &Loaded) -> Result<()> {
        self.summary("init", &Summary::Text(&format!("starts from {loaded}")))?;
        if self.config.frozen {
            let theta = &self.learner.learned().theta;
            let place =
                |(_, range): &(String, Range<usize>)| (range.clone(), theta.values()[range.clone()].to_vec());
            self.frozen = loaded.loaded.iter().map(place).collect();
        }
        Ok(())
    }

    fn validate(&mut self) -> Result<()> {
        let (Some(tasks), step) = (self.validation, self.state.step) else { return Ok(()) };
        let watch = Watch { ranks: self.ranks, ..Watch::default() };
        let evaluation = evaluate(self.learner, tasks, self.config.validation_episodes, &watch)
            .map_err(|error| error.context(format!("validation after step {step}")))?;
        let score = evaluation.score;
        let (name, interval) = (score.measure.name(), score.interval);
        let measured = [
            (name, interval.mean as f32),
            (&format!("{name}_low"), interval.low() as f32),
            (&format!("{name}_high"), interval.high() as f32),
        ];
        self.log("validation", &measured, evaluation.episodes_per_second())?;
        let figures = Summary::Histogram(&evaluation.per_episode);
        self.summary(&format!("validation/{name}_per_episode"), &figures)?;
        let best = self.state.best.as_ref().and_then(|best| best.score);
        if best.is_none_or(|best| score.is_better_than(&best)) {
            self.save_best(Some(score))?;
        }
        Ok(())
    }

    /// Takes the weights of now as the best.
    fn save_best(&mut self, score: Option<Score>) -> Result<()> {
        let best = Best { step: self.state.step, score, params: self.learner.learned().theta.clone() };
        if let Some(files) = &self.files {
            files.save_best(&best)?;
        }
        self.state.best = Some(best);
        Ok(())
    }

    fn save_last(&mut self) -> Result<()> {
        match &mut self.files {
            Some(files) => files.save_last(&self.learner.learned().theta, &self.state),
            None => Ok(()),
        }
    }

    /// Saves where it stands; the error says how to go on.
    fn interrupt(&mut self) -> Error {
        if let Err(error) = self.save_last() {
            return error;
        }
        let stopped = format!("training stopped after step {} of {}", self.state.step, self.config.steps);
        Error::Interrupted(match &self.files {
            Some(files) => format!(
                "{stopped}; its state is in {}: run the same command with `--resume` to go on",
                files.last().display()
            ),
            None => format!("{stopped}; it had no run directory, so nothing was saved"),
        })
    }

    /// Adds to a [`Error::NotFinite`] what is kept and what to do.
    fn explain(&self, error: Error) -> Error {
        match error {
            Error::NotFinite(what) => {
                let kept = self.files.as_ref().map_or("no checkpoint is kept".to_owned(), Files::kept);
                let advice = match self.state.step {
                    0 => {
                        "Nothing was learned before, so it lies in the inputs (huge ones want standardising) or in steps within the task (lower their rate)"
                    }
                    _ => "Lower `learning-rate` or set `clip`",
                };
                Error::NotFinite(format!("{what}. Training stopped; {kept}. {advice}"))
            }
            error => error,
        }
    }

    /// Leaves the learner with the best weights.
    fn finish(mut self, started: Instant) -> Result<Trained> {
        if self.validation.is_none() || self.state.best.is_none() {
            self.save_best(None)?;
        }
        let mut trained = Trained {
            steps: self.state.step,
            best_step: self.state.step,
            validation: None,
            seconds: started.elapsed().as_secs_f64(),
        };
        if let Some(best) = self.state.best.take() {
            self.learner.learned().theta = best.params;
            (trained.best_step, trained.validation) = (best.step, best.score);
        }
        self.log_outcome(&trained)?;
        if let Some(files) = &mut self.files {
            files.log.flush()?;
        }
        self.observer.flush()?;
        Ok(trained)
    }
}
