//! What every dataset must do.

use super::{Checks, Faults, unless};
use crate::dataset::{Dataset, DatasetContext, Preparation, Split, TaskSource};
use crate::episode::{Count, Episode, TaskSpec, Tasks};
use crate::options::described;
use crate::registry::DatasetEntry;
use crate::{Error, Result};

/// Examines a dataset, opened with these options.
///
/// # Errors
/// Each check that failed, by name:
///
/// | check | what must hold |
/// | --- | --- |
/// | `options` | each says what it means, unknown ones are refused |
/// | `splits` | a class is in one split only, and in each once |
/// | `episodes` | an episode is a pure function of seed, split and number |
/// | `inputs` | they are finite, and of the shape that `input` says |
/// | `examples` | no query of a task is an example of its support |
/// | `preparation` | what a checkpoint keeps of it is read back |
pub fn dataset(entry: &DatasetEntry, context: &DatasetContext, options: &toml::Table) -> Result<(), Faults> {
    let mut checks = Checks::default();
    let open = || (entry.open)(context, options);
    checks.run("options", || {
        if let Some(silent) = described(&(entry.options)()).into_iter().find(|o| o.meaning.is_empty()) {
            return Ok(Some(format!("its option `{}` has no doc comment", silent.name)));
        }
        let unknown = (entry.open)(context, &toml::toml! { no-such-option = 1 });
        unless(unknown.is_err(), || "it takes an option that it does not have".to_owned())
    });
    checks.run("splits", || splits(open()?.as_ref()));
    checks.run("episodes", || {
        let [first, again] = [episode(open()?.as_ref(), 3)?, episode(open()?.as_ref(), 3)?];
        let other = episode(open()?.as_ref(), 4)?;
        if first != again {
            return Ok(Some("the same episode is another when the dataset is opened again".to_owned()));
        }
        unless(first.support != other.support, || "two episodes are the same".to_owned())
    });
    checks.run("inputs", || {
        let (dataset, mut wrong) = (open()?, None);
        let task = episode(dataset.as_ref(), 0)?;
        for set in [&task.support, &task.query] {
            let (_, c, h, w) = set.inputs().dim();
            if [c, h, w] != dataset.input() {
                wrong = Some(format!("inputs are {:?}, but `input` says {:?}", [c, h, w], dataset.input()));
            } else if set.inputs().iter().any(|value| !value.is_finite()) {
                wrong = Some("an input is not a finite number".to_owned());
            }
        }
        Ok(wrong)
    });
    checks.run("examples", || {
        let task = episode(open()?.as_ref(), 0)?;
        let (support, query) = (task.support.inputs(), task.query.inputs());
        let repeated = query.outer_iter().filter(|q| support.outer_iter().any(|s| s == q)).count();
        unless(repeated == 0, || format!("{repeated} queries of a task are examples of its support"))
    });
    checks.run("preparation", || {
        let preparation = open()?.preparation();
        let json = serde_json::to_value(&preparation).map_err(|error| Error::invalid(error.to_string()))?;
        let back: Preparation =
            serde_json::from_value(json).map_err(|error| Error::invalid(error.to_string()))?;
        unless(back == preparation, || "it is read back as another".to_owned())
    });
    checks.finish()
}

fn splits(dataset: &dyn Dataset) -> Result<Option<String>> {
    let mut seen = std::collections::HashMap::new();
    for split in [Split::Train, Split::Validation, Split::Test] {
        // A split may be empty, and says so.
        let Ok(TaskSource::Classes(set)) = dataset.split(split) else { continue };
        for class in set.classes() {
            if let Some(other) = seen.insert(class.name.clone(), split) {
                return Ok(Some(format!(
                    "class `{}` is in the {} split and in the {} split",
                    class.name,
                    other.name(),
                    split.name()
                )));
            }
        }
    }
    Ok(None)
}

/// A test episode of a dataset of classes, domains or functions.
fn episode(dataset: &dyn Dataset, number: u64) -> Result<Episode> {
    let source = dataset.split(Split::Test)?;
    let two = Count::fixed(2);
    let spec = match &source {
        TaskSource::Functions(_) => TaskSpec::Regression { shots: 3, queries: 3 },
        _ => TaskSpec::FewShot { ways: two, shots: Count::fixed(1), queries: 2 },
    };
    let tasks: Box<dyn Tasks> = spec.open(&source, Split::Test, 7)?;
    tasks.episode(number)
}
