//! What is looked up by its name.

use crate::{Error, Result};

/// The entry called `name`, or which is nearest.
pub(crate) fn find<T>(
    kind: &str,
    name: &str,
    all: Vec<&'static T>,
    named: fn(&T) -> &'static str,
) -> Result<&'static T> {
    let found = all.iter().find(|entry| named(entry) == name).copied();
    found.ok_or_else(|| Error::unknown(kind, name, all.iter().map(|entry| named(entry))))
}
