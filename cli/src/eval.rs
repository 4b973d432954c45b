//! `kshot eval`: a trained learner on test episodes.

use std::slice;

use kshot::dataset::TaskSource;
use kshot::embedding::Embedding;
use kshot::episode::Sampling;
use kshot::eval::Watch;
use kshot::learner::Learner;
use kshot::log::Tested;
use kshot::open_set::evaluate_open_set;
use kshot::registry;
use kshot::registry::Setup;
use kshot::stats::Interval;
use kshot::train::{read_run, restored};
use kshot::{Error, Result};
use serde_json::{Value, json};

use crate::args::EvalArgs;
use crate::experiment::Experiment;
use crate::job::{Job, after_steps, with_test_steps};
use crate::leak;
use crate::measure::{completed, evaluated, evaluated_until};
use crate::output::{print, writable, write_json};
use crate::progress::episode_bar;
use crate::row::Row;
use crate::setting::Setting;
use crate::stop::{STOP, stop_on_ctrl_c};
use crate::words::{figure, plural};
use crate::world::{sharing, world};
use crate::{source_table, verification};

pub(crate) fn run(args: EvalArgs) -> Result<()> {
    let (checkpoint, description) = read_run(&args.checkpoint)?;
    let settings = description.settings();
    let (origin, place) = (description.origin, args.checkpoint.display().to_string());
    let base: Experiment = serde_json::from_value(origin.experiment).map_err(|error| {
        Error::invalid(format!("{place} was not written by this version of `kshot train`: {error}"))
    })?;
    let trained = base.clone();
    let experiment = args.flags.experiment(Some(base))?;
    let entry = experiment.only_learner()?;
    if entry.name != origin.learner {
        return Err(Error::invalid(format!(
            "{place} holds weights of `{}`, not of `{}`",
            origin.learner, entry.name
        )));
    }
    if experiment.backbone() != trained.backbone() {
        return Err(Error::invalid(format!(
            "{place} brings its backbone with it: leave out options of `backbone`"
        )));
    }
    if args.verification && !entry.compares {
        return Err(Error::invalid(format!(
            "`{}` does not compare examples: verification is for metric learners, as `triplet`",
            entry.name
        )));
    }
    if let Some(path) = &args.json {
        writable(path)?;
    }
    let job = Job::open(experiment)?;
    job.learners()?;
    let setting = job.only_setting()?;
    leak::refuse_run(&args.checkpoint, &job, &setting)?;
    leak::refuse_features(entry.name, &job, &setting)?;
    let mut options = origin.options;
    options.extend(job.experiment.options(entry.name));
    // The network it was trained with, on inputs of this dataset.
    let mut setup = Setup { ..origin.setup };
    setup.backbone.input = job.input();
    let mut learner = restored(&checkpoint, entry, &setup, &options)?;
    stop_on_ctrl_c();
    if let (true, Some(comparer)) = (args.verification, learner.comparer()) {
        let json = verification::run(&job, entry.name, comparer, learner.is_transductive(), args.gallery)?;
        return args.json.map_or(Ok(()), |path| write_json(&path, &json));
    }
    if let Some(unknown) = args.open_set {
        let json = open_set(&job, &setting, learner.as_ref(), unknown)?;
        return args.json.map_or(Ok(()), |path| write_json(&path, &json));
    }
    let (tasks, episodes) = job.test(&setting)?;
    // A checkpoint's own number is none that was asked for.
    let most = job.experiment.episodes.unwrap_or(100_000);
    let test_steps = job.test_steps(registry::learner(&origin.learner)?);
    if job.experiment.test_steps.is_some() && test_steps == [None] {
        return Err(Error::invalid(format!(
            "`{}` takes no inner steps on a task: leave out `test-steps`",
            entry.name
        )));
    }
    let several = test_steps.len() > 1;
    let logged = match args.log.as_ref().filter(|_| world().is_first()) {
        Some(directory) => {
            Some((directory, Embedding::read(&args.checkpoint, job.input())?, class_names(&job)))
        }
        None => None,
    };
    let (mut figures, mut outcome) = (Vec::new(), Ok(()));
    for steps in test_steps {
        let adapting = match steps {
            Some(steps) => Some(with_test_steps(entry, &setup, options.clone(), learner.as_mut(), steps)?),
            None => None,
        };
        let learner = adapting.as_ref().unwrap_or(&learner).as_ref();
        let evaluation = match args.precision {
            Some(points) => evaluated_until("test", learner, tasks.as_ref(), points / 100.0, most),
            None => evaluated("test", learner, tasks.as_ref(), episodes),
        };
        let evaluation = match evaluation {
            Ok(evaluation) => evaluation,
            Err(error) => {
                outcome = Err(after_steps(error, steps));
                break;
            }
        };
        let row = Row { test_steps: steps, ..Row::of(&job.experiment, entry, &setting, learner, evaluation) };
        print(&line(&job, &row))?;
        let (jobs, rows) = (slice::from_ref(&job), slice::from_ref(&row));
        print(&source_table::text(jobs, rows)?)?;
        if let Some((directory, embedding, class_names)) = &logged {
            // Tags are the same after any number of steps.
            let apart = steps.filter(|_| several).map(|steps| directory.join(format!("steps{steps}")));
            let tested = Tested {
                settings: &settings,
                step: description.step,
                learner,
                tasks: tasks.as_ref(),
                evaluation: &row.evaluation,
                embed: Some(&|x| embedding.of(x)),
                class_names,
            };
            tested.log(apart.as_deref().unwrap_or(directory))?;
        }
        let mut json = row.json();
        if let Some(by_source) = source_table::json(jobs, &row, rows)? {
            json["by_dataset"] = by_source;
        }
        // Trained elsewhere: the checkpoint says for how many steps.
        if let Some(keys) = json.as_object_mut() {
            keys.retain(|key, _| !key.starts_with("train_"));
        }
        json["step"] = json!(description.step);
        json["per_episode"] = json!(row.evaluation.per_episode);
        figures.push(json);
        let asked = if args.precision.is_some() { row.evaluation.per_episode.len() as u64 } else { episodes };
        outcome = completed(&row.evaluation, asked);
        if outcome.is_err() {
            break;
        }
    }
    if let Some(path) = args.json.filter(|_| !figures.is_empty()) {
        // One figure is an object, several are a list.
        let json = if figures.len() == 1 { figures.remove(0) } else { json!(figures) };
        write_json(&path, &json)?;
    }
    outcome
}

/// Names of the test classes, in order.
fn class_names(job: &Job) -> Vec<String> {
    match job.test_source() {
        TaskSource::Classes(set) => set.classes().iter().map(|class| class.name.clone()).collect(),
        TaskSource::Domains(domains) => domains.class_names().into_iter().map(str::to_owned).collect(),
        TaskSource::Functions(_) => Vec::new(),
    }
}

/// Tasks with `unknown` classes more than their supports have: prints how they are told apart, and gives it as JSON.
fn open_set(job: &Job, setting: &Setting, learner: &dyn Learner, unknown: usize) -> Result<Value> {
    let Experiment { manifest, test_steps, .. } = &job.experiment;
    if manifest.is_some() || test_steps.is_some() || job.experiment.sampling() == Sampling::MetaDataset {
        return Err(Error::invalid(
            "`--open-set` samples tasks of its own, with the learner's own inner steps: leave out `manifest`, `test-steps` and \
             `sampling`",
        ));
    }
    let tasks = job.with_views(Box::new(job.few_shot(setting, unknown)?))?;
    let episodes = job.experiment.episodes();
    let bar = episode_bar("open set", episodes);
    let watch = Watch { on_episode: &|| bar.inc(1), stop: &STOP, ranks: sharing() };
    let figures = evaluate_open_set(learner, tasks.as_ref(), unknown, episodes, &watch)?;
    bar.finish_and_clear();
    let name = job.experiment.only_learner()?.name;
    let percent = |Interval { mean, ci95 }: Interval| format!("{:.2} ± {:.2} %", 100.0 * mean, 100.0 * ci95);
    print(&format!(
        "{name} on {}, {} and {} not in the support, over {}, {}transductive\n  AUROC of known against unknown  {}\n  accuracy \
         on the known           {}\n",
        job.experiment.data(),
        setting.in_words(job.problem()),
        if unknown == 1 { "1 class".to_owned() } else { format!("{unknown} classes") },
        plural(figures.per_episode.len(), "episode"),
        if learner.is_transductive() { "" } else { "not " },
        percent(figures.auroc),
        percent(figures.accuracy),
    ))?;
    Ok(json!({
        "learner": name,
        "dataset": job.experiment.data(),
        "seed": job.experiment.seed(),
        "unknown_classes": unknown,
        "transductive": learner.is_transductive(),
        "auroc": figures.auroc,
        "accuracy": figures.accuracy,
        "per_episode": figures.per_episode,
    }))
}

fn line(job: &Job, row: &Row) -> String {
    let evaluation = &row.evaluation;
    format!(
        "{} on {}, {}{}: test {} {} over {}, {}transductive, {:.0} episodes/s\n",
        row.entry.name,
        job.experiment.data(),
        row.setting.in_words(job.problem()),
        row.test_steps.map_or(String::new(), |steps| format!(", {}", plural(steps, "inner step"))),
        evaluation.score.measure.name(),
        figure(evaluation),
        plural(evaluation.per_episode.len(), "episode"),
        if row.transductive { "" } else { "not " },
        evaluation.episodes_per_second()
    )
}
