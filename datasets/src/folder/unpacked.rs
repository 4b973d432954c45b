//! Directories of images in a zip or tar: unpacked once, with the lists beside them, and found again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use kshot::{Error, Result, atomic, file};
use tempfile::TempDir;

use super::entries::{directories, named_as_image, named_as_list};
use crate::archive;
use crate::digest;
use crate::stamp::Stamp;

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
        let Some([cache, digests]) = cache.map(|cache| ["unpacked", "digests"].map(|name| cache.join(name)))
        else {
            let temporary =
                tempfile::tempdir().map_err(|error| Error::io(DOING, std::env::temp_dir(), error))?;
            unpack(archive, temporary.path())?;
            return Ok(Self { root: innermost(temporary.path())?, _temporary: Some(temporary) });
        };
        let place = cache.join(digest_of(archive, &digests)?);
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

/// The digest of an archive, which takes long of a large one: remembered for as long as its size and time are the same.
fn digest_of(archive: &Path, digests: &Path) -> Result<String> {
    const DOING: &str = "looking at the archive";
    let failed = |error| Error::io(DOING, archive, error);
    let stamp = Stamp::from(&fs::metadata(archive).map_err(failed)?);
    let whole = fs::canonicalize(archive).map_err(failed)?;
    let mut of = digest::Parts::default();
    of.add(whole.as_os_str().as_encoded_bytes());
    of.add(&stamp.bytes());
    let remembered = digests.join(of.name());
    let is_digest = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(digest) = file::text(&remembered, 64, DOING).ok().filter(is_digest) {
        return Ok(digest);
    }
    let digest = digest::of_file(archive)?;
    // It is found the next time all the same where this cannot be kept.
    let _ =
        fs::create_dir_all(digests).is_ok() && atomic::write(&remembered, digest.as_bytes(), DOING).is_ok();
    Ok(digest)
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
