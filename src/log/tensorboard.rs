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
use tensorboard_proto::summary::Summary as Summaries;
use tensorboard_rs::record_writer::RecordWriter;

use super::{Observer, Point, Session, Summary};
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
        let mut log = Self::append(directory)?;
        let mut start = Event::new();
        let mut session = SessionLog::new();
        session.set_status(SessionLog_SessionStatus::START);
        start.set_session_log(session);
        start.set_step(step as i64 + 1);
        log.write(start)?;
        log.flush()?;
        Ok(log)
    }

    /// A new event file in `directory`, beside what is there: for who adds to a run's log without going on with the run.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn append(directory: &Path) -> Result<Self> {
        // TensorBoard reads the files of a directory in order of their names.
        let now = now();
        let name = format!("events.out.tfevents.{:010}.{:09}.kshot", now.as_secs(), now.subsec_nanos());
        let path = directory.join(name);
        let file = File::create_new(&path)
            .map_err(|error| Error::io("creating the TensorBoard log", &path, error))?;
        let mut log = Self { path, records: RecordWriter::new(BufWriter::new(file)) };
        let mut version = Event::new();
        version.set_file_version("brain.Event:2".to_owned());
        log.write(version)?;
        log.flush()?;
        Ok(log)
    }

    fn write_summary(&mut self, step: u64, summary: Summaries) -> Result<()> {
        let mut event = Event::new();
        event.set_step(step as i64);
        event.set_summary(summary);
        self.write(event)
    }

    fn write(&mut self, mut event: Event) -> Result<()> {
        event.set_wall_time(now().as_secs_f64());
        event
            .write_to_bytes()
            .map_err(std::io::Error::from)
            .and_then(|bytes| self.records.write(&bytes))
            .map_err(|error| Error::io("writing the TensorBoard log", &self.path, error))
    }
}

impl Observer for TensorBoard {
    fn log(&mut self, point: &Point) -> Result<()> {
        let mut scalars = point.measured.iter().chain(&point.timing);
        scalars.try_for_each(|(tag, value)| self.summary(point.step, tag, &Summary::Scalar(*value)))
    }

    fn summary(&mut self, step: u64, tag: &str, summary: &Summary<'_>) -> Result<()> {
        self.write_summary(step, summary.message(tag)?)
    }

    fn session(&mut self, session: &Session<'_>) -> Result<()> {
        // At step 0, which no resumed run goes back behind.
        self.write_summary(0, session.message()?)
    }

    fn flush(&mut self) -> Result<()> {
        self.records.flush().map_err(|error| Error::io("writing the TensorBoard log", &self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{Picture, WHITE};
    use protobuf::well_known_types::Value as Scalar;
    use serde_json::json;
    use tensorboard_proto::api::Status;
    use tensorboard_proto::plugin_hparams::HParamsPluginData;
    use tensorboard_proto::summary::Summary_Value;
    use tensorboard_proto::types::DataType;
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

    /// What `write` writes, without version and start of session.
    fn written(write: impl Fn(&mut TensorBoard) -> Result<()>) -> Vec<(i64, Summary_Value)> {
        let directory = tempfile::tempdir().unwrap();
        let mut log = TensorBoard::create(directory.path(), 6).unwrap();
        write(&mut log).unwrap();
        log.flush().unwrap();
        let events = events(&log.path);
        assert_eq!(events[0].get_file_version(), "brain.Event:2");
        assert_eq!(events[1].get_session_log().get_status(), SessionLog_SessionStatus::START);
        assert_eq!(events[1].get_step(), 7);
        assert!(events.iter().all(|event| event.get_wall_time() > 1.7e9));
        let values = events[2..].iter().map(|event| {
            let values = event.get_summary().get_value();
            assert_eq!(values.len(), 1);
            (event.get_step(), values[0].clone())
        });
        values.collect()
    }

    #[test]
    fn scalars_are_read_back_after_version_and_session_start() {
        let point = Point {
            step: 7,
            measured: vec![("train/loss".to_owned(), 0.5)],
            timing: vec![("train/episodes_per_second".to_owned(), 12.0)],
        };
        let values = written(|log| log.log(&point));
        let found = values.iter().map(|(step, value)| (*step, value.get_tag(), value.get_simple_value()));
        let found: Vec<_> = found.collect();
        assert_eq!(found, [(7, "train/loss", 0.5), (7, "train/episodes_per_second", 12.0)]);
    }

    #[test]
    fn a_histogram_has_a_limit_a_bucket_and_all_values() {
        let values = written(|log| log.summary(8, "weights/a", &Summary::Histogram(&[-1.0, 0.25, 0.25])));
        let (step, histogram) = (values[0].0, values[0].1.get_histo());
        assert_eq!(
            (step, histogram.get_min(), histogram.get_max(), histogram.get_num()),
            (8, -1.0, 0.25, 3.0)
        );
        assert_eq!((histogram.get_sum(), histogram.get_sum_squares()), (-0.5, 1.125));
        assert_eq!(histogram.get_bucket(), [1.0, 0.0, 2.0]);
        assert_eq!(histogram.get_bucket_limit(), [-1.0, 0.25, 0.25]);
    }

    #[test]
    fn a_picture_is_a_png_of_its_size() {
        let picture = Picture::filled(5, 3, WHITE);
        let values = written(|log| log.summary(8, "episodes/0", &Summary::Picture(&picture)));
        let image = values[0].1.get_image();
        assert_eq!((image.get_width(), image.get_height(), image.get_colorspace()), (5, 3, 3));
        assert_eq!(image.get_encoded_image_string(), picture.png().unwrap());
    }

    #[test]
    fn text_is_a_string_for_the_text_plugin() {
        let values = written(|log| log.summary(8, "settings", &Summary::Text("**ç**")));
        let (value, tensor) = (&values[0].1, values[0].1.get_tensor());
        assert_eq!(value.get_metadata().get_plugin_data().get_plugin_name(), "text");
        assert_eq!(
            (tensor.get_dtype(), tensor.get_string_val()),
            (DataType::DT_STRING, &["**ç**".into()][..])
        );
    }

    #[test]
    fn a_session_has_its_settings_flat_and_ends_well() {
        let settings = json!({
            "learner": "maml", "seed": 3, "train": { "learning-rate": 0.5, "clip": null },
            "setup": { "backbone": { "input": [1, 28, 28], "second-order": true } },
        });
        let values = written(|log| {
            log.session(&Session::Start(&settings))?;
            log.session(&Session::End)
        });
        let data = |(step, value): &(i64, Summary_Value)| {
            let plugin = value.get_metadata().get_plugin_data();
            assert_eq!((*step, plugin.get_plugin_name()), (0, "hparams"));
            HParamsPluginData::parse_from_bytes(plugin.get_content()).unwrap()
        };
        let start = data(&values[0]);
        let hparams = start.get_session_start_info().get_hparams();
        let mut found: Vec<_> = hparams.keys().map(String::as_str).collect();
        found.sort_unstable();
        let wanted =
            ["learner", "seed", "setup.backbone.input", "setup.backbone.second-order", "train.learning-rate"];
        assert_eq!(found, wanted);
        let of = |name: &str| -> &Scalar { &hparams[name] };
        assert_eq!((of("learner").get_string_value(), of("seed").get_number_value()), ("maml", 3.0));
        assert_eq!(of("setup.backbone.input").get_string_value(), "[1,28,28]");
        assert!(of("setup.backbone.second-order").get_bool_value());
        assert_eq!(data(&values[1]).get_session_end_info().get_status(), Status::STATUS_SUCCESS);
    }

    #[test]
    fn a_log_beside_others_makes_nothing_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let log = TensorBoard::append(directory.path()).unwrap();
        let events = events(&log.path);
        assert_eq!((events.len(), events[0].get_file_version()), (1, "brain.Event:2"));
    }
}
