//! `kshot train`: one learner, with checkpoints and logs.

use std::path::PathBuf;

use kshot::train::{BEST, Directory};
use kshot::{Error, Result};

use crate::args::TrainArgs;
use crate::job::Job;
use crate::measure::{evaluated, trained};
use crate::output::print;
use crate::stop::stop_on_ctrl_c;
use crate::words::{figure, plural};

pub(crate) fn run(args: TrainArgs) -> Result<()> {
    let experiment = args.flags.experiment(None)?;
    let entry = experiment.only_learner()?;
    let nothing = || {
        Error::invalid(format!(
            "`{}` learns nothing, so there is nothing to train; `kshot bench --learner {}` measures it",
            entry.name, entry.name
        ))
    };
    if entry.training.is_none() {
        return Err(nothing());
    }
    let job = Job::open(experiment)?;
    job.learners()?;
    let setting = job.only_setting()?;
    let setup = job.setup(entry, &setting)?;
    let mut learner = job.build(entry, &setup)?;
    let (test, episodes) = job.test(&setting)?;
    let path = args.out.unwrap_or_else(|| {
        let (data, seed) = (job.experiment.data(), job.experiment.seed());
        PathBuf::from("runs").join(format!("{}-{data}-{}-seed{seed}", entry.name, setting.in_a_name()))
    });
    let directory =
        Directory { path: &path, resume: args.resume, origin: job.origin(entry, setup, &setting)? };
    stop_on_ctrl_c();
    let trainable = learner.trainable().ok_or_else(nothing)?;
    let trained = trained(&job, entry, &setting, trainable, Some(directory))?;
    let evaluation = evaluated("test", learner.as_ref(), test.as_ref(), episodes)?;
    print(&format!(
        "{} on {}, {}: test {} {} over {} (weights of step {} of {}; {:.1} s of training)\n{}\n",
        entry.name,
        job.experiment.data(),
        setting.in_words(job.problem()),
        evaluation.score.measure.name(),
        figure(&evaluation),
        plural(evaluation.per_episode.len(), "episode"),
        trained.best_step,
        trained.steps,
        trained.seconds,
        path.join(BEST).display()
    ))?;
    crate::measure::completed(&evaluation, episodes)
}
