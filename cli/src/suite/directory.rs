//! The directory that a suite is kept in: `cells/`, each with what [`kept`](super::kept) writes, and `suite.json`, which lists
//! them.

use std::fs::{self, File, TryLockError};
use std::path::{Component, Path, PathBuf};

use kshot::{Error, Result, atomic, file};
use serde::{Deserialize, Serialize};

use crate::output::complain;
use crate::words::plural;

/// The list of a suite's cells.
pub(crate) const SUITE: &str = "suite.json";
const CELLS: &str = "cells";
const DOING: &str = "keeping the suite in";

/// `suite.json`.
#[derive(Serialize, Deserialize)]
struct Listed {
    /// Version of its form.
    form: u64,
    /// Names of the directories below `cells`, in the order of the suite.
    cells: Vec<String>,
}

/// A suite's directory, which no other program writes in as long as this is held.
pub(crate) struct SuiteDirectory {
    path: PathBuf,
    /// Of the first rank, for all.
    _lock: Option<File>,
}

impl SuiteDirectory {
    /// Opens the directory, which is made if it is not there.
    ///
    /// # Errors
    /// When another program holds it, or it cannot be written in.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |error| Error::io(DOING, path, error);
        fs::create_dir_all(path.join(CELLS)).map_err(failed)?;
        let lock = File::create(path.join(".lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_path_buf(), _lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => Err(Error::invalid(format!(
                "another kshot is measuring in {}: wait for it, or take another directory",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The directory as ranks that do not open it have it.
    pub(crate) fn shared(path: &Path) -> Self {
        Self { path: path.to_path_buf(), _lock: None }
    }

    /// Where the cell of this name is kept.
    pub(crate) fn cell(&self, name: &str) -> PathBuf {
        self.path.join(CELLS).join(name)
    }

    /// Lists the cells of the suite as it is now, and says how many are there that it no longer has.
    pub(crate) fn list(&self, cells: &[String]) -> Result<()> {
        let folder = self.path.join(CELLS);
        let entries = fs::read_dir(&folder).map_err(|error| Error::io("listing", &folder, error))?;
        let kept = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let others = kept.filter(|name| !cells.contains(name)).count();
        if others > 0 {
            complain(&format!(
                "note: {} in {} are of no cell of this suite as it is now; they are left",
                plural(others, "result"),
                folder.display()
            ));
        }
        let listed = Listed { form: 1, cells: cells.to_vec() };
        let text =
            serde_json::to_string_pretty(&listed).map_err(|error| Error::invalid(error.to_string()))?;
        atomic::write(&self.path.join(SUITE), format!("{text}\n").as_bytes(), DOING)
    }
}

/// The directories of a suite's cells, in its order; of a cell's own directory, that one.
///
/// # Errors
/// When it is neither.
pub(crate) fn cells_of(path: &Path) -> Result<Vec<PathBuf>> {
    let list = path.join(SUITE);
    if !list.exists() {
        return match path.join(super::kept::RESULT).exists() {
            true => Ok(vec![path.to_path_buf()]),
            false => Err(Error::invalid(format!(
                "{} holds no figures: it is neither the directory of `kshot run`, nor that of a run",
                path.display()
            ))),
        };
    }
    let bytes = file::bytes(&list, file::MOST_BYTES, "reading the suite")?;
    let listed: Listed = serde_json::from_slice(&bytes).map_err(|error| {
        Error::invalid(format!("{} is not what `kshot run` wrote: {error}", list.display()))
    })?;
    let folder = path.join(CELLS);
    let place = |name: String| match Path::new(&name).components().eq([Component::Normal(name.as_ref())]) {
        true => Ok(folder.join(name)),
        false => Err(Error::invalid(format!(
            "{} names the cell `{name}`, which is no name of a directory in {}",
            list.display(),
            folder.display()
        ))),
    };
    listed.cells.into_iter().map(place).collect()
}
