//! The four passes of one layer, whichever it is.

use dfdx::prelude::*;

use super::block::{Block, BlockSaved, BlockTangent};
use super::device::{DeviceResult, Images};
use super::linear::Affine;
use super::norm::Statistics;
use super::relu;
use crate::architecture::{ConvBlock, Layer, Linear};
use crate::tape::{Dev, Matrix};

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
#[derive(Clone, Copy)]
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
    /// wanted, and something of no use otherwise.
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
                Activation::Matrix(relu::backward(y, d)?)
            }
            (_, _, d) => self.reshape_back(layer, d)?,
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

/// A pass that carries a change of θ along `direction`.
pub(super) struct TangentPass<'a> {
    pub(super) pass: Pass<'a>,
    pub(super) direction: &'a [f32],
}

impl TangentPass<'_> {
    /// The block with its weights, and with their change.
    fn block<'a>(&'a self, block: &'a ConvBlock) -> DeviceResult<[Block<'a>; 2]> {
        let upload = |values| Block::upload(self.pass.device, block, values);
        Ok([upload(self.pass.theta)?, upload(self.direction)?])
    }

    /// The linear layer with its weights, and with their change.
    fn linear<'a>(&'a self, linear: &'a Linear) -> DeviceResult<[Affine<'a>; 2]> {
        let upload = |values| Affine::upload(self.pass.device, linear, values);
        Ok([upload(self.pass.theta)?, upload(self.direction)?])
    }

    /// Change of the output per change `dx` of the input and the direction of θ.
    pub(super) fn forward(
        &self,
        layer: &Layer,
        saved: &LayerSaved,
        dx: Activation,
    ) -> DeviceResult<(Activation, LayerTangent)> {
        Ok(match (layer, saved, dx) {
            (Layer::ConvBlock(block), LayerSaved::Block(saved), Activation::Images(dx)) => {
                let [block, change] = self.block(block)?;
                let (dy, tangent) = block.tangent_forward(&change, saved, dx)?;
                (Activation::Images(dy), LayerTangent::Block(Box::new(tangent)))
            }
            (Layer::Linear(linear), LayerSaved::Linear(x), dx) => {
                let dx = dx.into_matrix()?;
                let [affine, change] = self.linear(linear)?;
                let dy = affine.tangent_forward(&change, x.clone(), dx.clone())?;
                (Activation::Matrix(dy), LayerTangent::Linear(dx))
            }
            (Layer::Relu, LayerSaved::Relu(y), dx) => {
                let dy = relu::backward(y, dx.into_matrix()?)?;
                (Activation::Matrix(dy), LayerTangent::Nothing)
            }
            (_, _, dx) => (self.pass.reshape(layer, dx)?, LayerTangent::Nothing),
        })
    }

    /// [`Pass::backward`] of `d` and its change `dd`: writes the change of the gradient in the layer's weights, and
    /// returns the gradient in its input and that one's change.
    pub(super) fn backward(
        &self,
        layer: &Layer,
        (saved, tangent): (&LayerSaved, &LayerTangent),
        (d, dd): (Activation, Activation),
        product: &mut [f32],
        wants_input: bool,
    ) -> DeviceResult<(Activation, Activation)> {
        use Activation::{Images, Matrix};
        Ok(match (layer, saved, tangent) {
            (Layer::ConvBlock(block), LayerSaved::Block(saved), LayerTangent::Block(tangent)) => {
                let [block, change] = self.block(block)?;
                let d = (d.into_images(), dd.into_images());
                let (d, dd) = block.tangent_backward(&change, saved, tangent, d, product, wants_input)?;
                (Images(d), Images(dd))
            }
            (Layer::Linear(linear), LayerSaved::Linear(x), LayerTangent::Linear(dx)) => {
                let [affine, change] = self.linear(linear)?;
                let (x, d) = ((x.clone(), dx.clone()), (d.into_matrix()?, dd.into_matrix()?));
                let (d, dd) = affine.tangent_backward(&change, x, d, product)?;
                (Matrix(d), Matrix(dd))
            }
            (Layer::Relu, LayerSaved::Relu(y), _) => {
                let through = |d: Activation| relu::backward(y, d.into_matrix()?);
                (Matrix(through(d)?), Matrix(through(dd)?))
            }
            _ => (self.pass.reshape_back(layer, d)?, self.pass.reshape_back(layer, dd)?),
        })
    }
}

impl Activation {
    fn into_images(self) -> Images {
        let Self::Images(x) = self else { unreachable!("the layer before a convolution block gives images") };
        x
    }

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
