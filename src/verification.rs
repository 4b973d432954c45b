//! Verification and retrieval: do two examples share a class, and which others share this one's?
//!
//! By a [`Comparer`], on classes that training never saw: on batches of P classes × K examples ([`verify`]: every figure is a
//! mean over batches with its 95 % interval), or on a gallery where all are compared with all, once ([`verify_gallery`]:
//! intervals by bootstrap over the classes).
//!
//! - *Verification* looks at all pairs. Area under the ROC curve: the probability that a pair of one class is
//!   more similar than a pair of two (ties count half). Equal error rate: where as many pairs of one class are refused
//!   as pairs of two are accepted. Accuracy: at the threshold that is best on validation classes, pairs of one class
//!   and of two counting the same, as in the balanced trials of Koch et al. 2015. True-accept rate at a false-accept rate: the
//!   share of pairs of one class that is accepted where no more than that share of the pairs of two is.
//! - *Retrieval* ranks the other examples by similarity to each. Recall@k: the share of examples with one of their
//!   class among the first k. MAP@R (Musgrave, Belongie & Lim, "A Metric Learning Reality Check", ECCV 2020, section
//!   3.2): the mean over the first R ranks of the precision at each that holds a hit, R being the number of hits there are.

mod gallery;
mod pairs;

use ndarray::{Array2, ArrayView1};
use serde::{Deserialize, Serialize};

use crate::episode::{Labelled, Tasks};
use crate::learner::Comparer;
use crate::nn::parallel::map_in_order;
use crate::stats::{Interval, interval95};
use crate::{Error, Result};
use pairs::{FARS, Figures, Pair, best_threshold, figures};

pub use gallery::verify_gallery;
pub(crate) use pairs::area;

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

/// What the pairs of a batch or gallery say, and its recall@1, recall@5 and MAP@R.
type Seen = (Figures, [f64; 3]);
/// One of these.
type Figure<'a> = dyn Fn(&Seen) -> f64 + 'a;

/// Verification and retrieval on the batches `0..batches` of `test` (as many as there are, where these are fewer), with the
/// threshold from those of `validation`.
/// The outcome is the same on any number of threads.
///
/// # Errors
/// When a batch has no pair of one class or of two, or a similarity is not a
/// number: the message names the batch. When there is one batch only, which has no interval: it is for [`verify_gallery`].
pub fn verify(
    comparer: &dyn Comparer,
    validation: &dyn Tasks,
    test: &dyn Tasks,
    batches: u64,
    on_batch: &(dyn Fn() + Sync),
) -> Result<Verification> {
    let threshold = validated(comparer, validation, batches, on_batch)?;
    let seen = of_batches(test, batches, "test", |number| {
        let (similarity, labels) = compared(comparer, test, number)?;
        on_batch();
        Ok((
            figures(sorted(pairs(&similarity, &labels)).iter().copied(), threshold),
            retrieval(&similarity, &labels),
        ))
    })?;
    let mean =
        |figure: &Figure<'_>| interval95(&seen.iter().map(|batch| figure(batch) as f32).collect::<Vec<_>>());
    Verification::by(threshold, mean)
}

impl Verification {
    /// With an interval for each figure.
    fn by(threshold: f32, interval: impl Fn(&Figure<'_>) -> Result<Interval>) -> Result<Self> {
        let tar = |(at, far)| Ok(TarAtFar { far, tar: interval(&|(figures, _)| figures.tar[at])? });
        Ok(Self {
            auc: interval(&|(figures, _)| figures.area)?,
            eer: interval(&|(figures, _)| figures.equal_error)?,
            accuracy: interval(&|(figures, _)| figures.accuracy)?,
            threshold,
            tar_at_far: FARS.into_iter().enumerate().map(tar).collect::<Result<_>>()?,
            recall_at_1: interval(&|(_, retrieved)| retrieved[0])?,
            recall_at_5: interval(&|(_, retrieved)| retrieved[1])?,
            map_at_r: interval(&|(_, retrieved)| retrieved[2])?,
        })
    }
}

/// What `work` makes of each batch, as many as there are.
fn of_batches<T: Send>(
    tasks: &dyn Tasks,
    batches: u64,
    what: &str,
    work: impl Fn(u64) -> Result<T> + Sync + Send,
) -> Result<Vec<T>> {
    let batches = tasks.limit().map_or(batches, |limit| limit.min(batches));
    map_in_order(0..batches, |number| work(number).map_err(|e| e.context(format!("{what} batch {number}"))))
}

/// The threshold that is best on the validation batches.
fn validated(
    comparer: &dyn Comparer,
    validation: &dyn Tasks,
    batches: u64,
    on_batch: &(dyn Fn() + Sync),
) -> Result<f32> {
    let seen = of_batches(validation, batches, "validation", |number| {
        let (similarity, labels) = compared(comparer, validation, number)?;
        on_batch();
        Ok(pairs(&similarity, &labels))
    })?;
    Ok(best_threshold(&sorted(seen.concat())))
}

/// Thresholds for false-accept rates of 0.5 to 0.001 by the batches `0..batches` of classes that were not trained on; as low
/// as there are pairs for.
///
/// # Errors
/// As [`verify`].
pub fn thresholds(comparer: &dyn Comparer, tasks: &dyn Tasks, batches: u64) -> Result<Vec<Threshold>> {
    let others = of_batches(tasks, batches, "validation", |number| {
        let (similarity, labels) = compared(comparer, tasks, number)?;
        Ok(pairs(&similarity, &labels).into_iter().filter(|pair| !pair.same).map(|pair| pair.similarity))
    })?;
    Ok(thresholds_of(others.into_iter().flatten().collect()))
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
    let labels = labels(&batch)?;
    let z = comparer.embed(batch.inputs())?;
    let similarity = comparer.similarity(z.view(), z.view())?;
    checked(&similarity, 0)?;
    Ok((similarity, labels))
}

/// The labels of examples that have pairs of one class and of two.
fn labels(examples: &Labelled) -> Result<Vec<usize>> {
    let labels = examples.classes()?.to_vec();
    let twice = |class: &usize| labels.iter().filter(|other| *other == class).count() > 1;
    if labels.iter().all(|label| *label == labels[0]) || !labels.iter().all(twice) {
        return Err(Error::invalid(
            "verification needs two classes or more, with two examples or more of each",
        ));
    }
    Ok(labels)
}

/// Refuses a similarity that is none, of the examples from `first` on.
fn checked(similarity: &Array2<f32>, first: usize) -> Result<()> {
    match similarity.indexed_iter().find(|(_, value)| value.is_nan()) {
        Some(((i, j), _)) => {
            Err(Error::NotFinite(format!("the similarity of examples {} and {j} is NaN", first + i)))
        }
        None => Ok(()),
    }
}

/// Each pair of a batch once.
fn pairs(similarity: &Array2<f32>, labels: &[usize]) -> Vec<Pair> {
    let n = labels.len();
    (0..n)
        .flat_map(|i| (i + 1..n).map(move |j| (i, j)))
        .map(|(i, j)| Pair { similarity: similarity[[i, j]], same: labels[i] == labels[j], weight: 1.0 })
        .collect()
}

/// Most similar first.
fn sorted(mut pairs: Vec<Pair>) -> Vec<Pair> {
    pairs.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
    pairs
}

/// Recall@1, recall@5 and MAP@R of a batch.
fn retrieval(similarity: &Array2<f32>, labels: &[usize]) -> [f64; 3] {
    let rows = similarity.outer_iter().enumerate().map(|(i, row)| retrieved(i, row, labels));
    let sums = rows.fold([0.0; 3], |sums, row| std::array::from_fn(|figure| sums[figure] + row[figure]));
    sums.map(|sum| sum / labels.len() as f64)
}

/// The same of one example, by its similarities to all; ties go to the earlier example.
fn retrieved(example: usize, similarity: ArrayView1<'_, f32>, labels: &[usize]) -> [f64; 3] {
    let mut others: Vec<usize> = (0..labels.len()).filter(|&j| j != example).collect();
    others.sort_by(|&a, &b| similarity[b].total_cmp(&similarity[a]));
    let hits: Vec<bool> = others.iter().map(|&j| labels[j] == labels[example]).collect();
    let there = hits.iter().filter(|hit| **hit).count();
    let (mut found, mut precision) = (0.0, 0.0);
    for (rank, _) in hits.iter().take(there).enumerate().filter(|(_, hit)| **hit) {
        found += 1.0;
        precision += found / (rank + 1) as f64 / there as f64;
    }
    let among = |k: usize| f64::from(u8::from(hits.iter().take(k).any(|hit| *hit)));
    [among(1), among(5), precision]
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_threshold_accepts_no_more_than_it_says() {
        let others: Vec<f32> = (0..2000).map(|i| ((i * 37) % 500) as f32 / 7.0).collect();
        for Threshold { far, similarity } in thresholds_of(others.clone()) {
            let accepted = others.iter().filter(|&&value| value >= similarity).count() as f64 / 2000.0;
            assert!(accepted <= far && accepted > far - 0.003, "{far}: {accepted}");
        }
        assert_eq!(thresholds_of(vec![0.1, 0.2, 0.3]).len(), 1);
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
