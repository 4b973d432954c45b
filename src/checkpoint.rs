//! Checkpoints: one safetensors file with the weights by name and, in its header, what they are.
//!
//! Weights and description are one file, so one rename commits both and they cannot be of different steps. Python
//! reads it as any other: `safetensors.numpy.load_file("best.safetensors")["block0.conv.weight"]`, and the description
//! is the JSON under the key `kshot` of the header's metadata. Optimizer moments are tensors under `optimizer/`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::eval::Score;
use crate::params::{Layout, Params};
use crate::train::TrainConfig;
use crate::{Error, Result, atomic};

/// Key of the description in the header's metadata.
const KEY: &str = "kshot";

/// What a checkpoint holds, in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Version of kshot that wrote it.
    pub version: String,
    /// The learner's registered name.
    pub learner: String,
    /// The experiment as the program knows it, to build the learner again: its options, dataset, backbone, tasks.
    pub experiment: serde_json::Value,
    /// Seed of the run.
    pub seed: u64,
    /// How it was trained.
    pub train: TrainConfig,
    /// Steps behind these weights.
    pub step: u64,
    /// Figure of these weights on the validation episodes, where they were validated.
    pub validation: Option<Score>,
    /// The step of the best weights so far; they are in `best.safetensors`.
    pub best_step: Option<u64>,
}

/// A checkpoint, read from its file.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// What it holds.
    pub description: Description,
    path: PathBuf,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

/// Writes weights, optimizer moments (none where they are no longer needed) and their description, atomically.
///
/// # Errors
/// [`Error::Io`] when the directory cannot be written or the disk is full: a checkpoint that was there stays.
pub fn write(
    path: &Path,
    description: &Description,
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
        let bytes = fs::read(path).map_err(|error| Error::io("reading the checkpoint", path, error))?;
        let broken = |why: String| Error::invalid(format!("the checkpoint {} {why}", path.display()));
        let damaged = |error| broken(format!("is truncated or not a safetensors file ({error})"));
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

    /// The weights, for a learner with this layout.
    ///
    /// # Errors
    /// When a tensor is missing, left over, or of another shape: says which.
    pub fn params(&self, layout: &Arc<Layout>) -> Result<Params> {
        let known = |name: &String| layout.get(name).is_some() || name.starts_with("optimizer/");
        if let Some(name) = self.tensors.keys().find(|name| !known(name)) {
            return Err(self.mismatch(&format!("it has a tensor `{name}`, which the learner lacks")));
        }
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
                Some((_, values)) => params.values_mut()[entry.range.clone()].copy_from_slice(values),
            }
        }
        Ok(params)
    }

    fn mismatch(&self, what: &str) -> Error {
        Error::invalid(format!(
            "the checkpoint {} does not fit this learner: {what}; it was written by `{}`, which must be built with the \
             same options, backbone and input size",
            self.path.display(),
            self.description.learner
        ))
    }
}
