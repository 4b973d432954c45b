//! `kshot bench`: every learner that fits, on the same tasks.

use std::path::PathBuf;

use kshot::learner::Learner;
use kshot::registry::{LearnerEntry, Problem};
use kshot::stats::interval95;
use kshot::{Error, Result};
use serde_json::{Value, json};

use crate::args::BenchArgs;
use crate::job::{Job, with_test_steps};
use crate::measure::{evaluated, trained};
use crate::output::{complain, paragraph, print, writable, write_json};
use crate::row::Row;
use crate::setting::Setting;
use crate::stop::stop_on_ctrl_c;
use crate::words::{figure, seeds};
use crate::{domain_table, plot, table};

pub(crate) fn run(args: BenchArgs) -> Result<()> {
    let BenchArgs { flags, seeds, plot, json } = args;
    if seeds == 0 {
        return Err(Error::invalid("`--seeds` is 0; ask for at least one"));
    }
    let job = Job::open(flags.experiment(None)?)?;
    for path in json.iter().chain(&plot) {
        writable(path)?;
    }
    let files = Files { json, plot };
    let (learners, settings) = (job.learners()?, job.settings()?);
    check(&job, &learners, &settings)?;
    stop_on_ctrl_c();
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for settings in settings.chunk_by(Setting::trains_as) {
        for entry in &learners {
            match measure_seeds(&job, entry, settings, seeds) {
                Ok(measured) => rows.extend(measured),
                Err(error @ Error::Interrupted(_)) => {
                    return finish(&job, &files, &rows, Err(error));
                }
                Err(error) => {
                    // The others' figures are worth having all the same.
                    complain(&paragraph(&error));
                    failed.push(format!("`{}`", entry.name));
                }
            }
        }
    }
    let outcome = if failed.is_empty() {
        Ok(())
    } else {
        Err(Error::invalid(format!("no figure for {}, for the reasons above", failed.join(", "))))
    };
    finish(&job, &files, &rows, outcome)
}

/// Refuses what cannot work before anything is trained.
fn check(job: &Job, learners: &[&'static LearnerEntry], settings: &[Setting]) -> Result<()> {
    for setting in settings {
        job.test(setting)?;
        for entry in learners {
            let mut learner = job.build(entry, &job.setup(entry, setting)?)?;
            if let Some(trainable) = learner.trainable() {
                job.training(trainable, setting).map_err(|error| named(entry, error))?;
                job.validation(entry, setting)?;
            }
        }
    }
    Ok(())
}

fn named(entry: &LearnerEntry, error: Error) -> Error {
    error.context(format!("`{}`", entry.name))
}

/// What is written beside the table.
struct Files {
    json: Option<PathBuf>,
    plot: Option<PathBuf>,
}

/// Prints what there is, writes it where asked, and passes on what went wrong.
fn finish(job: &Job, files: &Files, rows: &[Row], outcome: Result<()>) -> Result<()> {
    if !rows.is_empty() {
        print(&text(job, rows))?;
        if let Some(path) = &files.plot {
            plot::write(path, rows)?;
        }
        if let Some(path) = &files.json {
            let rows: Vec<Value> = rows.iter().map(|row| row.json(&job.experiment)).collect();
            write_json(path, &json!({ "rows": rows }))?;
        }
    }
    outcome
}

/// As [`measure`], with several seeds: the figure of a row is then the mean over them.
fn measure_seeds(
    job: &Job,
    entry: &'static LearnerEntry,
    settings: &[Setting],
    seeds: u64,
) -> Result<Vec<Row>> {
    if seeds == 1 {
        return measure(job, entry, settings);
    }
    let first = job.experiment.seed();
    let mut runs = (first..first + seeds)
        .map(|seed| measure(&job.with_seed(seed), entry, settings))
        .collect::<Result<Vec<_>>>()?;
    let means = |row: usize| -> Vec<f32> {
        runs.iter().map(|rows| rows[row].evaluation.score.interval.mean as f32).collect()
    };
    let combined = (0..runs[0].len())
        .map(|row| {
            Ok((interval95(&means(row))?, runs.iter().map(|rows| rows[row].evaluation.seconds).sum::<f64>()))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut rows = runs.swap_remove(0);
    for (row, (interval, seconds)) in rows.iter_mut().zip(combined) {
        row.evaluation.score.interval = interval;
        row.evaluation.seconds = seconds / seeds as f64;
        row.seeds = seeds;
    }
    Ok(rows)
}

/// Trains a learner once and evaluates it in each setting; a row for each number of inner steps.
fn measure(job: &Job, entry: &'static LearnerEntry, settings: &[Setting]) -> Result<Vec<Row>> {
    let Some(first) = settings.first() else { return Ok(Vec::new()) };
    let mut learner = job.build(entry, &job.setup(entry, first)?)?;
    let trained = match learner.trainable() {
        Some(trainable) => {
            Some(trained(job, entry, first, trainable, None).map_err(|error| named(entry, error))?)
        }
        None => None,
    };
    let mut rows = Vec::new();
    for setting in settings {
        for test_steps in job.test_steps(entry) {
            let row = evaluate(job, entry, setting, test_steps, learner.as_mut());
            rows.push(Row { trained: trained.clone(), ..row.map_err(|error| named(entry, error))? });
        }
    }
    Ok(rows)
}

/// A trained learner's figure in one setting.
fn evaluate(
    job: &Job,
    entry: &'static LearnerEntry,
    setting: &Setting,
    test_steps: Option<usize>,
    learner: &mut dyn Learner,
) -> Result<Row> {
    let (tasks, episodes) = job.test(setting)?;
    let adapting = match test_steps {
        Some(steps) => {
            let (setup, options) = (job.setup(entry, setting)?, job.experiment.options(entry.name));
            Some(with_test_steps(entry, &setup, options, learner, steps)?)
        }
        None => None,
    };
    let learner: &dyn Learner = adapting.as_deref().unwrap_or(learner);
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
    Ok(Row {
        entry,
        setting: setting.clone(),
        test_steps,
        transductive: learner.is_transductive(),
        trained: None,
        evaluation,
        distances,
        seeds: 1,
    })
}

/// The table, one part for each setting of ways and shots.
fn text(job: &Job, rows: &[Row]) -> String {
    if rows.iter().any(|row| row.setting.pair.is_some()) {
        return domain_table::text(job, rows);
    }
    let same = |a: &Row, b: &Row| a.setting == b.setting;
    let mut text = String::new();
    for part in rows.chunk_by(same) {
        let first = &part[0];
        text += &format!(
            "\n{}, {}, {} queries{}, {} test episodes, {}\n\n",
            job.experiment.data(),
            first.setting.in_words(job.problem()),
            job.experiment.queries(),
            if job.problem() == Problem::Classification { " a class" } else { "" },
            first.evaluation.per_episode.len(),
            seeds(job.experiment.seed(), first.seeds)
        );
        text += &table::render(&first.header(), &part.iter().map(Row::cells).collect::<Vec<_>>(), 3);
    }
    text
}
