//! Which triplets of a batch count.

use kshot::rng::Rng;
use ndarray::ArrayView2;
use rand::Rng as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How triplets are chosen from a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mining {
    /// For each anchor its farthest positive and nearest negative (Hermans et al. 2017, equation 5).
    BatchHard,
    /// All; the loss is the mean over those that cost something (equation 6, and section 2 on the mean).
    BatchAll,
    /// For each anchor and positive the nearest negative that is farther than the positive, else the farthest
    /// (Schroff et al. 2015, section 3.2).
    SemiHard,
    /// For each anchor and positive any negative.
    Random,
}

/// Places in the batch of an anchor, an example of its class, and one of another class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Triplet {
    /// a.
    pub anchor: usize,
    /// p.
    pub positive: usize,
    /// n.
    pub negative: usize,
}

/// The triplets of a batch with these labels and distances `[n, n]`; anchors without positive or negative have none.
pub fn mine(mining: Mining, distances: ArrayView2<'_, f32>, labels: &[usize], rng: &mut Rng) -> Vec<Triplet> {
    let mut triplets = Vec::new();
    for anchor in 0..labels.len() {
        let d = |other: usize| distances[[anchor, other]];
        let (mut positives, negatives): (Vec<usize>, Vec<usize>) =
            (0..labels.len()).partition(|&other| labels[other] == labels[anchor]);
        positives.retain(|&other| other != anchor);
        let by_distance = |a: &&usize, b: &&usize| d(**a).total_cmp(&d(**b));
        let (Some(&nearest), Some(&farthest)) =
            (negatives.iter().min_by(by_distance), negatives.iter().max_by(by_distance))
        else {
            continue;
        };
        if mining == Mining::BatchHard {
            let hardest = positives.iter().copied().max_by(|a, b| by_distance(&a, &b));
            triplets.extend(hardest.map(|positive| Triplet { anchor, positive, negative: nearest }));
            continue;
        }
        for &positive in &positives {
            let mut push = |negative| triplets.push(Triplet { anchor, positive, negative });
            match mining {
                Mining::BatchAll => negatives.iter().copied().for_each(push),
                Mining::SemiHard => {
                    let beyond = negatives.iter().filter(|&&negative| d(negative) > d(positive));
                    push(beyond.min_by(by_distance).copied().unwrap_or(farthest));
                }
                _ => push(negatives[rng.random_range(0..negatives.len())]),
            }
        }
    }
    triplets
}
