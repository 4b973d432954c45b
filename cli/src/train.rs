//! `kshot train`: one learner, with checkpoints and logs.

use std::path::PathBuf;

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
    let mut learner = job.build(entry, shape)?;
    if learner.params().layout().is_empty() {
        return Err(Error::invalid(format!(
            "`{}` learns nothing, so there is nothing to train; `kshot bench --learner {}` measures it",
            entry.name, entry.name
        )));
    }
    let (tasks, validation) = (job.training(learner.as_ref())?, job.validation(entry, shape)?);
    let (test, episodes) = job.test(shape)?;
    let experiment = &job.experiment;
    let directory = args.out.unwrap_or_else(|| {
        PathBuf::from("runs").join(format!(
            "{}-{}-{}w{}s-seed{}",
            entry.name,
            experiment.data(),
            shape.ways,
            shape.shots,
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

/// `5-way 1-shot`, or `10 points`.
pub(crate) fn tasks_in_words(job: &Job, shape: Shape) -> String {
    match job.problem() {
        Problem::Classification => format!("{}-way {}-shot", shape.ways, shape.shots),
        Problem::Regression => format!("{} points", shape.shots),
    }
}

/// The one setting of ways and shots.
pub(crate) fn only_shape(job: &Job) -> Result<Shape> {
    match job.shapes().as_slice() {
        [one] => Ok(*one),
        several => Err(Error::invalid(format!(
            "{} settings of ways and shots were asked for; one can be trained or evaluated at a time (`kshot bench` takes several)",
            several.len()
        ))),
    }
}

/// What a checkpoint must say for the learner and its data to be built again: nothing of this machine or this training.
fn description(experiment: &Experiment, learner: &str, shape: Shape) -> Result<serde_json::Value> {
    let kept = Experiment {
        data: Some(experiment.data().to_owned()),
        image_size: experiment.image_size,
        split: experiment.split.clone(),
        learner: Some(List::One(learner.to_owned())),
        ways: Some(List::One(shape.ways)),
        shots: Some(List::One(shape.shots)),
        queries: Some(experiment.queries()),
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
