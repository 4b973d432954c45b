//! Triplet networks: an anchor's positive must be nearer than its negative, by a margin.
//!
//! Hoffer & Ailon, "Deep Metric Learning Using Triplet Network", SIMBAD 2015 (arXiv:1412.6622); Schroff, Kalenichenko &
//! Philbin, "FaceNet", CVPR 2015; mining within P×K batches as in Hermans, Beyer & Leibe, "In Defense of the Triplet
//! Loss for Person Re-Identification", 2017. A query belongs to the class whose support examples have the nearest mean.
//!
//! ```
//! use kshot::nn::Metric;
//! use kshot::rng::stream;
//! use kshot_triplet::{Mining, TripletLoss, mine, triplet_loss};
//! use ndarray::array;
//!
//! let z = array![[0.0], [1.0], [5.0], [6.0]];
//! let distances = Metric::Euclidean.between(z.view(), z.view());
//! let triplets = mine(Mining::BatchHard, distances.view(), &[0, 0, 1, 1], &mut stream(0, "mining", 0));
//! // Every positive is 1 away, every negative at least 4: no triplet costs anything at a margin of 0.2.
//! let (loss, ..) = triplet_loss(TripletLoss::Hinge, 0.2, false, distances.view(), &triplets);
//! assert_eq!((triplets.len(), loss), (4, 0.0));
//! # Ok::<(), kshot::Error>(())
//! ```

#![forbid(unsafe_code)]

mod loss;
mod mining;
#[cfg(test)]
mod tests;

use kshot::Result;
use kshot::episode::{Episode, TaskSpec};
use kshot::learner::Family;
use kshot::metric::{BatchTraining, Comparison, Embeddings, MetricLearner, Support, TrainingLoss};
use kshot::nn::head::{class_means, directions, directions_of, on_host};
use kshot::nn::{HeadWeights, Metric, TapedMatrix};
use kshot::options::Options;
use kshot::params::Params;
use kshot::registry::Setup;
use kshot::rng::stream;
use kshot::train::TrainConfig;
use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use loss::{Mined, TripletLoss, triplet_loss};
pub use mining::{Mining, Triplet, mine};

kshot::register_learner! {
    /// an embedding in which a positive is nearer than a negative, by a margin
    ///
    /// Hoffer & Ailon, Deep Metric Learning Using Triplet Network, SIMBAD 2015; Schroff et al., FaceNet, CVPR 2015
    name: "triplet",
    differs: "semi-hard negatives in batches of P × K (FaceNet's) and embeddings of length 1, where Hoffer & Ailon \
        draw triplets at random and take a ratio of softmaxes (`mining = random`, `loss = softmax-ratio`, \
        `normalise = false`). Omniglot, 5-way 1-shot: 98.53 ± 0.20 %; neither paper has it.",
    family: Family::Metric,
    training: |_| TrainConfig { steps: 400, validation_episodes: 100, ..TrainConfig::default() },
    compares: true,
    options: TripletOptions,
    build: |setup: &Setup, options: TripletOptions| {
        MetricLearner::new(setup, Triplets { options, seed: setup.seed })
    },
}

/// Options of `triplet`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct TripletOptions {
    /// What it is trained on.
    #[serde(flatten)]
    pub training: BatchTraining,
    /// How far apart two embeddings are.
    pub distance: Metric,
    /// Whether embeddings are scaled to length 1 (FaceNet, section 3.1).
    pub normalise: bool,
    /// What a triplet costs.
    pub loss: TripletLoss,
    /// How much farther than its positive a negative must be from the anchor, for the loss `hinge`.
    #[schemars(range(min = 0.0))]
    pub margin: f32,
    /// Which triplets of a batch count. The hardest alone (`batch-hard`) make all embeddings one where classes are hard to tell
    /// apart, as in photographs: the logged distances fall to 0.
    pub mining: Mining,
}

impl Default for TripletOptions {
    fn default() -> Self {
        Self {
            training: BatchTraining::default(),
            distance: Metric::Euclidean,
            normalise: true,
            loss: TripletLoss::Hinge,
            margin: 0.2,
            mining: Mining::SemiHard,
        }
    }
}

impl Options for TripletOptions {}

/// The comparison of a triplet network.
struct Triplets {
    options: TripletOptions,
    /// Of the run, for mining at random.
    seed: u64,
}

impl Triplets {
    /// Embeddings as they are compared.
    fn scaled(&self, z: Embeddings<'_>) -> Array2<f32> {
        if self.options.normalise { directions_of(z.to_owned()) } else { z.to_owned() }
    }
}

impl Comparison for Triplets {
    fn training_task(&self, setup: &Setup) -> TaskSpec {
        self.options.training.task(setup)
    }

    fn loss(&self, z: TapedMatrix, _: &HeadWeights<'_>, episode: &Episode) -> Result<TrainingLoss> {
        let labels = episode.support.classes()?;
        let TripletOptions { distance, normalise, loss, margin, mining, .. } = self.options;
        let mut rng = stream(self.seed, "triplets", episode.index);
        let mut mined = Mined::default();
        let z = if normalise { directions(z)? } else { z };
        let loss = on_host(z, |z| {
            let distances = distance.between(z, z);
            let triplets = mine(mining, distances.view(), labels, &mut rng);
            let (value, d_distances);
            (value, d_distances, mined) =
                triplet_loss(loss, margin, mining == Mining::BatchAll, distances.view(), &triplets);
            Ok((value, distance.gradient(z, distances.view(), d_distances.view())))
        })?;
        let metrics = vec![
            ("active_triplets", mined.active),
            ("positive_distance", mined.positive),
            ("negative_distance", mined.negative),
        ];
        Ok(TrainingLoss { loss, metrics })
    }

    /// By the nearest class mean.
    fn scores(&self, _: &Params, support: Support<'_>, query: Embeddings<'_>) -> Result<Array2<f32>> {
        let means = class_means(self.scaled(support.z).view(), support.labels)?;
        Ok(-Metric::Squared.between(self.scaled(query).view(), means.view()))
    }

    fn similarity(&self, _: &Params, a: Embeddings<'_>, b: Embeddings<'_>) -> Result<Array2<f32>> {
        Ok(-Metric::Squared.between(self.scaled(a).view(), self.scaled(b).view()))
    }
}
