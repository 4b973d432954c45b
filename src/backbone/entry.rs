//! Registered backbones.

use schemars::Schema;

use crate::Result;
use crate::named::find;
use crate::nn::{Architecture, Norm};

/// A registered backbone; see [`register_backbone!`](crate::register_backbone).
pub struct BackboneEntry {
    /// Name on the command line.
    pub name: &'static str,
    /// One line: what it is made of.
    pub summary: &'static str,
    /// Authors, title, venue, year.
    pub paper: &'static str,
    /// Its options.
    pub options: fn() -> Schema,
    /// Its options for inputs `[channels, height, width]` as they are once read: all of them, none left to the input.
    pub resolve: fn([usize; 3], &toml::Table) -> Result<toml::Table>,
    /// What it is made of, without a head, for inputs `[channels, height, width]`.
    pub build: fn([usize; 3], Norm, &toml::Table) -> Result<Architecture>,
}

inventory::collect!(BackboneEntry);

/// All registered backbones, by name.
pub fn backbones() -> Vec<&'static BackboneEntry> {
    let mut all: Vec<_> = inventory::iter::<BackboneEntry>.into_iter().collect();
    all.sort_by_key(|entry| entry.name);
    all
}

/// The backbone called `name`.
///
/// # Errors
/// When there is none: says which is nearest.
pub fn backbone(name: &str) -> Result<&'static BackboneEntry> {
    find("backbone", name, backbones(), |entry| entry.name)
}
