//! `kshot bench`: every learner that fits, on the same tasks.

use std::path::{Path, PathBuf};

use kshot::eval::{Evaluation, Measure, evaluate};
use kshot::log::{Progress, episode_bar};
use kshot::registry::{LearnerEntry, Problem};
use kshot::stats::interval95;
use kshot::train::{Run, Trained, train};
use kshot::{Error, Result, atomic};
use serde_json::{Value, json};

use crate::args::BenchArgs;
use crate::job::{Job, Shape};
use crate::train::tasks_in_words;
use crate::{STOP, complain, domain_table, paragraph, plot, print, stop_on_ctrl_c, table};

/// One line of the table.
pub(crate) struct Row {
    pub(crate) entry: &'static LearnerEntry,
    pub(crate) shape: Shape,
    /// Inner steps on a test task, where they were asked for.
    pub(crate) test_steps: Option<usize>,
    transductive: bool,
    trained: Trained,
    pub(crate) evaluation: Evaluation,
    /// Of the first task, between domains: what the learner says of it.
    measures: Vec<(&'static str, f64)>,
    /// How many seeds its figure is the mean over; all else is of the first.
    pub(crate) seeds: u64,
}

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
    let (learners, shapes) = (job.learners()?, job.shapes()?);
    // What cannot work is refused before anything is trained.
    for shape in &shapes {
        job.test(shape)?;
        for entry in &learners {
            let learner = job.build(entry, shape)?;
            if !learner.params().layout().is_empty() {
                job.training(learner.as_ref(), shape)
                    .map_err(|error| error.context(format!("`{}`", entry.name)))?;
                job.validation(entry, shape)?;
            }
        }
    }
    stop_on_ctrl_c();
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for shapes in shapes.chunk_by(Shape::trains_as) {
        for entry in &learners {
            match measure_seeds(&job, entry, shapes, seeds) {
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
            let rows: Vec<Value> = rows.iter().map(|row| json_row(job, row)).collect();
            let text = format!("{:#}\n", json!({ "rows": rows }));
            atomic::write(path, text.as_bytes(), "writing the rows to")?;
        }
    }
    outcome
}

/// As [`measure`], with several seeds: the figure of a row is then the mean over them.
fn measure_seeds(job: &Job, entry: &'static LearnerEntry, shapes: &[Shape], seeds: u64) -> Result<Vec<Row>> {
    if seeds == 1 {
        return measure(job, entry, shapes);
    }
    let first = job.experiment.seed();
    let mut runs = (first..first + seeds)
        .map(|seed| measure(&job.with_seed(seed), entry, shapes))
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

/// Trains a learner once and evaluates it on each kind of task; a row for each number of inner steps asked for.
fn measure(job: &Job, entry: &'static LearnerEntry, shapes: &[Shape]) -> Result<Vec<Row>> {
    let Some(shape) = shapes.first() else { return Ok(Vec::new()) };
    let named = |error: Error| error.context(format!("`{}`", entry.name));
    let mut learner = job.build(entry, shape)?;
    let config = job.experiment.train_config((entry.train)(job.problem()))?;
    let trained = if learner.params().layout().is_empty() {
        Trained { steps: 0, best_step: 0, validation: None, seconds: 0.0 }
    } else {
        let tasks = job.training(learner.as_ref(), shape)?;
        let validation = job.validation(entry, shape)?;
        let mut progress = Progress::new(entry.name, config.steps);
        let run = Run {
            learner: entry.name,
            experiment: Value::Null,
            seed: job.experiment.seed(),
            directory: None,
            resume: false,
            stop: &STOP,
            observer: &mut progress,
        };
        train(learner.as_mut(), tasks.as_ref(), validation.as_deref(), &config, run).map_err(named)?
    };
    let row = |shape: &Shape, test_steps: Option<usize>| {
        let (tasks, episodes) = job.test(shape)?;
        let adapting = test_steps.map(|steps| job.with_test_steps(entry, shape, learner.as_ref(), steps));
        let adapting = adapting.transpose()?;
        let learner = adapting.as_ref().unwrap_or(&learner).as_ref();
        let bar = episode_bar(&format!("{}: test", entry.name), episodes);
        let evaluation = evaluate(learner, tasks.as_ref(), episodes, &|| bar.inc(1)).map_err(|error| {
            match &shape.pair {
                Some(pair) => named(error.context(format!("{} to {}", pair.source, pair.target))),
                None => named(error),
            }
        })?;
        bar.finish_and_clear();
        let measures = match &shape.pair {
            Some(_) => {
                let task = tasks.episode(0)?;
                learner.task_measures(&task.support, &task.query.examples).map_err(named)?
            }
            None => Vec::new(),
        };
        let (shape, transductive) = (shape.clone(), learner.is_transductive());
        Ok(Row {
            entry,
            shape,
            test_steps,
            transductive,
            trained: trained.clone(),
            evaluation,
            measures,
            seeds: 1,
        })
    };
    let steps = job.test_steps(entry);
    shapes
        .iter()
        .flat_map(|shape| steps.iter().map(move |&steps| (shape, steps)))
        .map(|(s, t)| row(s, t))
        .collect()
}

/// The table, one part for each setting of ways and shots.
fn text(job: &Job, rows: &[Row]) -> String {
    if rows.iter().any(|row| row.shape.pair.is_some()) {
        return domain_table::text(job, rows);
    }
    let mut text = String::new();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let same = |row: &Row| row.shape.ways == first.shape.ways && row.shape.shots == first.shape.shots;
        let (part, others) = rest.split_at(rest.iter().position(|row| !same(row)).unwrap_or(rest.len()));
        rest = others;
        text += &format!(
            "\n{}, {}, {} queries{}, {} test episodes, {}\n\n",
            job.experiment.data(),
            tasks_in_words(job, &first.shape),
            job.experiment.queries(),
            if job.problem() == Problem::Classification { " a class" } else { "" },
            first.evaluation.per_episode.len(),
            seeds_in_words(job, first)
        );
        let measure = part[0].evaluation.score.measure.name();
        let header = ["family", "learner", "transductive", measure, "training", "evaluation"];
        text += &table::render(&header, &part.iter().map(cells).collect::<Vec<_>>(), 3);
    }
    text
}

/// `seed 0`, or `± over seeds 0–4`.
pub(crate) fn seeds_in_words(job: &Job, row: &Row) -> String {
    let first = job.experiment.seed();
    match row.seeds {
        1 => format!("seed {first}"),
        seeds => format!("± over seeds {first}–{}", first + seeds - 1),
    }
}

fn cells(row: &Row) -> Vec<String> {
    let training =
        if row.trained.steps == 0 { "none".to_owned() } else { format!("{:.1} s", row.trained.seconds) };
    let steps = match row.test_steps {
        None => String::new(),
        Some(1) => ", 1 step".to_owned(),
        Some(steps) => format!(", {steps} steps"),
    };
    vec![
        row.entry.family.name().to_owned(),
        format!("{}{steps}", row.entry.name),
        if row.transductive { "yes" } else { "no" }.to_owned(),
        figure(&row.evaluation),
        training,
        format!("{:.0} episodes/s", row.evaluation.episodes_per_second()),
    ]
}

/// `97.31 ± 0.25 %`, or `0.532 ± 0.041`.
pub(crate) fn figure(evaluation: &Evaluation) -> String {
    let interval = evaluation.score.interval;
    if interval.ci95.is_nan() {
        return format!("{:.2} %", 100.0 * interval.mean);
    }
    match evaluation.score.measure {
        Measure::Accuracy => format!("{:.2} ± {:.2} %", 100.0 * interval.mean, 100.0 * interval.ci95),
        Measure::Mse => format!("{:.3} ± {:.3}", interval.mean, interval.ci95),
    }
}

fn json_row(job: &Job, row: &Row) -> Value {
    let count = |count: Option<kshot::episode::Count>| serde_json::to_value(count).unwrap_or_default();
    let mut json = json!({
        "learner": row.entry.name,
        "family": row.entry.family,
        "dataset": job.experiment.data(),
        "ways": count(row.shape.ways),
        "shots": count(row.shape.shots),
        "test_steps": row.test_steps,
        "queries": job.experiment.queries(),
        "episodes": row.evaluation.per_episode.len(),
        "ci95": row.evaluation.score.interval.ci95,
        "train_steps": row.trained.steps,
        "train_seconds": row.trained.seconds,
        "eval_episodes_per_second": row.evaluation.episodes_per_second(),
        "transductive": row.transductive,
        "seed": job.experiment.seed(),
        "seeds": row.seeds,
    });
    if let Some(pair) = &row.shape.pair {
        json["source"] = json!(pair.source);
        json["target"] = json!(pair.target);
        json["target_shots"] = json!(pair.target_shots);
        json["queries"] = json!(job.experiment.queries);
        for (name, value) in &row.measures {
            json[name] = json!(value);
        }
    }
    json[row.evaluation.score.measure.name()] = json!(row.evaluation.score.interval.mean);
    json
}

/// Refuses a file that could not be written, before the work that it is for.
pub(crate) fn writable(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::invalid(format!("{} is a directory; name a file for the rows", path.display())));
    }
    if path.exists() && !path.is_file() {
        return Ok(()); // A pipe or a device: it is written as it is.
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(directory).map(drop).map_err(|error| Error::io("preparing to write", path, error))
}
