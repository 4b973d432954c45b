//! Scalars as JSON lines: `{"step":12,"train/loss":0.5,"train/accuracy":0.8}`.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::{Error, Result, atomic, file};

/// A file of JSON lines. A value that is not a finite number is `null`.
pub struct Jsonl {
    path: PathBuf,
    file: BufWriter<File>,
}

struct Line<'a> {
    step: u64,
    scalars: &'a [(String, f32)],
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + self.scalars.len()))?;
        map.serialize_entry("step", &self.step)?;
        for (tag, value) in self.scalars {
            map.serialize_entry(tag, value)?;
        }
        map.end()
    }
}

#[derive(Deserialize)]
struct Step {
    step: u64,
}

impl Jsonl {
    /// Opens `path` to go on after `step`: lines of later steps, and a last one cut short, are dropped. After step 0
    /// the file starts empty.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(path: &Path, step: u64) -> Result<Self> {
        let io = |error| Error::io("opening the log", path, error);
        if step > 0 && path.exists() {
            let text = file::text(path, file::MOST_BYTES, "reading the log")?;
            let kept = |line: &&str| serde_json::from_str::<Step>(line).is_ok_and(|line| line.step <= step);
            let text: String = text.split_inclusive('\n').filter(kept).collect();
            atomic::write(path, text.as_bytes(), "writing the log")?;
        }
        let mut options = OpenOptions::new();
        let how = if step > 0 { options.append(true) } else { options.write(true).truncate(true) };
        let file = how.create(true).open(path).map_err(io)?;
        Ok(Self { path: path.to_path_buf(), file: BufWriter::new(file) })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn write(&mut self, step: u64, scalars: &[(String, f32)]) -> Result<()> {
        serde_json::to_writer(&mut self.file, &Line { step, scalars })
            .map_err(std::io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"))
            .map_err(|error| Error::io("writing the log", &self.path, error))
    }

    /// Hands what is buffered to the system.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|error| Error::io("writing the log", &self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_log_goes_on_after_the_step_it_is_resumed_from() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.jsonl");
        let mut log = Jsonl::open(&path, 0).unwrap();
        for step in 1..=3 {
            log.write(step, &[("train/loss".to_owned(), 0.1 * step as f32)]).unwrap();
        }
        log.write(3, &[("validation/accuracy".to_owned(), f32::NAN)]).unwrap();
        log.flush().unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        assert_eq!(
            whole,
            "{\"step\":1,\"train/loss\":0.1}\n{\"step\":2,\"train/loss\":0.2}\n{\"step\":3,\"train/loss\":0.3}\n\
             {\"step\":3,\"validation/accuracy\":null}\n"
                .replace("0.3}", &format!("{}}}", 0.1f32 * 3.0))
        );
        fs::write(&path, format!("{whole}{{\"step\":3,\"tr")).unwrap();
        let mut log = Jsonl::open(&path, 2).unwrap();
        log.write(3, &[]).unwrap();
        log.flush().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.lines().collect::<Vec<_>>()[1..],
            ["{\"step\":2,\"train/loss\":0.2}", "{\"step\":3}"]
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_io_error() {
        let mut log = Jsonl::open(Path::new("/dev/full"), 0).unwrap();
        log.write(1, &[]).unwrap();
        let error = log.flush().unwrap_err();
        assert!(error.to_string().starts_with("writing the log /dev/full: "), "{error}");
    }
}
