//! A network of convolution blocks, laid out for the kernels.

use std::ops::Range;
use std::sync::Arc;

use super::arena::{Arena, Buffer};
use super::conv::Convolution;
use super::first::First;
use super::image::Image;
use super::joint::ImagesToRows;
use super::norm::BlockShape;
use super::simd::Isa;
use super::tail::Tail;
use crate::architecture::{Architecture, BatchNorm, Conv, Layer, Norm, Pool, Reduction};

/// A network of convolution blocks, then one flatten or spatial mean, then layers on matrices.
pub(super) struct Blocks {
    pub(super) norm: Norm,
    /// Shape of an input, `[channels, height, width]`.
    pub(super) input: [usize; 3],
    pub(super) blocks: Vec<Block>,
    pub(super) joint: ImagesToRows,
    pub(super) tail: Tail,
    pub(super) isa: Isa,
    pub(super) arena: Arc<Arena>,
}

/// One block: convolution 3×3 (padding 1, bias), batch norm, ReLU, and perhaps 2×2 max-pooling.
pub(super) struct Block {
    pub(super) conv: Conv,
    /// Of the convolution, `[out]`.
    pub(super) bias: Range<usize>,
    pub(super) norm: BatchNorm,
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

impl Blocks {
    /// `architecture`, if these kernels have all of its layers in their order, and none is noise.
    pub(super) fn new(architecture: &Architecture, isa: Isa) -> Option<Self> {
        if architecture.drops() > 0 {
            return None;
        }
        let mut blocks: Vec<Block> = Vec::new();
        let mut layers = architecture.layers.as_slice();
        while let Some((block, rest)) = Block::first_of(isa, layers, blocks.is_empty()) {
            blocks.push(block);
            layers = rest;
        }
        let (joint, layers) = layers.split_first()?;
        let joint = ImagesToRows::of(joint)?;
        let arena = Arc::default();
        let tail = Tail::new(isa, &arena, joint.features(), layers)?;
        let (norm, input) = (architecture.norm, architecture.input);
        Some(Self { norm, input, blocks, joint, tail, isa, arena })
    }

    /// The filters of block `index`, from θ or a change of it, as the form of the block takes them.
    pub(super) fn filters(&self, block: &Block, theta: &[f32]) -> Buffer {
        let weight = &theta[block.conv.weight.clone()];
        match &block.form {
            Form::First(first) => first.filters(&self.arena, weight),
            Form::General(convolution) => convolution.filters(&self.arena, weight),
        }
    }
}

impl Block {
    /// The block that `layers` begin with, and the layers after it.
    fn first_of(isa: Isa, layers: &[Layer], first: bool) -> Option<(Self, &[Layer])> {
        let [Layer::Conv(conv), Layer::Norm(norm), Layer::Relu { slope: 0.0 }, rest @ ..] = layers else {
            return None;
        };
        let bias = conv.bias.clone()?;
        let plain = Conv { kernel: [3, 3], padding: [1, 1], groups: 1, ..conv.clone() };
        if *conv != plain || !matches!(conv.stride, [1, 1] | [2, 2]) {
            return None;
        }
        let (pool, rest) = match rest {
            [Layer::Pool(pool), rest @ ..] => {
                let halves = Pool {
                    reduction: Reduction::Max,
                    window: [2; 2],
                    stride: [2; 2],
                    padding: [0; 2],
                    ..*pool
                };
                (*pool == halves).then_some((Some(pool), rest))?
            }
            _ => (None, rest),
        };
        let output = pool.map_or(conv.output, |pool| pool.output);
        let shape = BlockShape {
            convolved: Image::new(conv.output),
            output: Image::new(output),
            pool: pool.is_some(),
        };
        let first = first.then(|| First::new(isa, conv, output, shape.pool)).flatten();
        let form = first.map_or_else(|| Form::General(Convolution::new(isa, conv)), Form::First);
        Some((Self { conv: conv.clone(), bias, norm: norm.clone(), shape, form }, rest))
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
