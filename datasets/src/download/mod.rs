//! Getting a dataset's files: from their upstream or from a local directory, checked, resumed, moved into place whole.
//!
//! A file is received as `NAME.part` beside its place and renamed once its checksum is right. A download that breaks off
//! leaves its `.part`, and the next one goes on from there.

mod checksum;
mod transfer;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use kshot::dataset::DatasetContext;
use kshot::registry::datasets;
use kshot::{Error, Result};

pub use checksum::Checksum;

/// A file of a dataset: where it comes from and what it must hold.
#[derive(Clone, Debug)]
pub struct RemoteFile {
    /// Its name on disk.
    pub name: String,
    /// Where upstream has it.
    pub url: String,
    /// Whether a file is it: upstream's, then other packings of the same data. Not empty.
    pub accepted: Vec<Checksum>,
}

/// How far a file has got.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The file's name.
    pub file: &'a str,
    /// Bytes there, resumed ones included.
    pub done: u64,
    /// Bytes there will be, where the source says so.
    pub total: Option<u64>,
}

/// A file that is now in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it lies.
    pub path: PathBuf,
    /// Whether it was there and whole before.
    pub was_there: bool,
}

/// The files of `dataset` that can be fetched, and the directory of the data directory they belong in.
///
/// # Errors
/// When there is no such dataset, or it has nothing to fetch: says where its files are, or come from.
pub fn files(dataset: &str, data_dir: &Path) -> Result<(&'static str, Vec<RemoteFile>)> {
    if dataset == "omniglot" {
        return Ok(("omniglot", crate::omniglot::remote_files()));
    }
    if let Some(remote) = crate::benchmarks::remote(dataset) {
        return Ok(remote);
    }
    let all = datasets();
    let Some(entry) = all.iter().find(|entry| entry.name == dataset) else {
        return Err(Error::unknown("dataset to get", dataset, all.iter().map(|entry| entry.name)));
    };
    Err(match entry.locate.map(|locate| locate(&DatasetContext::at(data_dir))) {
        None => Error::invalid(format!(
            "the dataset `{dataset}` has no files to get: it needs none, or they are your own"
        )),
        Some(Ok(path)) => {
            Error::invalid(format!("the files of `{dataset}` are there already, in {}", path.display()))
        }
        Some(Err(error)) => error.context(format!("the files of `{dataset}` cannot be got by `kshot`")),
    })
}

/// Fetches the files of `dataset` to its directory in `data_dir`: what `kshot data get` does.
///
/// Files come from `from`, a local directory, where it is given; else from upstream, or from `base_url/NAME` (a mirror)
/// where that is given. Files that are already whole stay as they are.
///
/// # Errors
/// As [`files`] and [`fetch_files`].
pub fn fetch(
    dataset: &str,
    data_dir: &Path,
    from: Option<&Path>,
    base_url: Option<&str>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Fetched>> {
    let (folder, mut files) = files(dataset, data_dir)?;
    if let Some(base) = base_url {
        for file in &mut files {
            file.url = format!("{}/{}", base.trim_end_matches('/'), file.name.replace(' ', "%20"));
        }
    }
    fetch_files(&files, &data_dir.join(folder), from, progress)
}

/// Fetches `files` to `directory`, which is made where it is missing; from the directory `from`, else from their URLs.
///
/// # Errors
/// When the directory cannot be written (no right to, disk full), the source has no such file, the connection fails or
/// breaks off, or a checksum is wrong. A partial download stays as `NAME.part` to be resumed, unless its checksum is
/// wrong; nothing else is left behind.
pub fn fetch_files(
    files: &[RemoteFile],
    directory: &Path,
    from: Option<&Path>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<Fetched>> {
    fs::create_dir_all(directory).map_err(|error| Error::io("creating the directory", directory, error))?;
    files
        .iter()
        .map(|file| {
            let path = directory.join(&file.name);
            let was_there = path.is_file() && checksum::is_any(&path, &file.accepted)?;
            if was_there {
                let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
                progress(Progress { file: &file.name, done: size, total: Some(size) });
            } else {
                fetch_file(file, &path, from, progress)?;
            }
            Ok(Fetched { path, was_there })
        })
        .collect()
}

/// Receives `file` as `PATH.part`, checks it and renames it to `path`.
fn fetch_file(
    file: &RemoteFile,
    path: &Path,
    from: Option<&Path>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    let part_path = path.with_file_name(format!("{}.part", file.name));
    let part = open_part(&part_path)?;
    let source = match from {
        Some(directory) => {
            let source = directory.join(&file.name);
            transfer::copy(file, &source, &part, &part_path, progress).inspect_err(|_| {
                // A copy is not resumed. If this fails too, the first error is the one to hear about.
                let _ = fs::remove_file(&part_path);
            })?;
            source.display().to_string()
        }
        None => {
            transfer::download(file, &part, &part_path, progress).inspect_err(|_| {
                // Nothing came, so there is nothing to resume.
                if part.metadata().is_ok_and(|metadata| metadata.len() == 0) {
                    let _ = fs::remove_file(&part_path);
                }
            })?;
            file.url.clone()
        }
    };
    part.sync_all().map_err(|error| Error::io("writing", &part_path, error))?;
    if !checksum::is_any(&part_path, &file.accepted)? {
        let found = checksum::of(&part_path)?;
        let expected = file.accepted.iter().map(|file| format!("{} bytes with {}", file.size, file.sha256));
        let expected = expected.collect::<Vec<_>>().join(" or ");
        fs::remove_file(&part_path).map_err(|error| Error::io("removing", &part_path, error))?;
        return Err(Error::invalid(format!(
            "{} from {source} is not the file it should be: it has {} bytes with SHA-256 {}, but {expected} are \
             expected; it was removed. Try again, or get the file elsewhere and pass its directory with --from",
            file.name, found.size, found.sha256
        )));
    }
    fs::rename(&part_path, path).map_err(|error| Error::io("moving the finished download to", path, error))
}

/// Opens or creates a `.part`, for this process alone.
fn open_part(path: &Path) -> Result<File> {
    let part = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)
        .map_err(|error| Error::io("creating", path, error))?;
    match part.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::invalid(format!(
            "{} is being written by another process; wait until it is done, then try again",
            path.display()
        ))),
        // Locked, or on a file system that has no locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(part),
    }
}
