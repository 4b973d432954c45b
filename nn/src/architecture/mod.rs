//! What a network is made of: a tree of layers with their shapes and the places of their weights in θ.

mod builder;
mod drop_block;
mod layer;
mod resnet;

use std::ops::Range;
use std::sync::Arc;

use ndarray::ArrayView4;
use rand::Rng as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use builder::{Builder, Filters};
pub use drop_block::DropBlock;
pub(crate) use layer::NORM_EPSILON;
pub use layer::{BatchNorm, Conv, Layer, Linear, Norm, Pool, Reduction, Residual};

use crate::params::{Layout, Params};
use crate::rng::Rng;
use crate::{Error, Result};

/// How a convolution block halves its image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// 2×2 max-pooling after the block (Vinyals et al. 2016): 28→14→7→3→1, flattened.
    #[default]
    Maxpool,
    /// Convolutions of stride 2 (Finn et al. 2017, for Omniglot): 28→14→7→4→2, then the spatial mean.
    Strided,
}

/// A sequence of layers over one layout.
///
/// ```
/// use kshot_nn::{Architecture, Norm, Pooling};
///
/// // Conv4 (Vinyals et al. 2016) for grey images of 28×28, and a head of five classes.
/// let body = Architecture::conv([1, 28, 28], 4, 64, Pooling::Maxpool, Norm::Batch)?;
/// assert_eq!(body.features, 64);
/// let network = body.with_head(5)?;
/// assert_eq!(network.features, 5);
/// assert_eq!(network.layout.get("head.weight").map(|head| head.shape.clone()), Some(vec![5, 64]));
/// assert!(Architecture::conv([1, 8, 8], 4, 64, Pooling::Maxpool, Norm::Batch).is_err(), "too small");
/// # Ok::<(), kshot_nn::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// Shape of one input, `[channels, height, width]`.
    pub input: [usize; 3],
    /// Width of the output matrix.
    pub features: usize,
    /// Which statistics its batch norms use.
    pub norm: Norm,
    /// The layers, in order.
    pub layers: Vec<Layer>,
    /// Names and places of all weights.
    pub layout: Arc<Layout>,
}

impl Architecture {
    /// A network for inputs `[channels, height, width]`, to be built layer by layer.
    pub fn builder(input: [usize; 3], norm: Norm) -> Builder {
        let layout = Layout::new();
        Builder { input, norm, shape: input, flat: false, blocks: 0, drops: 0, layers: Vec::new(), layout }
    }

    /// `blocks` convolution blocks of `width` channels (Vinyals et al. 2016 use four of 64).
    ///
    /// # Errors
    /// When the input is too small for so many blocks, or a size is 0.
    pub fn conv(
        input: [usize; 3],
        blocks: usize,
        width: usize,
        pooling: Pooling,
        norm: Norm,
    ) -> Result<Self> {
        if blocks == 0 || width == 0 || input.contains(&0) {
            return Err(Error::invalid(
                "a convolutional network needs at least one block, channel and pixel",
            ));
        }
        let mut builder = Self::builder(input, norm);
        for _ in 0..blocks {
            builder = builder.conv_block(width, pooling)?;
        }
        match pooling {
            Pooling::Maxpool => builder.flatten().finish(),
            Pooling::Strided => builder.spatial_mean().finish(),
        }
    }

    /// Linear layers of these widths, a ReLU after each (the sinusoid network of Finn et al. 2017 has two of 40, and a
    /// head of one output).
    ///
    /// # Errors
    /// When a size is 0.
    pub fn mlp(input: [usize; 3], hidden: &[usize]) -> Result<Self> {
        if input.contains(&0) || hidden.contains(&0) {
            return Err(Error::invalid("a layer of a multi-layer perceptron needs at least one feature"));
        }
        // No batch norm: both modes are the same.
        let mut builder = Self::builder(input, Norm::Running).flatten();
        for (number, &width) in hidden.iter().enumerate() {
            builder = builder.linear(&format!("layer{number}"), width)?.relu();
        }
        builder.finish()
    }

    /// The same with a linear layer `head` of `outputs` on top.
    ///
    /// # Errors
    /// When there are no outputs, or it has a head already.
    pub fn with_head(self, outputs: usize) -> Result<Self> {
        let drops = self.drops();
        let Self { input, features, norm, layers, layout } = self;
        let (shape, layout) = ([features, 1, 1], Layout::clone(&layout));
        Builder { input, norm, shape, flat: true, blocks: 0, drops, layers, layout }
            .linear("head", outputs)?
            .finish()
    }

    /// Shape of the maps that the output lays side by side, `[channels, height, width]`, where it does no more than that: for
    /// networks on top that see maps.
    pub fn maps(&self) -> Option<[usize; 3]> {
        match self.layers.last() {
            Some(Layer::Flatten(maps)) => Some(*maps),
            _ => None,
        }
    }

    /// Refuses weights of another layout, images of another shape, and an empty batch.
    pub(crate) fn check(&self, theta: &Params, x: &ArrayView4<'_, f32>) -> Result<()> {
        let (n, c, h, w) = x.dim();
        if [c, h, w] != self.input || n == 0 {
            return Err(Error::invalid(format!(
                "the network takes images of {:?} (channels, height, width), but was given {n} of {:?}",
                self.input,
                [c, h, w]
            )));
        }
        self.check_weights(theta)
    }

    /// Refuses weights of another layout.
    pub(crate) fn check_weights(&self, theta: &Params) -> Result<()> {
        if theta.layout().len() < self.layout.len() {
            return Err(Error::invalid(format!(
                "the network has {} weights, but was given {}",
                self.layout.len(),
                theta.layout().len()
            )));
        }
        Ok(())
    }

    /// Fresh weights: uniform in ±1/√fan-in for convolutions and linear layers (PyTorch's default, He et al. 2015
    /// with a = √5), 1 and 0 for batch norm.
    pub fn init(&self, rng: &mut Rng) -> Params {
        let mut theta = Params::zeros(&self.layout);
        let values = theta.values_mut();
        let mut uniform = |range: &Range<usize>, fan_in: usize| {
            let bound = 1.0 / (fan_in as f32).sqrt();
            values[range.clone()].fill_with(|| rng.random_range(-bound..bound));
        };
        self.each(&mut |layer| match layer {
            Layer::Conv(conv) => {
                uniform(&conv.weight, conv.fan_in());
                conv.bias.iter().for_each(|bias| uniform(bias, conv.fan_in()));
            }
            Layer::Linear(linear) => {
                uniform(&linear.weight, linear.input);
                uniform(&linear.bias, linear.input);
            }
            _ => {}
        });
        self.each(&mut |layer| {
            if let Layer::Norm(norm) = layer {
                values[norm.weight.clone()].fill(1.0);
                if let Some((_, variance)) = &norm.running {
                    values[variance.clone()].fill(1.0);
                }
            }
        });
        theta
    }

    /// Numbers that a pass writes of one example, its inputs among them: norm and activation are computed as the next layer
    /// reads.
    pub fn activations(&self) -> usize {
        let volume = |shape: [usize; 3]| shape.iter().product::<usize>();
        let mut written = volume(self.input);
        self.each(&mut |layer| {
            written += match layer {
                Layer::Conv(conv) => volume(conv.output),
                Layer::Pool(pool) => volume(pool.output),
                Layer::Linear(linear) => linear.output,
                Layer::SpatialMean([channels, ..]) => *channels,
                _ => 0,
            };
        });
        written
    }

    /// How many of its layers drop values in training.
    pub(crate) fn drops(&self) -> usize {
        let mut count = 0;
        self.each(&mut |layer| count += usize::from(matches!(layer, Layer::Drop(_))));
        count
    }

    /// Calls `visit` with every layer that has no layers inside, in order of their weights.
    pub fn each<'a>(&'a self, visit: &mut dyn FnMut(&'a Layer)) {
        self.layers.iter().for_each(|layer| layer.each(visit));
    }
}
