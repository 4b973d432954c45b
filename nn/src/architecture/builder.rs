//! Builds an [`Architecture`] layer by layer.

use std::sync::Arc;

use super::{
    Architecture, BatchNorm, Conv, DropBlock, Layer, Linear, Norm, Pool, Pooling, Reduction, Residual,
};
use crate::params::{Layout, Role};
use crate::{Error, Result};

/// Builds an [`Architecture`] layer by layer, handing out places for weights.
///
/// ```
/// use kshot_nn::{Architecture, Filters, Norm, Pooling};
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
///
/// // A residual block with a projection as its shortcut.
/// let network = Architecture::builder([3, 32, 32], Norm::Running)
///     .residual(
///         |main| main.conv("conv1", 16, Filters::square(3))?.norm("bn1")?.relu().conv("conv2", 16, Filters::square(3))?.norm("bn2"),
///         |shortcut| shortcut.conv("downsample.0", 16, Filters::square(1))?.norm("downsample.1"),
///     )?
///     .leaky_relu(0.1)
///     .max_pool(2, 2, 0)?
///     .spatial_mean()
///     .finish()?;
/// assert_eq!(network.layout.get("downsample.0.weight").map(|entry| entry.shape.clone()), Some(vec![16, 3, 1, 1]));
/// # Ok::<(), kshot_nn::Error>(())
/// ```
pub struct Builder {
    pub(super) input: [usize; 3],
    pub(super) norm: Norm,
    /// What the layers so far give: `[channels, height, width]`, or `[features, 1, 1]`.
    pub(super) shape: [usize; 3],
    /// Whether that is a matrix.
    pub(super) flat: bool,
    pub(super) blocks: usize,
    /// Layers that drop values, so far.
    pub(super) drops: usize,
    pub(super) layers: Vec<Layer>,
    pub(super) layout: Layout,
}

/// The filters of a convolution, but for their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filters {
    /// Height and width.
    pub kernel: [usize; 2],
    /// Rows and columns from one output to the next.
    pub stride: [usize; 2],
    /// Zeros on either side, along height and along width.
    pub padding: [usize; 2],
    /// Whether each channel has a filter of its own, and sees no other.
    pub depthwise: bool,
    /// Whether a number is added to each output channel.
    pub bias: bool,
}

impl Filters {
    /// `side × side`, stride 1, padded so that an odd side keeps the image's size, without bias.
    pub fn square(side: usize) -> Self {
        Self { kernel: [side; 2], stride: [1; 2], padding: [side / 2; 2], depthwise: false, bias: false }
    }

    /// `1 × length`, for signals of one row; otherwise as [`Filters::square`].
    pub fn row(length: usize) -> Self {
        Self { kernel: [1, length], padding: [0, length / 2], ..Self::square(length) }
    }

    /// With this stride, along height and width.
    #[must_use]
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = [stride; 2];
        self
    }

    /// With a bias.
    #[must_use]
    pub fn biased(self) -> Self {
        Self { bias: true, ..self }
    }

    /// One filter a channel.
    #[must_use]
    pub fn depthwise(self) -> Self {
        Self { depthwise: true, ..self }
    }
}

impl Builder {
    /// Convolution 3×3, batch norm, ReLU, and what halves the image, if anything; its tensors are `block0.…`, `block1.…` and so
    /// on.
    ///
    /// # Errors
    /// When the image is too small or no longer one, or the width is 0.
    pub fn conv_block(mut self, width: usize, pooling: impl Into<Option<Pooling>>) -> Result<Self> {
        if width == 0 || self.flat || self.shape.contains(&0) {
            return Err(Error::invalid(
                "a convolution block needs an image, of at least one channel and pixel, and a width",
            ));
        }
        let (number, [_, height, columns]) = (self.blocks, self.shape);
        let whole = self.input;
        let too_small = |_| {
            Error::invalid(format!(
                "images of {}×{} are too small: nothing is left after block {number} halves {height}×{columns}; use \
                 larger images, fewer blocks or `pooling = \"strided\"`",
                whole[1], whole[2]
            ))
        };
        self.blocks += 1;
        let (conv, norm) = (format!("block{number}.conv"), format!("block{number}.norm"));
        let filters = Filters::square(3).biased();
        let pooling = pooling.into();
        let stride = if pooling == Some(Pooling::Strided) { 2 } else { 1 };
        let block = self.conv(&conv, width, filters.stride(stride))?.norm(&norm)?.relu();
        match pooling {
            Some(Pooling::Maxpool) => block.max_pool(2, 2, 0).map_err(too_small),
            _ => Ok(block),
        }
    }

    /// A convolution to `width` channels, with tensors `NAME.weight` and, if it has one, `NAME.bias`.
    ///
    /// # Errors
    /// When the image is too small or no longer one, a size is 0, or a tensor has that name.
    pub fn conv(mut self, name: &str, width: usize, filters: Filters) -> Result<Self> {
        let Filters { kernel, stride, padding, depthwise, bias } = filters;
        let [channels, ..] = self.shape;
        self.image(&format!("the convolution `{name}`"))?;
        if width == 0 || kernel.contains(&0) || stride.contains(&0) || (depthwise && width != channels) {
            return Err(Error::invalid(format!(
                "the convolution `{name}` needs filters of at least one channel and element and a stride of at least 1; \
                 if each channel is filtered by itself, as many outputs as inputs"
            )));
        }
        let along = |axis: usize| {
            let size = self.shape[1 + axis] + 2 * padding[axis];
            size.checked_sub(kernel[axis]).map(|rest| rest / stride[axis] + 1)
        };
        let (Some(height), Some(columns)) = (along(0), along(1)) else {
            return Err(Error::invalid(format!(
                "images of {}×{} are too small for the filters of `{name}`, {}×{}",
                self.shape[1], self.shape[2], kernel[0], kernel[1]
            )));
        };
        let groups = if depthwise { channels } else { 1 };
        let shape = [width, channels / groups, kernel[0], kernel[1]];
        let weight = self.tensor(format!("{name}.weight"), &shape, Role::Weight)?;
        let bias =
            if bias { Some(self.tensor(format!("{name}.bias"), &[width], Role::Weight)?) } else { None };
        let (input, output) = (self.shape, [width, height, columns]);
        self.layers.push(Layer::Conv(Conv { input, output, kernel, stride, padding, groups, weight, bias }));
        self.shape = output;
        Ok(self)
    }

    /// Batch norm, with tensors `NAME.weight`, `NAME.bias` and perhaps `NAME.running_mean` and `NAME.running_var`.
    ///
    /// # Errors
    /// When there is no image, or a tensor has that name.
    pub fn norm(mut self, name: &str) -> Result<Self> {
        self.image(&format!("the batch norm `{name}`"))?;
        let (shape, channels) = (self.shape, [self.shape[0]]);
        let weight = self.tensor(format!("{name}.weight"), &channels, Role::Weight)?;
        let bias = self.tensor(format!("{name}.bias"), &channels, Role::Weight)?;
        let running = match self.norm {
            Norm::Batch => None,
            Norm::Running => Some((
                self.tensor(format!("{name}.running_mean"), &channels, Role::Statistic)?,
                self.tensor(format!("{name}.running_var"), &channels, Role::Statistic)?,
            )),
        };
        self.layers.push(Layer::Norm(BatchNorm { shape, weight, bias, running }));
        Ok(self)
    }

    /// max(x, 0).
    #[must_use]
    pub fn relu(self) -> Self {
        self.leaky_relu(0.0)
    }

    /// `x` where that is positive, `slope · x` elsewhere; `slope` is from 0 up to, but not, 1.
    #[must_use]
    pub fn leaky_relu(mut self, slope: f32) -> Self {
        self.layers.push(Layer::Relu { slope });
        self
    }

    /// Dropout in training (Srivastava et al. 2014), of images or features: each value is 0 with probability `rate`. A
    /// rate of 0 adds no layer.
    ///
    /// # Errors
    /// When the rate is not from 0 up to 1.
    pub fn dropout(self, rate: f32) -> Result<Self> {
        self.drop_block(rate, 1)
    }

    /// DropBlock in training (Ghiasi, Lin & Le 2018): squares of `side × side` of an image's channels are 0, as many as drop
    /// a share `rate` of it; where the image is smaller, rectangles of its height or width. A rate of 0 adds no layer.
    ///
    /// # Errors
    /// When the rate is not from 0 up to 1, or the side is 0.
    pub fn drop_block(mut self, rate: f32, side: usize) -> Result<Self> {
        if !(0.0..1.0).contains(&rate) || side == 0 || self.shape.contains(&0) {
            return Err(Error::invalid(format!(
                "a share of {rate} in blocks of {side}×{side} cannot be dropped: it must be at least 0 and less than 1, a \
                 block of at least one value"
            )));
        }
        if rate > 0.0 {
            let (shape, number) = (self.shape, self.drops);
            let block = [shape[1], shape[2]].map(|size| size.min(side));
            self.layers.push(Layer::Drop(DropBlock { rate, block, shape, number }));
            self.drops += 1;
        }
        Ok(self)
    }

    /// The largest of each window of `side × side`, `stride` apart, the first `padding` rows and columns outside.
    ///
    /// # Errors
    /// When there is no image, or one smaller than a window.
    pub fn max_pool(self, side: usize, stride: usize, padding: usize) -> Result<Self> {
        self.pool(Reduction::Max, [side; 2], [stride; 2], [padding; 2])
    }

    /// The mean of each window of `side × side`, one beside the other.
    ///
    /// # Errors
    /// As [`Builder::max_pool`].
    pub fn average_pool(self, side: usize) -> Result<Self> {
        self.pool(Reduction::Mean, [side; 2], [side; 2], [0; 2])
    }

    /// The largest of each `length` columns of a row, one window beside the other: for signals of one row.
    ///
    /// # Errors
    /// As [`Builder::max_pool`].
    pub fn max_pool_row(self, length: usize) -> Result<Self> {
        self.pool(Reduction::Max, [1, length], [1, length], [0; 2])
    }

    fn pool(
        mut self,
        reduction: Reduction,
        window: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
    ) -> Result<Self> {
        self.image("pooling")?;
        let [channels, height, width] = self.shape;
        let along = |axis: usize| {
            if stride[axis] == 0 || window[axis] == 0 || 2 * padding[axis] > window[axis] {
                return None;
            }
            let rest = (self.shape[1 + axis] + 2 * padding[axis]).checked_sub(window[axis])?;
            Some(rest / stride[axis] + 1)
        };
        let (Some(rows), Some(columns)) = (along(0), along(1)) else {
            return Err(Error::invalid(format!(
                "images of {height}×{width} are too small for pooling over windows of {}×{}",
                window[0], window[1]
            )));
        };
        let output = [channels, rows, columns];
        self.layers.push(Layer::Pool(Pool { reduction, input: self.shape, output, window, stride, padding }));
        self.shape = output;
        Ok(self)
    }

    /// The sum of two branches from the same images: `main`, and `shortcut`, which may add no layer.
    ///
    /// # Errors
    /// When there is no image, or the branches give images of different shapes.
    pub fn residual(
        mut self,
        main: impl FnOnce(Self) -> Result<Self>,
        shortcut: impl FnOnce(Self) -> Result<Self>,
    ) -> Result<Self> {
        self.image("a residual")?;
        let (before, input) = (std::mem::take(&mut self.layers), self.shape);
        let mut built = main(self)?;
        let (main, shape) = (std::mem::take(&mut built.layers), built.shape);
        built.image("a residual")?;
        built.shape = input;
        let mut built = shortcut(built)?;
        if built.flat || built.shape != shape || main.is_empty() {
            return Err(Error::invalid(format!(
                "the branches of a residual must give images of one shape, but give {shape:?} and {:?}",
                built.shape
            )));
        }
        let shortcut = std::mem::replace(&mut built.layers, before);
        built.layers.push(Layer::Residual(Residual { main, shortcut }));
        Ok(built)
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
        let weight = self.tensor(format!("{name}.weight"), &[outputs, input], Role::Weight)?;
        let bias = self.tensor(format!("{name}.bias"), &[outputs], Role::Weight)?;
        self.layers.push(Layer::Linear(Linear { input, output: outputs, weight, bias }));
        self.shape = [outputs, 1, 1];
        Ok(self)
    }

    /// The network.
    ///
    /// # Errors
    /// When its output is still an image, or a slope is not from 0 up to 1.
    pub fn finish(self) -> Result<Architecture> {
        if !self.flat {
            return Err(Error::invalid("a network ends in features: add `flatten` or `spatial_mean`"));
        }
        let mut slopes = true;
        for layer in &self.layers {
            layer.each(&mut |leaf| {
                slopes &= !matches!(leaf, Layer::Relu { slope } if !(0.0..1.0).contains(slope));
            });
        }
        if !slopes {
            return Err(Error::invalid("the slope of a leaky ReLU must be at least 0 and less than 1"));
        }
        Ok(Architecture {
            input: self.input,
            features: self.shape[0],
            norm: self.norm,
            layers: self.layers,
            layout: Arc::new(self.layout),
        })
    }

    /// Refuses `what` where there is no image.
    fn image(&self, what: &str) -> Result<()> {
        match self.flat || self.shape.contains(&0) {
            true => Err(Error::invalid(format!("{what} needs an image, of at least one channel and pixel"))),
            false => Ok(()),
        }
    }

    /// A place for a tensor of a new name.
    fn tensor(&mut self, name: String, shape: &[usize], role: Role) -> Result<std::ops::Range<usize>> {
        match self.layout.get(&name) {
            Some(_) => Err(Error::invalid(format!("two tensors of a network are called `{name}`"))),
            None => Ok(self.layout.push(name, shape, role)),
        }
    }
}
