//! Checkpoints: one safetensors file with the weights by name and, in its header, what they are.
//!
//! Weights and description are one file, so one rename commits both and they cannot be of different steps. Python
//! reads it as any other: `safetensors.numpy.load_file("best.safetensors")["block0.conv.weight"]`, and the description
//! is the JSON under the key `kshot` of the header's metadata. Optimizer moments are tensors under `optimizer/`.
//!
//! ```
//! use kshot::checkpoint::{self, Checkpoint};
//! use kshot::params::{Layout, Params, Role};
//!
//! let mut layout = Layout::new();
//! layout.push("head.weight", &[2, 3], Role::Weight);
//! let theta = Params::zeros(&layout.into());
//!
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("mine.safetensors");
//! checkpoint::write(&path, &"what these weights are", &theta, &[])?;
//! let read = Checkpoint::read(&path)?;
//! assert_eq!(read.description::<String>()?, "what these weights are");
//! assert_eq!(read.params(theta.layout())?, theta);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::params::{Layout, Params};
use crate::{Error, Result, atomic, file};

/// Key of the description in the header's metadata.
const KEY: &str = "kshot";

/// A checkpoint, read from its file.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    description: Value,
    path: PathBuf,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

/// Writes weights, optimizer moments (none where they are no longer needed) and their description, atomically.
///
/// # Errors
/// [`Error::Io`] when the directory cannot be written or the disk is full: a checkpoint that was there stays.
pub fn write(
    path: &Path,
    description: &impl Serialize,
    params: &Params,
    moments: &[(&str, &Params)],
) -> Result<()> {
    let broken =
        |error: &dyn std::fmt::Display| Error::invalid(format!("writing {}: {error}", path.display()));
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (prefix, params) in std::iter::once((String::new(), params))
        .chain(moments.iter().map(|&(name, moment)| (moment_prefix(name), moment)))
    {
        for entry in params.layout().entries() {
            #[expect(
                clippy::indexing_slicing,
                reason = "an entry of a layout is within the values of its parameters"
            )]
            let values = &params.values()[entry.range.clone()];
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            tensors.push((format!("{prefix}{}", entry.name), entry.shape.clone(), bytes));
        }
    }
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| broken(&error))?;
    let json = serde_json::to_string(description).map_err(|error| broken(&error))?;
    // One key only: the order of several would differ from run to run.
    let metadata = HashMap::from([(KEY.to_owned(), json)]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| broken(&error))?;
    atomic::write(path, &bytes, "writing the checkpoint")
}

fn moment_prefix(name: &str) -> String {
    format!("optimizer/{name}/")
}

impl Checkpoint {
    /// Reads a checkpoint.
    ///
    /// # Errors
    /// When it cannot be read, is truncated or no safetensors file, or was not written by kshot.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = file::bytes(path, file::MOST_BYTES, "reading the checkpoint")?;
        let broken = |why: String| Error::invalid(format!("the checkpoint {} {why}", path.display()));
        let damaged = |error| {
            let why = match error {
                SafeTensorError::InvalidOffset(name) => {
                    format!("`{name}` does not begin where the one before it ends")
                }
                SafeTensorError::TensorInvalidInfo => "a tensor is not as long as its shape says".to_owned(),
                other => other.to_string(),
            };
            broken(format!("is truncated or not a safetensors file ({why})"))
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let json = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY)).ok_or_else(|| {
            broken("was not written by kshot: its header does not say which learner it is of".to_owned())
        })?;
        let description = serde_json::from_str(json)
            .map_err(|error| broken(format!("has a description this version cannot read: {error}")))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(broken(format!("has `{name}` in {:?}, but weights are F32", view.dtype())));
            }
            let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            tensors.insert(name.to_owned(), (view.shape().to_vec(), values.collect()));
        }
        Ok(Self { description, path: path.to_path_buf(), tensors })
    }

    /// What it says of itself: for a run's checkpoint a [`Description`](crate::train::Description).
    ///
    /// # Errors
    /// When it says something else.
    pub fn description<D: DeserializeOwned>(&self) -> Result<D> {
        serde_json::from_value(self.description.clone()).map_err(|error| {
            Error::invalid(format!(
                "the checkpoint {} has a description this version cannot read: {error}",
                self.path.display()
            ))
        })
    }

    /// The weights, for a learner with this layout.
    ///
    /// # Errors
    /// When a tensor is missing, left over, of another shape or not finite: says which.
    pub fn params(&self, layout: &Arc<Layout>) -> Result<Params> {
        let known = |name: &String| layout.get(name).is_some() || name.starts_with("optimizer/");
        if let Some(name) = self.tensors.keys().find(|name| !known(name)) {
            return Err(self.mismatch(&format!("it has a tensor `{name}`, which the learner lacks")));
        }
        self.tensors_of("", layout)
    }

    /// The tensors of this layout, whatever others there are: a network's weights without those around it.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or not finite: says which.
    pub fn part(&self, layout: &Arc<Layout>) -> Result<Params> {
        self.tensors_of("", layout)
    }

    /// The optimizer's moment called `name`.
    ///
    /// # Errors
    /// As [`Checkpoint::params`].
    pub fn moment(&self, name: &str, layout: &Arc<Layout>) -> Result<Params> {
        self.tensors_of(&moment_prefix(name), layout)
    }

    fn tensors_of(&self, prefix: &str, layout: &Arc<Layout>) -> Result<Params> {
        let mut params = Params::zeros(layout);
        for entry in layout.entries() {
            let name = format!("{prefix}{}", entry.name);
            match self.tensors.get(&name) {
                None => return Err(self.mismatch(&format!("it has no tensor `{name}`"))),
                Some((shape, _)) if *shape != entry.shape => {
                    return Err(self.mismatch(&format!(
                        "its tensor `{name}` has shape {shape:?}, the learner's {:?}",
                        entry.shape
                    )));
                }
                // A moment may have overflowed in a training that went well; a weight is used as it is.
                Some((_, values)) if prefix.is_empty() && !values.iter().all(|value| value.is_finite()) => {
                    return Err(Error::NotFinite(format!(
                        "the checkpoint {} has a value in `{name}` that is not finite: its training diverged, or the file is \
                         damaged",
                        self.path.display()
                    )));
                }
                Some((_, values)) => {
                    #[expect(
                        clippy::indexing_slicing,
                        reason = "an entry of a layout is within the values of its parameters"
                    )]
                    params.values_mut()[entry.range.clone()].copy_from_slice(values);
                }
            }
        }
        Ok(params)
    }

    fn mismatch(&self, what: &str) -> Error {
        Error::invalid(format!(
            "the checkpoint {} does not fit this learner: {what}; it was written by `{}`, which must be built with the \
             same options, ways, backbone and input size",
            self.path.display(),
            self.description.get("learner").and_then(Value::as_str).unwrap_or("another program")
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::params::Role;

    fn layout(outputs: usize) -> Arc<Layout> {
        let mut layout = Layout::new();
        layout.push("head.weight", &[outputs, 2], Role::Weight);
        layout.push("head.bias", &[outputs], Role::Weight);
        Arc::new(layout)
    }

    fn description() -> Value {
        serde_json::json!({ "learner": "toy", "step": (1u64 << 53) + 1, "seed": u64::MAX, "mean": 0.1 + 0.2 })
    }

    /// A checkpoint of three outputs with one moment, its weights and its path.
    fn written(directory: &Path) -> (PathBuf, Params, Params) {
        let params = Params::from_values(&layout(3), (0..9).map(|i| 0.1 * i as f32).collect()).unwrap();
        let moment = Params::from_values(&layout(3), (0..9).map(|i| -(i as f32)).collect()).unwrap();
        let path = directory.join("last.safetensors");
        write(&path, &description(), &params, &[("velocity", &moment)]).unwrap();
        (path, params, moment)
    }

    #[test]
    fn weights_moments_and_description_come_back_exactly() {
        let directory = tempfile::tempdir().unwrap();
        let (path, params, moment) = written(directory.path());
        let read = Checkpoint::read(&path).unwrap();
        assert_eq!(read.description::<Value>().unwrap(), description());
        assert_eq!(read.params(&layout(3)).unwrap(), params);
        assert_eq!(read.moment("velocity", &layout(3)).unwrap(), moment);
    }

    #[test]
    fn another_layout_is_refused_naming_the_tensor() {
        let directory = tempfile::tempdir().unwrap();
        let read = Checkpoint::read(&written(directory.path()).0).unwrap();
        let message = |layout: &Arc<Layout>| read.params(layout).unwrap_err().to_string();
        let shape = message(&layout(5));
        assert!(shape.contains("`head.weight` has shape [3, 2], the learner's [5, 2]"), "{shape}");
        let mut more = (*layout(3)).clone();
        more.push("extra", &[1], Role::Weight);
        assert!(message(&Arc::new(more)).contains("no tensor `extra`"));
        let mut fewer = Layout::new();
        fewer.push("head.weight", &[3, 2], Role::Weight);
        assert!(message(&Arc::new(fewer)).contains("a tensor `head.bias`, which the learner lacks"));
    }

    #[test]
    fn tensors_that_lie_over_each_other_or_beyond_the_end_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made.safetensors");
        let tensor = |name: &str, shape: &str, from: u64, to: u64| {
            format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{from},{to}]}}")
        };
        for (tensors, why) in [
            ([tensor("a", "[2]", 0, 8), tensor("b", "[2]", 4, 12)], "`b` does not begin where"),
            ([tensor("a", "[2]", 0, 8), tensor("b", "[1]", 9, 13)], "`b` does not begin where"),
            ([tensor("a", "[2]", 0, 8), tensor("b", "[2]", 8, 1 << 40)], "not as long as its shape"),
            ([tensor("a", "[2]", 0, 8), tensor("b", "[262144]", 8, 1_048_584)], "truncated"),
            ([tensor("a", "[2]", 0, 8), tensor("b", "[4294967296,4294967296]", 8, 16)], "overflow"),
            ([tensor("a", "[2]", 8, 0), tensor("b", "[2]", 8, 16)], "does not begin where"),
        ] {
            let header = format!("{{\"__metadata__\":{{\"kshot\":\"0\"}},{}}}", tensors.join(","));
            let length = (header.len() as u64).to_le_bytes();
            fs::write(&path, [&length[..], header.as_bytes(), &[0; 16]].concat()).unwrap();
            let error = Checkpoint::read(&path).unwrap_err().to_string();
            assert!(error.contains("made.safetensors") && error.contains(why), "{why}: {error}");
        }
    }

    #[test]
    fn a_weight_that_is_not_finite_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (path, mut params, _) = written(directory.path());
        params.values_mut()[7] = f32::NAN;
        write(&path, &description(), &params, &[("velocity", &params)]).unwrap();
        let read = Checkpoint::read(&path).unwrap();
        for error in [read.params(&layout(3)).unwrap_err(), read.part(&layout(3)).unwrap_err()] {
            assert!(error.to_string().contains("a value in `head.bias` that is not finite"), "{error}");
        }
        assert!(read.moment("velocity", &layout(3)).is_ok());
    }

    #[test]
    fn a_file_that_is_truncated_or_of_someone_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (path, ..) = written(directory.path());
        let whole = fs::read(&path).unwrap();
        for length in [0, 7, 100, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let error = Checkpoint::read(&path).unwrap_err().to_string();
            assert!(error.contains("is truncated or not a safetensors file"), "{length}: {error}");
        }
        let view = TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
        fs::write(&path, safetensors::serialize([("a", view)], None).unwrap()).unwrap();
        let error = Checkpoint::read(&path).unwrap_err().to_string();
        assert!(error.contains("was not written by kshot"), "{error}");
        let error = Checkpoint::read(&directory.path().join("none")).unwrap_err();
        assert!(matches!(error, Error::Io { .. }));
    }
}
