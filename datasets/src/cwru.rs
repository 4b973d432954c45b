//! The bearing data of Case Western Reserve University: vibrations of a motor's drive end at 12 kHz.
//!
//! Nine faults (of ball, inner and outer race, each of 0.007, 0.014 and 0.021 inches) at four motor loads, which are the
//! domains: load0 (0 hp, 1797 rpm) to load3 (3 hp, 1730 rpm). <https://engineering.case.edu/bearingdatacenter>. A record
//! is cut into windows of 2048 samples; those of its first part are for training, those of the rest for test, and no
//! window of one shares a sample with one of the other. `Normal` is left out: it is recorded otherwise than the faults.
//!
//! A fault is one bearing, which was run at every load: from load to load a learner meets the same bearings again, and what it
//! is asked is easier than what a diagnosis is. With `domains = "size"` the domains are the three sizes of fault and the
//! classes ball, inner and outer race: no bearing is then on both sides of a task.

use std::path::{Path, PathBuf};

use kshot::dataset::{Dataset, DatasetContext};
use kshot::options::Options;
use kshot::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::arrays::npy::npy;
use crate::domain_splits::{DomainBuilder, NUMBERS, Part};
use crate::place::find;
use crate::signals::{View, WINDOW};

kshot::register_dataset! {
    /// 9 bearing faults at 4 motor loads (domains load0 … load3), or 3 faults of 3 sizes; windows of 2048 samples at 12 kHz
    ///
    /// Case Western Reserve University Bearing Data Center; as `.npy` files
    name: "cwru",
    options: CwruOptions,
    open: open,
    locate: locate,
}

/// Options of `cwru`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct CwruOptions {
    /// What differs from source to target. The bearings are the same at each load, and others of each size.
    pub domains: DomainsAre,
    /// What a window is looked at as.
    pub view: View,
    /// Samples from the start of a window to that of the next; below 2048 they overlap (within training, within test).
    #[schemars(range(min = 1))]
    pub stride: usize,
    /// The part of each record that is for training, the first.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub train_share: f64,
}

impl Default for CwruOptions {
    fn default() -> Self {
        Self { domains: DomainsAre::Load, view: View::default(), stride: WINDOW, train_share: 0.5 }
    }
}

impl Options for CwruOptions {}

/// What the domains of `cwru` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DomainsAre {
    /// The motor's load; a class is a fault of a size.
    Load,
    /// The size of the fault; a class is its place, at all loads.
    Size,
}

const FAULTS: [&str; 9] = ["B007", "B014", "B021", "IR007", "IR014", "IR021", "OR007", "OR014", "OR021"];

fn locate(context: &DatasetContext) -> Result<PathBuf> {
    let from = "engineering.case.edu/bearingdatacenter (the drive-end channel of each record, as FAULT_loadN_DE.npy)";
    find(&context.data_dir, &["cwru/npy", "cwru"], "B007_load0_DE.npy", from)
}

fn open(context: &DatasetContext, options: CwruOptions) -> Result<Box<dyn Dataset>> {
    let folder = locate(context)?;
    let mut builder = DomainBuilder::new(options.view.shape());
    for load in ["load0", "load1", "load2", "load3"] {
        for fault in FAULTS {
            let (place, size) = fault.split_at(fault.len() - 3);
            let (domain, class) = match options.domains {
                DomainsAre::Load => (load, fault),
                DomainsAre::Size => (size, place),
            };
            let path = folder.join(format!("{fault}_{load}_DE.npy"));
            let record = record(&path)?;
            let (train, test) = parts(record.len(), options.train_share);
            for (range, part) in [(train, Part::Train), (test, Part::Test)] {
                for start in
                    range.clone().step_by(options.stride).take_while(|start| start + WINDOW <= range.end)
                {
                    let Some(window) = record.get(start..start + WINDOW) else { continue };
                    let window = options.view.of(window)?;
                    builder.push(domain, class, part, format!("{fault}_{load}@{start}"), &window);
                }
            }
        }
    }
    Ok(Box::new(builder.finish(NUMBERS, &[])?))
}

/// The samples of a record, at least two windows of one channel.
fn record(path: &Path) -> Result<Vec<f32>> {
    let array = npy(path)?;
    let refused = |why: String| Err(Error::invalid(format!("the record {} {why}", path.display())));
    if array.shape.iter().filter(|&&size| size != 1).count() > 1 {
        return refused(format!(
            "has the shape {:?}: it holds several channels, of which the drive end's alone is read",
            array.shape
        ));
    }
    let samples = array.numbers(&path.display().to_string())?;
    if samples.len() < 2 * WINDOW {
        return refused(format!(
            "has {} samples; at least {} are needed, a window of {WINDOW} for training and one for test",
            samples.len(),
            2 * WINDOW
        ));
    }
    Ok(samples.into_iter().map(|sample| sample as f32).collect())
}

/// The samples for training and those for test: the border is a whole number of windows from the start.
fn parts(samples: usize, share: f64) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let windows = samples / WINDOW;
    let train = ((windows as f64 * share).round() as usize).clamp(1, windows.saturating_sub(1).max(1));
    (0..train * WINDOW, train * WINDOW..samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_and_test_share_no_sample() {
        for (samples, share) in [(121_000, 0.5), (121_000, 0.99), (4096, 0.01), (5000, 0.7)] {
            let (train, test) = parts(samples, share);
            assert_eq!((train.end, test.end), (test.start, samples));
            assert!(train.len() >= WINDOW && test.len() >= WINDOW, "{samples} {share}");
        }
    }
}
