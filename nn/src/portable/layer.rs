//! The four passes of layers, one after another, whatever they are.

use dfdx::prelude::*;

use super::activation::Activation;
use super::conv::{Convolution, rows};
use super::device::{DeviceResult, Images};
use super::linear::Affine;
use super::norm::{Normalisation, Normalised, NormalisedChange, Statistics};
use super::{drop, pool, relu};
use crate::architecture::{BatchNorm, Conv, Layer, Linear};
use crate::tape::{Dev, Matrix};

/// What one layer keeps for its backward and tangent passes.
pub(crate) enum LayerSaved {
    /// The input.
    Conv(Images),
    /// The normalised input.
    Norm(Box<Normalised>),
    /// The output.
    Relu(Activation),
    /// Input and output.
    Pool(Images, Images),
    /// What the input was multiplied by, if noise is active.
    Drop(Option<Activation>),
    /// What the layers of both branches keep.
    Residual([Vec<LayerSaved>; 2]),
    /// The input.
    Linear(Matrix),
    Shape,
}

/// What one layer keeps of a change for its tangent backward pass.
pub(crate) enum LayerTangent {
    /// The change of the input.
    Conv(Images),
    Norm(Box<NormalisedChange>),
    Residual([Vec<LayerTangent>; 2]),
    /// The change of the input.
    Linear(Matrix),
    /// The layer is linear in its input, but for masks, and has no weights.
    Nothing,
}

/// A bias that the batch norm after it takes away again has no derivatives, but for rounding.
fn clear_bias(layers: &[Layer], saved: &[LayerSaved], number: usize, gradient: &mut [f32]) {
    if let (Layer::Conv(Conv { bias: Some(bias), .. }), Some(LayerSaved::Norm(normalised))) =
        (&layers[number], saved.get(number + 1))
        && normalised.is_of_batch()
    {
        gradient[bias.clone()].fill(0.0);
    }
}

/// One pass over a batch: where, with which weights, of how many examples.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) device: &'a Dev,
    pub(super) theta: &'a [f32],
    pub(super) count: usize,
    /// What names the noise of drop layers, where they are active.
    pub(super) noise: Option<u64>,
}

impl Pass<'_> {
    /// Layers one after another, and what each keeps.
    pub(super) fn chain(
        &self,
        layers: &[Layer],
        x: Activation,
        statistics: Statistics,
    ) -> DeviceResult<(Activation, Vec<LayerSaved>)> {
        let (mut flow, mut saved) = (x, Vec::with_capacity(layers.len()));
        for layer in layers {
            let (next, kept) = self.forward(layer, flow, statistics)?;
            flow = next;
            saved.push(kept);
        }
        Ok((flow, saved))
    }

    /// Writes the gradient in the layers' weights and returns the one in their input; where that is not wanted, in the
    /// output of the first of them.
    pub(super) fn chain_back(
        &self,
        layers: &[Layer],
        saved: &[LayerSaved],
        mut d: Activation,
        gradient: &mut [f32],
        wants_input: bool,
    ) -> DeviceResult<Activation> {
        for (number, (layer, kept)) in layers.iter().zip(saved).enumerate().rev() {
            d = self.backward(layer, kept, d, gradient, wants_input || number > 0)?;
            clear_bias(layers, saved, number, gradient);
        }
        Ok(d)
    }

    fn forward(
        &self,
        layer: &Layer,
        x: Activation,
        statistics: Statistics,
    ) -> DeviceResult<(Activation, LayerSaved)> {
        use Activation::{Images, Matrix};
        Ok(match (layer, x) {
            (Layer::Conv(conv), Images(x)) => {
                let y = Convolution::upload(self.device, conv, self.theta)?.forward(&x)?;
                (Images(y), LayerSaved::Conv(x))
            }
            (Layer::Norm(norm), Images(x)) => {
                let norm = Normalisation::upload(self.device, norm, self.theta)?;
                let (y, normalised) = norm.forward(rows(&x)?, statistics)?;
                (Images(y.try_reshape_like(x.shape())?), LayerSaved::Norm(Box::new(normalised)))
            }
            (&Layer::Relu { slope }, x) => {
                let y = match x {
                    Images(x) => Images(relu::forward(x, slope)?),
                    Matrix(x) => Matrix(relu::forward(x, slope)?),
                };
                (y.clone(), LayerSaved::Relu(y))
            }
            (Layer::Pool(of), Images(x)) => {
                let y = pool::forward(of, &x)?;
                (Images(y.clone()), LayerSaved::Pool(x, y))
            }
            (Layer::Drop(drop), x) => {
                let factors =
                    self.noise.map(|seed| drop::factors(self.device, drop, seed, &x)).transpose()?;
                (x.times(factors.as_ref())?, LayerSaved::Drop(factors))
            }
            (Layer::Residual(residual), x) => {
                let (main, main_saved) = self.chain(&residual.main, x.clone(), statistics)?;
                let (shortcut, shortcut_saved) = self.chain(&residual.shortcut, x, statistics)?;
                (main.plus(shortcut)?, LayerSaved::Residual([main_saved, shortcut_saved]))
            }
            (Layer::Linear(linear), x) => {
                let x = x.into_matrix()?;
                let y = Affine::upload(self.device, linear, self.theta)?.forward(x.clone())?;
                (Matrix(y), LayerSaved::Linear(x))
            }
            (_, x) => (self.reshape(layer, x)?, LayerSaved::Shape),
        })
    }

    /// Writes the gradient in the layer's weights and returns the one in its input; if that is not wanted, perhaps
    /// something else.
    fn backward(
        &self,
        layer: &Layer,
        saved: &LayerSaved,
        d: Activation,
        gradient: &mut [f32],
        wants_input: bool,
    ) -> DeviceResult<Activation> {
        use Activation::{Images, Matrix};
        Ok(match (layer, saved, d) {
            (Layer::Conv(conv), LayerSaved::Conv(x), Images(d)) => {
                let conv = Convolution::upload(self.device, conv, self.theta)?;
                let d = rows(&d)?;
                conv.write(&[(x, d.clone())], &d, gradient)?;
                Images(if wants_input { conv.back(&d)? } else { x.clone() })
            }
            (Layer::Norm(norm), LayerSaved::Norm(normalised), Images(d)) => {
                let norm = Normalisation::upload(self.device, norm, self.theta)?;
                let d_input = norm.backward(normalised, rows(&d)?, gradient)?;
                Images(d_input.try_reshape_like(d.shape())?)
            }
            (&Layer::Relu { slope }, LayerSaved::Relu(y), d) => y.mask(d, slope)?,
            (Layer::Pool(of), LayerSaved::Pool(x, y), Images(d)) => Images(pool::backward(of, x, y, &d)?),
            (Layer::Drop(_), LayerSaved::Drop(factors), d) => d.times(factors.as_ref())?,
            (Layer::Residual(residual), LayerSaved::Residual([main, shortcut]), d) => {
                let d_main = self.chain_back(&residual.main, main, d.clone(), gradient, wants_input)?;
                let d_shortcut = self.chain_back(&residual.shortcut, shortcut, d, gradient, wants_input)?;
                if wants_input { d_main.plus(d_shortcut)? } else { d_main }
            }
            (Layer::Linear(linear), LayerSaved::Linear(x), d) => {
                let affine = Affine::upload(self.device, linear, self.theta)?;
                Matrix(affine.backward(x.clone(), d.into_matrix()?, gradient)?)
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
    /// The layer with its weights, and with their change.
    fn conv<'a>(&'a self, conv: &'a Conv) -> DeviceResult<[Convolution<'a>; 2]> {
        let upload = |values| Convolution::upload(self.pass.device, conv, values);
        Ok([upload(self.pass.theta)?, upload(self.direction)?])
    }

    fn norm<'a>(&'a self, norm: &'a BatchNorm) -> DeviceResult<[Normalisation<'a>; 2]> {
        let upload = |values| Normalisation::upload(self.pass.device, norm, values);
        Ok([upload(self.pass.theta)?, upload(self.direction)?])
    }

    fn linear<'a>(&'a self, linear: &'a Linear) -> DeviceResult<[Affine<'a>; 2]> {
        let upload = |values| Affine::upload(self.pass.device, linear, values);
        Ok([upload(self.pass.theta)?, upload(self.direction)?])
    }

    /// Changes through layers one after another, and what each keeps.
    pub(super) fn chain(
        &self,
        layers: &[Layer],
        saved: &[LayerSaved],
        dx: Activation,
    ) -> DeviceResult<(Activation, Vec<LayerTangent>)> {
        let (mut flow, mut tangents) = (dx, Vec::with_capacity(layers.len()));
        for (layer, kept) in layers.iter().zip(saved) {
            let (next, tangent) = self.forward(layer, kept, flow)?;
            flow = next;
            tangents.push(tangent);
        }
        Ok((flow, tangents))
    }

    /// [`Pass::chain_back`] of `d` and its change `dd`.
    pub(super) fn chain_back(
        &self,
        layers: &[Layer],
        (saved, tangents): (&[LayerSaved], &[LayerTangent]),
        mut d: [Activation; 2],
        product: &mut [f32],
        wants_input: bool,
    ) -> DeviceResult<[Activation; 2]> {
        let kept = saved.iter().zip(tangents);
        for (number, (layer, kept)) in layers.iter().zip(kept).enumerate().rev() {
            d = self.backward(layer, kept, d, product, wants_input || number > 0)?;
            clear_bias(layers, saved, number, product);
        }
        Ok(d)
    }

    /// Change of the output per change `dx` of the input and the direction of θ.
    fn forward(
        &self,
        layer: &Layer,
        saved: &LayerSaved,
        dx: Activation,
    ) -> DeviceResult<(Activation, LayerTangent)> {
        use Activation::{Images, Matrix};
        Ok(match (layer, saved, dx) {
            (Layer::Conv(conv), LayerSaved::Conv(x), Images(dx)) => {
                let [conv, change] = self.conv(conv)?;
                (Images(conv.tangent_forward(&change, x, &dx)?), LayerTangent::Conv(dx))
            }
            (Layer::Norm(norm), LayerSaved::Norm(normalised), Images(dx)) => {
                let [norm, change] = self.norm(norm)?;
                let (dy, tangent) = norm.tangent_forward(&change, normalised, rows(&dx)?)?;
                (Images(dy.try_reshape_like(dx.shape())?), LayerTangent::Norm(Box::new(tangent)))
            }
            (&Layer::Relu { slope }, LayerSaved::Relu(y), dx) => (y.mask(dx, slope)?, LayerTangent::Nothing),
            (Layer::Pool(of), LayerSaved::Pool(x, y), Images(dx)) => {
                (Images(pool::tangent(of, x, y, &dx)?), LayerTangent::Nothing)
            }
            (Layer::Drop(_), LayerSaved::Drop(factors), dx) => {
                (dx.times(factors.as_ref())?, LayerTangent::Nothing)
            }
            (Layer::Residual(residual), LayerSaved::Residual([main, shortcut]), dx) => {
                let (dy_main, main) = self.chain(&residual.main, main, dx.clone())?;
                let (dy_shortcut, shortcut) = self.chain(&residual.shortcut, shortcut, dx)?;
                (dy_main.plus(dy_shortcut)?, LayerTangent::Residual([main, shortcut]))
            }
            (Layer::Linear(linear), LayerSaved::Linear(x), dx) => {
                let dx = dx.into_matrix()?;
                let [affine, change] = self.linear(linear)?;
                let dy = affine.tangent_forward(&change, x.clone(), dx.clone())?;
                (Matrix(dy), LayerTangent::Linear(dx))
            }
            (_, _, dx) => (self.pass.reshape(layer, dx)?, LayerTangent::Nothing),
        })
    }

    /// [`Pass::backward`] of `d` and its change `dd`: writes the change of the gradient in the layer's weights, and
    /// returns the gradient in its input and that one's change.
    fn backward(
        &self,
        layer: &Layer,
        (saved, tangent): (&LayerSaved, &LayerTangent),
        [d, dd]: [Activation; 2],
        product: &mut [f32],
        wants_input: bool,
    ) -> DeviceResult<[Activation; 2]> {
        use Activation::{Images, Matrix};
        Ok(match (layer, saved, tangent) {
            (Layer::Conv(conv), LayerSaved::Conv(x), LayerTangent::Conv(dx)) => {
                let [conv, change] = self.conv(conv)?;
                let (d, dd) = (rows(&d.into_images())?, rows(&dd.into_images())?);
                conv.write(&[(x, dd.clone()), (dx, d.clone())], &dd, product)?;
                if !wants_input {
                    return Ok([Images(x.clone()), Images(dx.clone())]);
                }
                [Images(conv.back(&d)?), Images(change.back(&d)?.try_add(conv.back(&dd)?)?)]
            }
            (Layer::Norm(norm), LayerSaved::Norm(normalised), LayerTangent::Norm(tangent)) => {
                let [norm, change] = self.norm(norm)?;
                let (d, dd) = (d.into_images(), dd.into_images());
                let shape = *d.shape();
                let both = (rows(&d)?, rows(&dd)?);
                let (d, dd) = norm.tangent_backward(&change, normalised, tangent, both, product)?;
                [Images(d.try_reshape_like(&shape)?), Images(dd.try_reshape_like(&shape)?)]
            }
            (&Layer::Relu { slope }, LayerSaved::Relu(y), _) => [y.mask(d, slope)?, y.mask(dd, slope)?],
            (Layer::Pool(of), LayerSaved::Pool(x, y), _) => {
                let through = |d: Activation| pool::backward(of, x, y, &d.into_images());
                [Images(through(d)?), Images(through(dd)?)]
            }
            (Layer::Drop(_), LayerSaved::Drop(factors), _) => {
                [d.times(factors.as_ref())?, dd.times(factors.as_ref())?]
            }
            (
                Layer::Residual(residual),
                LayerSaved::Residual([main, shortcut]),
                LayerTangent::Residual([main_tangent, shortcut_tangent]),
            ) => {
                let both = [d.clone(), dd.clone()];
                let [d_main, dd_main] =
                    self.chain_back(&residual.main, (main, main_tangent), both, product, wants_input)?;
                let kept = (shortcut.as_slice(), shortcut_tangent.as_slice());
                let [d, dd] = self.chain_back(&residual.shortcut, kept, [d, dd], product, wants_input)?;
                if wants_input { [d_main.plus(d)?, dd_main.plus(dd)?] } else { [d_main, dd_main] }
            }
            (Layer::Linear(linear), LayerSaved::Linear(x), LayerTangent::Linear(dx)) => {
                let [affine, change] = self.linear(linear)?;
                let (x, d) = ((x.clone(), dx.clone()), (d.into_matrix()?, dd.into_matrix()?));
                let (d, dd) = affine.tangent_backward(&change, x, d, product)?;
                [Matrix(d), Matrix(dd)]
            }
            _ => [self.pass.reshape_back(layer, d)?, self.pass.reshape_back(layer, dd)?],
        })
    }
}
