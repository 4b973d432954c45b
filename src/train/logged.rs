//! What the logs are told of a training. It changes no result.

use ndarray::ArrayView4;

use super::files::Files;
use super::{Trained, Training};
use crate::Result;
use crate::learner::Learner;
use crate::log::{Embed, Observer, Point, RunLog, Session, Summary, environment, log_episode, settings};
use crate::params::{Params, Role};

impl Training<'_> {
    /// What is trained, and where.
    pub(super) fn log_settings(&mut self) -> Result<()> {
        let Some(description) = self.files.as_ref().map(Files::description).cloned() else { return Ok(()) };
        self.summary("settings", &Summary::Text(&settings(&description.of_the_run())))?;
        self.summary("environment", &Summary::Text(&environment()))?;
        self.session(&Session::Start(&description.settings()))
    }

    /// The scalars of a step.
    pub(super) fn log(
        &mut self,
        phase: &str,
        measured: &[(&str, f32)],
        episodes_per_second: f64,
    ) -> Result<()> {
        let tagged = |(name, value): &(&str, f32)| (format!("{phase}/{name}"), *value);
        let point = Point {
            step: self.state.step,
            measured: measured.iter().map(tagged).collect(),
            timing: vec![tagged(&("episodes_per_second", episodes_per_second as f32))],
        };
        if let Some(files) = &mut self.files {
            files.log.log(&point)?;
        }
        self.observer.log(&point)
    }

    /// A histogram of each tensor of weights, or of its gradient.
    pub(super) fn log_tensors(&mut self, what: &str, params: &Params) -> Result<()> {
        let layout = params.layout().clone();
        let mut weights = layout.entries().iter().filter(|entry| entry.role == Role::Weight);
        weights.try_for_each(|entry| {
            let values = Summary::Histogram(&params.values()[entry.range.clone()]);
            self.summary(&format!("{what}/{}", entry.name), &values)
        })
    }

    pub(super) fn summary(&mut self, tag: &str, summary: &Summary<'_>) -> Result<()> {
        if let Some(files) = &mut self.files {
            files.log.summary(self.state.step, tag, summary)?;
        }
        self.observer.summary(self.state.step, tag, summary)
    }

    /// Only a run with a directory knows its settings.
    fn session(&mut self, session: &Session<'_>) -> Result<()> {
        let Some(files) = &mut self.files else { return Ok(()) };
        files.log.session(session)?;
        self.observer.session(session)
    }

    /// The figures of the run as a whole; and the first validation episode, as the best weights answer it.
    pub(super) fn log_outcome(&mut self, trained: &Trained) -> Result<()> {
        if let Some(score) = trained.validation {
            let name = score.measure.name();
            self.summary(&format!("final/{name}"), &Summary::Scalar(score.interval.mean as f32))?;
            self.summary("final/best_step", &Summary::Scalar(trained.best_step as f32))?;
        }
        self.summary("final/steps", &Summary::Scalar(trained.steps as f32))?;
        if let (Some(tasks), Some(_), Some(files)) = (self.validation, trained.validation, &mut self.files) {
            let mut both = Both(&mut files.log, self.observer);
            let (learner, episode): (&dyn Learner, _) = (self.learner, tasks.episode(0)?);
            let embed = learner.comparer().map(|comparer| move |x: ArrayView4<'_, f32>| comparer.embed(x));
            let embed = embed.as_ref().map(|embed| embed as Embed<'_>);
            log_episode(&mut both, trained.steps, "validation", learner, &episode, embed)?;
        }
        self.session(&Session::End)
    }
}

/// Two who are told the same.
struct Both<'a>(&'a mut RunLog, &'a mut dyn Observer);

impl Observer for Both<'_> {
    fn log(&mut self, point: &Point) -> Result<()> {
        self.0.log(point)?;
        self.1.log(point)
    }

    fn summary(&mut self, step: u64, tag: &str, summary: &Summary<'_>) -> Result<()> {
        self.0.summary(step, tag, summary)?;
        self.1.summary(step, tag, summary)
    }
}
