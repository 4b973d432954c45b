//! `kshot bench` and `kshot run`: every learner that fits, on the same tasks; looked at once, or kept cell by cell.

use std::path::{Path, PathBuf};

use kshot::registry::LearnerEntry;
use kshot::stats::interval95;
use kshot::{Error, Result};
use serde_json::json;

use crate::args::{BenchArgs, RunArgs};
use crate::compare::render::{Form, render};
use crate::compare::section::sections;
use crate::job::Job;
use crate::leak;
use crate::output::{complain, paragraph, print, writable, write_json};
use crate::row::Row;
use crate::setting::Setting;
use crate::stop::stop_on_ctrl_c;
use crate::suite::{Grid, How, Plan, Suite, SuiteDirectory, measure, search};
use crate::words::plural;
use crate::world::world;
use crate::{plot, source_table};

pub(crate) fn run(args: BenchArgs) -> Result<()> {
    let BenchArgs { flags, seeds, plot, json, out, jobs, memory } = args;
    let suite = Suite::of(&flags, seeds)?;
    all(suite, out.as_deref(), How { jobs, again: false, memory }, &Files { json, plot })
}

pub(crate) fn run_suite(args: RunArgs) -> Result<()> {
    let RunArgs { flags, seeds, out, jobs, memory, again, json } = args;
    let Some(file) = flags.file() else {
        return Err(Error::invalid("name the suite's file, as in `kshot run examples/suites/quick.toml`"));
    };
    let out = out.unwrap_or_else(|| Path::new("runs").join(file.file_stem().unwrap_or_default()));
    let suite = Suite::of(&flags, seeds)?;
    all(suite, Some(&out), How { jobs, again, memory }, &Files { json, plot: None })
}

/// What is written beside the table.
struct Files {
    json: Option<PathBuf>,
    plot: Option<PathBuf>,
}

/// Measures a suite, kept in a directory if one is named, and shows it, an experiment after the other.
fn all(suite: Suite, out: Option<&Path>, how: How, files: &Files) -> Result<()> {
    for path in files.json.iter().chain(&files.plot) {
        writable(path)?;
    }
    if world().size() > 1 && (how.jobs > 1 || how.memory.is_some()) {
        return Err(Error::invalid(
            "each rank measures a cell at a time, and only its starter knows which share a machine's memory: leave out `--jobs` and \
             `--memory`",
        ));
    }
    let mut directory = None;
    world().from_first(|| {
        directory = out.map(SuiteDirectory::open).transpose()?;
        Ok(())
    })?;
    let directory = directory.or_else(|| out.map(SuiteDirectory::shared));
    let mut opened = Vec::new();
    let open = |experiment| Grid::open(experiment, &suite.seeds, &mut opened);
    let mut grids: Vec<Grid> = suite.experiments.into_iter().map(open).collect::<Result<_>>()?;
    search::refuse_unasked(&grids)?;
    let mut failed = Vec::new();
    for grid in &mut grids {
        failed.extend(check(grid)?);
    }
    let (mut plan, mut names, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    for grid in &grids {
        let cells = grid.cells();
        sizes.push(cells.len());
        for cell in cells {
            let place = match &directory {
                Some(directory) => {
                    let name = cell.name()?;
                    let place = directory.cell(&name);
                    names.push(name);
                    Some(place)
                }
                None => None,
            };
            plan.push(Plan { cell, directory: place });
        }
    }
    if let Some(directory) = directory.as_ref().filter(|_| world().is_first()) {
        directory.list(&names)?;
    }
    stop_on_ctrl_c();
    let (measured, outcome) = measure(&plan, how);
    failed.extend(
        plan.iter()
            .zip(&measured)
            .filter(|(_, measured)| !measured.failed.is_empty())
            .map(|(plan, _)| format!("`{}`", plan.cell.entry.name)),
    );
    failed.dedup();
    let mut measured = measured.into_iter();
    let (mut rows, mut json_rows) = (Vec::new(), Vec::new());
    for (grid, size) in grids.iter().zip(sizes) {
        let own = measured.by_ref().take(size).flat_map(|measured| measured.rows).collect();
        let measured: Vec<Row> = own;
        let own = over_seeds(measured.clone(), suite.seeds.len())?;
        print(&render(&sections(&measured, None)?, None, grid.jobs[0].published(), Form::Terminal))?;
        print(&source_table::text(&grid.jobs, &measured)?)?;
        for row in &own {
            let mut json = row.json();
            if let Some(by_source) = source_table::json(&grid.jobs, row, &measured)? {
                json["by_dataset"] = by_source;
            }
            json_rows.push(json);
        }
        rows.extend(own);
    }
    if let (Some(path), false, true) = (&files.plot, rows.is_empty(), world().is_first()) {
        plot::write(path, &rows)?;
    }
    if let (Some(path), false) = (&files.json, rows.is_empty()) {
        write_json(path, &json!({ "rows": json_rows }))?;
    }
    match (outcome, out) {
        (Err(Error::Interrupted(_)), Some(out)) => {
            Err(Error::Interrupted(format!("the same command goes on from what is in {}", out.display())))
        }
        (Err(error), _) => Err(error),
        (Ok(()), _) if !failed.is_empty() => {
            Err(Error::invalid(format!("not all figures of {}, for the reasons above", failed.join(", "))))
        }
        (Ok(()), Some(out)) => print(&format!("\n{} in {}\n", plural(plan.len(), "cell"), out.display())),
        (Ok(()), None) => Ok(()),
    }
}

/// Refuses what cannot work before anything is trained. A learner that cannot be trained on this data is taken out and named,
/// so that the others' figures stand; unless it is the only one.
fn check(grid: &mut Grid) -> Result<Vec<String>> {
    let Grid { jobs, learners, settings } = grid;
    let job = &jobs[0];
    settings.iter().try_for_each(|setting| job.test(setting).map(drop))?;
    let mut failed = Vec::new();
    let alone = learners.len() == 1;
    let mut fitting = Vec::new();
    for entry in learners.drain(..) {
        let variants = job.variants(entry);
        // Options that are wrong stop all; data that is too small for one learner stops that one.
        for job in &variants {
            (entry.resolve)(&job.experiment.options(entry.name))?;
            job.train_config(entry)?;
            job.backbone(entry)?;
            settings.iter().try_for_each(|setting| leak::refuse_features(entry.name, job, setting))?;
        }
        settings.iter().try_for_each(|setting| search::refuse(job, entry, setting))?;
        let asked = || variants.iter().flat_map(|job| settings.iter().map(move |setting| (job, setting)));
        match asked().try_for_each(|(job, setting)| trains(job, entry, setting)) {
            Ok(()) => fitting.push(entry),
            Err(error) if alone => return Err(error),
            Err(error) => {
                complain(&paragraph(&error));
                failed.push(format!("`{}`", entry.name));
            }
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
        tasks
            .and_then(|()| job.validation(entry, setting).map(drop))
            .map_err(|error| error.context(format!("`{}`", entry.name)))?;
    }
    Ok(())
}

/// The rows of several seeds, which come one after the other, as one each: the figure is then the mean over the seeds. Rows
/// that some seed lacks are left out.
fn over_seeds(rows: Vec<Row>, seeds: usize) -> Result<Vec<Row>> {
    if seeds == 1 {
        return Ok(rows);
    }
    let mut groups: Vec<Vec<Row>> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|group| group[0].is_as(&row)) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups.into_iter().filter(|group| group.len() == seeds).map(mean_over_seeds).collect()
}

/// The first row, with the mean of all.
fn mean_over_seeds(mut rows: Vec<Row>) -> Result<Row> {
    let means: Vec<f32> = rows.iter().map(|row| row.evaluation.score.interval.mean as f32).collect();
    let seconds = rows.iter().map(|row| row.evaluation.seconds).sum::<f64>() / rows.len() as f64;
    let mut row = rows.swap_remove(0);
    row.evaluation.score.interval = interval95(&means)?;
    row.evaluation.seconds = seconds;
    row.seeds = means.len() as u64;
    // Each seed has its own choice.
    row.search = None;
    Ok(row)
}
