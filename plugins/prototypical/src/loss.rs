//! The loss of an episode and the scores of its queries: equations 1 and 2 of Snell et al. 2017.

use dfdx::prelude::*;
use kshot::learner::argmax;
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
    let &(_, ways) = logits.shape();
    let correct = logits
        .as_vec()
        .chunks_exact(ways)
        .zip(query)
        .filter(|(row, label)| argmax(row.iter().copied()) == **label)
        .count();
    Ok((cross_entropy(logits, query)?, correct as f32 / query.len() as f32))
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
