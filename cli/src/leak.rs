//! What a test must not see: classes and domains that the learner was trained on.

use kshot::dataset::{Split, TaskSource};
use kshot::embedding::is_encoder;
use kshot::registry;
use kshot::train::read_run;
use kshot::{Error, Result};
use std::path::Path;

use crate::experiment::{Experiment, List};
use crate::job::Job;
use crate::place::context;
use crate::setting::Setting;

/// Refuses a test of what was trained as `trained` says, if it asks what that training saw.
///
/// # Errors
/// When options of the dataset move classes of that training into the test split, or the target is a domain of it.
fn refuse(trained: &Experiment, job: &Job, setting: &Setting, what: &str) -> Result<()> {
    let tested = &job.experiment;
    let several = |experiment: &Experiment| experiment.datasets().len() > 1;
    let both = trained.datasets().into_iter().filter(|name| tested.datasets().contains(name));
    for name in both.filter(|_| several(trained) || several(tested)) {
        refuse_classes(trained, job, name, what)?;
    }
    if trained.data() != tested.data() || several(tested) {
        return Ok(());
    }
    if let Some(pair) = &setting.pair {
        let sources =
            trained.train_domains.as_ref().or(trained.source.as_ref()).map_or(&[][..], List::as_slice);
        return match pair.target != pair.source && sources.contains(&pair.target) {
            true => Err(Error::invalid(format!(
                "{what} was trained on the domain `{}`, which is the target here: name another target",
                pair.target
            ))),
            false => Ok(()),
        };
    }
    refuse_classes(trained, job, tested.data(), what)
}

/// Refuses a test that asks classes of the dataset `name` that the training saw, as its options divide them otherwise.
fn refuse_classes(trained: &Experiment, job: &Job, name: &str, what: &str) -> Result<()> {
    let tested = &job.experiment;
    let entry = registry::dataset(name)?;
    let (before, now) = (trained.options(entry.name), tested.options(entry.name));
    // Another directory or file holds other examples.
    if before == now || before.get("path") != now.get("path") {
        return Ok(());
    }
    let context = context(tested.data_dir.as_ref());
    let dataset = (entry.open)(&context, &before)?;
    let (TaskSource::Classes(learned), TaskSource::Classes(asked)) =
        (dataset.split(Split::Train)?, job.test_source())
    else {
        return Ok(());
    };
    // A class may be part of another: `character01/rot090` of `character01`.
    let part =
        |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // Joined with others, they have the dataset's name before theirs.
    let own = |class: &'_ str| match tested.datasets().len() {
        1 => Some(class.to_owned()),
        _ => class.strip_prefix(name)?.strip_prefix('/').map(str::to_owned),
    };
    let asked: Vec<String> = asked.classes().iter().filter_map(|class| own(&class.name)).collect();
    let known: Vec<&str> = learned.classes().iter().map(|class| class.name.as_str()).collect();
    let mut both =
        asked.iter().filter(|name| known.iter().any(|other| part(name, other) || part(other, name.as_str())));
    let Some(first) = both.next() else { return Ok(()) };
    Err(Error::invalid(format!(
        "{what} was trained on {} of these {} test classes, as `{first}`: it was trained with {}. Leave out what divides \
         the classes of `{}` otherwise",
        1 + both.count(),
        asked.len(),
        if before.is_empty() {
            "the default division".to_owned()
        } else {
            format!("`{}`", before.to_string().trim().replace('\n', ", "))
        },
        entry.name
    )))
}

/// The same of what the run at `path` was trained on, and the runs whose weights it started from.
///
/// # Errors
/// As [`refuse`], and when there is no such run.
pub(crate) fn refuse_run(path: &Path, job: &Job, setting: &Setting) -> Result<()> {
    let (mut path, mut seen) = (path.to_owned(), Vec::new());
    let mut description = read_run(&path)?.1;
    loop {
        // Of a run without a step, no class is in the weights. Trained by another program, it cannot be known on what.
        if description.step > 0
            && let Ok(trained) = serde_json::from_value(description.origin.experiment)
        {
            refuse(&trained, job, setting, &path.display().to_string())?;
        }
        let Some(init) = description.train.init else { return Ok(()) };
        seen.push(std::mem::replace(&mut path, init));
        match read_run(&path) {
            Ok((_, before)) if !seen.contains(&path) => description = before,
            _ => return Ok(()),
        }
    }
}

/// The same for a learner that takes the embedding of a trained one as its features, a dataset that is encoded by one, or a
/// training that starts from one.
///
/// # Errors
/// As [`refuse`], and when there is no such run.
pub(crate) fn refuse_features(learner: &str, job: &Job, setting: &Setting) -> Result<()> {
    let encoders = job.experiment.datasets().into_iter().map(|name| (name, "encoder"));
    for (name, option) in [(learner, "features")].into_iter().chain(encoders) {
        let options = job.experiment.options(name);
        let run = options.get(option).and_then(toml::Value::as_str).map(Path::new);
        // What someone else trained an encoder on is not ours to know.
        if let Some(run) = run.filter(|run| !is_encoder(run)) {
            refuse_run(run, job, setting)?;
        }
    }
    let init = job.experiment.train.0.get("init").and_then(toml::Value::as_str).map(Path::new);
    match init.filter(|init| read_run(init).is_ok()) {
        Some(run) => refuse_run(run, job, setting),
        None => Ok(()),
    }
}
