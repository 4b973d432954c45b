//! The convolution block: convolution, batch norm, ReLU, perhaps pooling.

use dfdx::prelude::*;

use super::norm::{self, Normalised};
use super::{ConvBlock, DeviceResult, Images, Matrix, Statistics, Vector, conv, pool, relu_backward};
use crate::nn::Dev;

/// A block with its weights on the device.
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

/// What a block keeps for its backward pass.
pub(crate) struct BlockSaved {
    x: Images,
    normalised: Normalised,
    /// After ReLU, before pooling.
    active: Images,
    y: Images,
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
        let views = conv::views(&x, self.block.stride, [oh, ow])?;
        let convolved = conv::sum_of_products(views, self.taps.iter().cloned())?;
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

    /// Writes the gradient in the block's weights and returns the one in its input (or, if not wanted, `d` as it is).
    pub(super) fn backward(
        &self,
        saved: BlockSaved,
        d: Images,
        gradient: &mut [f32],
        wants_input: bool,
    ) -> DeviceResult<Images> {
        let BlockSaved { x, normalised, active, y } = saved;
        let [oh, ow] = self.block.convolved();
        let rows = x.shape().0 * oh * ow;
        let d = if self.block.pool { pool::backward(&active, &y, d)? } else { d };
        let d = relu_backward(&active, d)?.try_reshape_like(&(rows, self.block.output[0]))?;
        let mut write = |range: &std::ops::Range<usize>, vector: Vector| {
            gradient[range.clone()].copy_from_slice(&vector.as_vec());
        };
        write(&self.block.norm.bias, norm::column_sums(self.device, &d)?);
        write(
            &self.block.norm.weight,
            norm::column_sums(self.device, &d.clone().try_mul(normalised.x.clone())?)?,
        );
        let d = norm::rows_of(&self.gamma, &d)?.try_mul(d)?;
        let d = norm::by_batch_backward(self.device, &normalised, d)?;
        write(&self.block.bias, norm::column_sums(self.device, &d)?);
        if let Some((mean, variance)) = &self.block.norm.running {
            let unbiased = rows as f32 / (rows.max(2) - 1) as f32;
            write(mean, normalised.mean.clone());
            write(variance, normalised.variance.clone().try_mul(unbiased)?);
        }
        let views = conv::views(&x, self.block.stride, [oh, ow])?;
        conv::weight_gradient(views, &d, &mut gradient[self.block.weight.clone()])?;
        if wants_input {
            conv::input_gradient(d, &self.taps, self.block.stride, [oh, ow], *x.shape())
        } else {
            Ok(x)
        }
    }
}
