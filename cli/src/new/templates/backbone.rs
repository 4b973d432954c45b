//! `@NAME@`: a backbone, here convolution blocks that grow wider and a projection.
//!
//! Replace `architecture` by your layers; both derivatives, all learners and both backends follow from them.

#![forbid(unsafe_code)]

use kshot::Result;
use kshot::backbone::Layers;
use kshot::nn::{Architecture, Norm, Pooling};
use kshot::options::Options;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kshot::register_backbone! {
    /// convolution blocks that grow wider, and a projection
    ///
    /// yours: authors, title, venue, year
    name: "@NAME@",
    options: @TYPE@,
}

/// Options of `@NAME@`: their doc comments are what `kshot backbones @NAME@` prints.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct @TYPE@ {
    /// Channels of each block.
    pub widths: Vec<usize>,
    /// Features of the projection.
    #[schemars(range(min = 1))]
    pub features: usize,
}

impl Default for @TYPE@ {
    fn default() -> Self {
        Self { widths: vec![16, 32, 64], features: 64 }
    }
}

impl Options for @TYPE@ {}

impl Layers for @TYPE@ {
    fn architecture(&self, input: [usize; 3], norm: Norm) -> Result<Architecture> {
        let mut builder = Architecture::builder(input, norm);
        for &width in &self.widths {
            builder = builder.conv_block(width, Pooling::Strided)?;
        }
        builder.spatial_mean().linear("projection", self.features)?.finish()
    }
}
