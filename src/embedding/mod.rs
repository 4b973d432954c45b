//! Deep features: what a trained network makes of examples, be it the backbone of some learner's run, or an encoder that
//! someone else trained, in an ONNX file (with the feature `onnx`).

#[cfg(feature = "onnx")]
mod onnx;
mod principal;

use std::path::Path;
use std::sync::Arc;

use ndarray::{Array2, ArrayView4};

use crate::nn::{Network, Norm};
use crate::params::Params;
use crate::train::read_run;
use crate::{Error, Result};

pub use principal::{PrincipalPlane, principal_plane};

/// A trained network, without its head.
pub struct Embedding(Kind);

enum Kind {
    Backbone {
        network: Arc<dyn Network>,
        theta: Params,
    },
    #[cfg(feature = "onnx")]
    Encoder(onnx::Encoder),
}

/// Whether a path names an encoder, not a run.
pub fn is_encoder(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx"))
}

impl Embedding {
    /// The backbone in a checkpoint, or in the best one of a run's directory, or the encoder in an `.onnx` file, for inputs
    /// `[channels, height, width]`.
    ///
    /// # Errors
    /// When there is none, it takes inputs of another shape, or (for an encoder) has an operator that is not known.
    pub fn read(path: &Path, input: [usize; 3]) -> Result<Self> {
        if is_encoder(path) {
            return encoder(path, input);
        }
        let (checkpoint, description) = read_run(path)?;
        let backbone = description.origin.setup.backbone;
        if backbone.input != input {
            return Err(Error::invalid(format!(
                "the network of {} takes inputs of {:?} (channels, height, width), but the examples are {input:?}",
                path.display(),
                backbone.input
            )));
        }
        let network = backbone.build()?;
        let theta = checkpoint.part(network.layout())?;
        Ok(Self(Kind::Backbone { network, theta }))
    }

    /// Whether an example's embedding depends on the others it is embedded with.
    pub fn is_transductive(&self) -> bool {
        match &self.0 {
            Kind::Backbone { network, .. } => network.norm() == Norm::Batch,
            #[cfg(feature = "onnx")]
            Kind::Encoder(_) => false,
        }
    }

    /// Embeddings `[n, features]` of examples `[n, channels, height, width]`.
    ///
    /// # Errors
    /// When the network cannot be run.
    pub fn of(&self, x: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
        match &self.0 {
            Kind::Backbone { network, theta } => network.forward(theta, x),
            #[cfg(feature = "onnx")]
            Kind::Encoder(encoder) => encoder.of(x),
        }
    }
}

#[cfg(feature = "onnx")]
fn encoder(path: &Path, input: [usize; 3]) -> Result<Embedding> {
    Ok(Embedding(Kind::Encoder(onnx::Encoder::read(path, input)?)))
}

#[cfg(not(feature = "onnx"))]
fn encoder(path: &Path, _: [usize; 3]) -> Result<Embedding> {
    Err(Error::invalid(format!(
        "{} is an ONNX file, which this build does not read: build with `--features onnx` (`cargo install --path cli \
         --features onnx`)",
        path.display()
    )))
}
