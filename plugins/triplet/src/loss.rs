//! What triplets cost, and the gradient in the distances.

use ndarray::{Array2, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Triplet;

/// What a triplet costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TripletLoss {
    /// max(d(a, p) − d(a, n) + margin, 0) (Schroff et al. 2015, equation 3).
    Hinge,
    /// ‖(d₊, d₋ − 1)‖² = 2 d₊² with the softmax ratios d₊ = e^{d(a,p)} / (e^{d(a,p)} + e^{d(a,n)}) = 1 − d₋ (Hoffer & Ailon
    /// 2015, section 3).
    SoftmaxRatio,
}

/// What to log of a batch's triplets.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mined {
    /// Share of triplets that cost something.
    pub active: f32,
    /// Mean d(a, p).
    pub positive: f32,
    /// Mean d(a, n).
    pub negative: f32,
}

/// The mean cost of the triplets (`over_active`: of those that cost something), and its gradient in the distances
/// `[n, n]`. No triplet costs nothing.
pub fn triplet_loss(
    loss: TripletLoss,
    margin: f32,
    over_active: bool,
    distances: ArrayView2<'_, f32>,
    triplets: &[Triplet],
) -> (f32, Array2<f32>, Mined) {
    let mut gradient = Array2::zeros(distances.dim());
    let (mut sum, mut active, mut positives, mut negatives) = (0.0_f64, 0, 0.0_f64, 0.0_f64);
    for &Triplet { anchor, positive, negative } in triplets {
        let (near, far) = (distances[[anchor, positive]], distances[[anchor, negative]]);
        positives += f64::from(near);
        negatives += f64::from(far);
        let (cost, slope) = match loss {
            TripletLoss::Hinge => {
                let cost = near - far + margin;
                if cost > 0.0 { (cost, 1.0) } else { (0.0, 0.0) }
            }
            TripletLoss::SoftmaxRatio => {
                let ratio = 1.0 / (1.0 + (far - near).exp());
                (2.0 * ratio * ratio, 4.0 * ratio * ratio * (1.0 - ratio))
            }
        };
        if cost > 0.0 {
            active += 1;
            sum += f64::from(cost);
            gradient[[anchor, positive]] += slope;
            gradient[[anchor, negative]] -= slope;
        }
    }
    let all = triplets.len().max(1) as f32;
    let counted = if over_active { active.max(1) as f32 } else { all };
    gradient /= counted;
    let mined = Mined {
        active: active as f32 / all,
        positive: positives as f32 / all,
        negative: negatives as f32 / all,
    };
    ((sum / f64::from(counted)) as f32, gradient, mined)
}
