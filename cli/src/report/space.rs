//! What a learner that compares makes of examples: a map of their embeddings, and how alike they are.

use std::collections::BTreeMap;

use kshot::learner::Comparer;
use kshot::{Error, Result};
use ndarray::{Array1, Array2, Array4, Axis};

/// Steps of the power iteration: far more than a picture needs.
const ITERATIONS: usize = 300;

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
        let (plane, explained) = plane(&embeddings);
        let points = plane.outer_iter().zip(&places).map(|(at, &place)| (at[0], at[1], place)).collect();
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

/// Coordinates in the plane of the two principal components, by power iteration on the Gram matrix, and the share of the
/// variance along each.
fn plane(embeddings: &Array2<f32>) -> (Array2<f64>, [f64; 2]) {
    let x = embeddings.mapv(f64::from);
    let count = x.nrows();
    let Some(mean) = x.mean_axis(Axis(0)) else { return (Array2::zeros((0, 2)), [0.0; 2]) };
    let x = x - &mean;
    let mut gram = x.dot(&x.t());
    let total = gram.diag().sum().max(f64::MIN_POSITIVE);
    let (mut plane, mut explained) = (Array2::zeros((count, 2)), [0.0; 2]);
    for (direction, share) in explained.iter_mut().enumerate() {
        let mut vector = Array1::from_shape_fn(count, |n| ((n * 7 + direction * 3) % 11) as f64 - 5.0);
        let mut value = 0.0;
        for _ in 0..ITERATIONS {
            let next = gram.dot(&vector);
            value = next.dot(&next).sqrt();
            if value < 1e-12 {
                break;
            }
            vector = next / value;
        }
        if value < 1e-12 {
            break;
        }
        *share = value / total;
        plane.column_mut(direction).assign(&(&vector * value.sqrt()));
        for ((row, column), entry) in gram.indexed_iter_mut() {
            *entry -= value * vector[row] * vector[column];
        }
    }
    (plane, explained)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_on_a_line_have_one_principal_component() {
        let points = Array2::from_shape_fn((6, 3), |(n, f)| (n as f32) * (f as f32 + 1.0));
        let (plane, explained) = plane(&points);
        assert!((explained[0] - 1.0).abs() < 1e-9 && explained[1] < 1e-9);
        let step = (plane[[1, 0]] - plane[[0, 0]]).abs();
        assert!((step - 14f64.sqrt()).abs() < 1e-6);
    }
}
