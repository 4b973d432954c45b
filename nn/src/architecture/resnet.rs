//! Residual networks under the names that their published weights have.

use super::{Architecture, Builder, Filters, Norm};
use crate::Result;

/// The names of a block's tensors.
fn block(stage: usize, block: usize) -> impl Fn(&str) -> String + Copy {
    move |part| format!("layer{}.{block}.{part}", stage + 1)
}

/// A 1×1 projection with batch norm, as a shortcut.
fn projection(
    shortcut: Builder,
    name: impl Fn(&str) -> String,
    width: usize,
    stride: usize,
) -> Result<Builder> {
    shortcut
        .conv(&name("downsample.0"), width, Filters::square(1).stride(stride))?
        .norm(&name("downsample.1"))
}

impl Architecture {
    /// ResNet-12 (Oreshkin et al. 2018, "TADAM"; widths 64-160-320-640 in Lee et al. 2019): four residual blocks of three
    /// 3×3 convolutions with batch norm and leaky ReLU 0.1, a projection as shortcut, 2×2 max-pooling after the sum; then
    /// the mean over the image. Tensors have the names of FEAT (Ye et al. 2020).
    ///
    /// # Errors
    /// When images are smaller than 16×16, or a width is 0.
    pub fn resnet12(input: [usize; 3], widths: [usize; 4], norm: Norm) -> Result<Self> {
        Self::resnet12_with_drop(input, widths, (0.0, 1), norm)
    }

    /// The same with noise in training, as in section 4.1 of Lee et al. 2019 ("Meta-Learning with Differentiable Convex
    /// Optimization"): a share `rate` is dropped of what each block gives, by dropout in the first two, by DropBlock with
    /// squares of `side` in the last two. Weights are those of the network without.
    ///
    /// # Errors
    /// As [`Architecture::resnet12`], and when the rate is not from 0 up to 1 or the side is 0.
    pub fn resnet12_with_drop(
        input: [usize; 3],
        widths: [usize; 4],
        (rate, side): (f32, usize),
        norm: Norm,
    ) -> Result<Self> {
        let mut builder = Self::builder(input, norm);
        for (stage, width) in widths.into_iter().enumerate() {
            let (name, filters) = (block(stage, 0), Filters::square(3));
            let main = |main: Builder| {
                main.conv(&name("conv1"), width, filters)?
                    .norm(&name("bn1"))?
                    .leaky_relu(0.1)
                    .conv(&name("conv2"), width, filters)?
                    .norm(&name("bn2"))?
                    .leaky_relu(0.1)
                    .conv(&name("conv3"), width, filters)?
                    .norm(&name("bn3"))
            };
            builder = builder
                .residual(main, |shortcut| projection(shortcut, name, width, 1))?
                .leaky_relu(0.1)
                .max_pool(2, 2, 0)?
                .drop_block(rate, if stage < 2 { 1 } else { side })?;
        }
        builder.spatial_mean().finish()
    }

    /// A residual network of basic blocks (He et al. 2016), `blocks` in each of its four stages: two in ResNet-18, one in
    /// ResNet-10. Its stem is a 7×7 convolution with stride 2 and 3×3 max-pooling, or, for `small` images, a 3×3
    /// convolution alone. Tensors have torchvision's names.
    ///
    /// # Errors
    /// When a width is 0 or the image is none.
    pub fn basic_resnet(
        input: [usize; 3],
        widths: [usize; 4],
        blocks: usize,
        small: bool,
        norm: Norm,
    ) -> Result<Self> {
        let stem = if small { Filters::square(3) } else { Filters::square(7).stride(2) };
        let mut builder = Self::builder(input, norm).conv("conv1", widths[0], stem)?.norm("bn1")?.relu();
        if !small {
            builder = builder.max_pool(3, 2, 1)?;
        }
        let mut before = widths[0];
        for (stage, width) in widths.into_iter().enumerate() {
            for number in 0..blocks {
                let name = block(stage, number);
                let stride = if stage > 0 && number == 0 { 2 } else { 1 };
                let projected = stride > 1 || before != width;
                let main = |main: Builder| {
                    main.conv(&name("conv1"), width, Filters::square(3).stride(stride))?
                        .norm(&name("bn1"))?
                        .relu()
                        .conv(&name("conv2"), width, Filters::square(3))?
                        .norm(&name("bn2"))
                };
                let shortcut = |shortcut| match projected {
                    true => projection(shortcut, name, width, stride),
                    false => Ok(shortcut),
                };
                builder = builder.residual(main, shortcut)?.relu();
                before = width;
            }
        }
        builder.spatial_mean().finish()
    }
}
