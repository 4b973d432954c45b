//! The four passes of one layer, whichever it is.

use dfdx::prelude::*;

use super::block::{Block, BlockSaved, BlockTangent};
use super::linear::Affine;
use super::{DeviceResult, Images, Statistics};
use crate::nn::{Dev, Layer, Matrix};

/// What flows between layers.
#[derive(Clone)]
pub(super) enum Activation {
    Images(Images),
    Matrix(Matrix),
}

/// What one layer keeps for its backward and tangent passes.
pub(crate) enum LayerSaved {
    Block(Box<BlockSaved>),
    /// The input.
    Linear(Matrix),
    /// The output.
    Relu(Matrix),
    Shape,
}

/// What one layer keeps of a change for its tangent backward pass.
pub(crate) enum LayerTangent {
    Block(Box<BlockTangent>),
    /// The change of the input.
    Linear(Matrix),
    /// The layer is linear in its input and has no weights.
    Nothing,
}

/// One pass over a batch: where, with which weights, of how many examples.
pub(super) struct Pass<'a> {
    pub(super) device: &'a Dev,
    pub(super) theta: &'a [f32],
    pub(super) count: usize,
}

impl Pass<'_> {
    pub(super) fn forward(
        &self,
        layer: &Layer,
        x: Activation,
        statistics: Statistics,
    ) -> DeviceResult<(Activation, LayerSaved)> {
        Ok(match (layer, x) {
            (Layer::ConvBlock(block), Activation::Images(x)) => {
                let block = Block::upload(self.device, block, self.theta)?;
                let (y, saved) = block.forward(x, statistics)?;
                (Activation::Images(y), LayerSaved::Block(Box::new(saved)))
            }
            (Layer::Linear(linear), x) => {
                let x = x.into_matrix()?;
                let y = Affine::upload(self.device, linear, self.theta)?.forward(x.clone())?;
                (Activation::Matrix(y), LayerSaved::Linear(x))
            }
            (Layer::Relu, x) => {
                let y = x.into_matrix()?.try_relu()?;
                (Activation::Matrix(y.clone()), LayerSaved::Relu(y))
            }
            (_, x) => (self.reshape(layer, x)?, LayerSaved::Shape),
        })
    }

    /// Writes the gradient in the layer's weights and returns the one in its input; for a convolution block only if
    /// wanted, and else whatever.
    pub(super) fn backward(
        &self,
        layer: &Layer,
        saved: &LayerSaved,
        d: Activation,
        gradient: &mut [f32],
        wants_input: bool,
    ) -> DeviceResult<Activation> {
        Ok(match (layer, saved, d) {
            (Layer::ConvBlock(block), LayerSaved::Block(saved), Activation::Images(d)) => {
                let block = Block::upload(self.device, block, self.theta)?;
                Activation::Images(block.backward(saved, d, gradient, wants_input)?)
            }
            (Layer::Linear(linear), LayerSaved::Linear(x), Activation::Matrix(d)) => {
                let affine = Affine::upload(self.device, linear, self.theta)?;
                Activation::Matrix(affine.backward(x.clone(), d, gradient)?)
            }
            (Layer::Relu, LayerSaved::Relu(y), Activation::Matrix(d)) => {
                Activation::Matrix(relu_backward(y, d)?)
            }
            (_, _, d) => self.reshape_back(layer, d)?,
        })
    }

    /// Change of the output per change `dx` of the input and `direction` of θ.
    pub(super) fn tangent_forward(
        &self,
        direction: &[f32],
        layer: &Layer,
        saved: &LayerSaved,
        dx: Activation,
    ) -> DeviceResult<(Activation, LayerTangent)> {
        Ok(match (layer, saved, dx) {
            (Layer::ConvBlock(block), LayerSaved::Block(saved), Activation::Images(dx)) => {
                let change = Block::upload(self.device, block, direction)?;
                let block = Block::upload(self.device, block, self.theta)?;
                let (dy, tangent) = block.tangent_forward(&change, saved, dx)?;
                (Activation::Images(dy), LayerTangent::Block(Box::new(tangent)))
            }
            (Layer::Linear(linear), LayerSaved::Linear(x), dx) => {
                let dx = dx.into_matrix()?;
                let change = Affine::upload(self.device, linear, direction)?;
                let affine = Affine::upload(self.device, linear, self.theta)?;
                let dy = affine.tangent_forward(&change, x.clone(), dx.clone())?;
                (Activation::Matrix(dy), LayerTangent::Linear(dx))
            }
            (Layer::Relu, LayerSaved::Relu(y), dx) => {
                let dy = relu_backward(y, dx.into_matrix()?)?;
                (Activation::Matrix(dy), LayerTangent::Nothing)
            }
            (_, _, dx) => (self.reshape(layer, dx)?, LayerTangent::Nothing),
        })
    }

    /// [`Self::backward`] of `d` and its change `dd`: writes the change of the gradient in the layer's weights, and
    /// returns the gradient in its input and that one's change.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn tangent_backward(
        &self,
        direction: &[f32],
        layer: &Layer,
        saved: &LayerSaved,
        tangent: &LayerTangent,
        d: (Activation, Activation),
        product: &mut [f32],
        wants_input: bool,
    ) -> DeviceResult<(Activation, Activation)> {
        use Activation as A;
        Ok(match (layer, saved, tangent, d) {
            (
                Layer::ConvBlock(block),
                LayerSaved::Block(saved),
                LayerTangent::Block(tangent),
                (A::Images(d), A::Images(dd)),
            ) => {
                let change = Block::upload(self.device, block, direction)?;
                let block = Block::upload(self.device, block, self.theta)?;
                let (d, dd) =
                    block.tangent_backward(&change, saved, tangent, (d, dd), product, wants_input)?;
                (A::Images(d), A::Images(dd))
            }
            (
                Layer::Linear(linear),
                LayerSaved::Linear(x),
                LayerTangent::Linear(dx),
                (A::Matrix(d), A::Matrix(dd)),
            ) => {
                let change = Affine::upload(self.device, linear, direction)?;
                let affine = Affine::upload(self.device, linear, self.theta)?;
                let (d, dd) = affine.tangent_backward(&change, (x.clone(), dx.clone()), (d, dd), product)?;
                (A::Matrix(d), A::Matrix(dd))
            }
            (Layer::Relu, LayerSaved::Relu(y), _, (A::Matrix(d), A::Matrix(dd))) => {
                (A::Matrix(relu_backward(y, d)?), A::Matrix(relu_backward(y, dd)?))
            }
            (_, _, _, (d, dd)) => (self.reshape_back(layer, d)?, self.reshape_back(layer, dd)?),
        })
    }

    /// Images to a matrix. Linear, so a change goes the same way.
    fn reshape(&self, layer: &Layer, x: Activation) -> DeviceResult<Activation> {
        let (layer, Activation::Images(x)) = (layer, x) else {
            unreachable!("an architecture has no image layer after a matrix layer")
        };
        Ok(Activation::Matrix(match layer {
            Layer::SpatialMean(_) => x.try_mean::<(usize, usize), Axes2<1, 2>>()?,
            Layer::Flatten([c, h, w]) => {
                let channels_first = x.try_permute::<(usize, usize, usize, usize), Axes4<0, 3, 1, 2>>()?;
                channels_first.try_reshape_like(&(self.count, c * h * w))?
            }
            other => unreachable!("{other:?} is no reshaping layer"),
        }))
    }

    /// The transpose of [`Self::reshape`].
    fn reshape_back(&self, layer: &Layer, d: Activation) -> DeviceResult<Activation> {
        let d = d.into_matrix()?;
        Ok(Activation::Images(match *layer {
            Layer::SpatialMean([c, h, w]) => {
                let d = d.try_mul(1.0 / (h * w) as f32)?;
                d.try_broadcast_like::<_, Axes2<1, 2>>(&(self.count, h, w, c))?
            }
            Layer::Flatten([c, h, w]) => {
                d.try_reshape_like(&(self.count, c, h, w))?.try_permute::<_, Axes4<0, 2, 3, 1>>()?
            }
            _ => unreachable!("the backward pass meets the layers of its forward pass"),
        }))
    }
}

impl Activation {
    /// A matrix, or each image as a row of it.
    pub(super) fn into_matrix(self) -> DeviceResult<Matrix> {
        match self {
            Self::Matrix(x) => Ok(x),
            Self::Images(x) => {
                let &(n, h, w, c) = x.shape();
                x.try_reshape_like(&(n, h * w * c))
            }
        }
    }
}

/// The gradient, or a change, through a ReLU whose output was `y`: `d` where that is positive.
pub(super) fn relu_backward<S: Shape>(
    y: &Tensor<S, f32, Dev>,
    d: Tensor<S, f32, Dev>,
) -> DeviceResult<Tensor<S, f32, Dev>> {
    let zeros = d.device().try_zeros_like(d.shape())?;
    y.try_gt(0.0)?.try_choose(d, zeros)
}
