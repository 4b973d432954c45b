//! Reading files that anyone may have written: no pipe, no device, and never more than is meant to be read.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use crate::{Error, Result};

/// The most bytes of a text that people write: an experiment, a suite, a division of classes.
pub const MOST_SETTINGS: u64 = 4 << 20;
/// The most bytes of what a program writes and that is read at once: weights, a manifest, a table of arrays.
pub const MOST_BYTES: u64 = 32 << 30;

/// Opens a regular file for reading; `doing` is a participle, "reading the manifest".
///
/// # Errors
/// [`Error::Io`] when it is not there or may not be read. A directory, and a pipe or a device, which may never end, are refused
/// unopened.
pub fn open(path: &Path, doing: &str) -> Result<File> {
    let failed = |error| Error::io(doing, path, error);
    let what = path.metadata().map_err(failed)?;
    if !what.is_file() {
        return Err(Error::invalid(format!("{doing} {}: it is {}, not a file", path.display(), kind(&what))));
    }
    File::open(path).map_err(failed)
}

/// All of a regular file that is at most `most` bytes long.
///
/// # Errors
/// As [`open`]; when it is longer, before it is read.
pub fn bytes(path: &Path, most: u64, doing: &str) -> Result<Vec<u8>> {
    let failed = |error| Error::io(doing, path, error);
    let file = open(path, doing)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut bytes = Vec::new();
    if length <= most {
        bytes.try_reserve_exact(length as usize).map_err(|_| failed(ErrorKind::OutOfMemory.into()))?;
        file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    }
    match length.max(bytes.len() as u64) {
        length if length > most => Err(Error::invalid(format!(
            "{doing} {}: it is {length} bytes long, more than the {most} that are read of such a file",
            path.display()
        ))),
        _ => Ok(bytes),
    }
}

/// The same of a text.
///
/// # Errors
/// As [`bytes`]; when it is not UTF-8, with the line.
pub fn text(path: &Path, most: u64, doing: &str) -> Result<String> {
    String::from_utf8(bytes(path, most, doing)?).map_err(|error| {
        let whole = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = 1 + whole.filter(|&&byte| byte == b'\n').count();
        Error::invalid(format!("{doing} {}: line {line} is not UTF-8; save it as UTF-8", path.display()))
    })
}

/// What something that is no file is, in words.
fn kind(what: &Metadata) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        let kind = what.file_type();
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_block_device() || kind.is_char_device() {
            return "a device";
        }
    }
    if what.is_dir() { "a directory" } else { "of another kind" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_or_no_text_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("settings.toml");
        std::fs::write(&path, b"a = 1\nb = '\xe9'\n").unwrap();
        assert_eq!(bytes(&path, 14, "reading").unwrap().len(), 14);
        let error = bytes(&path, 13, "reading the settings").unwrap_err().to_string();
        assert!(error.contains("settings.toml: it is 14 bytes long, more than the 13"), "{error}");
        let error = text(&path, 14, "reading").unwrap_err().to_string();
        assert!(error.contains("line 2 is not UTF-8"), "{error}");
        // A hole of a terabyte takes no room, and is not read.
        std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(bytes(&path, MOST_BYTES, "reading").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_refused_unopened() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for (path, what) in [
            (pipe.as_path(), "a pipe"),
            (Path::new("/dev/zero"), "a device"),
            (directory.path(), "a directory"),
        ] {
            let error = open(path, "reading").unwrap_err().to_string();
            assert!(error.ends_with(&format!("it is {what}, not a file")), "{error}");
        }
    }
}
