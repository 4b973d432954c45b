//! A cell of a suite: one training, and the tests that share it.

use std::fs;
use std::path::Path;

use kshot::learner::Learner;
use kshot::registry::{LearnerEntry, Setup};
use kshot::train::{Directory, LAST, Trained};
use kshot::{Error, Result};

use super::search::{self, Search};
use crate::job::{Job, after_steps, with_test_steps};
use crate::measure::{evaluated, trained};
use crate::row::Row;
use crate::setting::Setting;
use crate::words::{figure, with_steps};
use crate::world::sharing;

/// One learner, trained once with a seed, tested in settings that share the training.
pub(crate) struct Cell<'a> {
    pub(crate) job: &'a Job,
    pub(crate) entry: &'static LearnerEntry,
    pub(crate) settings: &'a [Setting],
}

/// A learner ready to be tested.
pub(super) struct Ready {
    pub(super) learner: Box<dyn Learner>,
    /// What it was built for, and of.
    setup: Setup,
    options: toml::Table,
    pub(super) trained: Option<Trained>,
    pub(super) search: Option<Search>,
}

impl Cell<'_> {
    /// Trains, in a directory if one is given (going on with what is there), and evaluates: a row for each setting and number
    /// of inner steps, or why there is none. A panic in the learner or beneath it is one failed row.
    pub(crate) fn measure(&self, directory: Option<&Path>) -> Vec<Result<Row>> {
        let rows = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.rows(directory)));
        let rows = match rows {
            Ok(rows) => rows,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
                Err(Error::invalid(format!(
                    "`{}` panicked ({text}); this is a fault of the learner",
                    self.entry.name
                )))
            }
        };
        sharing().settle(rows).unwrap_or_else(|error| vec![Err(error)])
    }

    /// The experiment file that measures it again; with the values that were chosen, where some were searched.
    pub(crate) fn config(&self, chosen: Option<&Search>) -> Result<String> {
        let combinations = self.job.experiment.combinations(self.entry);
        let chosen = chosen.and_then(|search| combinations.get(search.chosen));
        let experiment = &self.job.experiment;
        let experiment = chosen.map_or_else(|| experiment.clone(), |chosen| experiment.with(chosen));
        let job = self.job.with(experiment);
        let train = self.entry.training.map(|_| job.train_config(self.entry)).transpose()?;
        job.experiment.config(self.entry.name, self.settings, train)
    }

    fn rows(&self, directory: Option<&Path>) -> Result<Vec<Result<Row>>> {
        let Self { job, entry, settings } = *self;
        let Some(first) = settings.first() else { return Ok(Vec::new()) };
        let mut ready = match job.experiment.combinations(entry).is_empty() {
            true => self.prepared(job, first, directory)?,
            false => search::searched(self, first, directory)?,
        };
        let mut rows = Vec::new();
        for setting in settings {
            for test_steps in job.test_steps(entry) {
                let row = sharing().settle(self.evaluate(setting, test_steps, &mut ready));
                rows.push(match row {
                    Ok(row) => {
                        Ok(Row { trained: ready.trained.clone(), search: ready.search.clone(), ..row })
                    }
                    Err(error) => {
                        let error = after_steps(error, test_steps);
                        Err(error.context(format!("`{}`", with_steps(entry.name, test_steps))))
                    }
                });
                if matches!(rows.last(), Some(Err(Error::Interrupted(_)))) {
                    return Ok(rows);
                }
            }
        }
        Ok(rows)
    }

    /// The learner built and, if it learns, trained, in a directory if one is given, as a job says.
    pub(super) fn prepared(&self, job: &Job, first: &Setting, directory: Option<&Path>) -> Result<Ready> {
        let entry = self.entry;
        let setup = job.setup(entry, first)?;
        let mut learner = job.build(entry, &setup)?;
        let trained = match learner.trainable() {
            Some(trainable) => {
                let directory = match directory {
                    Some(path) => Some(Directory {
                        path,
                        resume: begun(path)?,
                        origin: job.origin(entry, setup.clone(), first)?,
                    }),
                    None => None,
                };
                let trained = trained(job, entry, first, trainable, directory);
                Some(trained.map_err(|error| error.context(format!("`{}`", entry.name)))?)
            }
            None => None,
        };
        let options = job.experiment.options(entry.name);
        Ok(Ready { learner, setup, options, trained, search: None })
    }

    /// The trained learner's figure in one setting.
    fn evaluate(&self, setting: &Setting, test_steps: Option<usize>, ready: &mut Ready) -> Result<Row> {
        let Self { job, entry, .. } = *self;
        let (tasks, episodes) = job.test(setting)?;
        let adapting = match test_steps {
            Some(steps) => {
                let learner = ready.learner.as_mut();
                Some(with_test_steps(entry, &ready.setup, ready.options.clone(), learner, steps)?)
            }
            None => None,
        };
        let learner: &dyn Learner = adapting.as_deref().unwrap_or(ready.learner.as_ref());
        let evaluation = evaluated(&format!("{}: test", entry.name), learner, tasks.as_ref(), episodes);
        let evaluation = evaluation.map_err(|error| match &setting.pair {
            Some(pair) => error.context(format!("{} to {}", pair.source, pair.target)),
            None => error,
        })?;
        if evaluation.interrupted {
            return Err(Error::Interrupted(format!(
                "the evaluation stopped after {} of {episodes} episodes, at {}; the table has what was finished",
                evaluation.per_episode.len(),
                figure(&evaluation)
            )));
        }
        let distances = match (&setting.pair, learner.aligner()) {
            (Some(_), Some(aligner)) => {
                let task = tasks.episode(0)?;
                Some(aligner.domain_distances(&task.support, &task.query.examples)?)
            }
            _ => None,
        };
        let row = Row::of(&job.experiment, entry, setting, learner, evaluation);
        Ok(Row { test_steps, distances, ..row })
    }
}

/// Whether a directory holds a training to go on with; what is there of one that had not come to its first checkpoint goes.
fn begun(directory: &Path) -> Result<bool> {
    if directory.join(LAST).exists() {
        return Ok(true);
    }
    if directory.exists() {
        fs::remove_dir_all(directory).map_err(|error| Error::io("clearing", directory, error))?;
    }
    Ok(false)
}
