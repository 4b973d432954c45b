//! Matching networks: a query's class is that of the support examples it attends to.
//!
//! Vinyals, Blundell, Lillicrap, Kavukcuoglu & Wierstra, "Matching Networks for One Shot Learning", NeurIPS 2016,
//! equations 1 and 2 (section 2.1.1), without fully conditional embeddings: p(y | x̂) = Σᵢ a(x̂, xᵢ) [yᵢ = y], a the
//! softmax over the support of the cosines between embeddings.

use std::sync::Arc;

use dfdx::prelude::*;
use kshot::episode::{Count, Episode, Labelled, TaskSpec, Unlabelled};
use kshot::learner::{Family, Learner, Outer, Prediction, accuracy};
use kshot::nn::head::{directions, directions_of, rows};
use kshot::nn::{Network, Norm, TapedMatrix, TapedScalar, embed_both};
use kshot::params::Params;
use kshot::registry::{LearnerEntry, Problem, Setup, defaults, options};
use kshot::rng::stream;
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use ndarray::{Array2, ArrayView2, ArrayView4, Axis as Along, concatenate};
use serde::{Deserialize, Serialize};

/// Options of `matching`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MatchingConfig {
    /// What cosines are multiplied by before the softmax. The paper has 1, which leaves even a perfect match among five
    /// a probability of e / (e + 4/e) = 0.65 at most; implementations since sharpen it.
    pub sharpness: f32,
    /// Ways of training episodes. At most the training split's classes.
    pub train_ways: usize,
    /// Queries of each class in training episodes.
    pub train_queries: usize,
}

impl Default for MatchingConfig {
    fn default() -> Self {
        Self { sharpness: 10.0, train_ways: 20, train_queries: 5 }
    }
}

impl MatchingConfig {
    fn check(&self) -> Result<()> {
        if self.train_ways < 2 || self.train_queries == 0 {
            return Err(Error::invalid(
                "options of `matching`: `train-ways` must be 2 or more and `train-queries` 1 or more",
            ));
        }
        if !(self.sharpness.is_finite() && self.sharpness > 0.0) {
            return Err(Error::invalid(
                "options of `matching`: `sharpness` must be a positive number, as 10",
            ));
        }
        Ok(())
    }
}

/// A matching network.
pub struct Matching {
    network: Arc<dyn Network>,
    theta: Params,
    sharpness: f32,
    task: TaskSpec,
}

impl Matching {
    /// A network with fresh weights.
    ///
    /// # Errors
    /// When an option makes no sense or the backbone does not fit the input.
    pub fn new(setup: &Setup, config: &MatchingConfig) -> Result<Self> {
        config.check()?;
        let network = setup.backbone.build(setup.input, Norm::Running, None)?;
        let theta = network.init(&mut stream(setup.seed, "init", 0));
        let task = TaskSpec::FewShot {
            ways: Count::fixed(config.train_ways.min(setup.base_classes.max(2))),
            shots: Count::fixed(setup.shots),
            queries: config.train_queries,
        };
        Ok(Self { network, theta, sharpness: config.sharpness, task })
    }
}

/// Mean of −log p(y | x̂) over the queries of an episode, and the share of them that is classified correctly.
///
/// `z` holds the embedded support, then the embedded queries, `[support + queries, features]`.
///
/// # Errors
/// When a query's class has no support, or the device fails.
pub fn episode_loss(
    z: TapedMatrix,
    support: &[usize],
    query: &[usize],
    sharpness: f32,
) -> Result<(TapedScalar, f32)> {
    let classes = one_hot(support)?;
    let ways = classes.ncols();
    if let Some(label) = query.iter().find(|&&label| label >= ways) {
        return Err(Error::invalid(format!(
            "a query has class {label}, which has no example in the support set"
        )));
    }
    let (z, tape) = z.split_tape();
    let z_support = rows(z.clone().put_tape(tape), 0, support.len())?;
    let z_query = rows(z.put_tape(OwnedTape::default()), support.len(), support.len() + query.len())?;
    let failed = |error| Error::device("attending to the support", error);
    let (z_support, z_query) = (directions(z_support)?, directions(z_query)?);
    let device = z_query.device().clone();
    let compute = || {
        let cosines = z_query.try_matmul(z_support.try_permute::<_, Axes2<1, 0>>()?)?;
        let attention = cosines.try_mul(sharpness)?.try_softmax::<Axis<1>>()?;
        let one_hot = device.try_tensor_from_vec(classes.iter().copied().collect(), classes.dim())?;
        attention.try_matmul(one_hot)
    };
    let p = compute().map_err(failed)?;
    let accuracy = accuracy(p.as_vec(), query);
    let loss = || {
        let mut mask = vec![0.0; query.len() * ways];
        query.iter().enumerate().for_each(|(row, &label)| mask[row * ways + label] = 1.0);
        let mask = device.try_tensor_from_vec(mask, (query.len(), ways))?;
        // A probability may round to 0 where the cosines are sharp.
        let logarithms = p.try_add(f32::MIN_POSITIVE)?.try_ln()?;
        logarithms.try_mul(mask)?.try_sum()?.try_mul(-1.0 / query.len() as f32)
    };
    Ok((loss().map_err(failed)?, accuracy))
}

/// p(y | x̂), `[queries, ways]`, of embedded queries, `[queries, features]`, given the embedded support.
///
/// # Errors
/// When a class has no support.
pub fn probabilities(
    support: ArrayView2<'_, f32>,
    labels: &[usize],
    query: ArrayView2<'_, f32>,
    sharpness: f32,
) -> Result<Array2<f32>> {
    let classes = one_hot(labels)?;
    let mut attention = cosines(query, support) * sharpness;
    for mut row in attention.rows_mut() {
        let max = row.fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        row.mapv_inplace(|cosine| (cosine - max).exp());
        let sum = row.sum();
        row /= sum;
    }
    Ok(attention.dot(&classes))
}

/// Cosines `[n, m]` between rows.
fn cosines(left: ArrayView2<'_, f32>, right: ArrayView2<'_, f32>) -> Array2<f32> {
    directions_of(left.to_owned()).dot(&directions_of(right.to_owned()).t())
}

/// `[support, ways]`: 1 where an example is of the class.
fn one_hot(labels: &[usize]) -> Result<Array2<f32>> {
    let ways = labels.iter().max().map_or(0, |&largest| largest + 1);
    if let Some(class) = (0..ways).find(|class| !labels.contains(class)) {
        return Err(Error::invalid(format!("class {class} has no example in the support set to attend to")));
    }
    Ok(Array2::from_shape_fn((labels.len(), ways), |(example, class)| f32::from(labels[example] == class)))
}

impl Learner for Matching {
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
        let (support, query) = (episode.support.classes()?, episode.query.classes()?);
        let x = concatenate![Along(0), episode.support.inputs(), episode.query.inputs()];
        let mut accuracy = 0.0;
        let (loss, gradient) = self.network.value_and_grad(&self.theta, x.view(), &mut |z, _| {
            let (loss, correct) = episode_loss(z, support, query, self.sharpness)?;
            accuracy = correct;
            Ok(loss)
        })?;
        Ok(Outer { loss, gradient, metrics: vec![("accuracy", accuracy)] })
    }

    fn predict(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction> {
        let [z_support, z_query] =
            embed_both(self.network.as_ref(), &self.theta, support.inputs(), query.inputs.view())?;
        let labels = support.classes()?;
        Ok(Prediction::Scores(probabilities(z_support.view(), labels, z_query.view(), self.sharpness)?))
    }

    fn similarity(
        &self,
        left: ArrayView4<'_, f32>,
        right: ArrayView4<'_, f32>,
    ) -> Result<Option<Array2<f32>>> {
        let embed = |x| self.network.forward(&self.theta, x);
        Ok(Some(cosines(embed(left)?.view(), embed(right)?.view())))
    }
}

inventory::submit! {
    LearnerEntry {
        name: "matching",
        family: Family::Metric,
        summary: "attention over the support by cosine similarity",
        paper: "Vinyals et al., Matching Networks for One Shot Learning, NeurIPS 2016",
        solves: &[Problem::Classification],
        train: |_| TrainConfig { steps: 300, validation_episodes: 100, ..TrainConfig::default() },
        options: defaults::<MatchingConfig>,
        build: |setup, table| Ok(Box::new(Matching::new(setup, &options("matching", table)?)?)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use ndarray::array;

    use super::*;

    #[test]
    fn a_class_has_the_attention_of_its_examples_together() {
        // Cosines of the query (1, 0): 1 and 0 with class 0's two, −1 with class 1's.
        let (support, query) = (array![[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]], array![[5.0, 0.0]]);
        let p = probabilities(support.view(), &[0, 0, 1], query.view(), 1.0).unwrap();
        let weights = [1.0_f32.exp(), 1.0, (-1.0_f32).exp()];
        let sum: f32 = weights.iter().sum();
        assert!((p[[0, 0]] - (weights[0] + weights[1]) / sum).abs() < 1e-6, "{p}");
        assert!((p[[0, 1]] - weights[2] / sum).abs() < 1e-6, "{p}");
    }

    #[test]
    fn a_class_without_support_is_refused() {
        let z = Array2::zeros((2, 3));
        let error = probabilities(z.view(), &[0, 2], z.view(), 1.0).unwrap_err().to_string();
        assert!(error.contains("class 1 has no example"), "{error}");
    }
}
