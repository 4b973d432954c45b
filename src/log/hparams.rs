//! A run as a row of TensorBoard's HParams: its settings, beside its scalars.
//!
//! No `Experiment` is written, which would say which settings and figures are columns: TensorBoard takes that of one run
//! for all. Without one it makes columns of whatever the runs have.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use protobuf::well_known_types::Value as Scalar;
use serde_json::Value;
use tensorboard_proto::api::Status;
use tensorboard_proto::plugin_hparams::{HParamsPluginData, SessionEndInfo, SessionStartInfo};
use tensorboard_proto::summary::{Summary as Summaries, Summary_Value};

use super::summary::{metadata, one};
use crate::Result;

/// The beginning and the end of a run. TensorBoard keeps the first of each that a run has.
#[derive(Clone, Copy, Debug)]
pub enum Session<'a> {
    /// The run begins, with these settings: an object, whose inner ones become `train.learning-rate` and the like.
    Start(&'a Value),
    /// The run has come to its end.
    End,
}

impl Session<'_> {
    /// TensorBoard's message for it.
    pub(super) fn message(&self) -> Result<Summaries> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut data = HParamsPluginData::new();
        let tag = match self {
            Self::Start(settings) => {
                let mut start = SessionStartInfo::new();
                let mut scalars = HashMap::new();
                flatten("", settings, &mut scalars);
                start.set_hparams(scalars);
                start.set_start_time_secs(now);
                data.set_session_start_info(start);
                "_hparams_/session_start_info"
            }
            Self::End => {
                let mut end = SessionEndInfo::new();
                end.set_status(Status::STATUS_SUCCESS);
                end.set_end_time_secs(now);
                data.set_session_end_info(end);
                "_hparams_/session_end_info"
            }
        };
        let mut value = Summary_Value::new();
        value.set_metadata(metadata("hparams", &data)?);
        // All there is to say is in the metadata: there is no value.
        Ok(one(tag, value))
    }
}

/// Numbers, words and truth values by their path; a list in words, as TensorBoard has no lists.
fn flatten(path: &str, value: &Value, into: &mut HashMap<String, Scalar>) {
    let mut scalar = Scalar::new();
    match value {
        Value::Object(inner) => {
            for (key, value) in inner {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, value, into);
            }
            return;
        }
        Value::Null => return,
        Value::Bool(value) => scalar.set_bool_value(*value),
        Value::Number(number) => scalar.set_number_value(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => scalar.set_string_value(text.clone()),
        Value::Array(_) => scalar.set_string_value(value.to_string()),
    }
    into.insert(path.to_owned(), scalar);
}
