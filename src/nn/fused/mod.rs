//! The fused CPU backend: SIMD kernels on plain slices.
//!
//! Images are `[n, height, width, channels]` inside, channels in whole cache lines. Convolutions are Winograd's
//! (stride 1) or direct; the first block, of few channels, stores nothing at all. Batch norm needs two
//! passes over a batch, so a block runs from convolution to convolution: norm, ReLU and pooling of one block are done
//! image by image as the next block reads it.
//!
//! Work is split over fixed groups of images, and partial sums are added in order of the groups, so the results are
//! the same bits on any number of threads.

#![allow(unsafe_code)]

mod arena;
mod backward;
mod conv;
mod direct;
mod first;
mod first_kernels;
mod forward;
mod gemm;
mod norm;
mod norm_tangent;
pub mod peak;
mod simd;
mod tail;
mod tangent_backward;
mod tangent_forward;
mod taps;
mod tiling;
mod transforms;
mod winograd;

#[cfg(test)]
pub(super) mod naive;
#[cfg(test)]
pub(super) mod tests;

use std::sync::Arc;

use ndarray::{Array2, ArrayView4};

use super::architecture::{Architecture, ConvBlock, Layer, Norm};
use super::network::{Passes, SecondOrder};
use crate::params::Params;
use crate::{Error, Result};
use arena::Arena;
use conv::{Convolution, Image};
use first::First;
pub(crate) use forward::Saved;
use simd::Isa;
use tail::Tail;
pub(crate) use tangent_forward::Tangent;

/// A network computed by SIMD kernels on the CPU.
pub struct Fused {
    architecture: Architecture,
    blocks: Vec<Block>,
    joint: Joint,
    /// Channels, without padding, of the images that become a matrix, and the matrix's width.
    channels: usize,
    features: usize,
    tail: Tail,
    isa: Isa,
    arena: Arc<Arena>,
}

/// One convolution block.
struct Block {
    layer: ConvBlock,
    shape: norm::Shape,
    form: Form,
}

/// How a block computes its convolution.
enum Form {
    First(First),
    General(Convolution),
}

/// How images become a matrix.
enum Joint {
    /// Channel by channel.
    Flatten(Image),
    /// The mean over pixels.
    Mean(Image),
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

    fn with(architecture: Architecture, isa: Isa) -> Result<Self> {
        let (mut blocks, mut joint, mut tail) = (Vec::new(), None, Vec::new());
        for layer in &architecture.layers {
            match (layer, &joint) {
                (Layer::ConvBlock(layer), None) => blocks.push(Block::new(layer, blocks.is_empty())),
                (&Layer::Flatten(shape), None) => joint = Some(Joint::Flatten(Image::new(shape))),
                (&Layer::SpatialMean(shape), None) => joint = Some(Joint::Mean(Image::new(shape))),
                (Layer::Linear(layer), Some(_)) => tail.push(tail::Layer::Linear(layer.clone())),
                (Layer::Relu, Some(_)) => tail.push(tail::Layer::Relu),
                _ => return Err(Error::invalid(format!("a network cannot have {layer:?} in this place"))),
            }
        }
        let joint = joint.ok_or_else(|| Error::invalid("a network needs a flatten or spatial mean layer"))?;
        let channels = blocks.last().map_or(architecture.input[0], |block: &Block| block.layer.output[0]);
        let features = match joint {
            Joint::Flatten(image) => channels * image.pixels(),
            Joint::Mean(_) => channels,
        };
        let arena = Arc::default();
        let tail = Tail::new(isa, &arena, features, tail);
        Ok(Self { architecture, blocks, joint, channels, features, tail, isa, arena })
    }
}

impl Block {
    fn new(layer: &ConvBlock, first: bool) -> Self {
        let [height, width] = layer.convolved();
        let shape = norm::Shape {
            convolved: Image::new([layer.output[0], height, width]),
            output: Image::new(layer.output),
            pool: layer.pool,
        };
        let first = first.then(|| First::new(layer)).flatten();
        let form = first.map_or_else(|| Form::General(Convolution::new(layer)), Form::First);
        Self { layer: layer.clone(), shape, form }
    }

    /// Channels of the output, with padding.
    fn channels(&self) -> usize {
        self.shape.output.channels
    }
}

/// Images in each of the groups that a batch is split into: at least eight, in a power of two of groups, at most
/// sixteen. A function of the batch alone, so that sums over groups do not depend on the number of threads.
fn group_size(count: usize) -> usize {
    let groups = (count / 8).clamp(1, 16);
    count.div_ceil(1 << groups.ilog2())
}

impl Passes for Fused {
    type Saved = Saved;

    fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    fn evaluate(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
        match self.architecture.norm {
            Norm::Running => self.evaluate_running(theta, x),
            Norm::Batch => Ok(self.run_forward(theta, x)?.0),
        }
    }

    fn forward(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<(Array2<f32>, Saved)> {
        self.run_forward(theta, x)
    }

    fn backward(&self, theta: &Params, saved: &Saved, d_output: Array2<f32>) -> Result<Params> {
        self.run_backward(theta, saved, d_output)
    }
}

impl SecondOrder for Fused {
    type Tangent = Tangent;

    fn tangent_forward(
        &self,
        theta: &Params,
        direction: &Params,
        saved: &Saved,
    ) -> Result<(Array2<f32>, Tangent)> {
        self.run_tangent_forward(theta.values(), direction.values(), saved)
    }

    fn tangent_backward(
        &self,
        theta: &Params,
        direction: &Params,
        saved: &Saved,
        tangent: &Tangent,
        d_output: Array2<f32>,
        dd_output: Array2<f32>,
    ) -> Result<Params> {
        let mut product = Params::zeros(theta.layout());
        let passes = tangent_backward::Passes {
            network: self,
            theta: theta.values(),
            direction: direction.values(),
            saved,
            tangent,
        };
        passes.run(&d_output, &dd_output, product.values_mut());
        Ok(product)
    }
}
