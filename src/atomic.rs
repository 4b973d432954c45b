//! Files that are there whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::{Error, Result};

/// Writes `bytes` to `path`, whole or not at all: [`Pending`] at once.
///
/// # Errors
/// [`Error::Io`], with `doing` ("writing the checkpoint") and `path`; what was at `path` before is untouched.
pub fn write(path: &Path, bytes: &[u8], doing: &str) -> Result<()> {
    let mut pending = Pending::create(path, doing)?;
    pending.write_all(bytes).map_err(|error| Error::io(doing, path, error))?;
    pending.commit()
}

/// A file that is written piece by piece and is there once it is committed: a temporary file beside its place, synced to
/// the disk, then renamed.
///
/// Whoever opens `path` finds the former content or all of the new one, also after a crash or on a full disk. A `path`
/// that is no regular file (`/dev/stdout`, a named pipe) is written to as it is, not replaced.
pub struct Pending {
    path: PathBuf,
    doing: String,
    place: Place,
}

enum Place {
    Beside(BufWriter<NamedTempFile>),
    Itself(BufWriter<File>),
}

impl Pending {
    /// Begins a file.
    ///
    /// # Errors
    /// [`Error::Io`] with `doing` and `path`, when nothing can be written there.
    pub fn create(path: &Path, doing: &str) -> Result<Self> {
        let begin = || {
            if path.metadata().is_ok_and(|there| !there.is_file()) {
                return Ok(Place::Itself(BufWriter::new(OpenOptions::new().write(true).open(path)?)));
            }
            let mut builder = tempfile::Builder::new();
            builder.prefix(".kshot-");
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                // Readable by whom the umask allows, as any file a program writes; a temporary file's own default is 0600.
                builder.permissions(std::fs::Permissions::from_mode(0o666));
            }
            Ok(Place::Beside(BufWriter::new(builder.tempfile_in(directory(path))?)))
        };
        let place = begin().map_err(|error| Error::io(doing, path, error))?;
        Ok(Self { path: path.to_path_buf(), doing: doing.to_owned(), place })
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// [`Error::Io`]; what was there before is untouched.
    pub fn commit(self) -> Result<()> {
        let Self { path, doing, place } = self;
        let commit = || match place {
            Place::Itself(mut file) => file.flush(),
            Place::Beside(file) => {
                let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
                file.as_file().sync_all()?;
                file.persist(&path).map_err(|error| error.error)?;
                // The rename itself is durable once the directory is; only Unix lets a directory be opened for that.
                if cfg!(unix) { File::open(directory(&path))?.sync_all() } else { Ok(()) }
            }
        };
        commit().map_err(|error| Error::io(doing, &path, error))
    }
}

impl Write for Pending {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &mut self.place {
            Place::Beside(file) => file.write(bytes),
            Place::Itself(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match &mut self.place {
            Place::Beside(file) => file.flush(),
            Place::Itself(file) => file.flush(),
        }
    }
}

/// Where a file of this path is.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_content_replaces_the_old_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write(&path, b"old", "writing").unwrap();
        write(&path, b"new", "writing").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_no_regular_file_is_written_to_and_not_replaced() {
        use std::os::unix::fs::{FileTypeExt as _, symlink};

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("full");
        symlink("/dev/full", &path).unwrap();
        let error = write(&path, b"x", "writing").unwrap_err();
        assert!(
            matches!(&error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
        );
        assert!(path.metadata().unwrap().file_type().is_char_device());
    }

    #[test]
    fn a_path_that_cannot_be_written_is_an_io_error_naming_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let below = file.join("best.safetensors");
        let error = write(&below, b"x", "writing the checkpoint").unwrap_err();
        assert!(matches!(&error, Error::Io { path, .. } if *path == below));
        assert!(error.to_string().starts_with("writing the checkpoint "), "{error}");
    }

    #[test]
    fn a_failed_replacement_keeps_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a-directory");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("inside"), b"kept").unwrap();
        assert!(matches!(write(&path, b"x", "writing"), Err(Error::Io { .. })));
        assert_eq!(std::fs::read(path.join("inside")).unwrap(), b"kept");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
    }
}
