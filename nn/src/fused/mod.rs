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
mod depthwise;
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
mod patches;
pub mod peak;
mod row;
mod row_winograd;
mod simd;
mod statistics;
mod tail;
mod tangent_backward;
mod tangent_forward;
mod taps;
mod tiling;
mod transforms;
mod tree;
mod window;
mod winograd;

#[cfg(test)]
pub(super) mod naive;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use ndarray::{Array2, Array4, ArrayView4};

use crate::architecture::{Architecture, Norm};
use crate::backend::{Backend, SecondOrder};
use crate::params::Params;
use crate::{Error, Result};
use backward::Backward;
use network::Blocks;
use simd::Isa;
use tangent_backward::TangentBackward;
use tangent_forward::TangentForward;
use tree::Tree;

/// A network computed by SIMD kernels on the CPU.
pub struct Fused {
    architecture: Architecture,
    isa: Isa,
    engine: Arc<Engine>,
    /// What names the noise of drop layers, where they are active.
    noise: Option<u64>,
    /// The tree that traces a chain of blocks, once it was asked for.
    tracer: OnceLock<Tree>,
}

/// Who computes it.
enum Engine {
    /// Kernels for a chain of the blocks of few-shot papers until 2018.
    Blocks(Blocks),
    /// Any other tree.
    Tree(Box<Tree>),
}

/// What a forward pass keeps.
pub(crate) enum Saved {
    Blocks(forward::Saved),
    Tree(tree::Saved),
}

/// What a tangent forward pass keeps.
pub(crate) enum Tangent {
    Blocks(tangent_forward::Tangent),
    Tree(tree::Tangent),
}

impl Fused {
    /// Computes `architecture`.
    ///
    /// # Errors
    /// When its layers cannot follow each other so, or the CPU lacks the instruction set that the variable `KSHOT_ISA`
    /// names (else the widest it has is used).
    pub fn new(architecture: Architecture) -> Result<Self> {
        Self::with(architecture, Isa::choose()?)
    }

    fn with(architecture: Architecture, isa: Isa) -> Result<Self> {
        let engine = match Blocks::new(&architecture, isa) {
            Some(blocks) => Engine::Blocks(blocks),
            None => Engine::Tree(Box::new(Tree::new(&architecture, isa)?)),
        };
        Ok(Self { architecture, isa, engine: Arc::new(engine), noise: None, tracer: OnceLock::new() })
    }

    fn tree(&self) -> Result<&Tree> {
        match (&*self.engine, self.tracer.get()) {
            (Engine::Tree(tree), _) => Ok(tree),
            (Engine::Blocks(_), Some(tree)) => Ok(tree),
            (Engine::Blocks(_), None) => {
                let tree = Tree::new(&self.architecture, self.isa)?;
                Ok(self.tracer.get_or_init(|| tree))
            }
        }
    }
}

fn another() -> Error {
    Error::invalid("a forward pass of another network")
}

impl Backend for Fused {
    type Saved = Saved;

    fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    fn with_noise(&self, seed: u64) -> Self {
        let (architecture, engine) = (self.architecture.clone(), self.engine.clone());
        Self { architecture, isa: self.isa, engine, noise: Some(seed), tracer: OnceLock::new() }
    }

    fn evaluate(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
        let theta = theta.values();
        Ok(match &*self.engine {
            Engine::Blocks(blocks) => match blocks.norm {
                Norm::Running => blocks.evaluate_running(theta, x),
                Norm::Batch => blocks.run_forward(theta, x).0,
            },
            Engine::Tree(tree) => tree.evaluate(theta, x, self.noise),
        })
    }

    fn forward(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<(Array2<f32>, Saved)> {
        Ok(match &*self.engine {
            Engine::Blocks(blocks) => {
                let (outputs, saved) = blocks.run_forward(theta.values(), x);
                (outputs, Saved::Blocks(saved))
            }
            Engine::Tree(tree) => {
                let (outputs, saved) = tree.run_forward(theta.values(), x, Norm::Batch, self.noise);
                (outputs, Saved::Tree(saved))
            }
        })
    }

    fn backward(&self, theta: &Params, saved: &Saved, d_output: Array2<f32>) -> Result<Params> {
        let mut gradient = Params::zeros(theta.layout());
        let theta = theta.values();
        match (&*self.engine, saved) {
            (Engine::Blocks(network), Saved::Blocks(saved)) => {
                Backward { network, theta, saved }.run(&d_output, gradient.values_mut());
            }
            (Engine::Tree(tree), Saved::Tree(saved)) => {
                tree.backward(theta, saved, &d_output, gradient.values_mut());
            }
            _ => return Err(another()),
        }
        Ok(gradient)
    }

    fn trace(
        &self,
        theta: &Params,
        x: ArrayView4<'_, f32>,
        statistics: Norm,
    ) -> Result<(Array2<f32>, Saved)> {
        let (outputs, saved) = self.tree()?.run_forward(theta.values(), x, statistics, self.noise);
        Ok((outputs, Saved::Tree(saved)))
    }

    fn back(&self, theta: &Params, saved: &Saved, d_output: Array2<f32>) -> Result<(Params, Array4<f32>)> {
        let Saved::Tree(saved) = saved else { return Err(another()) };
        let mut gradient = Params::zeros(theta.layout());
        let inputs = self.tree()?.back(theta.values(), saved, &d_output, gradient.values_mut());
        let [channels, height, width] = self.architecture.input;
        let inputs = Array4::from_shape_vec((d_output.nrows(), channels, height, width), inputs);
        let inputs = inputs.map_err(|error| Error::device("reading the gradient in the inputs", error))?;
        Ok((gradient, inputs))
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
        let (theta, direction) = (theta.values(), direction.values());
        Ok(match (&*self.engine, saved) {
            (Engine::Blocks(network), Saved::Blocks(saved)) => {
                let (change, tangent) = TangentForward { network, theta, direction, saved }.run()?;
                (change, Tangent::Blocks(tangent))
            }
            (Engine::Tree(tree), Saved::Tree(saved)) => {
                let (change, tangent) = tree.tangent_forward(theta, direction, saved);
                (change, Tangent::Tree(tangent))
            }
            _ => return Err(another()),
        })
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
        let (theta, direction) = (theta.values(), direction.values());
        match (&*self.engine, saved, tangent) {
            (Engine::Blocks(network), Saved::Blocks(saved), Tangent::Blocks(tangent)) => {
                let pass = TangentBackward { network, theta, direction, saved, tangent };
                pass.run([&d_output, &dd_output], product.values_mut());
            }
            (Engine::Tree(tree), Saved::Tree(saved), Tangent::Tree(tangent)) => {
                let product = product.values_mut();
                tree.tangent_backward([theta, direction], (saved, tangent), [&d_output, &dd_output], product);
            }
            _ => return Err(another()),
        }
        Ok(product)
    }
}
