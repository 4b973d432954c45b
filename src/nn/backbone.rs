//! The network every learner of a comparison shares, as a setting.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

#[cfg(not(feature = "cuda"))]
use super::Fused;
#[cfg(feature = "cuda")]
use super::Portable;
use super::{Architecture, Network, Norm, Pooling};
use crate::Result;

/// Which kind of network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backbone {
    /// Blocks of convolution, batch norm, ReLU and pooling.
    Conv4,
    /// Linear layers with ReLU.
    Mlp,
}

/// Settings of the backbone, `[set.backbone]` in an experiment file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct BackboneConfig {
    /// Which kind; where unset, `conv4` for images and `mlp` for inputs of one pixel.
    pub kind: Option<Backbone>,
    /// Blocks of `conv4`.
    pub blocks: usize,
    /// Channels of each block of `conv4`.
    pub width: usize,
    /// How `conv4` halves its images; where unset, `maxpool` for images, and `strided` for signals of one row, whose
    /// height no pooling window could halve. (Of a 3×3 filter, only the middle row meets a signal: a 1-D convolution.)
    pub pooling: Option<Pooling>,
    /// Hidden widths of `mlp`.
    pub hidden: Vec<usize>,
    /// Statistics of batch norm; each learner's own, as published, where unset.
    pub norm: Option<Norm>,
}

impl Default for BackboneConfig {
    fn default() -> Self {
        Self { kind: None, blocks: 4, width: 64, pooling: None, hidden: vec![40, 40], norm: None }
    }
}

impl BackboneConfig {
    /// What the network is made of for inputs of this shape, with `head` linear outputs on top if given; `norm` is
    /// what the learner was published with, used where the setting is open.
    ///
    /// # Errors
    /// When the input is too small for it or a size is 0.
    pub fn architecture(&self, input: [usize; 3], norm: Norm, head: Option<usize>) -> Result<Architecture> {
        let norm = self.norm.unwrap_or(norm);
        let default = if input[1] * input[2] == 1 { Backbone::Mlp } else { Backbone::Conv4 };
        match self.kind.unwrap_or(default) {
            Backbone::Conv4 => {
                let row = input[1] == 1 || input[2] == 1;
                let default = if row { Pooling::Strided } else { Pooling::Maxpool };
                let pooling = self.pooling.unwrap_or(default);
                Architecture::conv(input, self.blocks, self.width, pooling, norm, head)
            }
            Backbone::Mlp => Architecture::mlp(input, &self.hidden, head),
        }
    }

    /// The network of [`BackboneConfig::architecture`].
    ///
    /// # Errors
    /// As there.
    pub fn build(&self, input: [usize; 3], norm: Norm, head: Option<usize>) -> Result<Arc<dyn Network>> {
        network(self.architecture(input, norm, head)?)
    }
}

/// `architecture` on the backend of the device: [`Fused`] on the CPU, `Portable` with feature `cuda`.
///
/// # Errors
/// When the backend does not know the order of the layers.
pub fn network(architecture: Architecture) -> Result<Arc<dyn Network>> {
    #[cfg(feature = "cuda")]
    return Ok(Arc::new(Portable::new(architecture)));
    #[cfg(not(feature = "cuda"))]
    return Ok(Arc::new(Fused::new(architecture)?));
}
