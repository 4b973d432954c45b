//! A network laid out for the kernels.

use std::sync::Arc;

use super::arena::{Arena, Buffer};
use super::conv::Convolution;
use super::first::First;
use super::image::Image;
use super::joint::ImagesToRows;
use super::norm::BlockShape;
use super::simd::Isa;
use super::tail::{self, Tail};
use crate::architecture::{Architecture, ConvBlock, Layer};
use crate::{Error, Result};

/// A network computed by SIMD kernels on the CPU.
pub struct Fused {
    pub(super) architecture: Architecture,
    pub(super) blocks: Vec<Block>,
    pub(super) joint: ImagesToRows,
    pub(super) tail: Tail,
    pub(super) isa: Isa,
    pub(super) arena: Arc<Arena>,
}

/// One convolution block.
pub(super) struct Block {
    pub(super) layer: ConvBlock,
    /// Its images on both sides of norm, ReLU and pooling.
    pub(super) shape: BlockShape,
    pub(super) form: Form,
}

/// How a block computes its convolution.
pub(super) enum Form {
    /// Together with what follows it, without storing anything between: the first block, on images of few channels.
    First(First),
    /// Alone.
    General(Convolution),
}

impl Fused {
    /// Computes `architecture`.
    ///
    /// # Errors
    /// When its layers are in another order than convolution blocks, one flatten or spatial mean, linear layers and
    /// ReLUs, or the CPU lacks the instruction set that the variable `KSHOT_ISA` names (else the widest it has is used).
    pub fn new(architecture: Architecture) -> Result<Self> {
        Self::with(architecture, Isa::choose()?)
    }

    pub(super) fn with(architecture: Architecture, isa: Isa) -> Result<Self> {
        let (mut blocks, mut joint, mut tail) = (Vec::new(), None, Vec::new());
        for layer in &architecture.layers {
            match (layer, &joint) {
                (Layer::ConvBlock(layer), None) => blocks.push(Block::new(isa, layer, blocks.is_empty())),
                (&Layer::Flatten(shape), None) => joint = Some(ImagesToRows::flatten(shape)),
                (&Layer::SpatialMean(shape), None) => joint = Some(ImagesToRows::mean(shape)),
                (Layer::Linear(layer), Some(_)) => tail.push(tail::Layer::Linear(layer.clone())),
                (Layer::Relu, Some(_)) => tail.push(tail::Layer::Relu),
                _ => return Err(Error::invalid(format!("a network cannot have {layer:?} in this place"))),
            }
        }
        let joint = joint.ok_or_else(|| Error::invalid("a network needs a flatten or spatial mean layer"))?;
        let arena = Arc::default();
        let tail = Tail::new(isa, &arena, joint.features(), tail);
        Ok(Self { architecture, blocks, joint, tail, isa, arena })
    }

    /// The filters of block `index`, from θ or a change of it, as the form of the block takes them.
    pub(super) fn filters(&self, block: &Block, theta: &[f32]) -> Buffer {
        let weight = &theta[block.layer.weight.clone()];
        match &block.form {
            Form::First(first) => first.filters(&self.arena, weight),
            Form::General(convolution) => convolution.filters(&self.arena, weight),
        }
    }
}

impl Block {
    fn new(isa: Isa, layer: &ConvBlock, first: bool) -> Self {
        let [height, width] = layer.convolved();
        let shape = BlockShape {
            convolved: Image::new([layer.output[0], height, width]),
            output: Image::new(layer.output),
            pool: layer.pool,
        };
        let first = first.then(|| First::new(isa, layer)).flatten();
        let form = first.map_or_else(|| Form::General(Convolution::new(isa, layer)), Form::First);
        Self { layer: layer.clone(), shape, form }
    }

    /// Channels of the output, with padding.
    pub(super) fn channels(&self) -> usize {
        self.shape.output.channels
    }

    /// Floats of sums over the gradients of its outputs: per image Σg and Σg(y − mean), or G and Σg of all images.
    pub(super) fn sums_len(&self, images: usize) -> usize {
        match &self.form {
            Form::First(first) => (first.taps() + 1) * self.channels(),
            Form::General(_) => images * 2 * self.channels(),
        }
    }

    /// Where the sums of images after the first `images` of a group start: all images of the first block share theirs.
    pub(super) fn sums_start(&self, images: usize) -> usize {
        match &self.form {
            Form::First(_) => 0,
            Form::General(_) => self.sums_len(images),
        }
    }

    /// Sums of the first block are added to, others written.
    pub(super) fn clear(&self, sums: &mut [f32]) {
        if let Form::First(_) = self.form {
            sums.fill(0.0);
        }
    }
}
