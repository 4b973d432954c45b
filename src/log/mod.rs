//! Logs of a run: TensorBoard and JSON lines in its directory, and whoever else is told of its progress.

mod jsonl;
mod tensorboard;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;

pub use jsonl::Jsonl;
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
/// or not. `timing.jsonl` holds rates of the clock. The TensorBoard event file holds both.
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
        self.tensorboard.write(point.step, &point.measured)?;
        self.tensorboard.write(point.step, &point.timing)?;
        if self.flushed.elapsed() >= FLUSH_EVERY { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        self.metrics.flush()?;
        self.timing.flush()?;
        self.tensorboard.flush()
    }
}
