//! TensorBoard event files.
//!
//! `tensorboard-rs` has a `SummaryWriter`, but it writes from a thread of its own that panics on a full disk, so only
//! its record framing and messages are used here.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protobuf::Message as _;
use tensorboard_proto::event::{Event, SessionLog, SessionLog_SessionStatus};
use tensorboard_rs::record_writer::RecordWriter;
use tensorboard_rs::summary;

use crate::{Error, Result};

/// An event file that TensorBoard shows: `tensorboard --logdir DIRECTORY`.
pub struct TensorBoard {
    path: PathBuf,
    records: RecordWriter<BufWriter<File>>,
}

/// Time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl TensorBoard {
    /// A new event file in `directory`, to go on after `step` updates: it tells TensorBoard to forget what earlier
    /// files there say of later steps.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(directory: &Path, step: u64) -> Result<Self> {
        // TensorBoard reads the files of a directory in order of their names.
        let now = now();
        let name = format!("events.out.tfevents.{:010}.{:09}.kshot", now.as_secs(), now.subsec_nanos());
        let path = directory.join(name);
        let file = File::create_new(&path)
            .map_err(|error| Error::io("creating the TensorBoard log", &path, error))?;
        let mut log = Self { path, records: RecordWriter::new(BufWriter::new(file)) };
        let mut version = Event::new();
        version.set_file_version("brain.Event:2".to_owned());
        log.append(version)?;
        let mut start = Event::new();
        let mut session = SessionLog::new();
        session.set_status(SessionLog_SessionStatus::START);
        start.set_session_log(session);
        start.set_step(step as i64 + 1);
        log.append(start)?;
        log.flush()?;
        Ok(log)
    }

    /// Appends scalars.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn write(&mut self, step: u64, scalars: &[(String, f32)]) -> Result<()> {
        scalars.iter().try_for_each(|(tag, value)| {
            let mut event = Event::new();
            event.set_step(step as i64);
            event.set_summary(summary::scalar(tag, *value));
            self.append(event)
        })
    }

    /// Hands what is buffered to the system.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn flush(&mut self) -> Result<()> {
        self.records.flush().map_err(|error| Error::io("writing the TensorBoard log", &self.path, error))
    }

    fn append(&mut self, mut event: Event) -> Result<()> {
        event.set_wall_time(now().as_secs_f64());
        event
            .write_to_bytes()
            .map_err(std::io::Error::from)
            .and_then(|bytes| self.records.write(&bytes))
            .map_err(|error| Error::io("writing the TensorBoard log", &self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorboard_rs::masked_crc32c::masked_crc32c;

    /// Reads records back: length, its checksum, data, its checksum.
    fn events(path: &Path) -> Vec<Event> {
        let bytes = std::fs::read(path).unwrap();
        let (mut rest, mut events) = (bytes.as_slice(), Vec::new());
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], masked_crc32c(&rest[..8]).to_le_bytes());
            let data = &rest[12..12 + length];
            assert_eq!(rest[12 + length..16 + length], masked_crc32c(data).to_le_bytes());
            events.push(Event::parse_from_bytes(data).unwrap());
            rest = &rest[16 + length..];
        }
        events
    }

    #[test]
    fn scalars_are_read_back_after_version_and_session_start() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = TensorBoard::create(directory.path(), 6).unwrap();
        log.write(7, &[("train/loss".to_owned(), 0.5), ("train/accuracy".to_owned(), 0.75)]).unwrap();
        log.flush().unwrap();
        let events = events(&log.path);
        assert_eq!(events.len(), 4);
        assert_eq!(events[0].get_file_version(), "brain.Event:2");
        assert_eq!(events[1].get_session_log().get_status(), SessionLog_SessionStatus::START);
        assert_eq!(events[1].get_step(), 7);
        let value = &events[3].get_summary().get_value()[0];
        assert_eq!((events[3].get_step(), value.get_tag()), (7, "train/accuracy"));
        assert_eq!(value.get_simple_value(), 0.75);
        assert!(events[3].get_wall_time() > 1.7e9);
    }
}
