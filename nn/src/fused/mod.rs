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
mod groups;
mod image;
mod joint;
mod network;
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
mod window;
mod winograd;

#[cfg(test)]
pub(super) mod naive;
#[cfg(test)]
mod tests;

pub use network::Fused;

use ndarray::{Array2, ArrayView4};

use crate::Result;
use crate::architecture::{Architecture, Norm};
use crate::backend::{Backend, SecondOrder};
use crate::params::Params;
use backward::Backward;
use forward::Saved;
use tangent_backward::TangentBackward;
use tangent_forward::{Tangent, TangentForward};

impl Backend for Fused {
    type Saved = Saved;

    fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    fn evaluate(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
        Ok(match self.architecture.norm {
            Norm::Running => self.evaluate_running(theta.values(), x),
            Norm::Batch => self.run_forward(theta.values(), x).0,
        })
    }

    fn forward(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<(Array2<f32>, Saved)> {
        Ok(self.run_forward(theta.values(), x))
    }

    fn backward(&self, theta: &Params, saved: &Saved, d_output: Array2<f32>) -> Result<Params> {
        let mut gradient = Params::zeros(theta.layout());
        let pass = Backward { network: self, theta: theta.values(), saved };
        pass.run(&d_output, gradient.values_mut());
        Ok(gradient)
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
        let pass =
            TangentForward { network: self, theta: theta.values(), direction: direction.values(), saved };
        pass.run()
    }

    fn tangent_backward(
        &self,
        theta: &Params,
        direction: &Params,
        saved: &Saved,
        tangent: &Tangent,
        [d_output, dd_output]: [Array2<f32>; 2],
    ) -> Result<Params> {
        let mut product = Params::zeros(theta.layout());
        let pass = TangentBackward {
            network: self,
            theta: theta.values(),
            direction: direction.values(),
            saved,
            tangent,
        };
        pass.run([&d_output, &dd_output], product.values_mut());
        Ok(product)
    }
}
