//! What flows between layers.

use dfdx::prelude::*;

use super::device::{DeviceResult, Images};
use super::relu;
use crate::tape::Matrix;

/// Images, or what a flatten or spatial mean makes of them.
#[derive(Clone)]
pub(super) enum Activation {
    Images(Images),
    Matrix(Matrix),
}

impl Activation {
    pub(super) fn into_images(self) -> Images {
        let Self::Images(x) = self else { unreachable!("layers of images are given images") };
        x
    }

    /// All values, row by row.
    pub(super) fn into_values(self) -> Vec<f32> {
        match self {
            Self::Images(x) => x.as_vec(),
            Self::Matrix(x) => x.as_vec(),
        }
    }

    /// The sum of two of one shape.
    pub(super) fn plus(self, other: Self) -> DeviceResult<Self> {
        Ok(match (self, other) {
            (Self::Images(a), Self::Images(b)) => Self::Images(a.try_add(b)?),
            (a, b) => Self::Matrix(a.into_matrix()?.try_add(b.into_matrix()?)?),
        })
    }

    /// The gradient, or a change, `d` through a ReLU whose output this was.
    pub(super) fn mask(&self, d: Self, slope: f32) -> DeviceResult<Self> {
        Ok(match (self, d) {
            (Self::Images(y), Self::Images(d)) => Self::Images(relu::backward(y, d, slope)?),
            (Self::Matrix(y), d) => Self::Matrix(relu::backward(y, d.into_matrix()?, slope)?),
            (Self::Images(_), Self::Matrix(_)) => {
                unreachable!("a ReLU's gradient has the shape of its output")
            }
        })
    }

    /// The product with factors of the same shape, value by value; itself without them.
    pub(super) fn times(self, factors: Option<&Self>) -> DeviceResult<Self> {
        Ok(match (self, factors) {
            (x, None) => x,
            (Self::Images(x), Some(Self::Images(factors))) => Self::Images(x.try_mul(factors.clone())?),
            (x, Some(factors)) => Self::Matrix(x.into_matrix()?.try_mul(factors.clone().into_matrix()?)?),
        })
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
