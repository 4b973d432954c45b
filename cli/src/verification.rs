//! `kshot eval --verification`: pairs and neighbours of classes never seen in training.

use kshot::dataset::Split;
use kshot::episode::Tasks;
use kshot::learner::Comparer;
use kshot::stats::Interval;
use kshot::verification::{TarAtFar, verify};
use kshot::{Error, Result};
use serde_json::{Value, json};

use crate::job::Job;
use crate::output::print;
use crate::progress::episode_bar;

/// Batches unless `--episodes` says otherwise.
const BATCHES: u64 = 20;

/// Prints the figures, and gives them as JSON.
pub(crate) fn run(job: &Job, name: &str, comparer: &dyn Comparer, transductive: bool) -> Result<Value> {
    if job.experiment.manifest.is_some() || job.experiment.test_steps.is_some() {
        return Err(Error::invalid(
            "`--verification` samples batches of its own and adapts to no task: leave out `manifest` and `test-steps`",
        ));
    }
    let (validation, test) = (job.batches(Split::Validation)?, job.batches(Split::Test)?);
    let batches = |tasks: &dyn Tasks| match tasks.limit() {
        Some(limit) => limit,
        None => job.experiment.episodes.unwrap_or(BATCHES),
    };
    let bar = episode_bar("verification", batches(validation.as_ref()) + batches(test.as_ref()));
    let batches = batches(test.as_ref());
    let figures = verify(
        comparer,
        validation.as_ref(),
        test.as_ref(),
        job.experiment.episodes.unwrap_or(BATCHES),
        &|| bar.inc(1),
    )
    .map_err(|error| error.context(format!("verification by `{name}`")))?;
    bar.finish_and_clear();
    let support = test.episode(0)?.support;
    let (classes, examples) = (support.ways()?, support.len());
    let percent = |Interval { mean, ci95 }: Interval| match ci95.is_nan() {
        true => format!("{:.2} %", 100.0 * mean),
        false => format!("{:.2} ± {:.2} %", 100.0 * mean, 100.0 * ci95),
    };
    let mut text = format!(
        "{name} on {}, test classes: {} of {classes} classes × {} examples, {}transductive\n",
        job.experiment.data(),
        if batches == 1 { "one batch".to_owned() } else { format!("{batches} batches") },
        examples / classes,
        if transductive { "" } else { "not " }
    );
    for (what, interval) in [
        ("ROC AUC", figures.auc),
        ("equal error rate", figures.eer),
        ("accuracy", figures.accuracy),
        ("recall@1", figures.recall_at_1),
        ("recall@5", figures.recall_at_5),
        ("MAP@R", figures.map_at_r),
    ] {
        text += &format!("  {what:<17} {}\n", percent(interval));
    }
    for TarAtFar { far, tar } in &figures.tar_at_far {
        text += &format!("  {:<17} {}\n", format!("TAR at FAR {far}"), percent(*tar));
    }
    print(&text)?;
    Ok(json!({
        "learner": name,
        "dataset": job.experiment.data(),
        "seed": job.experiment.seed(),
        "transductive": transductive,
        "batches": batches,
        "classes": classes,
        "examples": examples,
        "verification": figures,
    }))
}
