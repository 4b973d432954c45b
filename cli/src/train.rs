//! `kshot train`: one learner, with checkpoints and logs.

use std::path::PathBuf;

use kshot::episode::Count;
use kshot::eval::evaluate;
use kshot::log::{Progress, episode_bar};
use kshot::registry::Problem;
use kshot::train::{BEST, Run, train};
use kshot::{Error, Result};

use crate::args::TrainArgs;
use crate::bench::figure;
use crate::experiment::{Experiment, List};
use crate::job::{Job, Shape};
use crate::{STOP, print, stop_on_ctrl_c};

pub(crate) fn run(args: TrainArgs) -> Result<()> {
    let job = Job::open(args.flags.experiment(None)?)?;
    let entry = job.learner()?;
    let shape = only_shape(&job)?;
    let shape = &shape;
    let mut learner = job.build(entry, shape)?;
    if learner.params().layout().is_empty() {
        return Err(Error::invalid(format!(
            "`{}` learns nothing, so there is nothing to train; `kshot bench --learner {}` measures it",
            entry.name, entry.name
        )));
    }
    let (tasks, validation) = (job.training(learner.as_ref(), shape)?, job.validation(entry, shape)?);
    let (test, episodes) = job.test(shape)?;
    let experiment = &job.experiment;
    let directory = args.out.unwrap_or_else(|| {
        PathBuf::from("runs").join(format!(
            "{}-{}-{}-seed{}",
            entry.name,
            experiment.data(),
            tasks_in_a_name(shape),
            experiment.seed()
        ))
    });
    let config = experiment.train_config((entry.train)(job.problem()))?;
    let mut progress = Progress::new(entry.name, config.steps);
    let run = Run {
        learner: entry.name,
        experiment: description(experiment, entry.name, shape)?,
        seed: experiment.seed(),
        directory: Some(&directory),
        resume: args.resume,
        stop: &STOP,
        observer: &mut progress,
    };
    stop_on_ctrl_c();
    let trained = train(learner.as_mut(), tasks.as_ref(), validation.as_deref(), &config, run)?;
    drop(progress);
    let bar = episode_bar("test", episodes);
    let evaluation = evaluate(learner.as_ref(), test.as_ref(), episodes, &|| bar.inc(1))?;
    bar.finish_and_clear();
    print(&format!(
        "{} on {}, {}: test {} {} over {} episodes (weights of step {} of {}; {:.1} s of training)\n{}\n",
        entry.name,
        experiment.data(),
        tasks_in_words(&job, shape),
        evaluation.score.measure.name(),
        figure(&evaluation),
        evaluation.per_episode.len(),
        trained.best_step,
        trained.steps,
        trained.seconds,
        directory.join(BEST).display()
    ))
}

/// `5-way 1-shot`, or `10 points`, or `all classes, all of the source, 3 labelled of the target`.
pub(crate) fn tasks_in_words(job: &Job, shape: &Shape) -> String {
    let all = |count: Option<Count>, all: &str, rest: &str| match count {
        None => all.to_owned(),
        Some(count) => format!("{count}{rest}"),
    };
    match (&shape.pair, job.problem()) {
        (None, Problem::Classification) => {
            format!("{} {}", all(shape.ways, "all ways", "-way"), all(shape.shots, "all shots", "-shot"))
        }
        (None, Problem::Regression) => all(shape.shots, "all points", " points"),
        (Some(pair), _) => {
            let ways = all(shape.ways, "all classes", "-way");
            let shots = all(shape.shots, "all of the source", " of the source a class");
            format!("{ways}, {shots}, {} labelled of the target", pair.target_shots)
        }
    }
}

/// `5w1s`, or `all-LOAD0-LOAD3` between domains.
fn tasks_in_a_name(shape: &Shape) -> String {
    let count =
        |count: Option<Count>, letter: &str| count.map_or(String::new(), |count| format!("{count}{letter}"));
    let counts = format!("{}{}", count(shape.ways, "w"), count(shape.shots, "s"));
    match &shape.pair {
        None => counts,
        Some(pair) => {
            format!("{}-{}-{}", if counts.is_empty() { "all" } else { &counts }, pair.source, pair.target)
        }
    }
}

/// The one kind of task.
pub(crate) fn only_shape(job: &Job) -> Result<Shape> {
    match job.shapes()?.as_slice() {
        [one] => Ok(one.clone()),
        several => Err(Error::invalid(format!(
            "{} kinds of task were asked for (ways, shots, domains); one can be trained or evaluated at a time (`kshot \
             bench` takes several)",
            several.len()
        ))),
    }
}

/// What a checkpoint must say for the learner and its data to be built again: nothing of this machine or this training.
fn description(experiment: &Experiment, learner: &str, shape: &Shape) -> Result<serde_json::Value> {
    let kept = Experiment {
        data: Some(experiment.data().to_owned()),
        image_size: experiment.image_size,
        split: experiment.split.clone(),
        learner: Some(List::One(learner.to_owned())),
        ways: shape.ways.map(List::One),
        shots: shape.shots.map(List::One),
        queries: if shape.pair.is_some() { experiment.queries } else { Some(experiment.queries()) },
        source: shape.pair.as_ref().map(|pair| List::One(pair.source.clone())),
        target: shape.pair.as_ref().map(|pair| List::One(pair.target.clone())),
        target_shots: shape.pair.as_ref().map(|pair| List::One(pair.target_shots)),
        train_domains: experiment.train_domains.clone(),
        seed: Some(experiment.seed()),
        set: experiment.set.clone(),
        ..Experiment::default()
    };
    let mut value = serde_json::to_value(kept)
        .map_err(|error| Error::invalid(format!("describing the experiment: {error}")))?;
    if let Some(keys) = value.as_object_mut() {
        keys.remove("train");
        keys.retain(|_, value| !value.is_null());
    }
    Ok(value)
}
