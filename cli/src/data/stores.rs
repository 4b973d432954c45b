//! `kshot data list` and `kshot data remove`: the stores that were prepared.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use kshot::{Error, Result};
use kshot_datasets::stores::{self, Kept};

use crate::output::{paragraph, print};
use crate::place::cache_dir;
use crate::suite::memory::Bytes;
use crate::table::render;
use crate::words::plural;

fn cache() -> Result<PathBuf> {
    cache_dir().ok_or_else(|| {
        Error::invalid("there is no cache directory that stores are kept in: set KSHOT_CACHE to a directory")
    })
}

pub(super) fn list() -> Result<()> {
    let cache = cache()?;
    let stores = stores::kept(&cache)?;
    if stores.is_empty() {
        return print(&format!(
            "no store in {}; `kshot data prepare DATASET` makes one\n",
            cache.join("stores").display()
        ));
    }
    let now = SystemTime::now();
    let rows: Vec<Vec<String>> = stores.iter().map(|store| row(store, now)).collect();
    let header = ["name", "of", "images", "inputs", "on disk", "made", "used"];
    let bytes: u64 = stores.iter().map(|store| store.bytes).sum();
    print(&format!(
        "{}{}, {}, in {}\n",
        render(&header, &rows, 2),
        plural(stores.len(), "store"),
        Bytes(bytes),
        cache.join("stores").display()
    ))
}

fn row(store: &Kept, now: SystemTime) -> Vec<String> {
    let bytes = Bytes(store.bytes).to_string();
    match &store.description {
        Ok(of) => {
            let made = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(of.made));
            let since = |time: Option<SystemTime>| {
                time.and_then(|time| now.duration_since(time).ok()).map_or_else(|| "now".to_owned(), ago)
            };
            vec![
                shown(&store.name),
                shown(&of.source),
                of.images.to_string(),
                shown(&of.prepared),
                bytes,
                since(made),
                since(store.used),
            ]
        }
        Err(error) => vec![shown(&store.name), paragraph(error), String::new(), String::new(), bytes],
    }
}

/// A text of a file, without what a terminal obeys.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `5 min ago`, `3 days ago`.
fn ago(time: Duration) -> String {
    match time.as_secs() / 60 {
        0 => "now".to_owned(),
        minutes @ 1..120 => format!("{minutes} min ago"),
        minutes @ 120..2880 => format!("{} h ago", minutes / 60),
        minutes => format!("{} days ago", minutes / 1440),
    }
}

pub(super) fn remove(names: Vec<String>, all: bool) -> Result<()> {
    let cache = cache()?;
    let names = match all {
        true => stores::kept(&cache)?.into_iter().map(|store| store.name).collect(),
        false => names,
    };
    for name in &names {
        stores::remove(&cache, name)?;
    }
    print(&format!("removed {}\n", plural(names.len(), "store")))
}
