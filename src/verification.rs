//! Verification and retrieval: do two examples share a class, and which others share this one's?
//!
//! On batches of P classes × K examples, of classes that training never saw, by a [`Comparer`]. Every figure is
//! a mean over batches with its 95 % interval.
//!
//! - *Verification* looks at all pairs of a batch. Area under the ROC curve: the probability that a pair of one class is
//!   more similar than a pair of two (ties count half). Equal error rate: where as many pairs of one class are refused
//!   as pairs of two are accepted. Accuracy: at the threshold that is best on validation classes, pairs of one class
//!   and of two counting the same, as in the balanced trials of Koch et al. 2015.
//! - *Retrieval* ranks a batch's other examples by similarity to each. Recall@k: the share of examples with one of their
//!   class among the first k. MAP@R (Musgrave, Belongie & Lim, "A Metric Learning Reality Check", ECCV 2020, section
//!   3.2): the mean over the first R ranks of the precision at each that holds a hit, R being the number of hits there are.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::episode::Tasks;
use crate::learner::Comparer;
use crate::nn::parallel::map_in_order;
use crate::stats::{Interval, interval95};
use crate::{Error, Result};

/// How well a learner's similarity tells classes apart; all but the threshold are 0–1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verification {
    /// Area under the ROC curve: 0.5 is chance.
    pub auc: Interval,
    /// Equal error rate: less is better.
    pub eer: Interval,
    /// Balanced accuracy at `threshold`.
    pub accuracy: Interval,
    /// The similarity from which on a pair is taken for one class; the best one on the validation batches.
    pub threshold: f32,
    /// Share of the pairs of one class that are accepted where no more than this share of those of two is.
    pub tar_at_far: Vec<TarAtFar>,
    /// Share of examples whose most similar other one is of their class.
    pub recall_at_1: Interval,
    /// Share of examples with one of their class among the five most similar.
    pub recall_at_5: Interval,
    /// Mean average precision at R.
    pub map_at_r: Interval,
}

/// A true-accept rate at a false-accept rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TarAtFar {
    /// Of pairs of two classes, 0–1.
    pub far: f64,
    /// Of pairs of one class.
    pub tar: Interval,
}

/// A similarity from which on two examples are taken for one class, and how often that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The share of pairs of two classes at least so similar, at most, on the classes it was found by.
    pub far: f64,
    /// The similarity.
    pub similarity: f32,
}

/// False-accept rates that true-accept rates are given at.
const FARS: [f64; 3] = [0.1, 0.01, 0.001];

/// Similarities of the pairs of a batch, each pair once, most similar first, and whether they are of one class.
type Pairs = Vec<(f32, bool)>;

/// Verification and retrieval on the batches `0..batches` of `test` (as many as there are, where these are fewer), with the
/// threshold from those of `validation`.
/// The outcome is the same on any number of threads.
///
/// # Errors
/// When a batch has no pair of one class or of two, or a similarity is not a
/// number. The message names the batch.
pub fn verify(
    comparer: &dyn Comparer,
    validation: &dyn Tasks,
    test: &dyn Tasks,
    batches: u64,
    on_batch: &(dyn Fn() + Sync),
) -> Result<Verification> {
    let seen = |tasks: &dyn Tasks, what: &str| {
        map_in_order(0..tasks.limit().map_or(batches, |limit| limit.min(batches)), |number| {
            let (all, labels) =
                compared(comparer, tasks, number).map_err(|e| e.context(format!("{what} batch {number}")))?;
            on_batch();
            Ok((pairs(&all, &labels), retrieval(&all, &labels)))
        })
    };
    let mut pooled: Pairs =
        seen(validation, "validation")?.into_iter().flat_map(|(pairs, _)| pairs).collect();
    pooled.sort_by(|a, b| b.0.total_cmp(&a.0));
    let threshold = best_threshold(&pooled);
    let whole = test.limit() == Some(1);
    let test = seen(test, "test")?;
    let mean = |figure: &dyn Fn(&Pairs, &[f32; 3]) -> f32| {
        match &test.iter().map(|(pairs, retrieved)| figure(pairs, retrieved)).collect::<Vec<_>>()[..] {
            // All there is, once: it has no spread.
            [one] if whole => Ok(Interval { mean: f64::from(*one), ci95: f64::NAN }),
            figures => interval95(figures),
        }
    };
    Ok(Verification {
        auc: mean(&|pairs, _| roc(pairs).0)?,
        eer: mean(&|pairs, _| roc(pairs).1)?,
        accuracy: mean(&|pairs, _| balanced_accuracy(pairs, threshold))?,
        threshold,
        tar_at_far: FARS
            .into_iter()
            .map(|far| Ok(TarAtFar { far, tar: mean(&|pairs, _| tar(pairs, far))? }))
            .collect::<Result<_>>()?,
        recall_at_1: mean(&|_, retrieved| retrieved[0])?,
        recall_at_5: mean(&|_, retrieved| retrieved[1])?,
        map_at_r: mean(&|_, retrieved| retrieved[2])?,
    })
}

/// Thresholds for false-accept rates of 0.5 to 0.001 by the batches `0..batches` of classes that were not trained on; as low
/// as there are pairs for.
///
/// # Errors
/// As [`verify`].
pub fn thresholds(comparer: &dyn Comparer, tasks: &dyn Tasks, batches: u64) -> Result<Vec<Threshold>> {
    let batches = tasks.limit().map_or(batches, |limit| limit.min(batches));
    let others = map_in_order(0..batches, |number| {
        let (all, labels) = compared(comparer, tasks, number)?;
        Ok(pairs(&all, &labels).into_iter().filter(|(_, same)| !same).map(|(value, _)| value).collect())
    })?;
    Ok(thresholds_of(others.into_iter().flat_map(|values: Vec<f32>| values).collect()))
}

/// The same of similarities of pairs of two classes.
pub fn thresholds_of(mut others: Vec<f32>) -> Vec<Threshold> {
    others.sort_by(|a, b| b.total_cmp(a));
    let of = |far: f64| {
        // As many may be accepted, and the next may not.
        let accepted = (far * others.len() as f64) as usize;
        let (last, next) = (*others.get(accepted.checked_sub(1)?)?, *others.get(accepted)?);
        let similarity = if last > next { last / 2.0 + next / 2.0 } else { next.next_up() };
        Some(Threshold { far, similarity: if similarity > next { similarity } else { last } })
    };
    [0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001].into_iter().filter_map(of).collect()
}

/// The similarities `[n, n]` of a batch, and its labels.
fn compared(comparer: &dyn Comparer, tasks: &dyn Tasks, number: u64) -> Result<(Array2<f32>, Vec<usize>)> {
    let batch = tasks.episode(number)?.support;
    let labels = batch.classes()?.to_vec();
    let twice = |class: &usize| labels.iter().filter(|other| *other == class).count() > 1;
    if labels.iter().all(|label| *label == labels[0]) || !labels.iter().all(twice) {
        return Err(Error::invalid(
            "verification needs two classes or more, with two examples or more of each",
        ));
    }
    let z = comparer.embed(batch.inputs())?;
    let similarity = comparer.similarity(z.view(), z.view())?;
    match similarity.indexed_iter().find(|(_, value)| value.is_nan()) {
        Some(((i, j), _)) => Err(Error::NotFinite(format!("the similarity of examples {i} and {j} is NaN"))),
        None => Ok((similarity, labels)),
    }
}

fn pairs(similarity: &Array2<f32>, labels: &[usize]) -> Pairs {
    let n = labels.len();
    let mut pairs: Pairs = (0..n)
        .flat_map(|i| (i + 1..n).map(move |j| (i, j)))
        .map(|(i, j)| (similarity[[i, j]], labels[i] == labels[j]))
        .collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    pairs
}

/// Pairs of one class, and of two.
fn counts(pairs: &Pairs) -> (f64, f64) {
    let same = pairs.iter().filter(|(_, same)| *same).count();
    (same as f64, (pairs.len() - same) as f64)
}

/// The points of the ROC curve, one for each different similarity: (similarity, false accepts, true accepts) when all
/// pairs at least so similar are accepted.
fn curve(pairs: &Pairs) -> Vec<(f32, f64, f64)> {
    let (same, other) = counts(pairs);
    let (mut accepted, mut wrongly) = (0.0, 0.0);
    let mut points = Vec::new();
    for tied in pairs.chunk_by(|a, b| a.0 == b.0) {
        let right = tied.iter().filter(|(_, same)| *same).count() as f64;
        accepted += right;
        wrongly += tied.len() as f64 - right;
        points.push((tied[0].0, wrongly / other, accepted / same));
    }
    points
}

/// Area under the curve, and equal error rate.
fn roc(pairs: &Pairs) -> (f32, f32) {
    let (mut area, mut equal) = (0.0, None);
    let (mut x0, mut y0) = (0.0, 0.0);
    for (_, x, y) in curve(pairs) {
        area += (x - x0) * (y + y0) / 2.0;
        // False accepts x meet false refusals 1 − y on this segment.
        if equal.is_none() && x >= 1.0 - y {
            let (before, after) = (x0 - (1.0 - y0), x - (1.0 - y));
            equal = Some(x0 + (x - x0) * (-before / (after - before)));
        }
        (x0, y0) = (x, y);
    }
    (area as f32, equal.unwrap_or(0.5) as f32)
}

/// True accepts where false ones are no more than `far`.
fn tar(pairs: &Pairs, far: f64) -> f32 {
    curve(pairs)
        .into_iter()
        .take_while(|&(_, wrongly, _)| wrongly <= far)
        .last()
        .map_or(0.0, |(.., right)| right as f32)
}

/// Half way between the similarities around the best cut, so that it is not one pair's own.
fn best_threshold(pairs: &Pairs) -> f32 {
    let points = curve(pairs);
    let gain = |at: usize| points[at].2 - points[at].1;
    let best = (0..points.len()).fold(0, |best, at| if gain(at) > gain(best) { at } else { best });
    match points.get(best + 1) {
        Some(next) => points[best].0 / 2.0 + next.0 / 2.0,
        None => points[best].0,
    }
}

fn balanced_accuracy(pairs: &Pairs, threshold: f32) -> f32 {
    let (same, other) = counts(pairs);
    let right = |of: bool| {
        pairs.iter().filter(|&&(value, same)| same == of && (value >= threshold) == of).count() as f64
    };
    ((right(true) / same + right(false) / other) / 2.0) as f32
}

/// Recall@1, recall@5 and MAP@R; ties go to the earlier example.
fn retrieval(similarity: &Array2<f32>, labels: &[usize]) -> [f32; 3] {
    let mut sums = [0.0_f64; 3];
    for (i, row) in similarity.outer_iter().enumerate() {
        let mut others: Vec<usize> = (0..labels.len()).filter(|&j| j != i).collect();
        others.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        let hits: Vec<bool> = others.iter().map(|&j| labels[j] == labels[i]).collect();
        let there = hits.iter().filter(|hit| **hit).count();
        let mut found = 0.0;
        for (rank, _) in hits.iter().take(there).enumerate().filter(|(_, hit)| **hit) {
            found += 1.0;
            sums[2] += found / (rank + 1) as f64 / there as f64;
        }
        for (sum, k) in sums.iter_mut().zip([1, 5]) {
            *sum += f64::from(hits.iter().take(k).any(|hit| *hit));
        }
    }
    sums.map(|sum| (sum / labels.len() as f64) as f32)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn curve_area_equal_error_and_threshold_by_hand() {
        // Six pairs: of one class at 0.9, 0.7, 0.4; of two at 0.8, 0.4, 0.1.
        let pairs = vec![(0.9, true), (0.8, false), (0.7, true), (0.4, true), (0.4, false), (0.1, false)];
        // Of the nine (same, other): 0.9 wins 3, 0.7 wins 2, 0.4 wins 1 and ties 1.
        let (area, equal) = roc(&pairs);
        assert!((area - 6.5 / 9.0).abs() < 1e-6, "{area}");
        // At 0.7 one in three of either kind is wrong.
        assert!((equal - 1.0 / 3.0).abs() < 1e-6, "{equal}");
        // Best after the second pair: two in three of one class accepted, none of two.
        let pairs = vec![(0.9, true), (0.7, true), (0.5, false), (0.4, false), (0.3, true), (0.1, false)];
        let threshold = best_threshold(&pairs);
        assert!((threshold - 0.6).abs() < 1e-6, "{threshold}");
        assert!((balanced_accuracy(&pairs, threshold) - (2.0 / 3.0 + 1.0) / 2.0).abs() < 1e-6);
    }

    #[test]
    fn a_perfect_order_has_no_error_and_equal_similarities_are_chance() {
        let perfect = vec![(0.9, true), (0.8, true), (0.2, false)];
        assert_eq!(roc(&perfect), (1.0, 0.0));
        assert_eq!(balanced_accuracy(&perfect, best_threshold(&perfect)), 1.0);
        let flat = vec![(0.5, true), (0.5, false), (0.5, false)];
        assert_eq!(roc(&flat), (0.5, 0.5));
    }

    #[test]
    fn a_threshold_accepts_no_more_than_it_says() {
        let others: Vec<f32> = (0..2000).map(|i| ((i * 37) % 500) as f32 / 7.0).collect();
        for Threshold { far, similarity } in thresholds_of(others.clone()) {
            let accepted = others.iter().filter(|&&value| value >= similarity).count() as f64 / 2000.0;
            assert!(accepted <= far && accepted > far - 0.003, "{far}: {accepted}");
        }
        assert_eq!(thresholds_of(vec![0.1, 0.2, 0.3]).len(), 1);
        let pairs = vec![(0.9, true), (0.8, false), (0.7, true), (0.4, true), (0.4, false), (0.1, false)];
        assert_eq!((tar(&pairs, 0.3), tar(&pairs, 0.34), tar(&pairs, 1.0)), (1.0 / 3.0, 2.0 / 3.0, 1.0));
    }

    #[test]
    fn ranks_by_hand() {
        // Example 0 finds its two at ranks 1 and 3, example 3 has one partner, 4, at rank 1 …
        let similarity = array![
            [1.0, 0.9, 0.3, 0.5, 0.1],
            [0.9, 1.0, 0.8, 0.2, 0.1],
            [0.3, 0.8, 1.0, 0.6, 0.1],
            [0.5, 0.2, 0.6, 1.0, 0.7],
            [0.1, 0.1, 0.1, 0.7, 1.0_f32]
        ];
        let [first, fifth, map] = retrieval(&similarity, &[0, 0, 0, 1, 1]);
        assert_eq!((first, fifth), (1.0, 1.0));
        // Precision sums over R: 0: (1 + 0)/2; 1: (1 + 1)/2; 2: (1 + 0)/2; 3 and 4: 1.
        assert!((map - (0.5 + 1.0 + 0.5 + 1.0 + 1.0) / 5.0).abs() < 1e-6, "{map}");
    }
}
