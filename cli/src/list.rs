//! `kshot learners`, `kshot datasets` and `kshot backbones`: what is linked in, and every option with its meaning.

use kshot::Result;
use kshot::augment::Augment;
use kshot::nn::Norm;
use kshot::options::{Described, described, schema};
use kshot::registry::{self, BackboneEntry, DatasetEntry, LearnerEntry, Problem};

use crate::experiment::AUGMENT;

/// Width of the text, names left out.
const WIDTH: usize = 100;

/// The learners by family, a line each; or all there is to say of one.
pub(crate) fn learners(name: Option<&str>) -> Result<String> {
    if let Some(name) = name {
        return Ok(learner(registry::learner(name)?));
    }
    let mut text = String::new();
    let mut family = None;
    for entry in registry::learners() {
        if family != Some(entry.family) {
            family = Some(entry.family);
            text += &format!("{}{}\n", if text.is_empty() { "" } else { "\n" }, entry.family.name());
        }
        text += &format!("  {:<14} {}\n{:17}{}\n", entry.name, entry.summary, "", entry.paper);
        text += &format!("{:17}{}\n", "", protocol(entry));
    }
    text += "\n`kshot learners NAME` has the options of one, `kshot backbones` the networks that all share\n";
    Ok(text)
}

fn learner(entry: &LearnerEntry) -> String {
    let mut text = format!("{} ({}): {}\n", entry.name, entry.family.name(), entry.summary);
    text += &format!("  {}\n  {}\n", entry.paper, protocol(entry));
    if !entry.differs.is_empty() {
        text += "  differs from the paper:\n";
        text.extend(wrapped(entry.differs).iter().map(|line| format!("      {line}\n")));
    }
    text += "\n";
    text + &options(entry.name, &described(&(entry.options)()))
}

/// What it is asked, with which statistics of batch norm it was published, and how it is trained by default.
fn protocol(entry: &LearnerEntry) -> String {
    let problems = match entry.solves {
        [Problem::Classification] => "classification",
        [Problem::Regression] => "regression",
        _ => "classification and regression",
    };
    let Some(training) = entry.training else { return format!("{problems}; nothing to train") };
    let config = training(entry.solves.first().copied().unwrap_or(Problem::Classification));
    let norm = match entry.norm {
        Norm::Running => "running statistics",
        Norm::Batch => "the batch's statistics, so transductive",
    };
    format!(
        "{problems}; {norm}; trained for {} steps of {}, learning rate {}",
        config.steps,
        crate::words::plural(config.meta_batch as usize, "episode"),
        config.learning_rate
    )
}

/// The datasets, a line each; or all there is to say of one.
pub(crate) fn datasets(name: Option<&str>) -> Result<String> {
    let head =
        |entry: &DatasetEntry| format!("{:<22} {}\n{:23}{}\n", entry.name, entry.summary, "", entry.source);
    Ok(match name {
        Some(name) => {
            let entry = registry::dataset(name)?;
            let mut text =
                format!("{}\n{}", head(entry), options(entry.name, &described(&(entry.options)())));
            text += "\nfor each of them, how training examples are varied (`--augment standard`, or one by one)\n\n";
            text + &options(AUGMENT, &described(&schema::<Augment>()))
        }
        None => {
            let all: String = registry::datasets().into_iter().map(head).collect();
            all + "\n`kshot datasets NAME` has the options of one\n"
        }
    })
}

/// The backbones with their options, all or one.
pub(crate) fn backbones(name: Option<&str>) -> Result<String> {
    let all = match name {
        Some(name) => vec![registry::backbone(name)?],
        None => registry::backbones(),
    };
    let mut text = String::new();
    for entry in all {
        let BackboneEntry { name, summary, paper, .. } = entry;
        text += &format!("{name:<14} {summary}\n{:15}{paper}\n\n", "");
        text += &options("backbone", &described(&(entry.options)()));
        text += "\n";
    }
    text += "for each of them\n\n";
    text += &option(
        "backbone.kind",
        "Which backbone; where unset, `conv4` for images, `mlp` for features.",
        "unset",
        "a name above",
    );
    text += &option(
        "backbone.norm",
        "Statistics of batch norm; where unset, as each learner was published.",
        "unset",
        "running, batch",
    );
    Ok(text)
}

/// All options of `name`, for `--set` or a file's `[set.NAME]`.
fn options(name: &str, options: &[Described]) -> String {
    if options.is_empty() {
        return "  no options\n".to_owned();
    }
    options
        .iter()
        .map(|Described { name: key, meaning, default, range }| {
            option(&format!("{name}.{key}"), meaning, default, range)
        })
        .collect()
}

fn option(key: &str, meaning: &str, default: &str, range: &str) -> String {
    let mut text = format!("  --set {key}={default}\n");
    for line in wrapped(&format!("{meaning} [{range}]")) {
        text += &format!("      {line}\n");
    }
    text
}

/// The words of a text in lines of at most [`WIDTH`] characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
