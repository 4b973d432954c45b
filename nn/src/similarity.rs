//! How alike embeddings are, on the host and on the tape: the logits of prototypical and matching networks, and of
//! classifiers by cosine.

use dfdx::prelude::*;
use ndarray::{Array2, ArrayView2, Axis as Along};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::distance::Metric;
use crate::head::{directions, directions_of};
use crate::tape::{Dev, TapedMatrix};
use crate::{Error, Result};

/// How alike two embeddings are, higher for more alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Similarity {
    /// Minus the squared Euclidean distance.
    #[default]
    Squared,
    /// The cosine of the angle between them.
    Cosine,
}

impl Similarity {
    /// Similarities `[n, m]` of the rows of `a` `[n, features]` and `b` `[m, features]`, symmetric in the two.
    pub fn between(self, a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Array2<f32> {
        match self {
            Self::Squared => -Metric::Squared.between(a, b),
            Self::Cosine => self.logits(a, b, 1.0),
        }
    }

    /// Similarities times `sharpness`, `[n, m]`, for a softmax over the `b`; without what that does not see, the ‖a‖² of
    /// −‖a − b‖² = 2 a·b − ‖b‖² − ‖a‖².
    pub fn logits(self, a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, sharpness: f32) -> Array2<f32> {
        match self {
            Self::Squared => {
                let squares = b.map_axis(Along(1), |row| row.dot(&row));
                (a.dot(&b.t()) * 2.0 - squares) * sharpness
            }
            Self::Cosine => directions_of(a.to_owned()).dot(&directions_of(b.to_owned()).t()) * sharpness,
        }
    }

    /// [`Similarity::logits`] on the tape.
    ///
    /// # Errors
    /// When the device fails.
    pub fn logits_on_tape(self, a: TapedMatrix, b: TapedMatrix, sharpness: f32) -> Result<TapedMatrix> {
        let failed = |error| Error::device("comparing embeddings", error);
        let logits = match self {
            Self::Squared => squared(a, b).map_err(failed)?,
            Self::Cosine => {
                let b = directions(b)?.try_permute::<_, Axes2<1, 0>>().map_err(failed)?;
                directions(a)?.try_matmul(b).map_err(failed)?
            }
        };
        logits.try_mul(sharpness).map_err(failed)
    }
}

/// 2 a·b − ‖b‖².
fn squared(a: TapedMatrix, b: TapedMatrix) -> Result<TapedMatrix, <Dev as HasErr>::Err> {
    let (b, tape) = b.split_tape();
    let squares = b.clone().put_tape(tape).try_square()?.try_sum::<_, Axis<1>>()?;
    let products = a.try_matmul(b.try_permute::<_, Axes2<1, 0>>()?)?.try_mul(2.0)?;
    let shape = *products.shape();
    products.try_sub(squares.try_broadcast_like::<_, Axis<0>>(&shape)?)
}
