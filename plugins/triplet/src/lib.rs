//! Triplet networks: an anchor's positive shall be nearer than its negative, by a margin.
//!
//! Hoffer & Ailon, "Deep Metric Learning Using Triplet Network", SIMBAD 2015 (arXiv:1412.6622); Schroff, Kalenichenko &
//! Philbin, "FaceNet", CVPR 2015; mining within P×K batches as in Hermans, Beyer & Leibe, "In Defense of the Triplet
//! Loss for Person Re-Identification", 2017. A query belongs to the class whose support examples have the nearest mean.

mod loss;
mod mining;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use kshot::episode::{Episode, Labelled, TaskSpec, Unlabelled};
use kshot::learner::{Family, Learner, Outer, Prediction};
use kshot::nn::head::{class_means_of, directions, directions_of, on_host};
use kshot::nn::{Metric, Network, Norm, embed_both};
use kshot::params::Params;
use kshot::registry::{LearnerEntry, Problem, Setup, defaults, options};
use kshot::rng::stream;
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use ndarray::{Array2, ArrayView4};
use serde::{Deserialize, Serialize};

pub use loss::{Mined, TripletLoss, triplet_loss};
pub use mining::{Mining, Triplet, mine};

/// Options of `triplet`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TripletConfig {
    /// P: classes of a training batch. At most the training split's.
    pub classes: usize,
    /// K: examples of each.
    pub per_class: usize,
    /// How far apart two embeddings are.
    pub distance: Metric,
    /// Whether embeddings are scaled to length 1 (FaceNet, section 3.1).
    pub normalise: bool,
    /// What a triplet costs.
    pub loss: TripletLoss,
    /// The margin of `hinge`.
    pub margin: f32,
    /// Which triplets of a batch count.
    pub mining: Mining,
}

impl Default for TripletConfig {
    fn default() -> Self {
        Self {
            classes: 16,
            per_class: 4,
            distance: Metric::Euclidean,
            normalise: true,
            loss: TripletLoss::Hinge,
            margin: 0.2,
            mining: Mining::BatchHard,
        }
    }
}

impl TripletConfig {
    fn check(&self, base_classes: usize) -> Result<()> {
        let wrong = match self {
            _ if self.classes.min(base_classes) < 2 => {
                "`classes` must be 2 or more: a triplet needs a negative"
            }
            _ if self.per_class < 2 => "`per-class` must be 2 or more: a triplet needs a positive",
            _ if !(self.margin.is_finite() && self.margin >= 0.0) => "`margin` must be 0 or more",
            _ => return Ok(()),
        };
        Err(Error::invalid(format!("options of `triplet`: {wrong}")))
    }
}

/// A triplet network.
pub struct TripletNetwork {
    network: Arc<dyn Network>,
    theta: Params,
    config: TripletConfig,
    task: TaskSpec,
    seed: u64,
}

impl TripletNetwork {
    /// A network with fresh weights.
    ///
    /// # Errors
    /// When an option makes no sense or the backbone does not fit the input.
    pub fn new(setup: &Setup, config: TripletConfig) -> Result<Self> {
        config.check(setup.base_classes)?;
        let network = setup.backbone.build(setup.input, Norm::Running, None)?;
        let theta = network.init(&mut stream(setup.seed, "init", 0));
        let classes = config.classes.min(setup.base_classes);
        let task = TaskSpec::PkBatch { classes, per_class: config.per_class };
        Ok(Self { network, theta, config, task, seed: setup.seed })
    }

    /// Embeddings as they are compared, `[n, features]` each.
    fn embed(&self, left: ArrayView4<'_, f32>, right: ArrayView4<'_, f32>) -> Result<[Array2<f32>; 2]> {
        let z = embed_both(self.network.as_ref(), &self.theta, left, right)?;
        Ok(if self.config.normalise { z.map(directions_of) } else { z })
    }
}

impl Learner for TripletNetwork {
    fn params(&self) -> &Params {
        &self.theta
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.theta
    }

    fn training_task(&self) -> TaskSpec {
        self.task.clone()
    }

    fn is_transductive(&self) -> bool {
        self.network.norm() == Norm::Batch
    }

    fn outer_gradient(&self, episode: &Episode) -> Result<Outer> {
        let labels = episode.support.classes()?;
        let TripletConfig { distance, normalise, loss, margin, mining, .. } = self.config;
        let mut rng = stream(self.seed, "triplets", episode.index);
        let mut mined = Mined::default();
        let (loss, gradient) =
            self.network.value_and_grad(&self.theta, episode.support.inputs(), &mut |z, _| {
                let z = if normalise { directions(z)? } else { z };
                on_host(z, |z| {
                    let distances = distance.between(z, z);
                    let triplets = mine(mining, distances.view(), labels, &mut rng);
                    let (value, d_distances);
                    (value, d_distances, mined) =
                        triplet_loss(loss, margin, mining == Mining::BatchAll, distances.view(), &triplets);
                    Ok((value, distance.gradient(z, distances.view(), d_distances.view())))
                })
            })?;
        let metrics = vec![
            ("active_triplets", mined.active),
            ("positive_distance", mined.positive),
            ("negative_distance", mined.negative),
        ];
        Ok(Outer { loss, gradient, metrics })
    }

    fn predict(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction> {
        let [z_support, z_query] = self.embed(support.inputs(), query.inputs.view())?;
        let means = class_means_of(z_support.view(), support.classes()?)?;
        Ok(Prediction::Scores(-Metric::Squared.between(z_query.view(), means.view())))
    }

    fn similarity(
        &self,
        left: ArrayView4<'_, f32>,
        right: ArrayView4<'_, f32>,
    ) -> Result<Option<Array2<f32>>> {
        let [left, right] = self.embed(left, right)?;
        Ok(Some(-Metric::Squared.between(left.view(), right.view())))
    }
}

inventory::submit! {
    LearnerEntry {
        name: "triplet",
        family: Family::Metric,
        summary: "an embedding in which a positive is nearer than a negative, by a margin",
        paper: "Hoffer & Ailon, Deep Metric Learning Using Triplet Network, SIMBAD 2015; Schroff et al., FaceNet, CVPR 2015",
        solves: &[Problem::Classification],
        train: |_| TrainConfig { steps: 400, validation_episodes: 100, ..TrainConfig::default() },
        options: defaults::<TripletConfig>,
        build: |setup, table| Ok(Box::new(TripletNetwork::new(setup, options("triplet", table)?)?)),
    }
}
