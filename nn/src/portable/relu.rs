//! Leaky ReLU: x where that is positive, `slope`·x elsewhere.

use dfdx::prelude::*;

use super::device::DeviceResult;
use crate::tape::Dev;

pub(super) fn forward<S: Shape>(x: Tensor<S, f32, Dev>, slope: f32) -> DeviceResult<Tensor<S, f32, Dev>> {
    backward(&x, x.clone(), slope)
}

/// The gradient, or a change, `d` through a ReLU of `x`, or one whose output was `x`: the sign is the same, or 0.
pub(super) fn backward<S: Shape>(
    x: &Tensor<S, f32, Dev>,
    d: Tensor<S, f32, Dev>,
    slope: f32,
) -> DeviceResult<Tensor<S, f32, Dev>> {
    let scaled = d.clone().try_mul(slope)?;
    x.try_gt(0.0)?.try_choose(d, scaled)
}
