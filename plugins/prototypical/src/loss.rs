//! The loss of an episode and the scores of its queries: equations 1 and 2 of Snell et al. 2017.

use dfdx::prelude::*;
use kshot::learner::accuracy;
use kshot::nn::head::{class_means, class_means_of, cross_entropy, directions, directions_of, rows};
use kshot::nn::{Dev, TapedMatrix, TapedScalar};
use kshot::{Error, Result};
use ndarray::{Array2, ArrayView2, Axis as Along};
use serde::{Deserialize, Serialize};

/// How a query is compared with a prototype.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distance {
    /// Squared Euclidean, a Bregman divergence: the class mean is the right prototype (§2.3).
    #[default]
    Euclidean,
    /// Cosine, times 10 so that the softmax can be sharp.
    Cosine,
}

/// Sharpness of the softmax over cosines.
const COSINE_SCALE: f32 = 10.0;

/// Mean of −log p(y = k | x) over the queries of an episode, and the share of them that is classified correctly.
///
/// `z` holds the embedded support, then the embedded queries, `[support + queries, features]`.
///
/// # Errors
/// When the labels do not fit: a class without support, a query of a class that has none.
pub fn episode_loss(
    z: TapedMatrix,
    support: &[usize],
    query: &[usize],
    distance: Distance,
) -> Result<(TapedScalar, f32)> {
    let (z, tape) = z.split_tape();
    let z_support = rows(z.clone().put_tape(tape), 0, support.len())?;
    let z_query = rows(z.put_tape(Default::default()), support.len(), support.len() + query.len())?;
    let means = class_means(support)?.put_tape(OwnedTape::default());
    let failed = |error| Error::device("comparing queries with prototypes", error);
    let prototypes = means.try_matmul(z_support).map_err(failed)?;
    let logits = match distance {
        Distance::Euclidean => bregman(z_query, prototypes).map_err(failed)?,
        Distance::Cosine => {
            let prototypes = directions(prototypes)?.try_permute::<_, Axes2<1, 0>>().map_err(failed)?;
            let cosines = directions(z_query)?.try_matmul(prototypes).map_err(failed)?;
            cosines.try_mul(COSINE_SCALE).map_err(failed)?
        }
    };
    let accuracy = accuracy(logits.as_vec(), query);
    Ok((cross_entropy(logits, query)?, accuracy))
}

/// Minus the squared Euclidean distances but for what a query's classes share:
/// −‖q − p‖² = 2 q·p − ‖p‖² − ‖q‖², and the softmax does not see ‖q‖².
fn bregman(query: TapedMatrix, prototypes: TapedMatrix) -> Result<TapedMatrix, <Dev as HasErr>::Err> {
    let (prototypes, tape) = prototypes.split_tape();
    let squares = prototypes.clone().put_tape(tape).try_square()?.try_sum::<_, Axis<1>>()?;
    let products = query.try_matmul(prototypes.try_permute::<_, Axes2<1, 0>>()?)?.try_mul(2.0)?;
    let shape = *products.shape();
    products.try_sub(squares.try_broadcast_like::<_, Axis<0>>(&shape)?)
}

/// Scores `[queries, ways]` of embedded queries, `[queries, features]`, given the embedded support.
///
/// # Errors
/// When a class has no support.
pub fn scores(
    support: ArrayView2<'_, f32>,
    labels: &[usize],
    query: ArrayView2<'_, f32>,
    distance: Distance,
) -> Result<Array2<f32>> {
    let prototypes = class_means_of(support, labels)?;
    Ok(match distance {
        Distance::Euclidean => {
            let squares = prototypes.map_axis(Along(1), |row| row.dot(&row));
            query.dot(&prototypes.t()) * 2.0 - squares
        }
        Distance::Cosine => {
            directions_of(query.to_owned()).dot(&directions_of(prototypes).t()) * COSINE_SCALE
        }
    })
}

#[cfg(test)]
mod tests {
    use kshot::nn::value_and_grad_of_head;
    use kshot::params::Params;
    use ndarray::{array, concatenate};

    use super::*;

    /// Two classes in the plane: prototypes (1, 1), the mean of two, and (0, −3). The first query is of class 0 and
    /// nearest to it; the second is of class 1 and yet nearest to class 0.
    fn episode() -> (Array2<f32>, Array2<f32>) {
        (array![[2.0, 0.0], [0.0, 2.0], [0.0, -3.0]], array![[1.0, 0.0], [0.0, 1.0]])
    }
    const LABELS: [usize; 3] = [0, 0, 1];
    const QUERY_LABELS: [usize; 2] = [0, 1];

    fn loss(support: &Array2<f32>, labels: &[usize], distance: Distance) -> (f32, f32) {
        let z = concatenate![Along(0), *support, episode().1];
        let (none, mut accuracy) = (Params::empty(), 0.0);
        let (loss, _) = value_and_grad_of_head(&none, z, &mut none.clone(), &mut |z, _| {
            let (loss, correct) = episode_loss(z, labels, &QUERY_LABELS, distance)?;
            accuracy = correct;
            Ok(loss)
        })
        .unwrap();
        (loss, accuracy)
    }

    #[test]
    fn scores_and_loss_by_hand_under_both_distances() {
        let (support, queries) = episode();
        // Cosines with the prototypes: 1/√2 and 0; 1/√2 and −1. Times 10.
        let cosine = array![[7.071_068, 0.0], [7.071_068, -10.0]];
        // −‖q − p‖² + ‖q‖² = −1 + 1 and −10 + 1; −1 + 1 and −16 + 1.
        let euclidean = array![[0.0, -9.0], [0.0, -15.0]];
        // Means of log(1 + e^−7.071) and log(1 + e^17.071); of log(1 + e^−9) and log(1 + e^15).
        for (distance, wanted, mean) in
            [(Distance::Cosine, cosine, 8.535_958), (Distance::Euclidean, euclidean, 7.500_062)]
        {
            let scores = scores(support.view(), &LABELS, queries.view(), distance).unwrap();
            assert!((&scores - &wanted).iter().all(|e| e.abs() < 1e-5), "{distance:?}: {scores}");
            let (loss, accuracy) = loss(&support, &LABELS, distance);
            assert!((loss - mean).abs() < 1e-5, "{distance:?}: {loss}");
            assert_eq!(accuracy, 0.5);
        }
    }

    #[test]
    fn the_order_of_the_support_does_not_matter() {
        let (support, _) = episode();
        for distance in [Distance::Cosine, Distance::Euclidean] {
            let (before, _) = loss(&support, &LABELS, distance);
            let order = [2, 1, 0];
            let (after, _) = loss(&support.select(Along(0), &order), &order.map(|i| LABELS[i]), distance);
            assert!((before - after).abs() < 1e-6, "{distance:?}: {before} {after}");
        }
    }

    #[test]
    fn a_class_without_support_is_refused() {
        let (support, queries) = episode();
        let error = scores(support.view(), &[0, 0, 2], queries.view(), Distance::Euclidean).unwrap_err();
        assert!(error.to_string().contains("class 1 has no example"), "{error}");
    }
}
