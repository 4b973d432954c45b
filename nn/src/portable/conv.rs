//! Convolution as a sum of products, one for each element of its filters: `y = Σ_k view_k(x) · W_k`, or, where every
//! channel has a filter of its own, `Σ_k view_k(x) ∘ w_k`.

use dfdx::prelude::*;

use super::device::{DeviceResult, Images};
use super::norm;
use super::windows::Windows;
use crate::architecture::Conv;
use crate::tape::{Dev, Matrix, Vector};

/// A convolution with its weights, or a change of them, on the device.
pub(super) struct Convolution<'a> {
    device: &'a Dev,
    conv: &'a Conv,
    windows: Windows,
    taps: Vec<Tap>,
    bias: Option<Vector>,
}

/// One element of all filters.
enum Tap {
    /// `[in, out]`
    Full(Matrix),
    /// `[channels]`
    Depthwise(Vector),
}

impl Tap {
    /// What it makes of the inputs that it sees.
    fn apply(&self, view: Matrix) -> DeviceResult<Matrix> {
        match self {
            Self::Full(weight) => view.try_matmul(weight.clone()),
            Self::Depthwise(weight) => norm::rows_of(weight, &view)?.try_mul(view),
        }
    }

    /// The transpose of [`Self::apply`].
    fn back(&self, d: Matrix) -> DeviceResult<Matrix> {
        match self {
            Self::Full(weight) => d.try_matmul(weight.clone().try_permute::<_, Axes2<1, 0>>()?),
            Self::Depthwise(_) => self.apply(d),
        }
    }
}

impl<'a> Convolution<'a> {
    pub(super) fn upload(device: &'a Dev, conv: &'a Conv, theta: &[f32]) -> DeviceResult<Self> {
        let weight = &theta[conv.weight.clone()];
        let ([input, ..], [output, ..], elements) = (conv.input, conv.output, conv.taps());
        let tap = |k: usize| {
            if conv.groups > 1 {
                let tap = weight.iter().skip(k).step_by(elements).copied().collect();
                return Ok(Tap::Depthwise(device.try_tensor_from_vec(tap, (output,))?));
            }
            let column = |i: usize| (0..output).map(move |o| weight[(o * input + i) * elements + k]);
            let tap = (0..input).flat_map(column).collect();
            Ok(Tap::Full(device.try_tensor_from_vec(tap, (input, output))?))
        };
        let bias = conv.bias.clone().map(|bias| device.try_tensor_from_vec(theta[bias].to_vec(), (output,)));
        Ok(Self {
            device,
            conv,
            windows: Windows::of_conv(conv),
            taps: (0..elements).map(tap).collect::<DeviceResult<_>>()?,
            bias: bias.transpose()?,
        })
    }

    pub(super) fn forward(&self, x: &Images) -> DeviceResult<Images> {
        let y = self.without_bias(x)?;
        let Some(bias) = &self.bias else { return Ok(y) };
        let shape = *y.shape();
        let y = rows(&y)?;
        norm::rows_of(bias, &y)?.try_add(y)?.try_reshape_like(&shape)
    }

    fn without_bias(&self, x: &Images) -> DeviceResult<Images> {
        let &(n, ..) = x.shape();
        let [channels, height, width] = self.conv.output;
        let views = self.windows.views(x, 0.0)?;
        let mut products = views.into_iter().zip(&self.taps).map(|(view, tap)| tap.apply(view));
        let first = products.next().unwrap_or_else(|| unreachable!("a filter has an element"))?;
        let y = products.try_fold(first, |sum, product| sum.try_add(product?))?;
        y.try_reshape_like(&(n, height, width, channels))
    }

    /// Change of the output per change `dx` of the input `x` and `change` of the weights.
    pub(super) fn tangent_forward(&self, change: &Self, x: &Images, dx: &Images) -> DeviceResult<Images> {
        change.forward(x)?.try_add(self.without_bias(dx)?)
    }

    /// Writes the gradient in the weights.
    pub(super) fn write(
        &self,
        pairs: &[(&Images, Matrix)],
        bias: &Matrix,
        gradient: &mut [f32],
    ) -> DeviceResult<()> {
        let elements = self.conv.taps();
        for (number, (x, d)) in pairs.iter().enumerate() {
            let turned = d.clone().try_permute::<_, Axes2<1, 0>>()?;
            for (k, view) in self.windows.views(x, 0.0)?.into_iter().enumerate() {
                let values = match self.conv.groups {
                    1 => turned.clone().try_matmul(view)?.as_vec(),
                    _ => norm::column_sums(self.device, &view.try_mul(d.clone())?)?.as_vec(),
                };
                let places = gradient[self.conv.weight.clone()].iter_mut().skip(k).step_by(elements);
                for (to, value) in places.zip(values) {
                    *to = if number == 0 { value } else { *to + value };
                }
            }
        }
        if let Some(place) = &self.conv.bias {
            gradient[place.clone()].copy_from_slice(&norm::column_sums(self.device, bias)?.as_vec());
        }
        Ok(())
    }

    /// Gradient in the input from that in the output, `[n·oh·ow, out]`.
    pub(super) fn back(&self, d: &Matrix) -> DeviceResult<Images> {
        let parts = self.taps.iter().map(|tap| tap.back(d.clone())).collect::<DeviceResult<_>>()?;
        self.windows.scatter(parts)
    }
}

/// Images as rows, a pixel each.
pub(super) fn rows(x: &Images) -> DeviceResult<Matrix> {
    let &(n, h, w, c) = x.shape();
    x.clone().try_reshape_like(&(n * h * w, c))
}
