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

    /// A wide residual network (Zagoruyko & Komodakis 2016) of 28 layers: a 3×3 convolution to 16 channels, then three stages
    /// of four blocks with batch norm and ReLU before each of their two convolutions. `rate` is the dropout between them.
    /// Tensors have the names that S2M2's weights (Mangla et al. 2020) have.
    ///
    /// # Errors
    /// When a width is 0, the image is none, or the rate is not from 0 up to 1.
    pub fn wide_resnet28(input: [usize; 3], widths: [usize; 3], rate: f32, norm: Norm) -> Result<Self> {
        const BLOCKS: usize = 4;
        let mut before = 16;
        let mut builder = Self::builder(input, norm).conv("conv1", before, Filters::square(3))?;
        for (stage, width) in widths.into_iter().enumerate() {
            for number in 0..BLOCKS {
                let name = |part: &str| format!("block{}.layer.{number}.{part}", stage + 1);
                let stride = if stage > 0 && number == 0 { 2 } else { 1 };
                let main = |main: Builder| {
                    main.conv(&name("conv1"), width, Filters::square(3).stride(stride))?
                        .norm(&name("bn2"))?
                        .relu()
                        .dropout(rate)?
                        .conv(&name("conv2"), width, Filters::square(3))
                };
                let activated = |images: Builder| Ok(images.norm(&name("bn1"))?.relu());
                // A projection is of the activated images, as the weights were trained; no projection, of the images.
                builder = if before == width && stride == 1 {
                    builder.residual(|images| main(activated(images)?), Ok)?
                } else {
                    let filters = Filters::square(1).stride(stride);
                    activated(builder)?
                        .residual(main, |images| images.conv(&name("convShortcut"), width, filters))?
                };
                before = width;
            }
        }
        builder.norm("bn1")?.relu().spatial_mean().finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Role;

    #[test]
    fn a_wide_resnet28_has_the_published_number_of_weights_and_names() {
        let network = Architecture::wide_resnet28([3, 32, 32], [160, 320, 640], 0.0, Norm::Running).unwrap();
        let weights = network.layout.ranges(Role::Weight).map(|range| range.len()).sum::<usize>();
        // 36.5 million with a classifier of 10 (Zagoruyko & Komodakis, table 5): 36,479,194 in PyTorch.
        assert_eq!(weights + 640 * 10 + 10, 36_479_194);
        for name in ["block1.layer.0.convShortcut.weight", "block3.layer.3.bn2.running_var", "bn1.bias"] {
            assert!(network.layout.get(name).is_some(), "{name}");
        }
        assert!(network.layout.get("block2.layer.1.convShortcut.weight").is_none());
    }
}
