//! Directories of images in a zip or tar: unpacked once, with the lists beside them, and found again.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use kshot::{Error, Result};
use tempfile::TempDir;

use super::layout::{directories, named_as_image, named_as_list};
use crate::archive;
use crate::digest;

/// More than this is unpacked of no image, in bytes.
const MOST_UNPACKED: u64 = 1 << 30;

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
    let file = File::open(path).map_err(|error| Error::io("reading the archive", path, error))?;
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let unpacked = match ending.as_str() {
        "zip" => of_zip(file, to),
        "tar" => of_tar(BufReader::new(file), to),
        _ => of_tar(GzDecoder::new(BufReader::new(file)), to),
    };
    unpacked.map_err(|why| Error::invalid(format!("unpacking {}: {why}", path.display())))
}

fn of_zip(file: File, to: &Path) -> Result<(), String> {
    let mut zip = zip::ZipArchive::new(BufReader::new(file)).map_err(|error| error.to_string())?;
    for number in 0..zip.len() {
        let entry = zip.by_index(number).map_err(|error| error.to_string())?;
        let name = entry.name().to_owned();
        // None for a name that leads out of the directory.
        let Some(inside) = entry.enclosed_name() else {
            return Err(format!("its entry `{name}` would be written elsewhere"));
        };
        let wanted = entry.is_file() && (named_as_image(&inside) || named_as_list(&inside));
        drop(entry);
        if wanted {
            let bytes =
                archive::unpack(&mut zip, number, MOST_UNPACKED).map_err(|why| format!("`{name}` {why}"))?;
            write(&to.join(inside), &mut bytes.as_slice()).map_err(|error| format!("`{name}`: {error}"))?;
        }
    }
    Ok(())
}

fn of_tar(bytes: impl io::Read, to: &Path) -> Result<(), String> {
    let mut tar = tar::Archive::new(bytes);
    for entry in tar.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let name = entry.path().map_err(|error| error.to_string())?.into_owned();
        if entry.header().entry_type().is_file() && (named_as_image(&name) || named_as_list(&name)) {
            let inside = entry.unpack_in(to).map_err(|error| format!("`{}`: {error}", name.display()))?;
            if !inside {
                return Err(format!("its entry `{}` would be written elsewhere", name.display()));
            }
        }
    }
    Ok(())
}

fn write(place: &Path, bytes: &mut impl io::Read) -> io::Result<()> {
    fs::create_dir_all(place.parent().unwrap_or(place))?;
    io::copy(bytes, &mut File::create(place)?).map(drop)
}
