//! Suites: experiments, each a grid of learners, settings and seeds, cut into cells that are measured one by one and kept.

mod cell;
mod directory;
mod dispatch;
mod file;
pub(crate) mod kept;
mod measure;
pub(crate) mod memory;
mod queue;
pub(crate) mod search;

use kshot::Result;
use kshot::registry::LearnerEntry;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::experiment::Experiment;
use crate::job::{Job, Opened};
use crate::setting::Setting;
pub(crate) use cell::Cell;
pub(crate) use directory::{SuiteDirectory, cells_of};
pub(crate) use file::Suite;
pub(crate) use measure::{How, Plan, measure};

/// One experiment of a suite, opened once for each seed.
pub(crate) struct Grid {
    /// A job for each seed; all share the dataset.
    pub(crate) jobs: Vec<Job>,
    pub(crate) learners: Vec<&'static LearnerEntry>,
    pub(crate) settings: Vec<Setting>,
}

impl Grid {
    /// Opens an experiment for these seeds, with the datasets that others have opened.
    pub(crate) fn open(experiment: Experiment, seeds: &[u64], opened: &mut Vec<Opened>) -> Result<Self> {
        let job = Job::open_among(experiment, opened)?;
        let (learners, settings) = (job.learners()?, job.settings()?);
        Ok(Self { jobs: seeds.iter().map(|&seed| job.with_seed(seed)).collect(), learners, settings })
    }

    /// The cells, in the order in which they are shown: settings that share a training, learners, seeds.
    pub(crate) fn cells(&self) -> Vec<Cell<'_>> {
        let mut cells = Vec::new();
        for settings in self.settings.chunk_by(Setting::trains_as) {
            for entry in &self.learners {
                cells.extend(self.jobs.iter().map(|job| Cell { job, entry, settings }));
            }
        }
        cells
    }
}

impl Cell<'_> {
    /// A name for the directory it is kept in: what it is, for people, and a digest of all that its figures follow from.
    ///
    /// # Errors
    /// When an option is wrong.
    pub(crate) fn name(&self) -> Result<String> {
        let (job, entry) = (self.job, self.entry);
        let experiment = &job.experiment;
        let mut of: Value = json!({
            "kshot": env!("CARGO_PKG_VERSION"),
            "learner": entry.name,
            "options": (entry.resolve)(&experiment.options(entry.name))?,
            "backbone": job.backbone(entry)?,
            "data": experiment.data(),
            "data_options": experiment.options(experiment.data()),
            "train": entry.training.map(|_| job.train_config(entry)).transpose()?,
            "train_domains": experiment.train_domains,
            "settings": self.settings,
            "test_steps": job.test_steps(entry),
            "queries": experiment.queries,
            "episodes": experiment.episodes(),
            "manifest": experiment.manifest,
            "seed": experiment.seed(),
        });
        // What is neither searched nor varied is called as it was before either could be.
        let combinations = experiment.combinations(entry);
        if !combinations.is_empty() {
            of["search"] = json!(combinations.iter().map(ToString::to_string).collect::<Vec<_>>());
        }
        let varied = job.varied()?;
        if !varied.is_empty() {
            of["augment"] = json!(varied);
        }
        let digest = Sha256::digest(of.to_string());
        let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let setting = self.settings.first().map_or_else(String::new, Setting::in_a_name);
        Ok(format!("{}-{}-{setting}-seed{}-{short}", experiment.data(), entry.name, experiment.seed()))
    }
}
