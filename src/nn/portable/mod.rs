//! The portable backend: dfdx tensor operations only, so it runs wherever dfdx does (CPU, CUDA).
//!
//! Images are `[n, height, width, channels]` inside, so that a convolution is nine matrix products and batch norm
//! works on the columns of a matrix. Passes are explicit, without a tape.

mod block;
mod conv;
mod norm;
mod pool;

use dfdx::prelude::*;
use ndarray::{Array2, ArrayView4};

use super::network::Passes;
use super::{Architecture, ConvBlock, Dev, Layer, Linear, Matrix, Norm, Vector};
use crate::Result;
use crate::params::Params;
use block::{Block, BlockSaved};

/// Images, `[n, height, width, channels]`.
type Images = Tensor<(usize, usize, usize, usize), f32, Dev>;
/// What dfdx operations return.
type DeviceResult<T> = std::result::Result<T, <Dev as HasErr>::Err>;

/// A network computed with dfdx tensor operations.
pub struct Portable {
    architecture: Architecture,
}

/// What flows between layers.
enum Activation {
    Images(Images),
    Matrix(Matrix),
}

/// What one layer keeps for its backward pass.
pub(crate) enum LayerSaved {
    Block(Box<BlockSaved>),
    Linear(Matrix),
    Relu(Matrix),
    Shape,
}

/// What the forward pass keeps: one entry a layer, on the device that computed it.
pub(crate) struct Saved {
    device: Dev,
    layers: Vec<LayerSaved>,
}

/// Whose statistics batch norm uses in a pass.
#[derive(Clone, Copy, PartialEq)]
enum Statistics {
    Batch,
    Running,
}

impl Portable {
    /// Computes `architecture`.
    pub fn new(architecture: Architecture) -> Self {
        Self { architecture }
    }

    fn run(
        &self,
        device: &Dev,
        theta: &[f32],
        x: ArrayView4<'_, f32>,
        statistics: Statistics,
    ) -> DeviceResult<(Matrix, Vec<LayerSaved>)> {
        let (n, c, h, w) = x.dim();
        let host: Vec<f32> = x.permuted_axes([0, 2, 3, 1]).iter().copied().collect();
        let mut flow = Activation::Images(device.try_tensor_from_vec(host, (n, h, w, c))?);
        let mut layers = Vec::with_capacity(self.architecture.layers.len());
        for layer in &self.architecture.layers {
            let (next, saved) = forward_layer(device, layer, theta, flow, n, statistics)?;
            flow = next;
            layers.push(saved);
        }
        Ok((into_matrix(flow)?, layers))
    }

    fn run_back(&self, theta: &[f32], saved: Saved, d_output: Array2<f32>) -> DeviceResult<Params> {
        let Saved { device, layers } = saved;
        let n = d_output.nrows();
        let mut gradient = Params::zeros(&self.architecture.layout);
        let mut d = Activation::Matrix(upload_matrix(&device, d_output)?);
        for (number, (layer, saved)) in self.architecture.layers.iter().zip(layers).enumerate().rev() {
            // Nobody asks for the gradient in the inputs.
            let wants_input = number > 0;
            d = backward_layer(&device, layer, theta, saved, d, n, gradient.values_mut(), wants_input)?;
        }
        Ok(gradient)
    }
}

impl Passes for Portable {
    type Saved = Saved;

    fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    fn evaluate(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
        let statistics = match self.architecture.norm {
            Norm::Running => Statistics::Running,
            Norm::Batch => Statistics::Batch,
        };
        let (y, _) = self
            .run(&Dev::default(), theta.values(), x, statistics)
            .map_err(device("running the network"))?;
        Ok(download_matrix(&y))
    }

    fn forward(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<(Array2<f32>, Saved)> {
        let device_of_pass = Dev::default();
        let (y, layers) = self
            .run(&device_of_pass, theta.values(), x, Statistics::Batch)
            .map_err(device("running the network"))?;
        Ok((download_matrix(&y), Saved { device: device_of_pass, layers }))
    }

    fn backward(&self, theta: &Params, saved: Saved, d_output: Array2<f32>) -> Result<Params> {
        self.run_back(theta.values(), saved, d_output).map_err(device("differentiating the network"))
    }
}

/// Names what was being computed when the device failed.
fn device<E: std::fmt::Debug>(doing: &'static str) -> impl Fn(E) -> crate::Error {
    move |error| crate::Error::device(doing, error)
}

fn forward_layer(
    device: &Dev,
    layer: &Layer,
    theta: &[f32],
    flow: Activation,
    n: usize,
    statistics: Statistics,
) -> DeviceResult<(Activation, LayerSaved)> {
    Ok(match (layer, flow) {
        (Layer::ConvBlock(block), Activation::Images(x)) => {
            let (y, saved) = Block::upload(device, block, theta)?.forward(x, statistics)?;
            (Activation::Images(y), LayerSaved::Block(Box::new(saved)))
        }
        (Layer::SpatialMean([c, h, w]), Activation::Images(x)) => {
            let mean = x.try_mean::<(usize, usize), Axes2<1, 2>>()?;
            debug_assert_eq!(mean.shape(), &(n, *c));
            debug_assert!(h * w > 0);
            (Activation::Matrix(mean), LayerSaved::Shape)
        }
        (Layer::Flatten([c, h, w]), Activation::Images(x)) => {
            let channels_first = x.try_permute::<(usize, usize, usize, usize), Axes4<0, 3, 1, 2>>()?;
            (Activation::Matrix(channels_first.try_reshape_like(&(n, c * h * w))?), LayerSaved::Shape)
        }
        (Layer::Linear(linear), flow) => {
            let x = into_matrix(flow)?;
            let bias = device.try_tensor_from_vec(theta[linear.bias.clone()].to_vec(), (linear.output,))?;
            let y = x.clone().try_matmul(weight(device, linear, theta)?.try_permute::<_, Axes2<1, 0>>()?)?;
            let y = norm::rows_of(&bias, &y)?.try_add(y)?;
            (Activation::Matrix(y), LayerSaved::Linear(x))
        }
        (Layer::Relu, flow) => {
            let y = into_matrix(flow)?.try_relu()?;
            (Activation::Matrix(y.clone()), LayerSaved::Relu(y))
        }
        (_, Activation::Matrix(_)) => unreachable!("an architecture has no image layer after a matrix layer"),
    })
}

#[allow(clippy::too_many_arguments)]
fn backward_layer(
    device: &Dev,
    layer: &Layer,
    theta: &[f32],
    saved: LayerSaved,
    d: Activation,
    n: usize,
    gradient: &mut [f32],
    wants_input: bool,
) -> DeviceResult<Activation> {
    Ok(match (layer, saved, d) {
        (Layer::ConvBlock(block), LayerSaved::Block(saved), Activation::Images(d)) => Activation::Images(
            Block::upload(device, block, theta)?.backward(*saved, d, gradient, wants_input)?,
        ),
        (Layer::SpatialMean([c, h, w]), _, Activation::Matrix(d)) => {
            let d = d.try_mul(1.0 / (h * w) as f32)?;
            Activation::Images(d.try_broadcast_like::<_, Axes2<1, 2>>(&(n, *h, *w, *c))?)
        }
        (Layer::Flatten([c, h, w]), _, Activation::Matrix(d)) => {
            let channels_first = d.try_reshape_like(&(n, *c, *h, *w))?;
            Activation::Images(channels_first.try_permute::<_, Axes4<0, 2, 3, 1>>()?)
        }
        (Layer::Linear(linear), LayerSaved::Linear(x), Activation::Matrix(d)) => {
            let d_weight = d.clone().try_permute::<_, Axes2<1, 0>>()?.try_matmul(x)?;
            gradient[linear.weight.clone()].copy_from_slice(&d_weight.as_vec());
            gradient[linear.bias.clone()].copy_from_slice(&norm::column_sums(device, &d)?.as_vec());
            Activation::Matrix(d.try_matmul(weight(device, linear, theta)?)?)
        }
        (Layer::Relu, LayerSaved::Relu(y), Activation::Matrix(d)) => {
            Activation::Matrix(relu_backward(&y, d)?)
        }
        _ => unreachable!("the backward pass meets the layers of its forward pass"),
    })
}

fn weight(device: &Dev, linear: &Linear, theta: &[f32]) -> DeviceResult<Matrix> {
    device.try_tensor_from_vec(theta[linear.weight.clone()].to_vec(), (linear.output, linear.input))
}

/// The gradient through a ReLU whose output was `y`: `d` where that is positive.
fn relu_backward<S: Shape>(
    y: &Tensor<S, f32, Dev>,
    d: Tensor<S, f32, Dev>,
) -> DeviceResult<Tensor<S, f32, Dev>> {
    let zeros = d.device().try_zeros_like(d.shape())?;
    y.try_gt(0.0)?.try_choose(d, zeros)
}

/// A matrix, or images of one pixel in it.
fn into_matrix(flow: Activation) -> DeviceResult<Matrix> {
    match flow {
        Activation::Matrix(x) => Ok(x),
        Activation::Images(x) => {
            let &(n, h, w, c) = x.shape();
            x.try_reshape_like(&(n, h * w * c))
        }
    }
}

fn upload_matrix(device: &Dev, x: Array2<f32>) -> DeviceResult<Matrix> {
    let shape = x.dim();
    let host =
        if x.is_standard_layout() { x.into_raw_vec_and_offset().0 } else { x.iter().copied().collect() };
    device.try_tensor_from_vec(host, shape)
}

fn download_matrix(x: &Matrix) -> Array2<f32> {
    let &shape = x.shape();
    // `as_vec` is row-major whatever the strides, so the length is the shape's.
    Array2::from_shape_vec(shape, x.as_vec())
        .unwrap_or_else(|_| unreachable!("a tensor has as many values as its shape"))
}
