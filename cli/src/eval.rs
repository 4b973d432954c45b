//! `kshot eval`: a trained learner on test episodes.

use std::path::Path;

use kshot::checkpoint::Checkpoint;
use kshot::eval::evaluate;
use kshot::log::episode_bar;
use kshot::train::BEST;
use kshot::{Error, Result, atomic};
use serde_json::{Value, json};

use crate::args::EvalArgs;
use crate::bench::{figure, writable};
use crate::experiment::Experiment;
use crate::job::Job;
use crate::print;
use crate::train::{only_shape, tasks_in_words};
use crate::verification;

pub(crate) fn run(args: EvalArgs) -> Result<()> {
    let path = if args.checkpoint.is_dir() { args.checkpoint.join(BEST) } else { args.checkpoint };
    let checkpoint = Checkpoint::read(&path)?;
    let base: Experiment =
        serde_json::from_value(checkpoint.description.experiment.clone()).map_err(|error| {
            Error::invalid(format!(
                "{} was not written by this version of `kshot train`: {error}",
                path.display()
            ))
        })?;
    if let Some(path) = &args.json {
        writable(path)?;
    }
    let job = Job::open(args.flags.experiment(Some(base))?)?;
    let (entry, shape) = (job.learner()?, only_shape(&job)?);
    let shape = &shape;
    if entry.name != checkpoint.description.learner {
        return Err(Error::invalid(format!(
            "{} holds weights of `{}`, not of `{}`",
            path.display(),
            checkpoint.description.learner,
            entry.name
        )));
    }
    let mut learner = job.build(entry, shape)?;
    *learner.params_mut() = checkpoint.params(learner.params().layout())?;
    if args.verification {
        let json = verification::run(&job, entry.name, learner.as_ref())?;
        return args.json.map_or(Ok(()), |path| write_json(&path, &json));
    }
    let (tasks, episodes) = job.test(shape)?;
    let asked = job.test_steps(entry);
    if job.experiment.test_steps.is_some() && asked == [None] {
        return Err(Error::invalid(format!(
            "`{}` takes no inner steps on a task: leave out `test-steps`",
            entry.name
        )));
    }
    let mut figures = Vec::new();
    for steps in asked {
        let adapting =
            steps.map(|steps| job.with_test_steps(entry, shape, learner.as_ref(), steps)).transpose()?;
        let learner = adapting.as_ref().unwrap_or(&learner).as_ref();
        let bar = episode_bar("test", episodes);
        let evaluation = evaluate(learner, tasks.as_ref(), episodes, &|| bar.inc(1))?;
        bar.finish_and_clear();
        let measure = evaluation.score.measure.name();
        let mut json = json!({
            "learner": entry.name,
            "dataset": job.experiment.data(),
            "ways": shape.ways,
            "shots": shape.shots,
            "queries": job.experiment.queries(),
            "test_steps": steps,
            "episodes": evaluation.per_episode.len(),
            "ci95": evaluation.score.interval.ci95,
            "transductive": learner.is_transductive(),
            "seed": job.experiment.seed(),
            "step": checkpoint.description.step,
            "per_episode": evaluation.per_episode,
        });
        json[measure] = json!(evaluation.score.interval.mean);
        figures.push(json);
        print(&format!(
            "{} on {}, {}{}: test {measure} {} over {} episodes, {}transductive, {:.0} episodes/s\n",
            entry.name,
            job.experiment.data(),
            tasks_in_words(&job, shape),
            steps.map_or(String::new(), |steps| format!(", {steps} inner steps")),
            figure(&evaluation),
            evaluation.per_episode.len(),
            if learner.is_transductive() { "" } else { "not " },
            evaluation.episodes_per_second()
        ))?;
    }
    // One figure is an object, several are a list.
    let json = if figures.len() == 1 { figures.remove(0) } else { json!(figures) };
    args.json.map_or(Ok(()), |path| write_json(&path, &json))
}

fn write_json(path: &Path, json: &Value) -> Result<()> {
    atomic::write(path, format!("{json:#}\n").as_bytes(), "writing the figures to")
}
