//! Values on the device, and between it and the host.

use dfdx::prelude::*;
use ndarray::Array2;

use crate::Error;
use crate::tape::{Dev, Matrix};

/// Images, `[n, height, width, channels]`.
pub(super) type Images = Tensor<(usize, usize, usize, usize), f32, Dev>;
/// What dfdx operations return.
pub(super) type DeviceResult<T> = std::result::Result<T, <Dev as HasErr>::Err>;

/// Names what was being computed when the device failed.
pub(super) fn failed<E: std::fmt::Debug>(doing: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::device(doing, error)
}

pub(super) fn upload_matrix(device: &Dev, x: Array2<f32>) -> DeviceResult<Matrix> {
    let shape = x.dim();
    let host =
        if x.is_standard_layout() { x.into_raw_vec_and_offset().0 } else { x.iter().copied().collect() };
    device.try_tensor_from_vec(host, shape)
}

pub(super) fn download_matrix(x: &Matrix) -> Array2<f32> {
    let &shape = x.shape();
    // `as_vec` is row-major whatever the strides, so the length is the shape's.
    Array2::from_shape_vec(shape, x.as_vec())
        .unwrap_or_else(|_| unreachable!("a tensor has as many values as its shape"))
}
