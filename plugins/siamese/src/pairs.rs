//! Pairs of a batch, and the contrastive loss on them.

use kshot::{Error, Result};
use ndarray::{Array2, ArrayView2};

/// Two places in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// One.
    pub left: usize,
    /// The other.
    pub right: usize,
    /// Whether they are of one class.
    pub same: bool,
}

/// Puts each example of a P×K batch into one pair: the first half of each class with itself, the second half with the
/// next class. Batches are drawn at random, so no further draw is needed.
///
/// # Errors
/// When there are not at least two classes of 4, 8, … examples each.
pub fn pair_up(labels: &[usize]) -> Result<Vec<Pair>> {
    let classes = labels.iter().max().map_or(0, |&largest| largest + 1);
    let members: Vec<Vec<usize>> = (0..classes)
        .map(|class| (0..labels.len()).filter(|&place| labels[place] == class).collect())
        .collect();
    let size = members.first().map_or(0, Vec::len);
    if classes < 2
        || size == 0
        || !size.is_multiple_of(4)
        || members.iter().any(|places| places.len() != size)
    {
        return Err(Error::invalid(
            "pairs need a batch of two or more classes with the same number of examples, a multiple of 4",
        ));
    }
    let mut pairs = Vec::with_capacity(labels.len() / 2);
    for (class, places) in members.iter().enumerate() {
        let next = &members[(class + 1) % classes];
        let (own, others) = places.split_at(size / 2);
        pairs.extend(own.chunks_exact(2).map(|two| Pair { left: two[0], right: two[1], same: true }));
        // A quarter of each class goes to the left of such a pair, the last quarter to the right.
        let (lefts, rights) = (&others[..size / 4], &next[3 * size / 4..]);
        pairs.extend(lefts.iter().zip(rights).map(|(&left, &right)| Pair { left, right, same: false }));
    }
    Ok(pairs)
}

/// Mean over pairs of d² (the same) and max(0, margin − d)² (others), and its gradient in `z` `[n, features]`. Where two
/// that should be apart lie on one another there is no direction to part them in, and the gradient is 0.
pub fn contrastive(z: ArrayView2<'_, f32>, pairs: &[Pair], margin: f32) -> (f32, Array2<f32>) {
    let mut gradient = Array2::zeros(z.dim());
    let mut sum = 0.0_f64;
    let share = 1.0 / pairs.len() as f32;
    for &Pair { left, right, same } in pairs {
        let difference = &z.row(left) - &z.row(right);
        let distance = difference.dot(&difference).sqrt();
        let gap = (margin - distance).max(0.0);
        let (cost, slope) = match same {
            true => (distance * distance, 2.0),
            false => (gap * gap, if distance > 0.0 { -2.0 * gap / distance } else { 0.0 }),
        };
        sum += f64::from(cost);
        gradient.row_mut(left).scaled_add(share * slope, &difference);
        gradient.row_mut(right).scaled_add(-share * slope, &difference);
    }
    ((sum * f64::from(share)) as f32, gradient)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn every_example_is_in_one_pair_and_half_of_the_pairs_are_of_one_class() {
        for per_class in [4, 8] {
            let labels: Vec<usize> = (0..3).flat_map(|class| std::iter::repeat_n(class, per_class)).collect();
            let pairs = pair_up(&labels).unwrap();
            let mut places: Vec<usize> = pairs.iter().flat_map(|pair| [pair.left, pair.right]).collect();
            places.sort_unstable();
            assert_eq!(places, (0..labels.len()).collect::<Vec<_>>());
            assert!(pairs.iter().all(|pair| pair.same == (labels[pair.left] == labels[pair.right])));
            assert_eq!(pairs.iter().filter(|pair| pair.same).count(), pairs.len() / 2);
        }
        assert!(pair_up(&[0, 0, 0, 0]).is_err() && pair_up(&[0, 1]).is_err());
    }

    #[test]
    fn pairs_on_one_another_have_a_finite_gradient() {
        let z = Array2::<f32>::ones((2, 3));
        let (loss, gradient) = contrastive(z.view(), &[Pair { left: 0, right: 1, same: false }], 1.0);
        assert_eq!(loss, 1.0);
        assert!(gradient.iter().all(|g| *g == 0.0));
    }
}
