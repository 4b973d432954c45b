//! Transfer component analysis on the simulated bearing: learned at load 0, asked at load 3.
//!
//! cargo run --release --example tca

use kshot::backbone::Backbone;
use kshot::dataset::{DatasetContext, Split};
use kshot::episode::{Count, Shift, TaskSpec};
use kshot::eval::{Watch, evaluate};
use kshot::nn::Norm;
use kshot::registry::{self, Problem, Setup};
use kshot_cli as _; // Links the learners and datasets that come with kshot.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bearing = (registry::dataset("bearing")?.open)(&DatasetContext::default(), &toml::Table::new())?;
    let shift = Shift { ways: None, shots: None, target_shots: 0, queries: None };
    let (source, target) = ("load0".to_owned(), "load3".to_owned());
    let spec = TaskSpec::DomainShift { source, target, shift };
    let task = spec.open(&bearing.split(Split::Test)?, Split::Test, 0)?;

    let backbone = Backbone::of(&toml::Table::new(), bearing.input(), Norm::Running)?;
    let problem = Problem::Classification;
    let setup =
        Setup { problem, backbone, base_classes: 0, ways: 7, shots: Count::fixed(1), queries: 1, seed: 0 };
    for name in ["no-adaptation", "tca"] {
        let learner = (registry::learner(name)?.build)(&setup, &toml::Table::new())?;
        let accuracy = evaluate(learner.as_ref(), task.as_ref(), 1, &Watch::default())?.score.interval.mean;
        println!("{name:<14} {:.1} %", 100.0 * accuracy);
    }
    Ok(())
}
