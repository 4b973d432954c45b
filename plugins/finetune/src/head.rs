//! The classifier on top: linear, or by cosine similarity.

use std::sync::Arc;

use dfdx::prelude::*;
use kshot::nn::head::directions_of;
use kshot::nn::{HeadWeights, Similarity, TapedMatrix};
use kshot::params::{Layout, Params, Role};
use kshot::rng::Rng;
use kshot::{Error, Result};
use ndarray::{Array1, Array2, ArrayView2};
use rand::Rng as _;

use crate::HeadKind;

/// Sharpness of the softmax over cosines; cosines alone lie in −1..1 (Chen et al. 2019 use a constant as well).
const COSINE_SCALE: f32 = 10.0;
const WEIGHT: &str = "head.weight";
const BIAS: &str = "head.bias";

/// A classifier without its weights: those are tensors of θ, `head.weight` `[classes, features]` and, if linear,
/// `head.bias` `[classes]`.
pub(crate) struct Head {
    pub(crate) kind: HeadKind,
    pub(crate) features: usize,
}

impl Head {
    fn layout(&self, classes: usize) -> Arc<Layout> {
        let mut layout = Layout::new();
        layout.push(WEIGHT, &[classes, self.features], Role::Weight);
        if self.kind == HeadKind::Linear {
            layout.push(BIAS, &[classes], Role::Weight);
        }
        Arc::new(layout)
    }

    /// Fresh weights, uniform in ±1/√features.
    pub(crate) fn init(&self, classes: usize, rng: &mut Rng) -> Params {
        let mut weights = Params::zeros(&self.layout(classes));
        let bound = 1.0 / (self.features as f32).sqrt();
        weights.values_mut().fill_with(|| rng.random_range(-bound..bound));
        weights
    }

    /// Where a task starts, so that permuting its classes permutes the outcome: zeros for a linear head; for cosines,
    /// where zeros have no direction, the class means of the support's embeddings (imprinting: Qi, Brown, Lowe,
    /// "Low-Shot Learning with Imprinted Weights", CVPR 2018).
    pub(crate) fn start(&self, support: &Array2<f32>, labels: &[usize]) -> Result<Params> {
        let classes = labels.iter().max().map_or(0, |&largest| largest + 1);
        let mut weights = Params::zeros(&self.layout(classes));
        if let Some(class) = (0..classes).find(|class| !labels.contains(class)) {
            return Err(Error::invalid(format!(
                "class {class} has no example in the support set to train a head on"
            )));
        }
        if self.kind == HeadKind::Cosine {
            for (row, &label) in directions_of(support.to_owned()).outer_iter().zip(labels) {
                let class = &mut weights.values_mut()[label * self.features..(label + 1) * self.features];
                class.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
        }
        Ok(weights)
    }

    /// Logits `[n, classes]` of embeddings `[n, features]`.
    pub(crate) fn logits(&self, z: TapedMatrix, weights: &HeadWeights<'_>) -> Result<TapedMatrix> {
        let failed = |error| Error::device("computing the head", error);
        let weight = weights.matrix(WEIGHT)?.put_tape(OwnedTape::default());
        match self.kind {
            HeadKind::Linear => {
                let products =
                    z.try_matmul(weight.try_permute::<_, Axes2<1, 0>>().map_err(failed)?).map_err(failed)?;
                let shape = *products.shape();
                let bias = weights.vector(BIAS)?.put_tape(OwnedTape::default());
                let bias = bias.try_broadcast_like::<_, Axis<0>>(&shape).map_err(failed)?;
                products.try_add(bias).map_err(failed)
            }
            HeadKind::Cosine => Similarity::Cosine.logits_on_tape(z, weight, COSINE_SCALE),
        }
    }

    /// The same, without a tape.
    pub(crate) fn scores(&self, z: &Array2<f32>, theta: &Params) -> Result<Array2<f32>> {
        let weight = theta.tensor(WEIGHT).unwrap_or_default();
        let weight = ArrayView2::from_shape((weight.len() / self.features, self.features), weight).map_err(
            |error| Error::invalid(format!("the weights of the head have a wrong shape: {error}")),
        )?;
        Ok(match self.kind {
            HeadKind::Linear => {
                z.dot(&weight.t()) + Array1::from(theta.tensor(BIAS).unwrap_or_default().to_vec())
            }
            HeadKind::Cosine => Similarity::Cosine.logits(z.view(), weight, COSINE_SCALE),
        })
    }
}
