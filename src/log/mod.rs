//! Logs of a run: TensorBoard and JSON lines in its directory, and whoever else is told of its progress.
//!
//! ```
//! use kshot::log::{Observer, Summary, TensorBoard};
//! # let directory = tempfile::tempdir().unwrap();
//! # let directory = directory.path();
//!
//! // `tensorboard --logdir DIRECTORY` shows what is written here.
//! let mut log = TensorBoard::create(directory, 0)?;
//! log.summary(1, "weights/linear.weight", &Summary::Histogram(&[0.1, -0.2, 0.3]))?;
//! log.summary(1, "notes", &Summary::Text("a run of **three** weights"))?;
//! log.flush()?;
//! # Ok::<(), kshot::Error>(())
//! ```

mod environment;
mod evaluation;
mod histogram;
mod hparams;
mod jsonl;
pub mod projector;
mod summary;
mod tensorboard;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;

pub use environment::{environment, settings};
pub use evaluation::{Embed, Tested, log_embeddings, log_episode, log_evaluation};
pub use hparams::Session;
pub use jsonl::Jsonl;
pub use summary::Summary;
pub use tensorboard::TensorBoard;

/// Scalars of one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// Updates done.
    pub step: u64,
    /// What the seed determines, by tag: `train/loss`, `validation/accuracy` …
    pub measured: Vec<(String, f32)>,
    /// What differs from run to run, by tag: `train/episodes_per_second` …
    pub timing: Vec<(String, f32)>,
}

/// Who is told of a run's progress; from a thread of the pool.
pub trait Observer: Send {
    /// Takes the scalars of a step: one point for the training step, another for a validation after it.
    ///
    /// # Errors
    /// When they cannot be written; training stops.
    fn log(&mut self, point: &Point) -> Result<()>;

    /// Takes what there is to see besides, under a tag: `weights/block0.conv.weight`, `episode/0` … Whoever has no use for it
    /// need not have this.
    ///
    /// # Errors
    /// As [`Observer::log`].
    fn summary(&mut self, step: u64, tag: &str, summary: &Summary<'_>) -> Result<()> {
        let _ = (step, tag, summary);
        Ok(())
    }

    /// Is told that a run begins, with its settings, and that it has ended.
    ///
    /// # Errors
    /// As [`Observer::log`].
    fn session(&mut self, session: &Session<'_>) -> Result<()> {
        let _ = session;
        Ok(())
    }

    /// Writes out what is held back.
    ///
    /// # Errors
    /// As [`Observer::log`].
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Nobody.
impl Observer for () {
    fn log(&mut self, _: &Point) -> Result<()> {
        Ok(())
    }
}

/// The log files of a run.
///
/// `metrics.jsonl` holds what the seed determines: the same bytes for the same seed, on any number of threads, resumed
/// or not. `timing.jsonl` holds rates of the clock. The TensorBoard event file holds both, and all that is no scalar of a
/// step.
pub struct RunLog {
    metrics: Jsonl,
    timing: Jsonl,
    tensorboard: TensorBoard,
    flushed: Instant,
}

/// How long points are held back at most while a run is logging, so that a live TensorBoard sees progress.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

impl RunLog {
    /// Opens the logs in `directory` to go on after `step` updates; what they say of later steps is dropped.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn open(directory: &Path, step: u64) -> Result<Self> {
        Ok(Self {
            metrics: Jsonl::open(&directory.join("metrics.jsonl"), step)?,
            timing: Jsonl::open(&directory.join("timing.jsonl"), step)?,
            tensorboard: TensorBoard::create(directory, step)?,
            flushed: Instant::now(),
        })
    }
}

impl Observer for RunLog {
    fn log(&mut self, point: &Point) -> Result<()> {
        self.metrics.write(point.step, &point.measured)?;
        self.timing.write(point.step, &point.timing)?;
        self.tensorboard.log(point)?;
        if self.flushed.elapsed() >= FLUSH_EVERY { self.flush() } else { Ok(()) }
    }

    fn summary(&mut self, step: u64, tag: &str, summary: &Summary<'_>) -> Result<()> {
        self.tensorboard.summary(step, tag, summary)
    }

    fn session(&mut self, session: &Session<'_>) -> Result<()> {
        self.tensorboard.session(session)
    }

    fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        self.metrics.flush()?;
        self.timing.flush()?;
        self.tensorboard.flush()
    }
}
