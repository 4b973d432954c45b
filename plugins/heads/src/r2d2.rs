//! An embedding learned through ridge regression (Bertinetto et al. 2019, R2D2).

use std::sync::Arc;

use dfdx::prelude::*;
use kshot::episode::{Episode, TaskSpec};
use kshot::learner::accuracy;
use kshot::metric::{Comparison, Embeddings, EpisodicTraining, Support, TrainingLoss};
use kshot::nn::{HeadWeights, Matrix, Metric, TapedMatrix, head};
use kshot::options::Options;
use kshot::params::{Layout, Params, Role};
use kshot::registry::Setup;
use kshot::rng::Rng;
use kshot::{Error, Result};
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::algebra::{one_hot, softmax, solve};
use crate::{Head as _, Ridge};

/// Of what the queries' regression is scaled by, α of equation 6 (its β is the same for every class), and of ln λ.
const SCALE: &str = "r2d2.scale";
const LOG_LAMBDA: &str = "r2d2.log_lambda";

/// Options of `r2d2`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct R2d2 {
    /// λ that training starts from; it is learned.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub lambda: f32,
    /// What the regression is multiplied by before the softmax; learned from here on.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub scale: f32,
    /// What it is trained on.
    #[serde(flatten)]
    pub training: EpisodicTraining,
}

impl Default for R2d2 {
    fn default() -> Self {
        Self { lambda: 1.0, scale: 10.0, training: EpisodicTraining::default() }
    }
}

impl Options for R2d2 {}

/// The loss of an episode, what it is differentiated by, and the queries' scores.
struct Differentiated {
    loss: f64,
    /// In the embeddings `[support + queries, features]`.
    z: Array2<f64>,
    scale: f64,
    log_lambda: f64,
    scores: Array2<f64>,
}

/// Mean cross-entropy of the queries, S = α Q Zᵀ M with M = (Z Zᵀ + λI)⁻¹ Y (equations 4 to 6), and its derivatives: those of
/// the solve by solving once more, with the same symmetric matrix.
fn differentiated(
    z: ArrayView2<'_, f64>,
    support: &[usize],
    query: &[usize],
    scale: f64,
    lambda: f64,
) -> Result<Differentiated> {
    let (z, q) = z.split_at(Axis(0), support.len());
    let ways = support.iter().chain(query).max().map_or(0, |most| most + 1);
    let ridged = Array2::eye(z.nrows()) * lambda + z.dot(&z.t());
    let m = solve(&ridged, &one_hot(support, ways))?;
    let w = z.t().dot(&m);
    let plain = q.dot(&w);
    let scores = &plain * scale;
    let p = softmax(scores.clone());
    let asked = one_hot(query, ways);
    let n = query.len() as f64;
    let loss = -(&p.mapv(|p| p.max(f64::MIN_POSITIVE).ln()) * &asked).sum() / n;
    let d_scores = (p - asked) / n;
    let d_w = q.t().dot(&d_scores) * scale;
    // N = (Z Zᵀ + λI)⁻¹ dM, so that the matrix has the derivative −N Mᵀ.
    let solved = solve(&ridged, &z.dot(&d_w))?;
    let d_matrix = solved.dot(&m.t());
    let d_z = m.dot(&d_w.t()) - (&d_matrix + &d_matrix.t()).dot(&z);
    let d_q = d_scores.dot(&w.t()) * scale;
    Ok(Differentiated {
        loss,
        z: concatenate![Axis(0), d_z, d_q],
        scale: (&d_scores * &plain).sum(),
        log_lambda: -lambda * (&solved * &m).sum(),
        scores,
    })
}

impl Comparison for R2d2 {
    fn training_task(&self, setup: &Setup) -> TaskSpec {
        self.training.task(setup)
    }

    fn weights(&self, _: usize, _: &mut Rng) -> Option<Params> {
        let mut layout = Layout::new();
        for name in [SCALE, LOG_LAMBDA] {
            layout.push(name, &[1, 1], Role::Weight);
        }
        let mut weights = Params::zeros(&Arc::new(layout));
        weights.values_mut().copy_from_slice(&[self.scale, self.lambda.ln()]);
        Some(weights)
    }

    fn loss(&self, z: TapedMatrix, weights: &HeadWeights<'_>, episode: &Episode) -> Result<TrainingLoss> {
        let (scale, log_lambda) = (weights.matrix(SCALE)?, weights.matrix(LOG_LAMBDA)?);
        let [alpha, lambda] = [&scale, &log_lambda].map(|one| f64::from(one.as_vec()[0]));
        let &(n, features) = z.shape();
        let values: Vec<f64> = z.as_vec().into_iter().map(f64::from).collect();
        let embedded = ArrayView2::from_shape((n, features), &values)
            .map_err(|error| Error::invalid(error.to_string()))?;
        let (support, query) = (episode.support.classes()?, episode.query.classes()?);
        let of = differentiated(embedded, support, query, alpha, lambda.exp())?;
        let metrics = vec![("accuracy", accuracy(of.scores.iter().map(|&score| score as f32), query))];
        let single = |gradient: f64| Array2::from_elem((1, 1), gradient as f32);
        let loss = head::with_gradient(z, of.loss as f32, of.z.mapv(|value| value as f32).view())?;
        let on_tape = |weight: Matrix, gradient| {
            head::with_gradient(weight.put_tape(OwnedTape::default()), 0.0, single(gradient).view())
        };
        let own = on_tape(scale, of.scale)?.try_add(on_tape(log_lambda, of.log_lambda)?);
        let loss =
            own.and_then(|own| loss.try_add(own)).map_err(|error| Error::device("adding losses", error))?;
        Ok(TrainingLoss { loss, metrics })
    }

    fn scores(&self, theta: &Params, support: Support<'_>, query: Embeddings<'_>) -> Result<Array2<f32>> {
        let weight = |name| {
            let values = theta.tensor(name);
            values
                .map(|values| f64::from(values[0]))
                .ok_or_else(|| Error::invalid(format!("θ lacks `{name}`")))
        };
        let (scale, lambda) = (weight(SCALE)?, weight(LOG_LAMBDA)?.exp());
        let ways = support.labels.iter().max().map_or(0, |most| most + 1);
        let support = crate::Support { z: support.z.mapv(f64::from), labels: support.labels.to_vec(), ways };
        let scores = Ridge { lambda }.fit(support)?(query.mapv(f64::from).view())?;
        Ok(scores.mapv(|score| (scale * score) as f32))
    }

    fn similarity(&self, _: &Params, a: Embeddings<'_>, b: Embeddings<'_>) -> Result<Array2<f32>> {
        Ok(-Metric::Squared.between(a, b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_through_the_solve_is_a_difference_of_losses() {
        let value = |row: usize, column: usize| ((7 * row + 3 * column) as f64 * 0.73).sin();
        let (support, query) = ([0, 1, 2, 0, 1, 2], [2, 1, 0, 0]);
        for features in [4, 9] {
            let z = Array2::from_shape_fn((10, features), |(row, column)| value(row, column));
            let of = |z: &Array2<f64>, scale, log_lambda: f64| {
                differentiated(z.view(), &support, &query, scale, log_lambda.exp()).unwrap()
            };
            let (at, h) = (of(&z, 1.7, -0.4), 1e-5);
            let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-8, "{a}, as a difference {b}");
            close(at.scale, (of(&z, 1.7 + h, -0.4).loss - of(&z, 1.7 - h, -0.4).loss) / (2.0 * h));
            close(at.log_lambda, (of(&z, 1.7, -0.4 + h).loss - of(&z, 1.7, -0.4 - h).loss) / (2.0 * h));
            for place in z.indexed_iter().map(|(place, _)| place) {
                let mut moved = [z.clone(), z.clone()];
                moved[0][place] += h;
                moved[1][place] -= h;
                let [above, below] = moved.map(|z| of(&z, 1.7, -0.4).loss);
                close(at.z[place], (above - below) / (2.0 * h));
            }
        }
    }
}
