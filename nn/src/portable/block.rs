//! The convolution block: convolution, batch norm, ReLU, perhaps pooling.

use dfdx::prelude::*;

use super::device::{DeviceResult, Images};
use super::norm::{self, Normalised, NormalisedChange, Statistics};
use super::{conv, pool, relu};
use crate::architecture::ConvBlock;
use crate::tape::{Dev, Matrix, Vector};

/// A block with its weights, or a change of them, on the device. The convolution's bias has no derivatives: the mean
/// that batch norm subtracts takes it away again.
pub(super) struct Block<'a> {
    device: &'a Dev,
    block: &'a ConvBlock,
    taps: Vec<Matrix>,
    bias: Vector,
    gamma: Vector,
    beta: Vector,
    /// Running mean and variance.
    running: Option<(Vector, Vector)>,
}

/// What a block keeps for its backward and tangent passes.
pub(crate) struct BlockSaved {
    x: Images,
    normalised: Normalised,
    /// After ReLU, before pooling.
    active: Images,
    y: Images,
}

/// What a block keeps of a change for its tangent backward pass.
pub(crate) struct BlockTangent {
    /// Change of the input.
    x: Images,
    normalised: NormalisedChange,
}

impl<'a> Block<'a> {
    pub(super) fn upload(device: &'a Dev, block: &'a ConvBlock, theta: &[f32]) -> DeviceResult<Self> {
        let vector = |range: &std::ops::Range<usize>| {
            device.try_tensor_from_vec(theta[range.clone()].to_vec(), (block.output[0],))
        };
        Ok(Self {
            device,
            block,
            taps: conv::taps(device, &theta[block.weight.clone()], block.input[0], block.output[0])?,
            bias: vector(&block.bias)?,
            gamma: vector(&block.norm.weight)?,
            beta: vector(&block.norm.bias)?,
            running: match &block.norm.running {
                Some((mean, variance)) => Some((vector(mean)?, vector(variance)?)),
                None => None,
            },
        })
    }

    pub(super) fn forward(&self, x: Images, statistics: Statistics) -> DeviceResult<(Images, BlockSaved)> {
        let &(n, ..) = x.shape();
        let [oh, ow] = self.block.convolved();
        let convolved = self.convolve(&x)?;
        let convolved = norm::rows_of(&self.bias, &convolved)?.try_add(convolved)?;
        let normalised = match (&self.running, statistics) {
            (Some((mean, variance)), Statistics::Running) => Normalised {
                x: norm::by_running(convolved, mean, variance)?,
                mean: mean.clone(),
                variance: variance.clone(),
                scale: variance.clone(),
            },
            _ => norm::by_batch(self.device, convolved)?,
        };
        let scaled = norm::rows_of(&self.gamma, &normalised.x)?.try_mul(normalised.x.clone())?;
        let active = norm::rows_of(&self.beta, &scaled)?.try_add(scaled)?.try_relu()?;
        let active = active.try_reshape_like(&(n, oh, ow, self.block.output[0]))?;
        let y = if self.block.pool { pool::forward(&active)? } else { active.clone() };
        Ok((y.clone(), BlockSaved { x, normalised, active, y }))
    }

    /// Change of the output per change `dx` of the input and `change` of the weights.
    pub(super) fn tangent_forward(
        &self,
        change: &Self,
        saved: &BlockSaved,
        dx: Images,
    ) -> DeviceResult<(Images, BlockTangent)> {
        let d_convolved = self.convolve(&dx)?.try_add(change.convolve(&saved.x)?)?;
        let normalised = norm::by_batch_tangent(self.device, &saved.normalised, d_convolved)?;
        let (x, dx_hat) = (&saved.normalised.x, &normalised.x);
        let scaled = norm::rows_of(&self.gamma, x)?.try_mul(dx_hat.clone())?;
        let scaled = norm::rows_of(&change.gamma, x)?.try_mul(x.clone())?.try_add(scaled)?;
        let shifted = norm::rows_of(&change.beta, x)?.try_add(scaled)?;
        let d_active = relu::backward(&saved.active, shifted.try_reshape_like(saved.active.shape())?)?;
        let dy = if self.block.pool { pool::tangent(&saved.active, &saved.y, &d_active)? } else { d_active };
        Ok((dy, BlockTangent { x: dx, normalised }))
    }

    /// Writes the gradient in the block's weights and returns the one in its input (or, if not wanted, the input).
    pub(super) fn backward(
        &self,
        saved: &BlockSaved,
        d: Images,
        gradient: &mut [f32],
        wants_input: bool,
    ) -> DeviceResult<Images> {
        let normalised = &saved.normalised;
        let d = self.back_to_norm(saved, d)?;
        let d_gamma = d.clone().try_mul(normalised.x.clone())?;
        self.write_norm(gradient, &d, &d_gamma)?;
        if let Some((mean, variance)) = &self.block.norm.running {
            let rows = d.shape().0;
            let unbiased = rows as f32 / (rows.max(2) - 1) as f32;
            gradient[mean.clone()].copy_from_slice(&normalised.mean.as_vec());
            gradient[variance.clone()]
                .copy_from_slice(&normalised.variance.clone().try_mul(unbiased)?.as_vec());
        }
        let d = norm::rows_of(&self.gamma, &d)?.try_mul(d)?;
        let d = norm::by_batch_backward(self.device, normalised, d)?;
        let filter = conv::weight_gradient(self.views(&saved.x)?, &d)?;
        conv::write_taps(filter, &mut gradient[self.block.weight.clone()]);
        if wants_input { self.back_to_input(d, saved) } else { Ok(saved.x.clone()) }
    }

    /// [`Self::backward`] of `d` and its change `dd`: writes the change of the gradient in the block's weights and
    /// returns the gradient in its input and that one's change (or, if not wanted, the input and its change).
    pub(super) fn tangent_backward(
        &self,
        change: &Self,
        saved: &BlockSaved,
        tangent: &BlockTangent,
        (d, dd): (Images, Images),
        product: &mut [f32],
        wants_input: bool,
    ) -> DeviceResult<(Images, Images)> {
        let (x, dx) = (&saved.normalised.x, &tangent.normalised.x);
        let (d, dd) = (self.back_to_norm(saved, d)?, self.back_to_norm(saved, dd)?);
        let d_gamma = dd.clone().try_mul(x.clone())?.try_add(d.clone().try_mul(dx.clone())?)?;
        self.write_norm(product, &dd, &d_gamma)?;

        let dd = norm::rows_of(&self.gamma, x)?.try_mul(dd)?;
        let dd = norm::rows_of(&change.gamma, x)?.try_mul(d.clone())?.try_add(dd)?;
        let d = norm::rows_of(&self.gamma, x)?.try_mul(d)?;
        let (d, dd) =
            norm::by_batch_tangent_backward(self.device, &saved.normalised, &tangent.normalised, d, dd)?;

        let through_dd = conv::weight_gradient(self.views(&saved.x)?, &dd)?;
        let through_dx = conv::weight_gradient(self.views(&tangent.x)?, &d)?;
        let both = through_dd.into_iter().zip(through_dx).map(|(a, b)| a.try_add(b));
        conv::write_taps(both.collect::<DeviceResult<_>>()?, &mut product[self.block.weight.clone()]);
        if !wants_input {
            return Ok((saved.x.clone(), tangent.x.clone()));
        }
        let dd_input = change.back_to_input(d.clone(), saved)?.try_add(self.back_to_input(dd, saved)?)?;
        Ok((self.back_to_input(d, saved)?, dd_input))
    }

    /// What the taps of the filter see of `x`.
    fn views(&self, x: &Images) -> DeviceResult<Vec<Matrix>> {
        conv::views(x, self.block.stride, self.block.convolved())
    }

    /// The convolution without its bias, `[n·oh·ow, out]`.
    fn convolve(&self, x: &Images) -> DeviceResult<Matrix> {
        conv::sum_of_products(self.views(x)?, self.taps.iter().cloned())
    }

    /// Gradient in the output of the batch norm, `[n·oh·ow, out]`, from that in the block's. Linear, so a change goes
    /// the same way.
    fn back_to_norm(&self, saved: &BlockSaved, d: Images) -> DeviceResult<Matrix> {
        let d = if self.block.pool { pool::backward(&saved.active, &saved.y, d)? } else { d };
        relu::backward(&saved.active, d)?.try_reshape_like(saved.normalised.x.shape())
    }

    /// Gradient in the input from that in the convolution's output.
    fn back_to_input(&self, d: Matrix, saved: &BlockSaved) -> DeviceResult<Images> {
        conv::input_gradient(d, &self.taps, self.block.stride, self.block.convolved(), *saved.x.shape())
    }

    /// Writes what the columns of `beta` and `gamma` add up to.
    fn write_norm(&self, gradient: &mut [f32], beta: &Matrix, gamma: &Matrix) -> DeviceResult<()> {
        let [beta, gamma] = [beta, gamma].map(|rows| norm::column_sums(self.device, rows));
        gradient[self.block.norm.bias.clone()].copy_from_slice(&beta?.as_vec());
        gradient[self.block.norm.weight.clone()].copy_from_slice(&gamma?.as_vec());
        Ok(())
    }
}
