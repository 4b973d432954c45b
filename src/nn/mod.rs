//! Networks: pure functions of (θ, inputs) with derivatives.
//!
//! An [`Architecture`] says what a network is made of; a backend computes it: [`Fused`], SIMD kernels on the CPU, or
//! [`Portable`], dfdx tensor operations on CPU and CUDA. Each is the other's test.

mod architecture;
mod backbone;
mod difference;
mod distance;
mod fused;
pub mod head;
mod loss;
mod network;
mod portable;
mod split;
#[cfg(test)]
mod tests;

use dfdx::tensor::{OwnedTape, Tensor};

pub use architecture::{Architecture, ConvBlock, Layer, Linear, NORM_MOMENTUM, Norm, NormSlots, Pooling};
pub use backbone::{Backbone, BackboneConfig, network};
pub use distance::Metric;
pub use fused::{Fused, peak};
pub use head::cross_entropy;
pub use loss::Loss;
pub use network::{HeadWeights, LossAt, LossGradient, Network, embed_both, value_and_grad_of_head};
pub use portable::Portable;

/// The device of dfdx tensors: `Cpu`, or `Cuda` with feature `cuda`. One per thread.
pub type Dev = dfdx::tensor::AutoDevice;
/// A matrix, `[rows, columns]`, without a tape.
pub type Matrix = Tensor<(usize, usize), f32, Dev>;
/// A vector without a tape.
pub type Vector = Tensor<(usize,), f32, Dev>;
/// A matrix on the gradient tape.
pub type TapedMatrix = Tensor<(usize, usize), f32, Dev, OwnedTape<f32, Dev>>;
/// A scalar on the gradient tape: what a head returns as its loss.
pub type TapedScalar = Tensor<(), f32, Dev, OwnedTape<f32, Dev>>;
/// What turns embeddings `[n, features]`, and weights of its own, into a loss, in plain dfdx code.
pub type Head<'a> = dyn FnMut(TapedMatrix, &HeadWeights<'_>) -> crate::Result<TapedScalar> + 'a;
