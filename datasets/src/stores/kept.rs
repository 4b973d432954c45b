//! What stores there are.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kshot::dataset::{Description, Store};
use kshot::{Error, Result};

use super::prepare::is_locked;
use super::{directory, place};

/// A store in the cache.
pub struct Kept {
    /// Its name, as `folder-0123456789ab`.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// Bytes on disk.
    pub bytes: u64,
    /// When it was last used, where the system tells.
    pub used: Option<SystemTime>,
    /// What it holds; what is wrong where it cannot be read.
    pub description: Result<Description>,
}

/// All stores of a cache, by name. One that was begun and never finished is not there, but takes room: it is told as one
/// that cannot be read.
///
/// # Errors
/// When the directory cannot be listed.
pub fn kept(cache: &Path) -> Result<Vec<Kept>> {
    let directory = directory(cache);
    let failed = |error| Error::io("listing the stores in", &directory, error);
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut stores = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || !entry.path().is_dir() {
            continue;
        }
        let path = place(cache, &name);
        let files = fs::read_dir(entry.path()).map_err(failed)?.flatten();
        let bytes = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
        let store = match path.exists() {
            true => Store::open(&path),
            false if is_locked(&entry.path()) => Err(Error::invalid("it is being prepared")),
            false => Err(Error::invalid("its preparation was broken off")),
        };
        let used = store.as_ref().ok().and_then(Store::used);
        let description = store.map(|store| store.description().clone());
        stores.push(Kept { name, path, bytes, used, description });
    }
    stores.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(stores)
}

/// Removes a store. A process that reads it goes on with what it has open.
///
/// # Errors
/// When there is none of this name, or it is being prepared.
pub fn remove(cache: &Path, name: &str) -> Result<()> {
    let stores = kept(cache)?;
    if stores.is_empty() {
        return Err(Error::invalid(format!("there is no store in {}", directory(cache).display())));
    }
    if !stores.iter().any(|store| store.name == name) {
        return Err(Error::unknown("store", name, stores.iter().map(|store| store.name.as_str())));
    }
    let directory = directory(cache).join(name);
    if is_locked(&directory) {
        return Err(Error::invalid(format!("the store {name} is being prepared: stop that first")));
    }
    fs::remove_dir_all(&directory).map_err(|error| Error::io("removing the store", directory, error))
}
