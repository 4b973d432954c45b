//! MAML on the regression of its paper: error on new sinusoids before and after three inner steps.
//!
//! cargo run --release --example maml_sinusoid

use kshot::backbone::Backbone;
use kshot::dataset::{DatasetContext, Split};
use kshot::episode::{Count, TaskSpec};
use kshot::eval::{Watch, evaluate};
use kshot::nn::Norm;
use kshot::ranks::Ranks;
use kshot::registry::{self, Problem, Setup};
use kshot::train::{Run, TrainConfig, train};
use kshot_cli as _; // Links the learners and datasets that come with kshot.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sinusoid = (registry::dataset("sinusoid")?.open)(&DatasetContext::default(), &toml::Table::new())?;
    let backbone = Backbone::of(&toml::Table::new(), sinusoid.input(), Norm::Batch)?;
    let problem = Problem::Regression;
    let setup =
        Setup { problem, backbone, base_classes: 0, ways: 1, shots: Count::fixed(10), queries: 10, seed: 0 };
    let mut maml = (registry::learner("maml")?.build)(&setup, &toml::Table::new())?;

    let test = TaskSpec::Regression { shots: 10, queries: 50 };
    let test = test.open(&sinusoid.split(Split::Test)?, Split::Test, 0)?;
    let before = evaluate(maml.as_ref(), test.as_ref(), 200, &Watch::default())?;

    if let Some(learner) = maml.trainable() {
        let tasks = learner.learned().task.open(&sinusoid.split(Split::Train)?, Split::Train, 0)?;
        let config = TrainConfig { steps: 3000, meta_batch: 25, ..TrainConfig::default() };
        let run = Run { directory: None, stop: &false.into(), observer: &mut (), ranks: Ranks::alone() };
        train(learner, tasks.as_ref(), None, &config, run)?;
    }
    let after = evaluate(maml.as_ref(), test.as_ref(), 200, &Watch::default())?;
    println!(
        "mean squared error {:.3} before, {:.3} after",
        before.score.interval.mean, after.score.interval.mean
    );
    Ok(())
}
