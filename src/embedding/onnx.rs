//! Encoders in ONNX files, run by tract.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use ndarray::{Array2, ArrayView3, ArrayView4};
use rayon::prelude::*;
use tract_onnx::prelude::*;

use crate::{Error, Result, file};

/// The most bytes of the file, which tract reads at once.
const MOST_BYTES: u64 = 8 << 30;
/// The most that an example's values between all operators may take together; a ViT-L of 224×224 has 2 GiB.
const MOST_BETWEEN: u64 = 64 << 30;

/// A network that someone else trained: its first output, flattened, is the embedding.
pub(super) struct Encoder {
    plan: Arc<TypedRunnableModel>,
    file: String,
}

impl Encoder {
    /// Reads and optimises the network for batches of any size of inputs `[channels, height, width]`.
    pub(super) fn read(path: &Path, input: [usize; 3]) -> Result<Self> {
        let file = path.display().to_string();
        if !path.exists() {
            return Err(Error::invalid(format!("there is no encoder {file}: no such file")));
        }
        // tract takes what it is given: a pipe without end, too.
        let length = file::open(path, "reading the encoder")?.metadata().map_or(0, |there| there.len());
        if length > MOST_BYTES {
            return Err(Error::invalid(format!(
                "the encoder {file} is {length} bytes long, more than the {MOST_BYTES} that are read of one"
            )));
        }
        let refused = |error: TractError| {
            let text = format!("{error:#}");
            let unknown = text.split_once("Unimplemented(").and_then(|(_, rest)| rest.split_once(')'));
            if let Some((operator, _)) = unknown {
                return Error::invalid(format!(
                    "{file} uses the operator `{operator}`, which is not known here: export the network without it"
                ));
            }
            Error::invalid(format!(
                "{file} cannot be run on inputs of {input:?} (channels, height, width), which may not be those it was made for: {text}"
            ))
        };
        let [channels, height, width] = input.map(|size| (size as i64).to_dim());
        let plan = unwinding(&file, || {
            tract_onnx::onnx().model_for_path(path).and_then(|model| {
                let batch = model.sym("batch");
                let model = model
                    .with_input_fact(0, f32::fact([batch.to_dim(), channels, height, width]).into())?
                    .with_output_fact(0, InferenceFact::default())?
                    .into_optimized()?;
                let one = SymbolValues::default().with(&batch, 1);
                let bytes = |fact: &TypedFact| {
                    let sizes = fact.shape.iter().map(|size| size.eval(&one).to_i64().map_or(1, |size| size.max(0) as u64));
                    sizes.fold(4_u64, u64::saturating_mul)
                };
                let between = model.nodes.iter().flat_map(|node| &node.outputs).map(|output| bytes(&output.fact));
                let between = between.fold(0, u64::saturating_add);
                if between > MOST_BETWEEN {
                    return Err(TractError::msg(format!(
                        "its values between operators take {between} bytes an example, and at most {MOST_BETWEEN} are made room for"
                    )));
                }
                model.into_runnable()
            })
        })?;
        Ok(Self { plan: plan.map_err(refused)?, file })
    }

    /// `[n, features]`. Each example by itself, on one thread: several together are slower, as what is in between leaves the
    /// cache.
    pub(super) fn of(&self, x: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
        let failed = |error: TractError| Error::invalid(format!("running {}: {error:#}", self.file));
        let rows: Vec<_> = x.outer_iter().collect();
        let encoded = |row: &ArrayView3<'_, f32>| {
            let values: Vec<f32> = row.iter().copied().collect();
            let shape: Vec<usize> = std::iter::once(1).chain(row.shape().iter().copied()).collect();
            let input = Tensor::from_shape(&shape, &values).map_err(failed)?;
            let output = unwinding(&self.file, || self.plan.run(tvec!(input.into())))?.map_err(failed)?;
            let first =
                output.first().ok_or_else(|| Error::invalid(format!("{} has no output", self.file)))?;
            let first = first.cast_to::<f32>().map_err(failed)?;
            Ok(first.to_plain_array_view::<f32>().map_err(failed)?.iter().copied().collect::<Vec<f32>>())
        };
        let parts: Vec<Vec<f32>> = rows.par_iter().map(encoded).collect::<Result<_>>()?;
        let width = parts.first().map_or(0, Vec::len);
        Array2::from_shape_vec((parts.len(), width), parts.concat())
            .map_err(|_| Error::invalid(format!("{} gives examples of other lengths", self.file)))
    }
}

/// What `work` gives; that tract panics on a file is an error of the file.
fn unwinding<T>(file: &str, work: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        Error::invalid(format!("{file} cannot be run: tract gave up on it, for the reason above"))
    })
}
