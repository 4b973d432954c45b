//! `kshot train`: one learner, with checkpoints and logs.

use std::fs;
use std::path::{Path, PathBuf};

use kshot::dataset::Split;
use kshot::learner::Learner;
use kshot::train::{BEST, Description, Directory, LAST, read_run, write_run};
use kshot::verification::thresholds;
use kshot::{Error, Result};

use crate::args::TrainArgs;
use crate::job::Job;
use crate::leak;
use crate::measure::{completed, evaluated, trained};
use crate::output::print;
use crate::row::Row;
use crate::stop::stop_on_ctrl_c;
use crate::suite::{Cell, kept};
use crate::words::{figure, plural};
use crate::world::world;

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
    let job = Job::open_to_train(experiment)?;
    job.learners()?;
    let setting = job.only_setting()?;
    leak::refuse_features(entry.name, &job, &setting)?;
    let setup = job.setup(entry, &setting)?;
    let mut learner = job.build(entry, &setup)?;
    let test = job.is_tested().then(|| job.test(&setting)).transpose()?;
    let path = args.out.unwrap_or_else(|| {
        let (data, seed) = (job.experiment.data(), job.experiment.seed());
        PathBuf::from("runs").join(format!("{}-{data}-{}-seed{seed}", entry.name, setting.in_a_name()))
    });
    let directory = Directory {
        path: &path,
        resume: args.resume && begun(&path)?,
        origin: job.origin(entry, setup, &setting)?,
    };
    stop_on_ctrl_c();
    let trainable = learner.trainable().ok_or_else(nothing)?;
    let trained = trained(&job, entry, &setting, trainable, Some(directory))?;
    if world().is_first() {
        keep_thresholds(&job, learner.as_mut(), &path.join(BEST))?;
    }
    let weights = format!(
        "weights of step {} of {}; {:.1} s of training",
        trained.best_step, trained.steps, trained.seconds
    );
    let what = format!("{} on {}, {}", entry.name, job.experiment.data(), setting.in_words(job.problem()));
    let file = path.join(BEST).display().to_string();
    let Some((test, episodes)) = test else {
        return print(&format!("{what}: not tested, as there are no test classes ({weights})\n{file}\n"));
    };
    let evaluation = evaluated("test", learner.as_ref(), test.as_ref(), episodes)?;
    print(&format!(
        "{what}: test {} {} over {} ({weights})\n{file}\n",
        evaluation.score.measure.name(),
        figure(&evaluation),
        plural(evaluation.per_episode.len(), "episode"),
    ))?;
    completed(&evaluation, episodes)?;
    if !world().is_first() {
        return Ok(());
    }
    let row = Row::of(&job.experiment, entry, &setting, learner.as_ref(), evaluation);
    let config = Cell { job: &job, entry, settings: std::slice::from_ref(&setting) }.config(None)?;
    kept::write(&path, &config, &[Row { trained: Some(trained), ..row }], Vec::new())
}

/// Whether a directory holds a run to go on with; the first weights of one that was killed before it could be gone on with go.
fn begun(directory: &Path) -> Result<bool> {
    let (best, last) = (directory.join(BEST), directory.join(LAST));
    if world().is_first() && best.exists() && !last.exists() {
        fs::remove_file(&best).map_err(|error| Error::io("removing the unfinished", &best, error))?;
    }
    Ok(last.exists())
}

/// Adds to the best checkpoint of a learner that compares what the validation classes say of its similarities, so that
/// `kshot verify` needs nothing else.
fn keep_thresholds(job: &Job, learner: &mut dyn Learner, file: &Path) -> Result<()> {
    const BATCHES: u64 = 4;
    let Some(comparer) = learner.comparer() else { return Ok(()) };
    // Without classes to validate on there is none.
    let Ok(validation) = job.batches(Split::Validation) else { return Ok(()) };
    let Ok(thresholds) = thresholds(comparer, validation.as_ref(), BATCHES) else { return Ok(()) };
    let (_, description) = read_run(file)?;
    let Some(trainable) = learner.trainable() else { return Ok(()) };
    write_run(file, &Description { thresholds, ..description }, &trainable.learned().theta)
}
