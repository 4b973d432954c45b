//! Directories of images in a zip or tar: unpacked once, with the lists beside them, and found again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use kshot::{Error, Result};
use tempfile::TempDir;

use super::layout::{directories, named_as_image, named_as_list};
use crate::archive;
use crate::digest;

/// An archive's images, on disk.
pub(crate) struct Unpacked {
    /// The directory that has more than one directory or image.
    pub(crate) root: PathBuf,
    /// Where it is not kept: gone when this is dropped.
    _temporary: Option<TempDir>,
}

/// Whether a file's name is that of an archive.
pub(crate) fn is_archive(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    [".zip", ".tar", ".tar.gz", ".tgz"].iter().any(|ending| name.ends_with(ending))
}

impl Unpacked {
    /// Unpacks the images and lists of an archive into the cache, unless they are there.
    pub(crate) fn of(archive: &Path, cache: Option<&Path>) -> Result<Self> {
        const DOING: &str = "unpacking the images to";
        let Some(cache) = cache.map(|cache| cache.join("unpacked")) else {
            let temporary =
                tempfile::tempdir().map_err(|error| Error::io(DOING, std::env::temp_dir(), error))?;
            unpack(archive, temporary.path())?;
            return Ok(Self { root: innermost(temporary.path())?, _temporary: Some(temporary) });
        };
        let place = cache.join(digest::of_file(archive)?);
        if !place.exists() {
            let failed = |error| Error::io(DOING, &cache, error);
            fs::create_dir_all(&cache).map_err(failed)?;
            let beside = tempfile::tempdir_in(&cache).map_err(failed)?;
            unpack(archive, beside.path())?;
            // Another process may have been faster.
            if let Err(error) = fs::rename(beside.path(), &place)
                && !place.exists()
            {
                return Err(failed(error));
            }
        }
        Ok(Self { root: innermost(&place)?, _temporary: None })
    }
}

/// Past directories that only hold one other.
fn innermost(root: &Path) -> Result<PathBuf> {
    let mut root = root.to_path_buf();
    while let [only] = directories(&root)?.as_slice() {
        if directories(only)?.is_empty() {
            break;
        }
        root = only.clone();
    }
    Ok(root)
}

fn unpack(path: &Path, to: &Path) -> Result<()> {
    archive::each(path, &|name| named_as_image(name) || named_as_list(name), &mut |inside, bytes| {
        let place = to.join(inside);
        fs::create_dir_all(place.parent().unwrap_or(to))?;
        io::copy(bytes, &mut File::create(place)?)
    })
}
