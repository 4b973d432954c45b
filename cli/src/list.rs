//! `kshot learners` and `kshot datasets`.

use kshot::nn::BackboneConfig;
use kshot::registry::{self, Options, Problem};

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
        text += &options(entry.name, &(entry.options)());
    }
    text += "\nthe network all learners share\n  backbone\n";
    text + &options("backbone", &registry::defaults::<BackboneConfig>())
}

/// The datasets, with their sources and options.
pub(crate) fn datasets() -> String {
    let mut text = String::new();
    for entry in registry::datasets() {
        text += &format!("{:<14} {}\n{:15}{}\n", entry.name, entry.summary, "", entry.source);
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
