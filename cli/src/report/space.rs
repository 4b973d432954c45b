//! What a learner that compares makes of examples: a map of their embeddings, and how alike they are.

use std::collections::BTreeMap;

use kshot::embedding::{PrincipalPlane, principal_plane};
use kshot::learner::Comparer;
use kshot::{Error, Result};
use ndarray::{Array2, Array4};

/// How examples lie to one another.
pub(super) struct Space {
    /// Classes of the map, in its order.
    pub(super) mapped: Vec<u32>,
    /// Points of the map with their places in `mapped`.
    pub(super) points: Vec<(f64, f64, usize)>,
    /// Shares of the variance along both directions, 0–1.
    pub(super) explained: [f64; 2],
    /// Similarities of pairs of one class, and of two.
    pub(super) same: Vec<f64>,
    pub(super) other: Vec<f64>,
}

impl Space {
    /// Embeds examples of some classes for the map, and of some for the similarities.
    ///
    /// # Errors
    /// As those of the comparer.
    pub(super) fn of(
        comparer: &dyn Comparer,
        shape: [usize; 3],
        examples: &BTreeMap<u32, Vec<Vec<f32>>>,
        mapped: Vec<u32>,
        compared: Vec<u32>,
    ) -> Result<Self> {
        let (embeddings, places) = embedded(comparer, shape, examples, &mapped)?;
        let PrincipalPlane { coordinates, explained } = principal_plane(embeddings.view())?;
        let points =
            coordinates.outer_iter().zip(&places).map(|(at, &place)| (at[0], at[1], place)).collect();
        let (embeddings, places) = embedded(comparer, shape, examples, &compared)?;
        let similarity = comparer.similarity(embeddings.view(), embeddings.view())?;
        let (mut same, mut other) = (Vec::new(), Vec::new());
        for first in 0..places.len() {
            for second in first + 1..places.len() {
                let value = f64::from(similarity[[first, second]]);
                let list = if places[first] == places[second] { &mut same } else { &mut other };
                list.push(value);
            }
        }
        same.sort_by(f64::total_cmp);
        other.sort_by(f64::total_cmp);
        Ok(Self { mapped, points, explained, same, other })
    }

    /// The chance that two of a class are more alike than two that are not, equals counting half: the area under the ROC curve.
    pub(super) fn auc(&self) -> f64 {
        let below = |value: f64| {
            let less = self.other.partition_point(|&other| other < value);
            let up_to = self.other.partition_point(|&other| other <= value);
            (less + up_to) as f64 / 2.0
        };
        let pairs = (self.same.len() * self.other.len()).max(1);
        self.same.iter().map(|&value| below(value)).sum::<f64>() / pairs as f64
    }
}

/// Embeddings of all examples of these classes, and the place of each one's class.
fn embedded(
    comparer: &dyn Comparer,
    [channels, height, width]: [usize; 3],
    examples: &BTreeMap<u32, Vec<Vec<f32>>>,
    classes: &[u32],
) -> Result<(Array2<f32>, Vec<usize>)> {
    let (mut values, mut places) = (Vec::new(), Vec::new());
    for (place, class) in classes.iter().enumerate() {
        for example in examples.get(class).into_iter().flatten() {
            values.extend_from_slice(example);
            places.push(place);
        }
    }
    let inputs = Array4::from_shape_vec((places.len(), channels, height, width), values)
        .map_err(|error| Error::invalid(format!("examples of another shape: {error}")))?;
    Ok((comparer.embed(inputs.view())?, places))
}
