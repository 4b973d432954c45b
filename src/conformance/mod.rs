//! What every plugin must do, as one line in its own tests.
//!
//! ```
//! kshot::conformance::backbone(kshot::registry::backbone("conv4")?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`learner`] builds the learner on small images, trains it a few steps and tries what users' work relies on; each check
//! has a name, and a fault says what was done and what came out. A panic of the plugin is a fault of the check it happened
//! in. What a learner does not promise, by its nature, is said in [`Nature`].

mod backbones;
mod datasets;
mod learners;
mod memory;
mod toy;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Result;

pub use backbones::backbone;
pub use datasets::dataset;
pub use learners::{Nature, learner, learner_of};

/// What a plugin did wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The check's name.
    pub check: &'static str,
    /// What was done, what was expected, and what came out.
    pub what: String,
}

/// All that a plugin did wrong; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Whether the check of this name found something.
    pub fn of(&self, check: &str) -> bool {
        self.0.iter().any(|fault| fault.check == check)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of the checks failed:", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {}: {}", fault.check, fault.what))
    }
}

impl std::error::Error for Faults {}

/// Collects faults.
#[derive(Default)]
struct Checks(Vec<Fault>);

impl Checks {
    /// Runs a check, which gives what is wrong, if anything.
    fn run(&mut self, check: &'static str, work: impl FnOnce() -> Result<Option<String>>) {
        let what = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(None)) => return,
            Ok(Ok(Some(what))) => what,
            Ok(Err(error)) => format!("it was refused: {error}"),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                format!("it panicked: {}", text.unwrap_or_default())
            }
        };
        self.0.push(Fault { check, what });
    }

    fn finish(self) -> Result<(), Faults> {
        if self.0.is_empty() { Ok(()) } else { Err(Faults(self.0)) }
    }
}

/// `None` where a condition holds, else what is wrong.
fn unless(holds: bool, what: impl FnOnce() -> String) -> Result<Option<String>> {
    Ok((!holds).then(what))
}
