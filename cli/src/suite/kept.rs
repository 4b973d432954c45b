//! What is kept of a finished cell or run: `result.json`, whose bytes the seed determines; `timing.json`, which the clock does; and
//! `episodes.npz`, the figure of every test episode, so that anyone can test again.

use std::fs;
use std::path::Path;

use kshot::eval::{Classification, Evaluation, Score};
use kshot::learner::DomainDistances;
use kshot::registry;
use kshot::train::Trained;
use kshot::{Error, Result, atomic, file};
use kshot_datasets::arrays::{self, write};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::search::Search;
use crate::doctor;
use crate::row::Row;
use crate::setting::Setting;

/// Version of the form of `result.json`; a later one is not read. 2 has `search`.
pub(crate) const FORM: u64 = 2;

/// Names of the files.
pub(crate) const RESULT: &str = "result.json";
const TIMING: &str = "timing.json";
const EPISODES: &str = "episodes.npz";

/// `result.json`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    /// [`FORM`].
    form: u64,
    /// Version of kshot that measured.
    kshot: String,
    /// The figures.
    rows: Vec<KeptRow>,
    /// Why there are no more.
    pub(crate) failed: Vec<String>,
    /// What was tried and chosen on validation classes, where values were searched.
    #[serde(default)]
    search: Option<Search>,
}

/// A row without what the clock determines.
#[derive(Serialize, Deserialize, JsonSchema)]
struct KeptRow {
    learner: String,
    dataset: String,
    data_options: String,
    options: String,
    #[serde(flatten)]
    setting: Setting,
    test_steps: Option<usize>,
    transductive: bool,
    seed: u64,
    #[serde(flatten)]
    score: Score,
    episodes: usize,
    train: Option<KeptTraining>,
    distances: Option<DomainDistances>,
    classification: Option<Classification>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct KeptTraining {
    steps: u64,
    best_step: u64,
    validation: Option<Score>,
}

/// `timing.json`: seconds.
#[derive(Default, Serialize, Deserialize)]
struct Timing {
    train: f64,
    /// Of each row.
    evaluation: Vec<f64>,
}

const DOING: &str = "keeping the figures in";

/// Keeps what a cell came to, the experiment that measures it again (`config.toml`), and what it was measured on (`env.json`).
///
/// # Errors
/// When a file cannot be written. `result.json` comes last: where it is, all is there.
pub(crate) fn write(directory: &Path, config: &str, rows: &[Row], failed: Vec<String>) -> Result<()> {
    fs::create_dir_all(directory).map_err(|error| Error::io(DOING, directory, error))?;
    atomic::write(&directory.join("config.toml"), config.as_bytes(), DOING)?;
    json(&directory.join("env.json"), &doctor::environment())?;
    let names: Vec<String> = (0..rows.len()).map(|row| format!("row{row}")).collect();
    let figures: Vec<(&str, &[f32])> =
        names.iter().zip(rows).map(|(name, row)| (name.as_str(), &*row.evaluation.per_episode)).collect();
    write::vectors(&directory.join(EPISODES), &figures)?;
    let timing = Timing {
        train: rows.iter().find_map(|row| Some(row.trained.as_ref()?.seconds)).unwrap_or(0.0),
        evaluation: rows.iter().map(|row| row.evaluation.seconds).collect(),
    };
    json(&directory.join(TIMING), &timing)?;
    let kept = |row: &Row| KeptRow {
        learner: row.entry.name.to_owned(),
        dataset: row.dataset.clone(),
        data_options: row.data_options.clone(),
        options: row.options.clone(),
        setting: row.setting.clone(),
        test_steps: row.test_steps,
        transductive: row.transductive,
        seed: row.seed,
        score: row.evaluation.score,
        episodes: row.evaluation.per_episode.len(),
        train: row.trained.as_ref().map(|trained| KeptTraining {
            steps: trained.steps,
            best_step: trained.best_step,
            validation: trained.validation,
        }),
        distances: row.distances,
        classification: row.classification.clone(),
    };
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let search = rows.first().and_then(|row| row.search.clone());
    let rows = rows.iter().map(kept).collect();
    json(&directory.join(RESULT), &Kept { form: FORM, kshot: version, rows, failed, search })
}

fn json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| Error::invalid(error.to_string()))?;
    text.push('\n');
    atomic::write(path, text.as_bytes(), DOING)
}

/// The figures of a finished cell, and why there are no more; none where it is not finished.
///
/// # Errors
/// When what is there cannot be read.
pub(crate) fn read(directory: &Path) -> Result<Option<(Vec<Row>, Vec<String>)>> {
    let path = directory.join(RESULT);
    if !path.exists() {
        return Ok(None);
    }
    let broken = |path: &Path, why: String| {
        Error::invalid(format!(
            "{} is not what `kshot run` wrote ({why}): remove it to measure again",
            path.display()
        ))
    };
    let text = |path: &Path| file::bytes(path, file::MOST_BYTES, "reading the figures of");
    let kept: Kept =
        serde_json::from_slice(&text(&path)?).map_err(|error| broken(&path, error.to_string()))?;
    if !(1..=FORM).contains(&kept.form) {
        return Err(broken(&path, format!("it is of form {}, and this kshot reads up to {FORM}", kept.form)));
    }
    // Without it, times are not known.
    let timing: Timing = text(&directory.join(TIMING))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let episodes = directory.join(EPISODES);
    let names: Vec<String> = (0..kept.rows.len()).map(|row| format!("row{row}")).collect();
    let mut figures = arrays::vectors(&episodes, &names)?.into_iter();
    let mut rows = Vec::new();
    for (number, row) in kept.rows.into_iter().enumerate() {
        let per_episode = figures.next().filter(|figures| figures.len() == row.episodes);
        let per_episode =
            per_episode.ok_or_else(|| broken(&episodes, format!("row {number} has other episodes")))?;
        rows.push(Row {
            entry: registry::learner(&row.learner)?,
            dataset: row.dataset,
            data_options: row.data_options,
            options: row.options,
            setting: row.setting,
            test_steps: row.test_steps,
            transductive: row.transductive,
            trained: row.train.map(|train| Trained {
                steps: train.steps,
                best_step: train.best_step,
                validation: train.validation,
                seconds: timing.train,
            }),
            evaluation: Evaluation {
                score: row.score,
                per_episode,
                details: None,
                seconds: timing.evaluation.get(number).copied().unwrap_or(f64::NAN),
                interrupted: false,
            },
            distances: row.distances,
            classification: row.classification,
            search: kept.search.clone(),
            seed: row.seed,
            seeds: 1,
        });
    }
    Ok(Some((rows, kept.failed)))
}
