//! `kshot bench`: every learner that fits, on the same tasks.

use std::path::PathBuf;

use kshot::learner::Learner;
use kshot::registry::{LearnerEntry, Problem};
use kshot::stats::interval95_of_few;
use kshot::{Error, Result};
use serde_json::{Value, json};

use crate::args::BenchArgs;
use crate::job::{Job, after_steps, with_test_steps};
use crate::leak;
use crate::measure::{evaluated, trained};
use crate::output::{complain, paragraph, print, writable, write_json};
use crate::row::Row;
use crate::setting::Setting;
use crate::stop::stop_on_ctrl_c;
use crate::words::{figure, seeds, with_steps};
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
    let (mut learners, settings) = (job.learners()?, job.settings()?);
    let mut failed = check(&job, &mut learners, &settings)?;
    stop_on_ctrl_c();
    let mut rows = Vec::new();
    for settings in settings.chunk_by(Setting::trains_as) {
        for entry in &learners {
            for cell in unless_it_panics(entry, || measure_seeds(&job, entry, settings, seeds)) {
                match cell {
                    Ok(row) => rows.push(row),
                    Err(error @ Error::Interrupted(_)) => {
                        return finish(&job, &files, &rows, Err(error));
                    }
                    // The others' figures are worth having all the same.
                    Err(error) => failed.push(complained(entry, &error)),
                }
            }
        }
    }
    failed.dedup();
    let outcome = if failed.is_empty() {
        Ok(())
    } else {
        Err(Error::invalid(format!("not all figures of {}, for the reasons above", failed.join(", "))))
    };
    finish(&job, &files, &rows, outcome)
}

/// Refuses what cannot work before anything is trained. A learner that cannot be trained on this data is taken out of
/// `learners` and named, so that the others' figures stand; unless it is the only one.
fn check(job: &Job, learners: &mut Vec<&'static LearnerEntry>, settings: &[Setting]) -> Result<Vec<String>> {
    for setting in settings {
        job.test(setting)?;
        learners.iter().try_for_each(|entry| leak::refuse_features(entry.name, job, setting))?;
    }
    let mut failed = Vec::new();
    let alone = learners.len() == 1;
    let mut fitting = Vec::new();
    for entry in learners.drain(..) {
        // Options that are wrong stop all; data that is too small for one learner stops that one.
        (entry.resolve)(&job.experiment.options(entry.name))?;
        job.train_config(entry)?;
        job.backbone(entry)?;
        let fits = settings.iter().try_for_each(|setting| trains(job, entry, setting));
        match fits {
            Ok(()) => fitting.push(entry),
            Err(error) if alone => return Err(error),
            Err(error) => failed.push(complained(entry, &error)),
        }
    }
    *learners = fitting;
    match learners.is_empty() {
        true => Err(Error::invalid("no learner can be trained on this data, for the reasons above")),
        false => Ok(failed),
    }
}

/// Whether a learner can be built and trained for a setting.
fn trains(job: &Job, entry: &LearnerEntry, setting: &Setting) -> Result<()> {
    if let Some(trainable) = job.build(entry, &job.setup(entry, setting)?)?.trainable() {
        let tasks = job.training(trainable, setting).map(drop);
        tasks.and_then(|()| job.validation(entry, setting).map(drop)).map_err(|error| named(entry, error))?;
    }
    Ok(())
}

/// Says why there is no figure, and of whom.
fn complained(entry: &LearnerEntry, error: &Error) -> String {
    complain(&paragraph(error));
    format!("`{}`", entry.name)
}

/// The cells of a learner; a panic in it or beneath it is one failed cell, and the others' figures stand.
fn unless_it_panics(
    entry: &LearnerEntry,
    measure: impl FnOnce() -> Result<Vec<Result<Row>>>,
) -> Vec<Result<Row>> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(measure)) {
        Ok(Ok(cells)) => cells,
        Ok(Err(error)) => vec![Err(error)],
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            vec![Err(Error::invalid(format!(
                "`{}` panicked ({text}); this is a fault of the learner",
                entry.name
            )))]
        }
    }
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
) -> Result<Vec<Result<Row>>> {
    if seeds == 1 {
        return measure(job, entry, settings);
    }
    let first = job.experiment.seed();
    let mut runs = (first..first + seeds)
        .map(|seed| Ok(measure(&job.with_seed(seed), entry, settings)?.into_iter()))
        .collect::<Result<Vec<_>>>()?;
    let mut rows = Vec::new();
    // Cell by cell, of all seeds together.
    while let Some(cells) = runs.iter_mut().map(Iterator::next).collect::<Option<Result<Vec<Row>>>>() {
        rows.push(cells.and_then(mean_over_seeds));
    }
    Ok(rows)
}

/// The first row, with the mean of all.
fn mean_over_seeds(mut cells: Vec<Row>) -> Result<Row> {
    let means: Vec<f32> = cells.iter().map(|row| row.evaluation.score.interval.mean as f32).collect();
    let seconds = cells.iter().map(|row| row.evaluation.seconds).sum::<f64>() / cells.len() as f64;
    let mut row = cells.swap_remove(0);
    row.evaluation.score.interval = interval95_of_few(&means)?;
    row.evaluation.seconds = seconds;
    row.seeds = means.len() as u64;
    Ok(row)
}

/// Trains a learner once and evaluates it in each setting; a row for each number of inner steps, or why there is none.
fn measure(job: &Job, entry: &'static LearnerEntry, settings: &[Setting]) -> Result<Vec<Result<Row>>> {
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
            rows.push(match row {
                Ok(row) => Ok(Row { trained: trained.clone(), ..row }),
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
