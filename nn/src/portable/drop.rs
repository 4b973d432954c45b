//! Dropout and DropBlock: what a batch is multiplied by.

use dfdx::prelude::*;

use super::activation::Activation;
use super::device::DeviceResult;
use crate::architecture::DropBlock;
use crate::tape::Dev;

/// The factors of all examples, in the shape of `x`: drawn on the host, so that they are the same on every device.
pub(super) fn factors(dev: &Dev, drop: &DropBlock, seed: u64, x: &Activation) -> DeviceResult<Activation> {
    let [channels, height, width] = drop.shape;
    let len = channels * height * width;
    let of = |count: usize| {
        let mut ones = vec![1.0; count * len];
        for (index, image) in ones.chunks_exact_mut(len).enumerate() {
            drop.apply(seed, index, [1, channels], image);
        }
        ones
    };
    Ok(match x {
        Activation::Images(x) => Activation::Images(dev.try_tensor_from_vec(of(x.shape().0), *x.shape())?),
        Activation::Matrix(x) => Activation::Matrix(dev.try_tensor_from_vec(of(x.shape().0), *x.shape())?),
    })
}
