//! Datasets that are open, for all experiments that ask for the same.

use std::path::PathBuf;
use std::sync::Arc;

use kshot::Result;
use kshot::dataset::Dataset;

use crate::experiment::Experiment;
use crate::output::complain;
use crate::place::context;

/// A dataset that is open.
pub(crate) struct Opened {
    data: (Option<PathBuf>, Vec<(String, toml::Table)>),
    dataset: Arc<dyn Dataset>,
}

/// What an experiment is on: one of these, else opened, with its notes said, and added to them.
pub(super) fn dataset(experiment: &Experiment, opened: &mut Vec<Opened>) -> Result<Arc<dyn Dataset>> {
    let data = experiment.data_with_options();
    if let Some(known) = opened.iter().find(|known| known.data == data) {
        return Ok(known.dataset.clone());
    }
    let dataset: Arc<dyn Dataset> = experiment.open_data(&context(experiment.data_dir.as_ref()))?.into();
    for note in dataset.notes() {
        complain(&format!("note: {note}"));
    }
    opened.push(Opened { data, dataset: dataset.clone() });
    Ok(dataset)
}
