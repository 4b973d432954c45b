//! Progress on stderr: a bar on a terminal, plain lines elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use kshot::Result;
use kshot::log::{Observer, Point, Summary};

use crate::output::complain;

/// Longest pause between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Steps that a running mean looks back on.
const WINDOW: f32 = 50.0;

/// Whether nothing is shown, as several go on at a time.
static HIDDEN: AtomicBool = AtomicBool::new(false);

/// Hides progress from here on, or shows it again.
pub(crate) fn hide(hidden: bool) {
    HIDDEN.store(hidden, Ordering::Relaxed);
}

/// Whether stderr is a terminal that a bar may be drawn on.
fn drawn() -> bool {
    std::io::stderr().is_terminal() && !HIDDEN.load(Ordering::Relaxed)
}

/// Shows how a training goes: running means of its scalars, and the last validation.
pub(crate) struct Progress {
    label: String,
    steps: u64,
    bar: Option<ProgressBar>,
    means: Vec<(String, f32)>,
    seen: f32,
    validation: String,
    last_line: Instant,
}

impl Progress {
    /// Progress of `label` (the learner's name) towards `steps`: a bar with the time left if stderr is a terminal,
    /// else a line at every validation and at least every 10 seconds.
    pub(crate) fn new(label: &str, steps: u64) -> Self {
        let bar = drawn().then(|| bar(label, steps));
        Self {
            label: label.to_owned(),
            steps,
            bar,
            means: Vec::new(),
            seen: 0.0,
            validation: String::new(),
            last_line: Instant::now(),
        }
    }

    /// Folds one step into the running means.
    fn fold(&mut self, point: &Point) {
        self.seen = (self.seen + 1.0).min(WINDOW);
        for (tag, value) in point.measured.iter().chain(&point.timing) {
            match self.means.iter_mut().find(|(known, _)| known == tag) {
                // The rate is set, not measured: no mean of it.
                Some((tag, mean)) if tag.ends_with("learning_rate") => *mean = *value,
                Some((_, mean)) => *mean += (value - *mean) / self.seen,
                None => self.means.push((tag.clone(), *value)),
            }
        }
    }

    /// The running means and the last validation in words.
    fn message(&self) -> String {
        let mut parts: Vec<String> = self
            .means
            .iter()
            .filter(|(tag, _)| tag != "train/gradient_norm")
            .map(|(tag, mean)| {
                let name = tag.trim_start_matches("train/");
                match name {
                    "learning_rate" => format!("lr {mean:.1e}"),
                    "episodes_per_second" => format!("{mean:.0} episodes/s"),
                    _ => format!("{name} {mean:.3}"),
                }
            })
            .collect();
        if !self.validation.is_empty() {
            parts.push(self.validation.clone());
        }
        parts.join(", ")
    }
}

/// `validation 0.912 ± 0.010`, of a validation's scalars.
fn validation(point: &Point) -> Option<String> {
    let (tag, mean) = point.measured.iter().find(|(tag, _)| tag.starts_with("validation/"))?;
    let high = point.measured.iter().find(|(other, _)| *other == format!("{tag}_high"))?.1;
    Some(format!("validation {mean:.3} ± {:.3}", high - mean))
}

impl Observer for Progress {
    fn log(&mut self, point: &Point) -> Result<()> {
        let validated = validation(point);
        match &validated {
            Some(text) => self.validation.clone_from(text),
            None => self.fold(point),
        }
        if let Some(bar) = &self.bar {
            bar.set_position(point.step);
            bar.set_message(self.message());
        } else if HIDDEN.load(Ordering::Relaxed) {
            return Ok(());
        } else if validated.is_some() || self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            // Nobody reading is no reason to stop training.
            let _ = writeln!(
                std::io::stderr(),
                "{}: step {}/{}, {}",
                self.label,
                point.step,
                self.steps,
                self.message()
            );
        }
        Ok(())
    }

    fn summary(&mut self, _: u64, tag: &str, summary: &Summary<'_>) -> Result<()> {
        if let ("init", Summary::Text(text)) = (tag, summary) {
            complain(&format!("{}: {text}", self.label));
        }
        Ok(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

/// A bar over the episodes of an evaluation, to `inc(1)` after each: nothing is shown unless stderr is a terminal.
pub(crate) fn episode_bar(label: &str, episodes: u64) -> ProgressBar {
    if drawn() { bar(label, episodes) } else { ProgressBar::hidden() }
}

/// Shows that so much of something is done: a bar on a terminal, else a line every 10 seconds.
pub(crate) fn done_of_all(what: &str, done: u64, all: u64) {
    if HIDDEN.load(Ordering::Relaxed) {
        return;
    }
    static SHOWN: Mutex<Option<(ProgressBar, Instant)>> = Mutex::new(None);
    let Ok(mut shown) = SHOWN.lock() else { return };
    let (bar, last_line) = shown.get_or_insert_with(|| (episode_bar(what, all), Instant::now()));
    bar.set_position(done);
    if bar.is_hidden() && last_line.elapsed() >= LINE_EVERY {
        *last_line = Instant::now();
        let _ = writeln!(std::io::stderr(), "{what}: {done} of {all}");
    }
    if done >= all {
        bar.finish_and_clear();
        *shown = None;
    }
}

fn bar(label: &str, length: u64) -> ProgressBar {
    // Two lines, so that the figures are all there on a terminal of 80 columns.
    let style = ProgressStyle::with_template("{prefix} {bar:40} {pos}/{len}, {eta} left\n  {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_prefix(label.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_has_running_means_the_current_rate_and_the_last_validation() {
        let mut progress = Progress::new("toy", 10);
        progress.bar = Some(ProgressBar::hidden());
        let point = |scalars: &[(&str, f32)]| Point {
            step: 1,
            measured: scalars.iter().map(|&(tag, value)| (tag.to_owned(), value)).collect(),
            timing: Vec::new(),
        };
        progress.log(&point(&[("train/loss", 1.0), ("train/learning_rate", 0.01)])).unwrap();
        progress.log(&point(&[("train/loss", 2.0), ("train/learning_rate", 0.001)])).unwrap();
        assert_eq!(progress.message(), "loss 1.500, lr 1.0e-3");
        progress
            .log(&point(&[
                ("validation/accuracy", 0.9),
                ("validation/accuracy_low", 0.88),
                ("validation/accuracy_high", 0.92),
            ]))
            .unwrap();
        assert_eq!(progress.message(), "loss 1.500, lr 1.0e-3, validation 0.900 ± 0.020");
    }
}
