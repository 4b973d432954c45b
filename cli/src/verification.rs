//! `kshot eval --verification`: pairs and neighbours of classes never seen in training.

use kshot::dataset::Split;
use kshot::episode::Tasks;
use kshot::learner::Comparer;
use kshot::stats::Interval;
use kshot::verification::{TarAtFar, verify, verify_gallery};
use kshot::{Error, Result};
use serde_json::{Value, json};

use crate::job::Job;
use crate::output::print;
use crate::progress::episode_bar;

/// Batches unless `--episodes` says otherwise.
const BATCHES: u64 = 20;

/// Prints the figures, and gives them as JSON.
pub(crate) fn run(
    job: &Job,
    name: &str,
    comparer: &dyn Comparer,
    transductive: bool,
    gallery: bool,
) -> Result<Value> {
    if job.experiment.manifest.is_some() || job.experiment.test_steps.is_some() {
        return Err(Error::invalid(
            "`--verification` samples batches of its own and adapts to no task: leave out `manifest` and `test-steps`",
        ));
    }
    let (validation, test) = (job.batches(Split::Validation)?, job.batches(Split::Test)?);
    let wanted = job.experiment.episodes.unwrap_or(BATCHES);
    let batches = |tasks: &dyn Tasks| tasks.limit().unwrap_or(wanted);
    // One batch of all there is is a gallery.
    let gallery = match gallery || test.limit() == Some(1) {
        true => Some(job.gallery()?),
        false => None,
    };
    let (first, second) =
        (batches(validation.as_ref()), gallery.as_ref().map_or(batches(test.as_ref()), |_| 0));
    let bar = episode_bar("verification", first + second);
    let figures = match &gallery {
        Some(gallery) => verify_gallery(comparer, validation.as_ref(), wanted, gallery, &|| bar.inc(1)),
        None => verify(comparer, validation.as_ref(), test.as_ref(), wanted, &|| bar.inc(1)),
    };
    let figures = figures.map_err(|error| error.context(format!("verification by `{name}`")))?;
    bar.finish_and_clear();
    let (classes, examples) = match &gallery {
        Some(gallery) => (gallery.ways()?, gallery.len()),
        None => {
            let batch = test.episode(0)?.support;
            (batch.ways()?, batch.len())
        }
    };
    let what = match &gallery {
        Some(_) => format!("a gallery of {classes} classes, {examples} examples"),
        None => format!("{second} batches of {classes} classes × {} examples", examples / classes),
    };
    let percent = |Interval { mean, ci95 }: Interval| format!("{:.2} ± {:.2} %", 100.0 * mean, 100.0 * ci95);
    let mut text = format!(
        "{name} on {}, test classes: {what}, {}transductive\n",
        job.experiment.data(),
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
    text += &format!("  {:<17} {:.4}, the best on validation classes\n", "threshold", figures.threshold);
    for TarAtFar { far, tar } in &figures.tar_at_far {
        text += &format!("  {:<17} {}\n", format!("TAR at FAR {far}"), percent(*tar));
    }
    print(&text)?;
    Ok(json!({
        "learner": name,
        "dataset": job.experiment.data(),
        "seed": job.experiment.seed(),
        "transductive": transductive,
        "batches": if gallery.is_some() { 1 } else { second },
        "gallery": gallery.is_some(),
        "classes": classes,
        "examples": examples,
        "verification": figures,
    }))
}
