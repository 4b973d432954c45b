//! The portable backend: dfdx tensor operations only, so it runs wherever dfdx does (CPU, CUDA).

use ndarray::{Array2, ArrayView4};

use super::Architecture;
use super::network::Passes;
use crate::Result;
use crate::params::Params;

/// A network computed with dfdx tensor operations.
pub struct Portable {
    architecture: Architecture,
}

impl Portable {
    /// Computes `architecture`.
    pub fn new(architecture: Architecture) -> Self {
        Self { architecture }
    }
}

impl Passes for Portable {
    type Saved = ();

    fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    fn evaluate(&self, _: &Params, _: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
        todo!()
    }

    fn forward(&self, _: &Params, _: ArrayView4<'_, f32>) -> Result<(Array2<f32>, ())> {
        todo!()
    }

    fn backward(&self, _: &Params, _: (), _: Array2<f32>) -> Result<Params> {
        todo!()
    }
}
