//! The portable backend: dfdx tensor operations only, so it runs wherever dfdx does (CPU, CUDA).
//!
//! Images are `[n, height, width, channels]` inside, so that a convolution is nine matrix products and batch norm
//! works on the columns of a matrix. Passes are explicit, without a tape. In each file, `d` before a name is a
//! derivative of the loss in a backward pass and a change of the value in a tangent pass; `dd` is a change of such a
//! derivative.

mod activation;
mod conv;
mod device;
mod drop;
mod layer;
mod linear;
mod norm;
mod pool;
mod relu;
mod windows;

use dfdx::prelude::*;
use ndarray::{Array2, Array4, ArrayView4};

use crate::architecture::{Architecture, Norm};
use crate::backend::{Backend, SecondOrder};
use crate::params::Params;
use crate::tape::{Dev, Matrix};
use crate::{Error, Result};
use activation::Activation;
use device::{DeviceResult, download_matrix, failed, upload_matrix};
use layer::{LayerSaved, LayerTangent, Pass, TangentPass};
use norm::Statistics;

/// A network computed with dfdx tensor operations.
pub struct Portable {
    architecture: Architecture,
    /// What names the noise of drop layers, where they are active.
    noise: Option<u64>,
}

/// What the forward pass keeps: one entry a layer, on the device that computed it.
pub(crate) struct Saved {
    device: Dev,
    /// Shape of the inputs, `[n, height, width, channels]`.
    input: (usize, usize, usize, usize),
    noise: Option<u64>,
    layers: Vec<LayerSaved>,
}

impl Saved {
    /// A pass with weights `theta` over the same examples.
    fn pass<'a>(&'a self, theta: &'a [f32]) -> Pass<'a> {
        Pass { device: &self.device, theta, count: self.input.0, noise: self.noise }
    }
}

impl Portable {
    /// Computes `architecture`.
    pub fn new(architecture: Architecture) -> Self {
        Self { architecture, noise: None }
    }

    fn run(
        &self,
        theta: &[f32],
        x: ArrayView4<'_, f32>,
        statistics: Statistics,
    ) -> DeviceResult<(Matrix, Saved)> {
        let (n, c, h, w) = x.dim();
        let host: Vec<f32> = x.permuted_axes([0, 2, 3, 1]).iter().copied().collect();
        let (device, noise) = (Dev::default(), self.noise);
        let mut saved = Saved { device, input: (n, h, w, c), noise, layers: Vec::new() };
        let flow = Activation::Images(saved.device.try_tensor_from_vec(host, saved.input)?);
        let (flow, layers) = saved.pass(theta).chain(&self.architecture.layers, flow, statistics)?;
        saved.layers = layers;
        Ok((flow.into_matrix()?, saved))
    }

    /// The gradient in θ, and that in the inputs if it is wanted.
    fn run_back(
        &self,
        theta: &Params,
        saved: &Saved,
        d_output: Array2<f32>,
        wants_input: bool,
    ) -> DeviceResult<(Params, Activation)> {
        let pass = saved.pass(theta.values());
        let mut gradient = Params::zeros(theta.layout());
        let d = Activation::Matrix(upload_matrix(&saved.device, d_output)?);
        let layers = &self.architecture.layers;
        let d = pass.chain_back(layers, &saved.layers, d, gradient.values_mut(), wants_input)?;
        Ok((gradient, d))
    }

    fn run_tangent(
        &self,
        theta: &[f32],
        direction: &[f32],
        saved: &Saved,
    ) -> DeviceResult<(Matrix, Vec<LayerTangent>)> {
        let pass = TangentPass { pass: saved.pass(theta), direction };
        let flow = Activation::Images(saved.device.try_zeros_like(&saved.input)?);
        let (flow, layers) = pass.chain(&self.architecture.layers, &saved.layers, flow)?;
        Ok((flow.into_matrix()?, layers))
    }

    fn run_tangent_back(
        &self,
        theta: &Params,
        direction: &[f32],
        saved: &Saved,
        tangent: &[LayerTangent],
        [d_output, dd_output]: [Array2<f32>; 2],
    ) -> DeviceResult<Params> {
        let pass = TangentPass { pass: saved.pass(theta.values()), direction };
        let mut product = Params::zeros(theta.layout());
        let d = [d_output, dd_output].map(|d| upload_matrix(&saved.device, d).map(Activation::Matrix));
        let [d, dd] = d;
        let kept = (saved.layers.as_slice(), tangent);
        pass.chain_back(&self.architecture.layers, kept, [d?, dd?], product.values_mut(), false)?;
        Ok(product)
    }
}

impl Backend for Portable {
    type Saved = Saved;

    fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    fn with_noise(&self, seed: u64) -> Self {
        Self { architecture: self.architecture.clone(), noise: Some(seed) }
    }

    fn evaluate(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
        Ok(self.trace(theta, x, self.architecture.norm)?.0)
    }

    fn forward(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<(Array2<f32>, Saved)> {
        self.trace(theta, x, Norm::Batch)
    }

    fn backward(&self, theta: &Params, saved: &Saved, d_output: Array2<f32>) -> Result<Params> {
        let (gradient, _) =
            self.run_back(theta, saved, d_output, false).map_err(failed("differentiating the network"))?;
        Ok(gradient)
    }

    fn trace(
        &self,
        theta: &Params,
        x: ArrayView4<'_, f32>,
        statistics: Norm,
    ) -> Result<(Array2<f32>, Saved)> {
        let statistics = match statistics {
            Norm::Running => Statistics::Running,
            Norm::Batch => Statistics::Batch,
        };
        let (y, saved) = self.run(theta.values(), x, statistics).map_err(failed("running the network"))?;
        Ok((download_matrix(&y), saved))
    }

    fn back(&self, theta: &Params, saved: &Saved, d_output: Array2<f32>) -> Result<(Params, Array4<f32>)> {
        let (gradient, d) = self
            .run_back(theta, saved, d_output, true)
            .map_err(failed("differentiating the network in its inputs"))?;
        let ((n, height, width, channels), d) = (saved.input, d.into_values());
        let images = Array4::from_shape_vec((n, height, width, channels), d);
        let images = images.map_err(|error| Error::device("reading the gradient in the inputs", error))?;
        Ok((gradient, images.permuted_axes([0, 3, 1, 2]).as_standard_layout().into_owned()))
    }
}

impl SecondOrder for Portable {
    type Tangent = Vec<LayerTangent>;

    fn tangent_forward(
        &self,
        theta: &Params,
        direction: &Params,
        saved: &Saved,
    ) -> Result<(Array2<f32>, Vec<LayerTangent>)> {
        let (change, tangent) = self
            .run_tangent(theta.values(), direction.values(), saved)
            .map_err(failed("carrying a change of weights through the network"))?;
        Ok((download_matrix(&change), tangent))
    }

    fn tangent_backward(
        &self,
        theta: &Params,
        direction: &Params,
        saved: &Saved,
        tangent: &Vec<LayerTangent>,
        d_output: [Array2<f32>; 2],
    ) -> Result<Params> {
        self.run_tangent_back(theta, direction.values(), saved, tangent, d_output)
            .map_err(failed("differentiating the network twice"))
    }
}
