//! Deep features: the embedding of a network that some learner was trained with.

use std::path::Path;
use std::sync::Arc;

use kshot::checkpoint::Checkpoint;
use kshot::nn::{BackboneConfig, Network, Norm, network};
use kshot::params::Params;
use kshot::train::BEST;
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
        let file = if path.is_dir() { path.join(BEST) } else { path.to_path_buf() };
        let checkpoint = Checkpoint::read(&file)?;
        let backbone: BackboneConfig = checkpoint
            .description
            .experiment
            .pointer("/set/backbone")
            .map_or(Ok(BackboneConfig::default()), |set| serde_json::from_value(set.clone()))
            .map_err(|error| Error::invalid(format!("the backbone of {}: {error}", file.display())))?;
        let norm = if checkpoint.has("block0.norm.running_mean") { Norm::Running } else { Norm::Batch };
        let network = network(backbone.architecture(input, norm, None)?)?;
        let theta = checkpoint.part(network.layout())?;
        Ok(Self { network, theta })
    }

    /// `[n, features]`.
    pub(crate) fn of(&self, x: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
        self.network.forward(&self.theta, x)
    }
}
