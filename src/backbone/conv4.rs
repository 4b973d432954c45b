//! Blocks of convolution, batch norm, ReLU and pooling: the network of most few-shot papers until 2018.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Layers;
use crate::Result;
use crate::nn::{Architecture, Norm, Pooling};
use crate::options::Options;

/// Options of the backbone `conv4`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Conv4 {
    /// Blocks; where unset, four, or as many as `maxpool` can halve a smaller image.
    #[schemars(range(min = 1))]
    pub blocks: Option<usize>,
    /// Channels of each block.
    #[schemars(range(min = 1))]
    pub width: usize,
    /// How a block halves its image; where unset, `maxpool` for images, and `strided` for signals of one row, whose height
    /// no pooling window could halve. (Of a 3×3 filter, only the middle row meets a signal: a 1-D convolution.)
    pub pooling: Option<Pooling>,
    /// Blocks that halve their image, the first ones; where unset, all. Two leave maps for a head that is convolutional itself
    /// (Sung et al. 2018).
    pub pools: Option<usize>,
}

impl Default for Conv4 {
    fn default() -> Self {
        Self { blocks: None, width: 64, pooling: None, pools: None }
    }
}

impl Options for Conv4 {}

impl Conv4 {
    fn pooling(&self, [_, height, width]: [usize; 3]) -> Pooling {
        let default = if height == 1 || width == 1 { Pooling::Strided } else { Pooling::Maxpool };
        self.pooling.unwrap_or(default)
    }

    fn blocks(&self, input: [usize; 3]) -> usize {
        let [_, height, width] = input;
        let halvings = match self.pooling(input) {
            Pooling::Maxpool => height.min(width).max(1).ilog2() as usize,
            Pooling::Strided => 4,
        };
        self.blocks.unwrap_or(halvings.clamp(1, 4))
    }
}

impl Layers for Conv4 {
    fn resolved(self, input: [usize; 3]) -> Self {
        let (pooling, blocks) = (Some(self.pooling(input)), Some(self.blocks(input)));
        Self { pooling, blocks, pools: self.pools.or(blocks), ..self }
    }

    fn architecture(&self, input: [usize; 3], norm: Norm) -> Result<Architecture> {
        let (blocks, pooling) = (self.blocks(input), self.pooling(input));
        let pools = self.pools.unwrap_or(blocks);
        if pools >= blocks {
            return Architecture::conv(input, blocks, self.width, pooling, norm);
        }
        let mut builder = Architecture::builder(input, norm);
        for block in 0..blocks {
            builder = builder.conv_block(self.width, (block < pools).then_some(pooling))?;
        }
        builder.flatten().finish()
    }
}

crate::register_backbone! {
    /// blocks of 3×3 convolution, batch norm, ReLU and pooling
    ///
    /// Vinyals et al., Matching Networks for One Shot Learning, NeurIPS 2016
    name: "conv4",
    options: Conv4,
}
