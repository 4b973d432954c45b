//! The linear layer: `y = x Wᵀ + b`.

use dfdx::prelude::*;

use super::device::DeviceResult;
use super::norm;
use crate::architecture::Linear;
use crate::tape::{Dev, Matrix, Vector};

/// A linear layer with its weights, or a change of them, on the device.
pub(super) struct Affine<'a> {
    device: &'a Dev,
    layer: &'a Linear,
    /// `[out, in]`.
    weight: Matrix,
    bias: Vector,
}

impl<'a> Affine<'a> {
    pub(super) fn upload(device: &'a Dev, layer: &'a Linear, theta: &[f32]) -> DeviceResult<Self> {
        let weight = theta[layer.weight.clone()].to_vec();
        Ok(Self {
            device,
            layer,
            weight: device.try_tensor_from_vec(weight, (layer.output, layer.input))?,
            bias: device.try_tensor_from_vec(theta[layer.bias.clone()].to_vec(), (layer.output,))?,
        })
    }

    pub(super) fn forward(&self, x: Matrix) -> DeviceResult<Matrix> {
        let y = x.try_matmul(self.weight.clone().try_permute::<_, Axes2<1, 0>>()?)?;
        norm::rows_of(&self.bias, &y)?.try_add(y)
    }

    /// Change of the output per change `dx` of the input `x` and `change` of the weights: `dx Wᵀ + x dWᵀ + db`.
    pub(super) fn tangent_forward(&self, change: &Self, x: Matrix, dx: Matrix) -> DeviceResult<Matrix> {
        let through_x = dx.try_matmul(self.weight.clone().try_permute::<_, Axes2<1, 0>>()?)?;
        through_x.try_add(change.forward(x)?)
    }

    /// Writes the gradient in the weights and returns the one in the input.
    pub(super) fn backward(&self, x: Matrix, d: Matrix, gradient: &mut [f32]) -> DeviceResult<Matrix> {
        let d_weight = d.clone().try_permute::<_, Axes2<1, 0>>()?.try_matmul(x)?;
        self.write(gradient, d_weight, &d)?;
        self.back(d)
    }

    /// [`Self::backward`] of `d` and its change `dd`: writes the change of the gradient in the weights,
    /// `ddᵀ x + dᵀ dx`, and returns the gradient in the input and its change `dd W + d dW`.
    pub(super) fn tangent_backward(
        &self,
        change: &Self,
        (x, dx): (Matrix, Matrix),
        (d, dd): (Matrix, Matrix),
        product: &mut [f32],
    ) -> DeviceResult<(Matrix, Matrix)> {
        let through_dd = dd.clone().try_permute::<_, Axes2<1, 0>>()?.try_matmul(x)?;
        let through_dx = d.clone().try_permute::<_, Axes2<1, 0>>()?.try_matmul(dx)?;
        self.write(product, through_dd.try_add(through_dx)?, &dd)?;
        let dd_input = self.back(dd)?.try_add(change.back(d.clone())?)?;
        Ok((self.back(d)?, dd_input))
    }

    /// `d W`
    fn back(&self, d: Matrix) -> DeviceResult<Matrix> {
        d.try_matmul(self.weight.clone())
    }

    fn write(&self, gradient: &mut [f32], weight: Matrix, rows: &Matrix) -> DeviceResult<()> {
        gradient[self.layer.weight.clone()].copy_from_slice(&weight.as_vec());
        gradient[self.layer.bias.clone()].copy_from_slice(&norm::column_sums(self.device, rows)?.as_vec());
        Ok(())
    }
}
