//! What every registered learner, dataset and backbone must do. One test: memory is that of the whole process, so nothing
//! else may run beside it.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may panic")]

use kshot::conformance::{self, Nature};
use kshot::dataset::DatasetContext;
use kshot::registry;

// Linking the program registers what it comes with.
use kshot_cli as _;

/// Learners whose head has a weight vector of its own for each label from the start.
const HEAD_BY_LABEL: &[&str] = &["anil", "fomaml", "imaml", "maml", "meta-sgd", "metanet", "reptile"];
/// Learners whose outer gradient is not the derivative of their outer loss, as published.
const APPROXIMATE: &[&str] = &["fomaml", "imaml", "metanet", "reptile"];

#[test]
fn every_learner_dataset_and_backbone_conforms() {
    let all = registry::learners();
    assert!(all.iter().any(|entry| entry.name == "prototypical"), "the learners are linked in");
    for entry in all {
        let nature = Nature {
            head_by_label: HEAD_BY_LABEL.contains(&entry.name),
            approximate_gradient: APPROXIMATE.contains(&entry.name),
            ..Nature::default()
        };
        if let Err(faults) = conformance::learner_of(entry, &nature) {
            panic!("{}: {faults}", entry.name);
        }
    }
    // Another head is another algorithm.
    let cosine = Nature { options: "head = 'cosine'".parse().unwrap(), ..Nature::default() };
    if let Err(faults) = conformance::learner_of(registry::learner("finetune").unwrap(), &cosine) {
        panic!("finetune with a cosine head: {faults}");
    }
    // Those that need no file.
    for name in ["bearing", "glyphs", "sinusoid"] {
        let entry = registry::dataset(name).unwrap();
        if let Err(faults) = conformance::dataset(entry, &DatasetContext::default(), &toml::Table::new()) {
            panic!("{name}: {faults}");
        }
    }
    for entry in registry::backbones() {
        if let Err(faults) = conformance::backbone(entry) {
            panic!("{}: {faults}", entry.name);
        }
    }
}
