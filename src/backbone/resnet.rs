//! Residual networks: those of few-shot papers since 2018, and those that others have trained.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Layers;
use crate::nn::{Architecture, Norm};
use crate::options::Options;
use crate::{Error, Result};

/// Refuses a layer of no channels.
fn check_widths(widths: &[usize]) -> Result<()> {
    match widths.contains(&0) {
        true => Err(Error::invalid("`widths` has a 0, but each stage must have 1 channel or more")),
        false => Ok(()),
    }
}

/// Options of the backbone `resnet12`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct ResNet12 {
    /// Channels of the four blocks.
    pub widths: [usize; 4],
    /// Share of what each block gives that is dropped in training (Lee et al. take 0.1); never in an evaluation, nor in an
    /// inner loop, so not by `maml` and its family.
    #[schemars(range(min = 0.0, max = 0.9))]
    pub drop_rate: f32,
    /// Side of the squares that the last two blocks drop, by DropBlock (Ghiasi et al. 2018); the first two drop single
    /// values.
    #[schemars(range(min = 1))]
    pub drop_block: usize,
}

impl Default for ResNet12 {
    fn default() -> Self {
        Self { widths: [64, 160, 320, 640], drop_rate: 0.0, drop_block: 5 }
    }
}

impl Options for ResNet12 {
    fn check(&self) -> Result<()> {
        check_widths(&self.widths)
    }
}

impl Layers for ResNet12 {
    fn architecture(&self, input: [usize; 3], norm: Norm) -> Result<Architecture> {
        Architecture::resnet12_with_drop(input, self.widths, (self.drop_rate, self.drop_block), norm)
    }
}

crate::register_backbone! {
    /// four residual blocks of three 3×3 convolutions, leaky ReLU and pooling
    ///
    /// Oreshkin et al., TADAM, NeurIPS 2018; with the widths of Lee et al., MetaOptNet, CVPR 2019
    name: "resnet12",
    options: ResNet12,
}

/// What a residual network does to an image first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// 7×7 with stride 2, then max-pooling: for photographs of 224×224.
    Large,
    /// 3×3 with stride 1: for images of 32 to 84 pixels.
    Small,
}

/// Options of the backbone `resnet18`, and of `resnet10`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct ResNet18 {
    /// Channels of the four stages.
    pub widths: [usize; 4],
    /// What is done to an image first; where unset, `large` for images of 128 pixels and more, else `small`.
    pub stem: Option<Stem>,
}

impl Default for ResNet18 {
    fn default() -> Self {
        Self { widths: [64, 128, 256, 512], stem: None }
    }
}

impl Options for ResNet18 {
    fn check(&self) -> Result<()> {
        check_widths(&self.widths)
    }
}

/// Images from this side on have the large stem.
const LARGE: usize = 128;

impl ResNet18 {
    /// With so many blocks a stage.
    fn of_blocks(&self, blocks: usize, input: [usize; 3], norm: Norm) -> Result<Architecture> {
        let small = self.clone().resolved(input).stem == Some(Stem::Small);
        Architecture::basic_resnet(input, self.widths, blocks, small, norm)
    }
}

impl Layers for ResNet18 {
    fn resolved(self, [_, height, width]: [usize; 3]) -> Self {
        let stem = if height.min(width) < LARGE { Stem::Small } else { Stem::Large };
        Self { stem: Some(self.stem.unwrap_or(stem)), ..self }
    }

    fn architecture(&self, input: [usize; 3], norm: Norm) -> Result<Architecture> {
        self.of_blocks(2, input, norm)
    }
}

crate::register_backbone! {
    /// four stages of two residual blocks of two 3×3 convolutions, with torchvision's names
    ///
    /// He et al., Deep Residual Learning for Image Recognition, CVPR 2016
    name: "resnet18",
    options: ResNet18,
}

/// Options of the backbone `resnet10`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ResNet10(pub ResNet18);

impl Options for ResNet10 {
    fn check(&self) -> Result<()> {
        self.0.check()
    }
}

impl Layers for ResNet10 {
    fn resolved(self, input: [usize; 3]) -> Self {
        Self(self.0.resolved(input))
    }

    fn architecture(&self, input: [usize; 3], norm: Norm) -> Result<Architecture> {
        self.0.of_blocks(1, input, norm)
    }
}

crate::register_backbone! {
    /// four stages of one residual block of two 3×3 convolutions
    ///
    /// He et al., Deep Residual Learning for Image Recognition, CVPR 2016; Chen et al., A Closer Look at Few-shot
    /// Classification, ICLR 2019
    name: "resnet10",
    options: ResNet10,
}

/// Options of the backbone `wrn28-10`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct WideResNet28 {
    /// Channels of the three stages: 16, 32 and 64 times the widening factor.
    pub widths: [usize; 3],
    /// Share of the values between the convolutions of a block that is dropped in training; never in an evaluation, nor in an
    /// inner loop, so not by `maml` and its family.
    #[schemars(range(min = 0.0, max = 0.9))]
    pub drop_rate: f32,
}

impl Default for WideResNet28 {
    fn default() -> Self {
        Self { widths: [160, 320, 640], drop_rate: 0.0 }
    }
}

impl Options for WideResNet28 {
    fn check(&self) -> Result<()> {
        check_widths(&self.widths)
    }
}

impl Layers for WideResNet28 {
    fn architecture(&self, input: [usize; 3], norm: Norm) -> Result<Architecture> {
        Architecture::wide_resnet28(input, self.widths, self.drop_rate, norm)
    }
}

crate::register_backbone! {
    /// three stages of four residual blocks, each normalised before its convolutions, with S2M2's names
    ///
    /// Zagoruyko & Komodakis, Wide Residual Networks, BMVC 2016; Mangla et al., Charting the Right Manifold, WACV 2020
    name: "wrn28-10",
    options: WideResNet28,
}
