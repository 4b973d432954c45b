//! What a directory holds: its sub-directories and images.

use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use kshot::{Error, Result};

use crate::stamp::Stamp;

/// What an image's name ends in.
pub(super) const IMAGE_ENDINGS: [&str; 11] =
    ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "pgm", "ppm", "pbm", "pnm"];

/// A file or directory, as the system lists it.
struct Entry {
    name: std::ffi::OsString,
    entry: DirEntry,
    /// Whether it is a directory, or leads to one.
    is_directory: bool,
    is_link: bool,
}

impl Entry {
    /// Size and time of the file that it is or leads to; none where it is something else.
    fn stamp(&self) -> Option<Stamp> {
        // A directory that is open is asked, which is quicker than by the path; that does not follow links.
        let metadata =
            if self.is_link { fs::metadata(self.entry.path()) } else { self.entry.metadata() }.ok()?;
        metadata.is_file().then(|| Stamp::from(&metadata))
    }
}

/// The sub-directories, sorted, without hidden ones and those that archives of another system leave behind.
pub(crate) fn directories(root: &Path) -> Result<Vec<PathBuf>> {
    Ok(directories_of(&entries(root)?))
}

fn directories_of(entries: &[Entry]) -> Vec<PathBuf> {
    let directories = entries.iter().filter(|entry| entry.is_directory && entry.name != "__MACOSX");
    directories.map(|entry| entry.entry.path()).collect()
}

/// What is read of a directory, sorted.
pub(super) struct Contents {
    /// Files that are named as images, each with its size and time.
    pub(super) images: Vec<(PathBuf, Stamp)>,
    pub(super) directories: Vec<PathBuf>,
}

/// The images in a directory, and its sub-directories.
pub(super) fn images_in(directory: &Path) -> Result<Contents> {
    let entries = entries(directory)?;
    let named = entries.iter().filter(|entry| !entry.is_directory && named_as_image(Path::new(&entry.name)));
    let images = named.filter_map(|entry| Some((entry.entry.path(), entry.stamp()?))).collect();
    Ok(Contents { images, directories: directories_of(&entries) })
}

/// Whether a file's name is that of an image.
pub(super) fn named_as_image(path: &Path) -> bool {
    path.extension().is_some_and(|end| IMAGE_ENDINGS.iter().any(|known| end.eq_ignore_ascii_case(known)))
}

/// Whether a file's name is that of a list of images.
pub(super) fn named_as_list(path: &Path) -> bool {
    path.extension().is_some_and(|end| ["csv", "txt"].iter().any(|known| end.eq_ignore_ascii_case(known)))
}

/// The paths of what a directory holds, hidden files left out, sorted.
pub(super) fn paths_in(directory: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(directory)?.iter().map(|entry| entry.entry.path()).collect())
}

/// What a directory holds, hidden files left out, sorted by name: paths would be compared part by part.
fn entries(directory: &Path) -> Result<Vec<Entry>> {
    let failed = |error| Error::io("listing the directory", directory, error);
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // One that is gone since is left out.
        let Ok(kind) = entry.file_type() else { continue };
        let is_link = kind.is_symlink();
        let is_directory = if is_link { entry.path().is_dir() } else { kind.is_dir() };
        entries.push(Entry { name, entry, is_directory, is_link });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The last part of a path.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
