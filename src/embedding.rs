//! Deep features: what a network that some learner was trained with makes of examples, whatever the learner.

use std::path::Path;
use std::sync::Arc;

use crate::nn::{Network, Norm};
use crate::params::Params;
use crate::train::read_run;
use crate::{Error, Result};
use ndarray::{Array2, ArrayView4};

/// A trained network, without its head.
pub struct Embedding {
    network: Arc<dyn Network>,
    theta: Params,
}

impl Embedding {
    /// The backbone in a checkpoint, or in the best one of a run's directory, for inputs `[channels, height, width]`.
    ///
    /// # Errors
    /// When there is none, or it takes inputs of another shape.
    pub fn read(path: &Path, input: [usize; 3]) -> Result<Self> {
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
        Ok(Self { network, theta })
    }

    /// Whether an example's embedding depends on the others it is embedded with.
    pub fn is_transductive(&self) -> bool {
        self.network.norm() == Norm::Batch
    }

    /// Embeddings `[n, features]` of examples `[n, channels, height, width]`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn of(&self, x: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
        self.network.forward(&self.theta, x)
    }
}
