//! The classifier on top: linear, or by cosine similarity.

use std::sync::Arc;

use dfdx::prelude::*;
use kshot::nn::{HeadWeights, Similarity, TapedMatrix};
use kshot::params::{Layout, Params, Role};
use kshot::rng::Rng;
use kshot::{Error, Result};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use rand::Rng as _;

use crate::HeadKind;

const WEIGHT: &str = "head.weight";
const BIAS: &str = "head.bias";
/// v and g of a weight g·v/|v| for each class (Salimans & Kingma, "Weight Normalization", NeurIPS 2016), under PyTorch's
/// names.
const DIRECTION: &str = "head.weight_v";
const NORM: &str = "head.weight_g";

/// A classifier without its weights: those are tensors of θ, `head.weight` `[classes, features]` and `head.bias`
/// `[classes]` if linear, `head.weight_v` `[classes, features]` and `head.weight_g` `[classes]` if by cosine.
pub(crate) struct Head {
    pub(crate) kind: HeadKind,
    pub(crate) features: usize,
}

impl Head {
    fn layout(&self, classes: usize) -> Arc<Layout> {
        let [matrix, vector] = match self.kind {
            HeadKind::Linear => [WEIGHT, BIAS],
            HeadKind::Cosine => [DIRECTION, NORM],
        };
        let mut layout = Layout::new();
        layout.push(matrix, &[classes, self.features], Role::Weight);
        layout.push(vector, &[classes], Role::Weight);
        Arc::new(layout)
    }

    /// Fresh weights, uniform in ±1/√features; each norm is that of its direction.
    pub(crate) fn init(&self, classes: usize, rng: &mut Rng) -> Params {
        let mut weights = Params::zeros(&self.layout(classes));
        let bound = 1.0 / (self.features as f32).sqrt();
        weights.values_mut().fill_with(|| rng.random_range(-bound..bound));
        if self.kind == HeadKind::Cosine {
            let (directions, norms) = weights.values_mut().split_at_mut(classes * self.features);
            for (norm, direction) in norms.iter_mut().zip(directions.chunks_exact(self.features)) {
                let direction = ArrayView1::from(direction);
                *norm = direction.dot(&direction).sqrt();
            }
        }
        weights
    }

    /// Where a task starts: zeros for a linear head; for cosines, where zeros have no direction, fresh weights. `order` lists
    /// the support by what the examples are: the class that is first in it gets the first fresh weights, so that permuting
    /// the classes permutes the outcome, and listing an example twice changes nothing.
    pub(crate) fn start(&self, labels: &[usize], order: &[usize], rng: &mut Rng) -> Result<Params> {
        let classes = labels.iter().max().map_or(0, |&largest| largest + 1);
        let mut weights = Params::zeros(&self.layout(classes));
        if let Some(class) = (0..classes).find(|class| !labels.contains(class)) {
            return Err(Error::invalid(format!(
                "class {class} has no example in the support set to train a head on"
            )));
        }
        if self.kind == HeadKind::Cosine {
            let fresh = self.init(classes, rng);
            let mut ranked: Vec<usize> = Vec::with_capacity(classes);
            for label in order.iter().map(|&example| labels[example]) {
                if !ranked.contains(&label) {
                    ranked.push(label);
                }
            }
            let (features, norms) = (self.features, classes * self.features);
            for (rank, class) in ranked.into_iter().enumerate() {
                let direction = &fresh.values()[rank * features..(rank + 1) * features];
                weights.values_mut()[class * features..(class + 1) * features].copy_from_slice(direction);
                weights.values_mut()[norms + class] = fresh.values()[norms + rank];
            }
        }
        Ok(weights)
    }

    /// Logits `[n, classes]` of embeddings `[n, features]`.
    pub(crate) fn logits(&self, z: TapedMatrix, weights: &HeadWeights<'_>) -> Result<TapedMatrix> {
        let failed = |error| Error::device("computing the head", error);
        match self.kind {
            HeadKind::Linear => {
                let weight = weights.matrix(WEIGHT)?.put_tape(OwnedTape::default());
                let products =
                    z.try_matmul(weight.try_permute::<_, Axes2<1, 0>>().map_err(failed)?).map_err(failed)?;
                let shape = *products.shape();
                let bias = weights.vector(BIAS)?.put_tape(OwnedTape::default());
                let bias = bias.try_broadcast_like::<_, Axis<0>>(&shape).map_err(failed)?;
                products.try_add(bias).map_err(failed)
            }
            HeadKind::Cosine => {
                let direction = weights.matrix(DIRECTION)?.put_tape(OwnedTape::default());
                let classes = direction.shape().0;
                let cosines = Similarity::Cosine.logits_on_tape(z, direction, scale(classes))?;
                let shape = *cosines.shape();
                let norm = weights.vector(NORM)?.put_tape(OwnedTape::default());
                let norm = norm.try_broadcast_like::<_, Axis<0>>(&shape).map_err(failed)?;
                cosines.try_mul(norm).map_err(failed)
            }
        }
    }

    /// The same, without a tape.
    pub(crate) fn scores(&self, z: &Array2<f32>, theta: &Params) -> Result<Array2<f32>> {
        let tensor = |name| theta.tensor(name).unwrap_or_default();
        let matrix = |name| {
            let values = tensor(name);
            ArrayView2::from_shape((values.len() / self.features, self.features), values).map_err(|error| {
                Error::invalid(format!("the weights of the head have a wrong shape: {error}"))
            })
        };
        Ok(match self.kind {
            HeadKind::Linear => z.dot(&matrix(WEIGHT)?.t()) + Array1::from(tensor(BIAS).to_vec()),
            HeadKind::Cosine => {
                let direction = matrix(DIRECTION)?;
                let cosines = Similarity::Cosine.logits(z.view(), direction, scale(direction.nrows()));
                cosines * Array1::from(tensor(NORM).to_vec())
            }
        })
    }
}

/// What cosines are multiplied by before their norms, since alone they lie in −1..1: as in the code of Chen et al. 2019.
fn scale(classes: usize) -> f32 {
    if classes <= 200 { 2.0 } else { 10.0 }
}
