//! What every registered learner, dataset and backbone must do. One test at a time: memory is that of the whole process, so
//! nothing else may run beside it.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may panic")]

use kshot::conformance::{self, Nature};
use kshot::dataset::DatasetContext;
use kshot::options::described;
use kshot::registry::{self, LearnerEntry};

// Linking the program registers what it comes with.
use kshot_cli as _;

/// Learners whose head has a weight vector of its own for each label from the start.
const HEAD_BY_LABEL: &[&str] = &["anil", "boil", "fomaml", "imaml", "maml", "meta-sgd", "metanet", "reptile"];
/// Learners whose outer gradient is not the derivative of their outer loss, as published.
const APPROXIMATE: &[&str] = &["fomaml", "imaml", "metanet", "reptile"];
/// What chooses examples by rules that jump: the loss does too, and its differences say nothing of the gradient between.
const JUMPS: &[&str] = &["semi-hard"];

fn examine(entry: &LearnerEntry, options: toml::Table) {
    let jumps = described(&(entry.options)()).into_iter().any(|option| {
        let word = options.get(&option.name).and_then(toml::Value::as_str).unwrap_or(&option.default);
        JUMPS.contains(&word)
    });
    let nature = Nature {
        head_by_label: HEAD_BY_LABEL.contains(&entry.name),
        approximate_gradient: jumps || APPROXIMATE.contains(&entry.name),
        options: options.clone(),
    };
    if let Err(faults) = conformance::learner_of(entry, &nature) {
        panic!("{} {options:?}: {faults}", entry.name);
    }
}

#[test]
fn every_learner_dataset_and_backbone_conforms() {
    let all = registry::learners();
    assert!(all.iter().any(|entry| entry.name == "prototypical"), "the learners are linked in");
    for entry in all {
        examine(entry, toml::Table::new());
    }
    // Another head is another algorithm; the hardest triplets do not jump.
    examine(registry::learner("finetune").unwrap(), "head = 'cosine'".parse().unwrap());
    examine(registry::learner("triplet").unwrap(), "mining = 'batch-hard'".parse().unwrap());
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

/// Every word that an option may be, one at a time.
#[test]
#[ignore = "a minute: cargo test --release --test learners -- --ignored"]
fn every_learner_conforms_with_each_of_its_choices() {
    for entry in registry::learners() {
        for option in described(&(entry.options)()) {
            let choices: Vec<String> = match option.range.as_str() {
                "true or false" => vec!["true".to_owned(), "false".to_owned()],
                words if words.contains(", ") && !words.contains("at most") => {
                    words.split(", ").map(|word| format!("'{word}'")).collect()
                }
                _ => continue,
            };
            for choice in choices.iter().filter(|choice| choice.trim_matches('\'') != option.default) {
                println!("{}: {} = {choice}", entry.name, option.name);
                examine(entry, format!("{} = {choice}", option.name).parse().unwrap());
            }
        }
    }
}
