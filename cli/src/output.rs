//! What the program writes: results to stdout or a file, complaints to stderr.

use std::io::Write as _;
use std::path::Path;

use kshot::{Error, Result, atomic};
use serde_json::Value;

use crate::world::world;

/// Writes a line to stderr, on the first rank; that nobody reads it (`2>&1 | head`) is no reason to panic, as `eprintln!` does.
pub(crate) fn complain(line: &str) {
    if !world().is_first() {
        return;
    }
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// An error as one line, whatever the libraries underneath put into it.
pub(crate) fn paragraph(error: &Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    format!("kshot: {}", lines.join(" "))
}

/// Writes to stdout, on the first rank; a reader who went away (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    if !world().is_first() {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("writing to", "standard output", error))
        }
        _ => Ok(()),
    }
}

/// Writes figures to a file, on the first rank.
pub(crate) fn write_json(path: &Path, json: &Value) -> Result<()> {
    if !world().is_first() {
        return Ok(());
    }
    atomic::write(path, format!("{json:#}\n").as_bytes(), "writing the figures to")
}

/// Refuses a file that could not be written, before the work that it is for.
pub(crate) fn writable(path: &Path) -> Result<()> {
    if !world().is_first() {
        return Ok(());
    }
    if path.is_dir() {
        return Err(Error::invalid(format!("{} is a directory; name a file for the rows", path.display())));
    }
    if path.exists() && !path.is_file() {
        return Ok(()); // A pipe or a device: it is written as it is.
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(directory).map(drop).map_err(|error| Error::io("preparing to write", path, error))
}
