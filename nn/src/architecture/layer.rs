//! The layers of a network: what each takes and gives, and where its weights lie in θ.

use std::ops::Range;

use super::drop_block::DropBlock;

/// Which statistics batch norm uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// The batch's in training, running averages in evaluation: a query is classified alone (inductive).
    Running,
    /// Always those of the batch given, as MAML was published: queries see each other (transductive).
    Batch,
}

/// Added to a batch's variance before the square root.
pub(crate) const NORM_EPSILON: f32 = 1e-5;

/// A convolution of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Shape of an input image, `[channels, height, width]`.
    pub input: [usize; 3],
    /// Shape of an output image.
    pub output: [usize; 3],
    /// Height and width of the filters.
    pub kernel: [usize; 2],
    /// Rows and columns from one output to the next.
    pub stride: [usize; 2],
    /// Zeros on either side, along height and along width.
    pub padding: [usize; 2],
    /// 1, or as many as there are channels: each channel by itself, a depthwise convolution.
    pub groups: usize,
    /// Filters, `[out, in / groups, height, width]`.
    pub weight: Range<usize>,
    /// `[out]`, if it has one.
    pub bias: Option<Range<usize>>,
}

impl Conv {
    /// Elements of a filter in one channel.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Products that one output takes.
    pub fn fan_in(&self) -> usize {
        self.input[0] / self.groups * self.taps()
    }
}

/// Batch norm (Ioffe & Szegedy 2015) of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchNorm {
    /// Shape of an image, `[channels, height, width]`.
    pub shape: [usize; 3],
    /// Scale γ, `[channels]`.
    pub weight: Range<usize>,
    /// Shift β, `[channels]`.
    pub bias: Range<usize>,
    /// Running mean and (unbiased) variance, `[channels]` each; none in mode [`Norm::Batch`].
    pub running: Option<(Range<usize>, Range<usize>)>,
}

/// What is made of the values of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their largest; of equal ones the first in row-major order.
    Max,
    /// Their mean.
    Mean,
}

/// Pooling over windows of an image; rows and columns that no window reaches are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// What is made of a window.
    pub reduction: Reduction,
    /// Shape of an input image, `[channels, height, width]`.
    pub input: [usize; 3],
    /// Shape of an output image.
    pub output: [usize; 3],
    /// Height and width of a window.
    pub window: [usize; 2],
    /// Rows and columns from one window to the next.
    pub stride: [usize; 2],
    /// Rows and columns outside the image that windows may begin with; nothing there is ever the largest.
    pub padding: [usize; 2],
}

impl Pool {
    /// The rows (or columns, by `axis` 1) of the image that window `at` covers.
    pub fn covered(&self, axis: usize, at: usize) -> Range<usize> {
        let (start, padding) = (at * self.stride[axis], self.padding[axis]);
        let end = (start + self.window[axis]).saturating_sub(padding);
        start.saturating_sub(padding)..end.min(self.input[1 + axis])
    }

    /// Pixels of a window.
    pub fn pixels(&self) -> usize {
        self.window[0] * self.window[1]
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

/// Two branches from the same images, and the sum of what they give (He et al. 2016).
#[derive(Clone, Debug, PartialEq)]
pub struct Residual {
    /// The layers that learn the residual.
    pub main: Vec<Layer>,
    /// What they are added to: no layer, the images themselves; or a projection of them.
    pub shortcut: Vec<Layer>,
}

/// One layer. Images are `[n, channels, height, width]`, matrices `[n, features]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// Convolution of images.
    Conv(Conv),
    /// Batch norm of images.
    Norm(BatchNorm),
    /// `x` where that is positive, `slope · x` elsewhere; of images or matrices.
    Relu {
        /// 0 for ReLU, 0.1 for the leaky one of ResNet-12.
        slope: f32,
    },
    /// Pooling of images.
    Pool(Pool),
    /// Noise in training; of images or matrices.
    Drop(DropBlock),
    /// Two branches of layers on images, added.
    Residual(Residual),
    /// Mean over height and width: images of this shape to a matrix `[n, channels]`.
    SpatialMean([usize; 3]),
    /// Images of this shape to a matrix, channel by channel.
    Flatten([usize; 3]),
    /// An affine map of matrices.
    Linear(Linear),
}

impl Layer {
    /// Shape of the output for an input `[channels, height, width]`, or `[features, 1, 1]`.
    pub(crate) fn output(&self, input: [usize; 3]) -> [usize; 3] {
        match self {
            Self::Conv(conv) => conv.output,
            Self::Pool(pool) => pool.output,
            Self::Residual(Residual { main, .. }) => {
                main.iter().fold(input, |shape, layer| layer.output(shape))
            }
            Self::SpatialMean([channels, ..]) => [*channels, 1, 1],
            Self::Flatten(shape) => [shape.iter().product(), 1, 1],
            Self::Linear(linear) => [linear.output, 1, 1],
            Self::Norm(_) | Self::Relu { .. } | Self::Drop(_) => input,
        }
    }

    /// The layers inside, if it has any.
    pub(crate) fn inner(&self) -> impl Iterator<Item = &Self> {
        let branches = match self {
            Self::Residual(Residual { main, shortcut }) => [main.as_slice(), shortcut.as_slice()],
            _ => [[].as_slice(); 2],
        };
        branches.into_iter().flatten()
    }

    /// Calls `visit` with this layer, or with those inside in the order of their weights.
    pub fn each<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        match self {
            Self::Residual(_) => self.inner().for_each(|layer| layer.each(visit)),
            leaf => visit(leaf),
        }
    }

    /// Calls `change` with the place of each of its tensors.
    pub(crate) fn places(&mut self, change: &mut dyn FnMut(&mut Range<usize>)) {
        match self {
            Self::Conv(conv) => {
                change(&mut conv.weight);
                conv.bias.iter_mut().for_each(change);
            }
            Self::Norm(norm) => {
                change(&mut norm.weight);
                change(&mut norm.bias);
                if let Some((mean, variance)) = &mut norm.running {
                    change(mean);
                    change(variance);
                }
            }
            Self::Linear(linear) => {
                change(&mut linear.weight);
                change(&mut linear.bias);
            }
            Self::Residual(Residual { main, shortcut }) => {
                main.iter_mut().chain(shortcut).for_each(|layer| layer.places(change));
            }
            Self::Relu { .. } | Self::Drop(_) | Self::Pool(_) | Self::SpatialMean(_) | Self::Flatten(_) => {}
        }
    }
}
