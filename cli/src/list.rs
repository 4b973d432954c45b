//! `kshot learners` and `kshot datasets`.

use kshot::nn::BackboneConfig;
use kshot::registry::{self, LearnerEntry, Options, Problem, Setup};

/// The learners by family, with their papers and options.
pub(crate) fn learners() -> String {
    let mut text = String::new();
    let mut family = None;
    for entry in registry::learners() {
        if family != Some(entry.family) {
            family = Some(entry.family);
            text += &format!("{}{}\n", if text.is_empty() { "" } else { "\n" }, entry.family.name());
        }
        let solves = match entry.solves {
            [Problem::Regression] => " (regression)",
            solves if solves.contains(&Problem::Regression) => " (classification and regression)",
            _ => "",
        };
        text += &format!("  {:<14} {}{solves}\n{:17}{}\n", entry.name, entry.summary, "", entry.paper);
        text += &training(entry);
        text += &options(entry.name, &(entry.options)());
    }
    text += "\nthe network all learners share\n  backbone\n";
    text + &options("backbone", &registry::defaults::<BackboneConfig>())
}

/// Whether it is transductive as published, and how it is trained by default.
fn training(entry: &LearnerEntry) -> String {
    let regression = !entry.solves.contains(&Problem::Classification);
    let setup = Setup {
        input: if regression { [1, 1, 1] } else { [1, 28, 28] },
        base_classes: if regression { 0 } else { 64 },
        ways: 5,
        shots: 1,
        queries: 15,
        backbone: BackboneConfig::default(),
        seed: 0,
    };
    let Ok(learner) = (entry.build)(&setup, &toml::Table::new()) else { return String::new() };
    let protocol = if learner.is_transductive() { "transductive" } else { "not transductive" };
    let config = (entry.train)(if regression { Problem::Regression } else { Problem::Classification });
    let training = if learner.params().layout().is_empty() {
        "nothing to train".to_owned()
    } else {
        format!(
            "trained for {} steps of {} {}, learning rate {}",
            config.steps,
            config.meta_batch,
            if config.meta_batch == 1 { "episode" } else { "episodes" },
            config.learning_rate
        )
    };
    format!("{:17}{protocol}; {training}\n", "")
}

/// The datasets, with their sources and options.
pub(crate) fn datasets() -> String {
    let mut text = String::new();
    for entry in registry::datasets() {
        text += &format!("{:<22} {}\n{:23}{}\n", entry.name, entry.summary, "", entry.source);
        text += &options(entry.name, &(entry.options)());
    }
    text
}

/// `--set NAME.KEY=DEFAULT`, a line each.
fn options(name: &str, options: &Options) -> String {
    let value = |value: &serde_json::Value| match value {
        serde_json::Value::Null => "(unset)".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        // Options are single precision: as short as they were written.
        serde_json::Value::Number(number) if number.is_f64() => {
            (number.as_f64().unwrap_or(f64::NAN) as f32).to_string()
        }
        other => other.to_string(),
    };
    options.iter().map(|(key, default)| format!("{:17}--set {name}.{key}={}\n", "", value(default))).collect()
}
