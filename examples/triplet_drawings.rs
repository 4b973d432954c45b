//! A triplet network on generated drawings: how alike two characters are that it never saw.
//!
//! cargo run --release --example triplet_drawings

use kshot::backbone::Backbone;
use kshot::dataset::{DatasetContext, Split};
use kshot::episode::{Count, TaskSpec};
use kshot::nn::Norm;
use kshot::ranks::Ranks;
use kshot::registry::{self, Problem, Setup};
use kshot::train::{Run, TrainConfig, train};
use kshot::verification::verify;
use kshot_cli as _; // Links the learners and datasets that come with kshot.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let drawings = (registry::dataset("glyphs")?.open)(&DatasetContext::default(), &toml::Table::new())?;
    let classes = drawings.split(Split::Train)?;
    let setup = Setup {
        problem: Problem::Classification,
        backbone: Backbone::of(&toml::toml! { width = 32 }, drawings.input(), Norm::Running)?,
        base_classes: classes.class_count(),
        ways: 5,
        shots: Count::fixed(1),
        queries: 15,
        seed: 0,
    };
    let mut triplet = (registry::learner("triplet")?.build)(&setup, &toml::Table::new())?;
    if let Some(learner) = triplet.trainable() {
        let batches = learner.learned().task.open(&classes, Split::Train, 0)?;
        let config = TrainConfig { steps: 300, ..TrainConfig::default() };
        let run = Run { directory: None, stop: &false.into(), observer: &mut (), ranks: Ranks::alone() };
        train(learner, batches.as_ref(), None, &config, run)?;
    }
    let Some(comparer) = triplet.comparer() else { return Ok(()) };
    let batches = TaskSpec::PkBatch { classes: 50, per_class: 10 };
    let open = |split| batches.open(&drawings.split(split)?, split, 0);
    let figures = verify(comparer, &*open(Split::Validation)?, &*open(Split::Test)?, 10, &|| ())?;
    println!("area under the ROC curve {:.3}, recall@1 {:.3}", figures.auc.mean, figures.recall_at_1.mean);
    Ok(())
}
