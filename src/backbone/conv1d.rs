//! Blocks of convolution along signals of one row.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Layers;
use crate::nn::{Architecture, Filters, Norm};
use crate::options::Options;
use crate::{Error, Result};

/// Options of the backbone `conv1d`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Conv1d {
    /// Blocks; where unset, four, or as many as can halve a shorter signal.
    #[schemars(range(min = 1))]
    pub blocks: Option<usize>,
    /// Channels of each block.
    #[schemars(range(min = 1))]
    pub width: usize,
    /// Samples that a filter sees, an odd number.
    #[schemars(range(min = 1))]
    pub kernel: usize,
}

impl Default for Conv1d {
    fn default() -> Self {
        Self { blocks: None, width: 64, kernel: 3 }
    }
}

impl Options for Conv1d {
    fn check(&self) -> Result<()> {
        match self.kernel % 2 {
            0 => Err(Error::invalid("`kernel` must be odd, so that a filter has a middle")),
            _ => Ok(()),
        }
    }
}

impl Layers for Conv1d {
    fn resolved(self, [.., length]: [usize; 3]) -> Self {
        let halvings = length.max(2).ilog2() as usize;
        Self { blocks: Some(self.blocks.unwrap_or(halvings.min(4))), ..self }
    }

    fn architecture(&self, input: [usize; 3], norm: Norm) -> Result<Architecture> {
        let [channels, height, length] = input;
        if height != 1 {
            return Err(Error::invalid(format!(
                "`conv1d` is for signals of one row, and these inputs are {channels}×{height}×{length}: take `conv4`"
            )));
        }
        let blocks = self.clone().resolved(input).blocks.unwrap_or(1);
        let mut builder = Architecture::builder(input, norm);
        for block in 0..blocks {
            let name = |part: &str| format!("block{block}.{part}");
            let filters = Filters::row(self.kernel).biased();
            builder = builder
                .conv(&name("conv"), self.width, filters)?
                .norm(&name("norm"))?
                .relu()
                .max_pool_row(2)
                .map_err(|_| {
                    Error::invalid(format!(
                        "signals of {length} samples are too short for {blocks} blocks, each of which halves them: take \
                         fewer `blocks`"
                    ))
                })?;
        }
        builder.spatial_mean().finish()
    }
}

crate::register_backbone! {
    /// blocks of convolution along a signal, batch norm, ReLU and pooling, then the mean over time
    ///
    /// Wang, Yan & Oates, Time Series Classification from Scratch with Deep Neural Networks, IJCNN 2017 (FCN, with pooling)
    name: "conv1d",
    options: Conv1d,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_as_many_blocks_as_halve_them_and_images_are_sent_on() {
        let features =
            |input| Conv1d::default().architecture(input, Norm::Running).map(|built| built.features);
        assert_eq!(features([2, 1, 1024]).unwrap(), 64);
        assert_eq!(Conv1d::default().resolved([1, 1, 9]).blocks, Some(3));
        assert!(features([1, 28, 28]).unwrap_err().to_string().contains("take `conv4`"));
        let five = Conv1d { blocks: Some(5), ..Conv1d::default() };
        let error = five.architecture([1, 1, 16], Norm::Batch).unwrap_err().to_string();
        assert!(error.contains("16 samples are too short for 5 blocks"), "{error}");
    }
}
