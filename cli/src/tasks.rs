//! `kshot tasks`: test tasks as a file, for other programs to run on.

use kshot::episode::Manifest;
use kshot::{Error, Result};

use crate::args::TasksArgs;
use crate::job::Job;
use crate::output::{print, writable};

pub(crate) fn run(args: TasksArgs) -> Result<()> {
    writable(&args.out)?;
    let job = Job::open(args.flags.experiment(None)?)?;
    if job.experiment.manifest.is_some() {
        return Err(Error::invalid("`tasks` writes a manifest of sampled tasks: leave out `manifest`"));
    }
    let setting = job.only_setting()?;
    let (tasks, episodes) = (job.few_shot(&setting, 0)?, job.experiment.episodes());
    Manifest::write(&args.out, &tasks, episodes)?;
    print(&format!(
        "{episodes} tasks of {}, {}, {} queries a class, seed {}: {}\n",
        job.experiment.data(),
        setting.in_words(job.problem()),
        setting.queries.unwrap_or(job.experiment.queries()),
        job.experiment.seed(),
        args.out.display()
    ))
}
