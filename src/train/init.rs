//! Weights that someone else trained, by name: where a training starts from.

mod advice;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BEST;
use crate::params::{Layout, Params, Role};
use crate::{Error, Result};

/// Which file a training starts from, and how its names become those of a learner's weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table, [train.names]", rename_all = "kebab-case")]
pub struct Names {
    /// What the file's names begin with and the learner's do not: `encoder.`, say.
    pub strip: String,
    /// Beginnings of the file's names (after what is stripped), and what stands there in the learner's.
    pub rename: BTreeMap<String, String>,
}

impl Names {
    /// The learner's name for the file's `name`, if it is one of those meant.
    fn of(&self, name: &str) -> Option<String> {
        let name = name.strip_prefix(&self.strip)?;
        let longest = self.rename.iter().filter(|(from, _)| name.starts_with(from.as_str()));
        Some(match longest.max_by_key(|(from, _)| from.len()) {
            Some((from, to)) => format!("{to}{}", &name[from.len()..]),
            None => name.to_owned(),
        })
    }
}

/// What was taken from a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    path: PathBuf,
    /// Names of tensors that were, and where they lie.
    pub loaded: Vec<(String, Range<usize>)>,
    /// Tensors of the learner that the file has none for.
    pub missing: Vec<String>,
    /// Tensors of the file that the learner has no place for, but for PyTorch's counts of batches, which no network uses.
    pub left_over: Vec<String>,
}

impl Loaded {
    /// Whether none of the learner's weights is missing.
    pub(super) fn has_all_weights(&self, layout: &Layout) -> bool {
        let is_weight = |name: &String| layout.get(name).is_some_and(|entry| entry.role == Role::Weight);
        !self.missing.iter().any(is_weight)
    }
}

/// What the names of PyTorch's counts of batches end in.
const COUNTS: &str = "num_batches_tracked";

/// Names that are listed one by one.
const LISTED: usize = 6;

impl std::fmt::Display for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tensors of {}", self.loaded.len(), self.path.display())?;
        for (what, names) in [("missing there", &self.missing), ("left over", &self.left_over)] {
            match names.as_slice() {
                [] => write!(f, "; none {what}")?,
                names => {
                    write!(f, "; {what}: {}", names[..names.len().min(LISTED)].join(", "))?;
                    if names.len() > LISTED {
                        write!(f, " and {} more", names.len() - LISTED)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Replaces the tensors of `theta` that the safetensors file at `path`, or the run in that directory, has by its own.
///
/// # Errors
/// When it cannot be read or is no such file, a tensor has another shape or is not of numbers, or none is found.
pub fn load(path: &Path, names: &Names, theta: &mut Params) -> Result<Loaded> {
    let path = if path.is_dir() { path.join(BEST) } else { path.to_owned() };
    let broken = |why: String| Error::invalid(format!("the initial weights {} {why}", path.display()));
    if !path.exists() {
        return Err(broken(
            "are not there: `init` is a safetensors file, or the directory of a run".to_owned(),
        ));
    }
    let bytes = crate::file::bytes(&path, crate::file::MOST_BYTES, "reading the initial weights")?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| {
        broken(format!(
            "are not a safetensors file ({error}); PyTorch's own files are converted by \
             `safetensors.torch.save_file(torch.load(…), …)`"
        ))
    })?;
    let layout = theta.layout().clone();
    let (mut found, mut left_over) = (Vec::new(), Vec::new());
    for (name, tensor) in file.iter() {
        match names.of(name).and_then(|name| layout.get(&name)) {
            Some(entry) => found.push((entry, name, tensor)),
            None if name.ends_with(COUNTS) => {}
            None => left_over.push(name.to_owned()),
        }
    }
    // The first that does not fit is the nearest to the input, which tells most.
    found.sort_by_key(|(entry, name, _)| (entry.range.start, *name));
    left_over.sort();
    let mut loaded = Vec::new();
    for (entry, name, tensor) in found {
        if tensor.shape() != entry.shape {
            return Err(broken(format!(
                "have `{name}` of shape {:?}, but the learner's `{}` is {:?}: {}",
                tensor.shape(),
                entry.name,
                entry.shape,
                advice::on_shapes(name, tensor.shape(), &entry.shape)
            )));
        }
        if loaded.last().is_some_and(|(other, _)| *other == entry.name) {
            return Err(broken(format!(
                "have two tensors for `{}`, `{name}` the second: say by `strip` which is meant",
                entry.name
            )));
        }
        let values = numbers(&tensor).ok_or_else(|| {
            broken(format!(
                "have `{name}` in {:?}, which are no weights: save them as F32, F64, F16 or BF16",
                tensor.dtype()
            ))
        })?;
        if values.iter().any(|value| !value.is_finite()) {
            return Err(broken(format!(
                "have a value in `{name}` that is not finite: their training diverged, or the file is damaged"
            )));
        }
        theta.values_mut()[entry.range.clone()].copy_from_slice(&values);
        loaded.push((entry.name.clone(), entry.range.clone()));
    }
    let is_loaded = |name: &String| loaded.iter().any(|(other, _)| other == name);
    let missing: Vec<String> =
        layout.entries().iter().map(|entry| entry.name.clone()).filter(|name| !is_loaded(name)).collect();
    match loaded.is_empty() {
        true => Err(broken(format!(
            "have none of the learner's tensors: they have {}, the learner {}; {}",
            advice::some(&left_over),
            advice::some(&missing),
            advice::on_names(&left_over, &missing)
        ))),
        false => Ok(Loaded { path, loaded, missing, left_over }),
    }
}

/// The values of a tensor of floating-point numbers.
fn numbers(tensor: &TensorView<'_>) -> Option<Vec<f32>> {
    let (two, four, eight) = (
        tensor.data().as_chunks::<2>().0,
        tensor.data().as_chunks::<4>().0,
        tensor.data().as_chunks::<8>().0,
    );
    Some(match tensor.dtype() {
        Dtype::F32 => four.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F64 => eight.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect(),
        Dtype::F16 => two.iter().map(|bytes| half::f16::from_le_bytes(*bytes).to_f32()).collect(),
        Dtype::BF16 => two.iter().map(|bytes| half::bf16::from_le_bytes(*bytes).to_f32()).collect(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn theta() -> Params {
        let mut layout = Layout::new();
        layout.push("layer1.0.conv1.weight", &[2, 1, 1, 1], Role::Weight);
        layout.push("layer1.0.bn1.running_mean", &[2], Role::Statistic);
        layout.push("head.bias", &[3], Role::Weight);
        Params::zeros(&layout.into())
    }

    fn file(directory: &Path, tensors: &[(&str, Dtype, &[usize], &[u8])]) -> PathBuf {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (*name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap())
        });
        let path = directory.join("weights.safetensors");
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        path
    }

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn tensors_are_found_by_name_and_the_rest_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let doubles: Vec<u8> = [0.5_f64, -1.5].iter().flat_map(|value| value.to_le_bytes()).collect();
        let path = file(
            directory.path(),
            &[
                ("encoder.stem.conv1.weight", Dtype::F32, &[2, 1, 1, 1], &bytes(&[1.0, 2.0])),
                ("encoder.stem.bn1.running_mean", Dtype::F64, &[2], &doubles),
                ("encoder.stem.bn1.num_batches_tracked", Dtype::I64, &[], &[0; 8]),
                ("fc.bias", Dtype::F32, &[3], &bytes(&[7.0; 3])),
            ],
        );
        let rename = BTreeMap::from([("stem.".to_owned(), "layer1.0.".to_owned())]);
        let (names, mut theta) = (Names { strip: "encoder.".to_owned(), rename }, theta());
        let loaded = load(&path, &names, &mut theta).unwrap();
        assert_eq!(theta.values(), [1.0, 2.0, 0.5, -1.5, 0.0, 0.0, 0.0]);
        assert_eq!(loaded.missing, ["head.bias"]);
        assert_eq!(loaded.left_over, ["fc.bias"]);
        let text = loaded.to_string();
        assert!(text.starts_with("2 tensors of") && text.contains("missing there: head.bias"), "{text}");
    }

    #[test]
    fn half_precision_is_read_and_many_names_are_cut_short() {
        let directory = tempfile::tempdir().unwrap();
        let half: Vec<u8> = [1.5, -2.0].iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
        let brain: Vec<u8> =
            [0.25, 3.0, -1.0].iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
        let others = ["fc.a", "fc.b", "fc.c", "fc.d", "fc.e", "fc.f", "fc.g", "fc.h"];
        let mut tensors: Vec<(&str, Dtype, &[usize], &[u8])> = vec![
            ("layer1.0.conv1.weight", Dtype::F16, &[2, 1, 1, 1], &half),
            ("head.bias", Dtype::BF16, &[3], &brain),
        ];
        tensors.extend(others.map(|name| (name, Dtype::I8, &[1][..], &[0][..])));
        let mut theta = theta();
        let loaded = load(&file(directory.path(), &tensors), &Names::default(), &mut theta).unwrap();
        assert_eq!(theta.values(), [1.5, -2.0, 0.0, 0.0, 0.25, 3.0, -1.0]);
        let text = loaded.to_string();
        assert!(text.ends_with("left over: fc.a, fc.b, fc.c, fc.d, fc.e, fc.f and 2 more"), "{text}");
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let refused = |tensors: &[(&str, Dtype, &[usize], &[u8])]| {
            let path = file(directory.path(), tensors);
            let mut theta = theta();
            load(&path, &Names::default(), &mut theta).unwrap_err().to_string()
        };
        let error = refused(&[("head.bias", Dtype::F32, &[2], &bytes(&[1.0, 2.0]))]);
        assert!(error.contains("`head.bias` of shape [2]") && error.contains("is [3]"), "{error}");
        let error = refused(&[("head.bias", Dtype::F32, &[3], &bytes(&[1.0, f32::NAN, 0.0]))]);
        assert!(error.contains("`head.bias` that is not finite"), "{error}");
        let error = refused(&[("head.bias", Dtype::I64, &[3], &[0; 24])]);
        assert!(error.contains("no weights"), "{error}");
        let error = refused(&[("module.head.bias", Dtype::F32, &[3], &bytes(&[0.0; 3]))]);
        assert!(error.contains("`module.head.bias`") && error.contains("strip"), "{error}");
        std::fs::write(directory.path().join("pickle.pt"), b"PK\x03\x04").unwrap();
        let error = load(&directory.path().join("pickle.pt"), &Names::default(), &mut theta()).unwrap_err();
        assert!(error.to_string().contains("not a safetensors file"), "{error}");
    }
}
