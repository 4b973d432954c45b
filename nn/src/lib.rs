//! Networks as pure functions of (θ, inputs), with exact first and second derivatives: kshot's ground floor, of use on
//! its own.
//!
//! An [`Architecture`] says what a network is made of; a backend computes it: [`Fused`], SIMD kernels on the CPU, or
//! [`Portable`], dfdx tensor operations on CPU and CUDA. Each is the other's test. θ is a [`Params`](params::Params): one
//! flat vector with a named layout, so that arithmetic on weights is vector arithmetic.
//!
//! Nothing here knows of episodes, learners or files. For the gradient of a loss and its product with the Hessian:
//!
//! ```
//! use kshot_nn::{Architecture, Fused, Loss, Network, Norm, Pooling, rng::stream};
//! use ndarray::Array4;
//!
//! // Conv4 (Vinyals et al. 2016) with a head of five classes, for grey images of 28×28.
//! let conv4 = Architecture::conv([1, 28, 28], 4, 64, Pooling::Maxpool, Norm::Batch)?.with_head(5)?;
//! let network = Fused::new(conv4)?;
//! let theta = network.init(&mut stream(0, "init", 0));
//!
//! let x = Array4::from_shape_fn((5, 1, 28, 28), |(n, _, h, w)| ((n * 31 + h * 7 + w * 3) % 11) as f32 / 10.0);
//! let loss = Loss::CrossEntropy { labels: vec![0, 1, 2, 3, 4] };
//!
//! // One forward pass for the gradient and any number of Hessian-vector products.
//! let at = network.at(&theta, x.view(), &loss)?;
//! let gradient = at.gradient()?.gradient;
//! let product = at.hvp(&gradient)?;
//! assert_eq!(product.tensor("block0.conv.weight").map(<[f32]>::len), Some(64 * 9));
//! # Ok::<(), kshot_nn::Error>(())
//! ```

mod architecture;
mod backend;
mod difference;
mod distance;
mod error;
mod fused;
pub mod head;
mod layout;
mod loss;
mod network;
pub mod parallel;
pub mod params;
mod portable;
pub mod rng;
mod similarity;
mod spare;
mod split;
mod tape;
#[cfg(test)]
mod test_cases;
#[cfg(test)]
mod tests;

pub use architecture::{
    Architecture, BatchNorm, Builder, Conv, DropBlock, Filters, Layer, Linear, Norm, Pool, Pooling,
    Reduction, Residual,
};
pub use distance::Metric;
pub use error::{Error, Result};
pub use fused::{Fused, peak};
pub use head::cross_entropy;
pub use loss::Loss;
pub use network::{LossAt, LossGradient, Network, Trace, embed_both};
pub use portable::Portable;
pub use similarity::Similarity;
pub use tape::{
    Dev, Head, HeadWeights, Matrix, TapedMatrix, TapedScalar, Vector, output_of_head, value_and_grad_of_head,
};

use std::sync::Arc;

/// `architecture` on the backend of the device: [`Fused`] on the CPU, [`Portable`] with feature `cuda`.
///
/// # Errors
/// When the backend does not know the order of the layers.
pub fn network(architecture: Architecture) -> Result<Arc<dyn Network>> {
    #[cfg(feature = "cuda")]
    return Ok(Arc::new(Portable::new(architecture)));
    #[cfg(not(feature = "cuda"))]
    return Ok(Arc::new(Fused::new(architecture)?));
}
