//! What a network is made of: layers with their shapes and the places of their weights in θ.

use std::ops::Range;
use std::sync::Arc;

use ndarray::ArrayView4;
use rand::Rng as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::params::{Layout, Params, Role};
use crate::rng::Rng;
use crate::{Error, Result};

/// Which statistics batch norm uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// The batch's in training, running averages in evaluation: a query is classified alone (inductive).
    Running,
    /// Always those of the batch given, as MAML was published: queries see each other (transductive).
    Batch,
}

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

/// Added to a batch's variance before the square root.
pub(crate) const NORM_EPSILON: f32 = 1e-5;

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
///
/// ```
/// use kshot_nn::{Architecture, Norm, Pooling};
///
/// // Two blocks, the second twice as wide, and a projection to 32 features.
/// let network = Architecture::builder([1, 28, 28], Norm::Running)
///     .conv_block(16, Pooling::Maxpool)?
///     .conv_block(32, Pooling::Maxpool)?
///     .flatten()
///     .linear("projection", 32)?
///     .finish()?;
/// assert_eq!(network.features, 32);
/// assert_eq!(network.layout.entries()[0].name, "block0.conv.weight");
/// # Ok::<(), kshot_nn::Error>(())
/// ```
pub struct Builder {
    input: [usize; 3],
    norm: Norm,
    /// What the layers so far give: `[channels, height, width]`, or `[features, 1, 1]`.
    shape: [usize; 3],
    /// Whether that is a matrix.
    flat: bool,
    blocks: usize,
    layers: Vec<Layer>,
    layout: Layout,
}

impl Builder {
    /// Convolution 3×3, batch norm, ReLU, and what halves the image; its tensors are `block0.…`, `block1.…` and so on.
    ///
    /// # Errors
    /// When the image is too small or no longer one, or the width is 0.
    pub fn conv_block(mut self, width: usize, pooling: Pooling) -> Result<Self> {
        if width == 0 || self.flat || self.shape.contains(&0) {
            return Err(Error::invalid(
                "a convolution block needs an image, of at least one channel and pixel, and a width",
            ));
        }
        let (number, input) = (self.blocks, self.shape);
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
        (self.shape, self.blocks) = (output, number + 1);
        Ok(self)
    }

    /// The image as a row of features, channel by channel.
    #[must_use]
    pub fn flatten(mut self) -> Self {
        self.layers.push(Layer::Flatten(self.shape));
        (self.shape, self.flat) = ([self.shape.iter().product(), 1, 1], true);
        self
    }

    /// The mean over the image, a feature for each channel.
    #[must_use]
    pub fn spatial_mean(mut self) -> Self {
        self.layers.push(Layer::SpatialMean(self.shape));
        (self.shape, self.flat) = ([self.shape[0], 1, 1], true);
        self
    }

    /// `y = x Wᵀ + b`, with tensors `NAME.weight` and `NAME.bias`.
    ///
    /// # Errors
    /// When the image has not been made a row of features, there are no outputs, or a tensor has that name.
    pub fn linear(mut self, name: &str, outputs: usize) -> Result<Self> {
        if !self.flat || outputs == 0 || self.layout.get(&format!("{name}.weight")).is_some() {
            return Err(Error::invalid(format!(
                "the linear layer `{name}` needs features, at least one output, and a name of its own"
            )));
        }
        let input = self.shape[0];
        let weight = self.layout.push(format!("{name}.weight"), &[outputs, input], Role::Weight);
        let bias = self.layout.push(format!("{name}.bias"), &[outputs], Role::Weight);
        self.layers.push(Layer::Linear(Linear { input, output: outputs, weight, bias }));
        self.shape = [outputs, 1, 1];
        Ok(self)
    }

    /// max(x, 0) on features; convolution blocks have theirs.
    #[must_use]
    pub fn relu(mut self) -> Self {
        self.layers.push(Layer::Relu);
        self
    }

    /// The network.
    ///
    /// # Errors
    /// When its output is still an image.
    pub fn finish(self) -> Result<Architecture> {
        if !self.flat {
            return Err(Error::invalid("a network ends in features: add `flatten` or `spatial_mean`"));
        }
        Ok(Architecture {
            input: self.input,
            features: self.shape[0],
            norm: self.norm,
            layers: self.layers,
            layout: Arc::new(self.layout),
        })
    }
}

impl Architecture {
    /// A network for inputs `[channels, height, width]`, to be built layer by layer.
    pub fn builder(input: [usize; 3], norm: Norm) -> Builder {
        let layout = Layout::new();
        Builder { input, norm, shape: input, flat: false, blocks: 0, layers: Vec::new(), layout }
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
        let Self { input, features, norm, layers, layout } = self;
        let (shape, layout) = ([features, 1, 1], Layout::clone(&layout));
        Builder { input, norm, shape, flat: true, blocks: 0, layers, layout }
            .linear("head", outputs)?
            .finish()
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
