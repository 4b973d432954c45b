//! Deep features: the embedding of a network that some learner was trained with.

use std::path::Path;
use std::sync::Arc;

use kshot::nn::{Network, Norm};
use kshot::params::Params;
use kshot::train::read_run;
use kshot::{Error, Result};
use ndarray::{Array2, ArrayView4};

/// A trained network, without its head.
pub(crate) struct Embedding {
    network: Arc<dyn Network>,
    theta: Params,
}

impl Embedding {
    /// The backbone in a checkpoint, or in the best one of a run's directory, for inputs `[channels, height, width]`.
    pub(crate) fn read(path: &Path, input: [usize; 3]) -> Result<Self> {
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
    pub(crate) fn is_transductive(&self) -> bool {
        self.network.norm() == Norm::Batch
    }

    /// `[n, features]`.
    pub(crate) fn of(&self, x: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
        self.network.forward(&self.theta, x)
    }
}
