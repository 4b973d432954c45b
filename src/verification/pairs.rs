//! Pairs by similarity: the ROC curve, and what is read off it.

/// False-accept rates that true-accept rates are given at.
pub(super) const FARS: [f64; 3] = [0.1, 0.01, 0.001];

/// Two examples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub(super) similarity: f32,
    /// Whether they are of one class.
    pub(super) same: bool,
    /// How many such pairs it stands for.
    pub(super) weight: f64,
}

/// What the curve says, all 0–1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figures {
    /// Area under the curve.
    pub(super) area: f64,
    /// Where as many of one class are refused as of two accepted.
    pub(super) equal_error: f64,
    /// Balanced, at the threshold.
    pub(super) accuracy: f64,
    /// Of one class that are accepted at each of [`FARS`].
    pub(super) tar: [f64; 3],
}

/// Calls `each` with every point of the ROC curve, one for each different similarity: (similarity, false accepts, true
/// accepts) when all pairs at least so similar are accepted. Pairs are given most similar first.
fn curve(pairs: impl Iterator<Item = Pair> + Clone, mut each: impl FnMut(f32, f64, f64)) {
    let total = |of: bool| pairs.clone().filter(|pair| pair.same == of).map(|pair| pair.weight).sum::<f64>();
    let (same, other) = (total(true), total(false));
    let (mut accepted, mut wrongly) = (0.0, 0.0);
    let mut pairs = pairs.peekable();
    while let Some(pair) = pairs.next() {
        *if pair.same { &mut accepted } else { &mut wrongly } += pair.weight;
        if pairs.peek().is_none_or(|next| next.similarity != pair.similarity) {
            each(pair.similarity, wrongly / other, accepted / same);
        }
    }
}

/// All figures of pairs, most similar first.
pub(super) fn figures(pairs: impl Iterator<Item = Pair> + Clone, threshold: f32) -> Figures {
    let (mut area, mut equal_error, mut tar) = (0.0, None, [0.0; 3]);
    // Of no pair at all, one in two is right.
    let mut accuracy = 0.5;
    let (mut x0, mut y0) = (0.0, 0.0);
    curve(pairs, |similarity, x, y| {
        area += (x - x0) * (y + y0) / 2.0;
        // False accepts x meet false refusals 1 − y on this segment.
        if equal_error.is_none() && x >= 1.0 - y {
            let (before, after) = (x0 - (1.0 - y0), x - (1.0 - y));
            equal_error = Some(x0 + (x - x0) * (-before / (after - before)));
        }
        for (tar, far) in tar.iter_mut().zip(FARS) {
            if x <= far {
                *tar = y;
            }
        }
        if similarity >= threshold {
            accuracy = (y + 1.0 - x) / 2.0;
        }
        (x0, y0) = (x, y);
    });
    Figures { area, equal_error: equal_error.unwrap_or(0.5), accuracy, tar }
}

/// Area under the curve of similarities in any order, and whether each is of the kind that should have the greater ones.
pub(crate) fn area(values: impl IntoIterator<Item = (f32, bool)>) -> f64 {
    let pair = |(similarity, same)| Pair { similarity, same, weight: 1.0 };
    let mut pairs: Vec<Pair> = values.into_iter().map(pair).collect();
    pairs.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
    figures(pairs.iter().copied(), f32::INFINITY).area
}

/// Half way between the similarities around the cut that gives the best balanced accuracy, so that it is not one pair's own.
pub(super) fn best_threshold(pairs: &[Pair]) -> f32 {
    let (mut best, mut gain, mut next, mut is_next) = (f32::INFINITY, f64::NEG_INFINITY, None, false);
    curve(pairs.iter().copied(), |similarity, x, y| {
        if is_next {
            (next, is_next) = (Some(similarity), false);
        }
        if y - x > gain {
            (best, gain, next, is_next) = (similarity, y - x, None, true);
        }
    });
    next.map_or(best, |next| best / 2.0 + next / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(f32, bool)]) -> Vec<Pair> {
        pairs.iter().map(|&(similarity, same)| Pair { similarity, same, weight: 1.0 }).collect()
    }

    fn at(pairs: &[Pair], threshold: f32) -> Figures {
        figures(pairs.iter().copied(), threshold)
    }

    #[test]
    fn area_equal_error_and_threshold_by_hand() {
        // Six pairs: of one class at 0.9, 0.7, 0.4; of two at 0.8, 0.4, 0.1.
        let pairs = of(&[(0.9, true), (0.8, false), (0.7, true), (0.4, true), (0.4, false), (0.1, false)]);
        let figures = at(&pairs, 0.75);
        // Of the nine (same, other): 0.9 wins 3, 0.7 wins 2, 0.4 wins 1 and ties 1.
        assert!((figures.area - 6.5 / 9.0).abs() < 1e-12, "{figures:?}");
        // At 0.7 one in three of either kind is wrong.
        assert!((figures.equal_error - 1.0 / 3.0).abs() < 1e-12, "{figures:?}");
        // One of each kind is at least 0.75.
        assert!((figures.accuracy - 0.5).abs() < 1e-12);
        assert_eq!(figures.tar, [1.0 / 3.0; 3]);
        // Best after the second pair: two in three of one class accepted, none of two.
        let pairs = of(&[(0.9, true), (0.7, true), (0.5, false), (0.4, false), (0.3, true), (0.1, false)]);
        let threshold = best_threshold(&pairs);
        assert!((threshold - 0.6).abs() < 1e-6, "{threshold}");
        assert!((at(&pairs, threshold).accuracy - (2.0 / 3.0 + 1.0) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_perfect_order_has_no_error_and_equal_similarities_are_chance() {
        let perfect = of(&[(0.9, true), (0.8, true), (0.2, false)]);
        let figures = at(&perfect, best_threshold(&perfect));
        assert_eq!((figures.area, figures.equal_error, figures.accuracy), (1.0, 0.0, 1.0));
        let flat = at(&of(&[(0.5, true), (0.5, false), (0.5, false)]), 0.6);
        assert_eq!((flat.area, flat.equal_error, flat.accuracy), (0.5, 0.5, 0.5));
        assert_eq!(area([(0.2, false), (0.9, true), (0.8, true)]), 1.0);
    }

    #[test]
    fn a_pair_of_weight_two_is_that_pair_twice() {
        let twice = of(&[(0.9, true), (0.6, false), (0.5, true), (0.5, true), (0.2, false), (0.2, false)]);
        let mut weighed = of(&[(0.9, true), (0.6, false), (0.5, true), (0.2, false)]);
        (weighed[2].weight, weighed[3].weight) = (2.0, 2.0);
        assert_eq!(at(&twice, 0.3), at(&weighed, 0.3));
    }
}
