//! What a network is made of: layers with their shapes and the places of their weights in θ.

use std::ops::Range;
use std::sync::Arc;

use ndarray::ArrayView4;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

use crate::params::{Layout, Params, Role};
use crate::rng::Rng;
use crate::{Error, Result};

/// Which statistics batch norm uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// The batch's in training, running averages in evaluation: a query is classified alone (inductive).
    Running,
    /// Always those of the batch given, as MAML was published: queries see each other (transductive).
    Batch,
}

/// How a convolution block halves its image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// 2×2 max-pooling after the block (Vinyals et al. 2016): 28→14→7→3→1, flattened.
    #[default]
    Maxpool,
    /// Convolutions of stride 2 (Finn et al. 2017, for Omniglot): 28→14→7→4→2, then the spatial mean.
    Strided,
}

/// Added to a batch's variance before the square root.
pub(crate) const NORM_EPSILON: f32 = 1e-5;
/// Weight of a batch's statistic when it is folded into the running one.
pub const NORM_MOMENTUM: f32 = 0.1;

/// Places of a batch norm's weights and statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormSlots {
    /// Scale γ, `[channels]`.
    pub weight: Range<usize>,
    /// Shift β, `[channels]`.
    pub bias: Range<usize>,
    /// Running mean and (unbiased) variance, `[channels]` each; none in mode [`Norm::Batch`].
    pub running: Option<(Range<usize>, Range<usize>)>,
}

/// Convolution 3×3 (padding 1, bias), batch norm, ReLU, and 2×2 max-pooling (floor) if `pool`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvBlock {
    /// Shape of an input image, `[channels, height, width]`.
    pub input: [usize; 3],
    /// Shape of an output image, after pooling.
    pub output: [usize; 3],
    /// Stride of the convolution: 1, or 2 for [`Pooling::Strided`].
    pub stride: usize,
    /// Whether a 2×2 max-pooling follows.
    pub pool: bool,
    /// Filters, `[out, in, 3, 3]`.
    pub weight: Range<usize>,
    /// `[out]`.
    pub bias: Range<usize>,
    /// The batch norm.
    pub norm: NormSlots,
}

impl ConvBlock {
    /// Height and width of the convolution's output, before pooling.
    pub fn convolved(&self) -> [usize; 2] {
        [self.input[1].div_ceil(self.stride), self.input[2].div_ceil(self.stride)]
    }
}

/// `y = x Wᵀ + b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Features in.
    pub input: usize,
    /// Features out.
    pub output: usize,
    /// `[out, in]`.
    pub weight: Range<usize>,
    /// `[out]`.
    pub bias: Range<usize>,
}

/// One layer. Images are `[n, channels, height, width]`, matrices `[n, features]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Convolution, batch norm, ReLU, perhaps pooling.
    ConvBlock(ConvBlock),
    /// Mean over height and width: images of this shape to a matrix `[n, channels]`.
    SpatialMean([usize; 3]),
    /// Images of this shape to a matrix, channel by channel.
    Flatten([usize; 3]),
    /// An affine map of matrices.
    Linear(Linear),
    /// max(x, 0) on matrices.
    Relu,
}

/// A sequence of layers over one layout.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Builds an [`Architecture`] layer by layer, handing out places for weights.
struct Builder {
    input: [usize; 3],
    norm: Norm,
    layers: Vec<Layer>,
    layout: Layout,
}

impl Builder {
    fn new(input: [usize; 3], norm: Norm) -> Self {
        Self { input, norm, layers: Vec::new(), layout: Layout::new() }
    }

    fn conv_block(
        &mut self,
        number: usize,
        input: [usize; 3],
        width: usize,
        pooling: Pooling,
    ) -> Result<[usize; 3]> {
        let (stride, pool) = match pooling {
            Pooling::Maxpool => (1, true),
            Pooling::Strided => (2, false),
        };
        let halve = |size: usize| if pool { size / 2 } else { size.div_ceil(2) };
        let output = [width, halve(input[1]), halve(input[2])];
        if output.contains(&0) {
            return Err(Error::invalid(format!(
                "images of {}×{} are too small: nothing is left after block {number} halves {}×{}; use larger images, \
                 fewer blocks or `pooling = \"strided\"`",
                self.input[1], self.input[2], input[1], input[2]
            )));
        }
        let name = |part: &str| format!("block{number}.{part}");
        let weight = self.layout.push(name("conv.weight"), &[width, input[0], 3, 3], Role::Weight);
        let bias = self.layout.push(name("conv.bias"), &[width], Role::Weight);
        let norm = NormSlots {
            weight: self.layout.push(name("norm.weight"), &[width], Role::Weight),
            bias: self.layout.push(name("norm.bias"), &[width], Role::Weight),
            running: (self.norm == Norm::Running).then(|| {
                (
                    self.layout.push(name("norm.running_mean"), &[width], Role::Statistic),
                    self.layout.push(name("norm.running_var"), &[width], Role::Statistic),
                )
            }),
        };
        self.layers.push(Layer::ConvBlock(ConvBlock { input, output, stride, pool, weight, bias, norm }));
        Ok(output)
    }

    fn linear(&mut self, name: &str, input: usize, output: usize) -> usize {
        let weight = self.layout.push(format!("{name}.weight"), &[output, input], Role::Weight);
        let bias = self.layout.push(format!("{name}.bias"), &[output], Role::Weight);
        self.layers.push(Layer::Linear(Linear { input, output, weight, bias }));
        output
    }

    fn finish(self, features: usize) -> Architecture {
        Architecture {
            input: self.input,
            features,
            norm: self.norm,
            layers: self.layers,
            layout: Arc::new(self.layout),
        }
    }
}

impl Architecture {
    /// `blocks` convolution blocks of `width` channels (Vinyals et al. 2016 use four of 64), and a linear head of
    /// `head` outputs if given.
    ///
    /// # Errors
    /// When the input is too small for so many blocks, or a size is 0.
    pub fn conv(
        input: [usize; 3],
        blocks: usize,
        width: usize,
        pooling: Pooling,
        norm: Norm,
        head: Option<usize>,
    ) -> Result<Self> {
        if blocks == 0 || width == 0 || input.contains(&0) || head == Some(0) {
            return Err(Error::invalid(
                "a convolutional network needs at least one block, channel, pixel and output",
            ));
        }
        let mut builder = Builder::new(input, norm);
        let mut shape = input;
        for number in 0..blocks {
            shape = builder.conv_block(number, shape, width, pooling)?;
        }
        let mut features = match pooling {
            Pooling::Maxpool => {
                builder.layers.push(Layer::Flatten(shape));
                shape.iter().product()
            }
            Pooling::Strided => {
                builder.layers.push(Layer::SpatialMean(shape));
                width
            }
        };
        if let Some(outputs) = head {
            features = builder.linear("head", features, outputs);
        }
        Ok(builder.finish(features))
    }

    /// Linear layers with ReLU between and after them, then a linear head of `head` outputs if given
    /// (the sinusoid network of Finn et al. 2017 is `hidden = [40, 40]`, `head = 1`).
    ///
    /// # Errors
    /// When a size is 0.
    pub fn mlp(input: [usize; 3], hidden: &[usize], head: Option<usize>) -> Result<Self> {
        if input.contains(&0) || hidden.contains(&0) || head == Some(0) {
            return Err(Error::invalid("a layer of a multi-layer perceptron needs at least one feature"));
        }
        // No batch norm: both modes are the same.
        let mut builder = Builder::new(input, Norm::Running);
        builder.layers.push(Layer::Flatten(input));
        let mut features = input.iter().product();
        for (number, &width) in hidden.iter().enumerate() {
            features = builder.linear(&format!("layer{number}"), features, width);
            builder.layers.push(Layer::Relu);
        }
        if let Some(outputs) = head {
            features = builder.linear("head", features, outputs);
        }
        Ok(builder.finish(features))
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
        for layer in &self.layers {
            match layer {
                Layer::ConvBlock(block) => {
                    uniform(&block.weight, block.input[0] * 9);
                    uniform(&block.bias, block.input[0] * 9);
                }
                Layer::Linear(linear) => {
                    uniform(&linear.weight, linear.input);
                    uniform(&linear.bias, linear.input);
                }
                Layer::SpatialMean(_) | Layer::Flatten(_) | Layer::Relu => {}
            }
        }
        for layer in &self.layers {
            if let Layer::ConvBlock(block) = layer {
                values[block.norm.weight.clone()].fill(1.0);
                if let Some((_, variance)) = &block.norm.running {
                    values[variance.clone()].fill(1.0);
                }
            }
        }
        theta
    }
}
