//! ReLU: max(x, 0).

use dfdx::prelude::*;

use super::device::DeviceResult;
use crate::tape::Dev;

/// The gradient, or a change, through a ReLU whose output was `y`: `d` where that is positive.
pub(super) fn backward<S: Shape>(
    y: &Tensor<S, f32, Dev>,
    d: Tensor<S, f32, Dev>,
) -> DeviceResult<Tensor<S, f32, Dev>> {
    let zeros = d.device().try_zeros_like(d.shape())?;
    y.try_gt(0.0)?.try_choose(d, zeros)
}
