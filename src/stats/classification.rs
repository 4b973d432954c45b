//! What predictions say beyond accuracy: which classes are confused, figures that give every class the same
//! weight, and whether confidence is to be trusted.
//!
//! Everywhere `labels` are `[n]`, each under `classes`, and `scores` `[n, classes]` in row-major order, the
//! higher the likelier. An episode's classes have names of their own only within it: pool predictions over
//! episodes only where class c means the same in all (a fixed gallery, open set "known" against "unknown");
//! calibration can always be pooled.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ranks::midranks;
use crate::{Error, Result};

/// Bins of a reliability diagram, equally wide in confidence.
pub const BINS: usize = 15;

/// Who is taken for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// `counts[c][d]`: how many of class c were taken for class d.
    pub counts: Vec<Vec<u64>>,
}

/// One class against all others, 0–1 but for its size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfClass {
    /// How many examples there are of the class.
    pub examples: u64,
    /// Share of the examples taken for the class that are of it; 0 where none is taken for it.
    pub precision: f64,
    /// Share of the class's examples taken for it; 0 where there are none.
    pub recall: f64,
    /// Harmonic mean of precision and recall; 0 where both are.
    pub f1: f64,
}

/// How well confidence agrees with accuracy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Calibration {
    /// Expected calibration error, 0–1: the mean over examples of |accuracy − confidence| of their bins.
    pub ece: f64,
    /// [`BINS`] bins for a reliability diagram: bin m holds confidences in (m / BINS, (m + 1) / BINS].
    pub bins: Vec<Bin>,
}

/// The examples of about the same confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bin {
    /// How many there are.
    pub count: u64,
    /// Their mean confidence, 0–1: the probability of the class they were taken for. 0 in an empty bin.
    pub confidence: f64,
    /// The share taken for the right class, 0–1. 0 in an empty bin.
    pub accuracy: f64,
}

/// The class of the highest score in each row, `[n]`; of equal scores the first.
///
/// # Errors
/// When `scores` are not whole rows of `classes`, or one is not a number.
pub fn predicted<F: Copy + Into<f64>>(scores: &[F], classes: usize) -> Result<Vec<usize>> {
    if classes == 0 || !scores.len().is_multiple_of(classes) {
        return Err(Error::invalid(format!("{} scores are not rows of {classes} classes", scores.len())));
    }
    let best = |row: &[F]| {
        let mut best = (0, f64::NEG_INFINITY);
        for (class, &score) in row.iter().enumerate() {
            let score: f64 = score.into();
            if score.is_nan() {
                return Err(Error::invalid(format!("the score of class {class} is not a number")));
            }
            if score > best.1 {
                best = (class, score);
            }
        }
        Ok(best.0)
    };
    scores.chunks_exact(classes).map(best).collect()
}

/// Counts who is taken for whom: each example for the class of its highest score.
///
/// # Errors
/// When there are no examples, not as many rows of scores as labels, a label is not a class, or a score is
/// not a number.
///
/// ```
/// use kshot::stats::classification::confusion;
///
/// // Two of class 0, one of them taken for 1, and one of class 1.
/// let confusion = confusion(&[0, 0, 1], &[0.9, 0.1, 0.3, 0.7, 0.2, 0.8], 2)?;
/// assert_eq!(confusion.counts, [[1, 1], [0, 1]]);
/// assert_eq!(confusion.balanced_accuracy(), 0.75);
/// # Ok::<(), kshot::Error>(())
/// ```
pub fn confusion<F: Copy + Into<f64>>(labels: &[usize], scores: &[F], classes: usize) -> Result<Confusion> {
    check(labels, scores, classes)?;
    Confusion::of(labels, &predicted(scores, classes)?, classes)
}

impl Confusion {
    /// Counts who is taken for whom, example by example.
    ///
    /// # Errors
    /// When a label or an answer is no class.
    pub fn of(labels: &[usize], predicted: &[usize], classes: usize) -> Result<Self> {
        let mut counts = vec![vec![0; classes]; classes];
        for (&label, &taken_for) in labels.iter().zip(predicted) {
            let place = counts.get_mut(label).and_then(|row| row.get_mut(taken_for));
            *place.ok_or_else(|| {
                Error::invalid(format!("{label} or {taken_for} is none of {classes} classes"))
            })? += 1;
        }
        Ok(Self { counts })
    }

    /// Share of all examples taken for their own class, 0–1.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = self.counts.iter().enumerate().map(|(class, row)| row[class]).sum();
        share(right, self.counts.iter().flatten().sum())
    }

    /// Each class against all others.
    pub fn per_class(&self) -> Vec<OfClass> {
        let of = |class: usize| {
            let right = self.counts[class][class];
            let (examples, taken) = (self.examples(class), self.taken(class));
            let (precision, recall) = (share(right, taken), share(right, examples));
            OfClass { examples, precision, recall, f1: share(2 * right, examples + taken) }
        };
        (0..self.counts.len()).map(of).collect()
    }

    /// Mean of the classes' F1, 0–1: the mean of harmonic means, not the harmonic mean of means (Opitz &
    /// Burst, "Macro F1 and macro F1", 2019). A class without examples that nothing is taken for
    /// does not count.
    pub fn macro_f1(&self) -> f64 {
        let counts = |class: &usize| self.examples(*class) + self.taken(*class) > 0;
        self.mean_over(counts, |class| class.f1)
    }

    /// Mean of the classes' recalls, 0–1 (Brodersen et al., "The balanced accuracy and its posterior
    /// distribution", ICPR 2010). A class without examples does not count.
    pub fn balanced_accuracy(&self) -> f64 {
        self.mean_over(|class| self.examples(*class) > 0, |class| class.recall)
    }

    fn mean_over(&self, counts: impl Fn(&usize) -> bool, figure: impl Fn(&OfClass) -> f64) -> f64 {
        let per_class = self.per_class();
        let figures: Vec<f64> =
            (0..per_class.len()).filter(counts).map(|class| figure(&per_class[class])).collect();
        figures.iter().sum::<f64>() / figures.len() as f64
    }

    fn examples(&self, class: usize) -> u64 {
        self.counts[class].iter().sum()
    }

    fn taken(&self, class: usize) -> u64 {
        self.counts.iter().map(|row| row[class]).sum()
    }
}

/// Mean over the classes of the area under the ROC curve of each against all others, 0–1: the chance that an
/// example of the class has a higher score for it than one of another class, equal scores counting half
/// (Hanley & McNeil, "The meaning and use of the area under a ROC curve", Radiology 143, 1982; the mean over
/// classes as scikit-learn's `roc_auc_score` with `multi_class="ovr"`, `average="macro"`). Examples are
/// compared with each other, so scores must mean the same in all: give probabilities. A class without
/// examples, or that all are of, does not count.
///
/// O(classes · n log n).
///
/// # Errors
/// As [`confusion`]; when all examples are of one class.
pub fn macro_auroc<F: Copy + Into<f64>>(labels: &[usize], scores: &[F], classes: usize) -> Result<f64> {
    check(labels, scores, classes)?;
    let (mut sum, mut counted) = (0.0, 0.0);
    for class in 0..classes {
        let column: Vec<f64> = scores.chunks_exact(classes).map(|row| row[class].into()).collect();
        if column.iter().any(|score| score.is_nan()) {
            return Err(Error::invalid(format!("a score of class {class} is not a number")));
        }
        let (ranks, _) = midranks(&column, |first, next| column[first] == column[next]);
        let of_class = |(label, _): &(&usize, &f64)| **label == class;
        let (mut inside, mut above) = (0.0, 0.0);
        for (_, rank) in labels.iter().zip(&ranks).filter(of_class) {
            inside += 1.0;
            above += rank;
        }
        let outside = labels.len() as f64 - inside;
        if inside * outside > 0.0 {
            // Mann and Whitney's U over all pairs.
            sum += (above - inside * (inside + 1.0) / 2.0) / (inside * outside);
            counted += 1.0;
        }
    }
    if counted == 0.0 {
        return Err(Error::invalid("a ROC curve needs examples of two classes, but all are of one"));
    }
    Ok(sum / counted)
}

/// Expected calibration error over [`BINS`] equally wide bins (Guo, Pleiss, Sun & Weinberger, "On calibration
/// of modern neural networks", ICML 2017, equation 3), and the bins of the reliability diagram. Confidence is
/// the highest probability of a row.
///
/// # Errors
/// As [`confusion`]; when a row is not of probabilities: not all 0–1, or their sum is more than 0.01 from 1.
pub fn calibration<F: Copy + Into<f64>>(
    labels: &[usize],
    probabilities: &[F],
    classes: usize,
) -> Result<Calibration> {
    check(labels, probabilities, classes)?;
    let mut answers = Vec::with_capacity(labels.len());
    let rows = probabilities.chunks_exact(classes);
    for (at, ((&label, row), taken_for)) in
        labels.iter().zip(rows).zip(predicted(probabilities, classes)?).enumerate()
    {
        let total: f64 = row.iter().map(|&p| p.into()).sum();
        if row.iter().any(|&p| !(-1e-6..=1.0 + 1e-6).contains(&p.into())) || (total - 1.0).abs() > 0.01 {
            return Err(Error::invalid(format!(
                "row {at} is not of probabilities (its sum is {total}); \
                 calibration needs the softmax of scores"
            )));
        }
        answers.push((row[taken_for].into(), taken_for == label));
    }
    Ok(calibration_of(answers))
}

/// The same of answers: how confident each was (0–1), and whether it was right. Of none, all is 0.
pub fn calibration_of(answers: impl IntoIterator<Item = (f64, bool)>) -> Calibration {
    let mut sums = [(0_u64, 0.0, 0_u64); BINS];
    let mut all = 0_u64;
    for (confidence, right) in answers {
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        sums[bin].0 += 1;
        sums[bin].1 += confidence;
        sums[bin].2 += u64::from(right);
        all += 1;
    }
    let bins = sums.map(|(count, confidence, right)| Bin {
        count,
        confidence: if count == 0 { 0.0 } else { confidence / count as f64 },
        accuracy: share(right, count),
    });
    let gap = |bin: &Bin| bin.count as f64 * (bin.accuracy - bin.confidence).abs();
    let ece = bins.iter().map(gap).sum::<f64>() / all.max(1) as f64;
    Calibration { ece, bins: bins.to_vec() }
}

fn share(of: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { of as f64 / all as f64 }
}

fn check<F>(labels: &[usize], scores: &[F], classes: usize) -> Result<()> {
    if labels.is_empty() || scores.len() != labels.len() * classes {
        return Err(Error::invalid(format!(
            "{} labels and {classes} classes need {} scores, one or more, there are {}",
            labels.len(),
            labels.len() * classes,
            scores.len()
        )));
    }
    match labels.iter().position(|&label| label >= classes) {
        Some(at) => Err(Error::invalid(format!(
            "label {at} is {}, but there are only {classes} classes, from 0 on",
            labels[at]
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of 0.8 for the class taken and 0.2 / (classes − 1) for each other.
    fn rows(taken: &[usize], classes: usize) -> Vec<f32> {
        let other = 0.2 / (classes - 1) as f32;
        taken.iter().flat_map(|&t| (0..classes).map(move |c| if c == t { 0.8 } else { other })).collect()
    }

    #[test]
    fn figures_of_classes_by_hand() {
        // Of class 0: 2 right, 1 taken for 1. Of class 1: 1 right, 1 taken for 2. Of class 2: 1 right.
        let confusion = confusion(&[0, 0, 0, 1, 1, 2], &rows(&[0, 0, 1, 1, 2, 2], 3), 3).unwrap();
        assert_eq!(confusion.counts, [[2, 1, 0], [0, 1, 1], [0, 0, 1]]);
        let per_class = confusion.per_class();
        assert_eq!(per_class[0], OfClass { examples: 3, precision: 1.0, recall: 2.0 / 3.0, f1: 0.8 });
        assert_eq!(per_class[1], OfClass { examples: 2, precision: 0.5, recall: 0.5, f1: 0.5 });
        assert_eq!(per_class[2], OfClass { examples: 1, precision: 0.5, recall: 1.0, f1: 2.0 / 3.0 });
        assert!((confusion.accuracy() - 4.0 / 6.0).abs() < 1e-12);
        assert!((confusion.macro_f1() - (0.8 + 0.5 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
        assert!((confusion.balanced_accuracy() - (2.0 / 3.0 + 0.5 + 1.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn classes_without_examples_do_not_count() {
        // Nothing of class 2 or 3; one of class 1 taken for 2.
        let confusion = confusion(&[0, 1, 1], &rows(&[0, 1, 2], 4), 4).unwrap();
        assert_eq!(confusion.balanced_accuracy(), 0.75);
        assert!((confusion.macro_f1() - (1.0 + 2.0 / 3.0 + 0.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn auroc_by_pairs_with_ties_half() {
        // Of class 1: 0.9, 0.4; of class 0: 0.4, 0.1. Of four pairs three are right and one ties.
        let scores = [0.1, 0.9, 0.6, 0.4, 0.6, 0.4, 0.9, 0.1];
        assert_eq!(macro_auroc(&[1, 1, 0, 0], &scores, 2).unwrap(), 3.5 / 4.0);
        assert_eq!(macro_auroc(&[1, 1, 0, 0], &[0.5; 8], 2).unwrap(), 0.5);
        assert!(macro_auroc(&[0, 0], &[0.9, 0.1, 0.8, 0.2], 2).is_err());
    }

    #[test]
    fn calibration_by_hand() {
        // Two at 0.8, one of them right: off by 0.3. One at 0.6, right: off by 0.4.
        let probabilities = [0.8, 0.2, 0.2, 0.8, 0.6, 0.4];
        let found = calibration(&[0, 0, 0], &probabilities, 2).unwrap();
        assert!((found.ece - (2.0 * 0.3 + 0.4) / 3.0).abs() < 1e-12, "{found:?}");
        assert_eq!(found.bins.iter().map(|bin| bin.count).sum::<u64>(), 3);
        // 0.8 is 12 / 15: the upper end of the twelfth bin.
        assert_eq!(found.bins[11], Bin { count: 2, confidence: 0.8, accuracy: 0.5 });
    }

    #[test]
    fn certainty_that_is_right_is_calibrated() {
        let found = calibration(&[0, 1], &[1.0_f32, 0.0, 0.0, 1.0], 2).unwrap();
        assert_eq!((found.ece, found.bins[BINS - 1].count), (0.0, 2));
    }

    #[test]
    fn what_is_no_prediction_is_refused() {
        let none: [f32; 0] = [];
        assert!(confusion(&[], &none, 2).is_err());
        assert!(confusion(&[0], &[0.5_f32], 2).is_err());
        assert!(confusion(&[2], &[0.5, 0.5], 2).is_err());
        assert!(confusion(&[0], &[0.5, f64::NAN], 2).is_err());
        assert!(macro_auroc(&[0, 1], &[0.5, f32::NAN, 0.5, 0.5], 2).is_err());
        assert!(calibration(&[0], &[3.0, -2.0], 2).is_err(), "scores");
        assert!(calibration(&[0], &[0.5, 0.4], 2).is_err(), "a sum of 0.9");
        assert!(predicted(&[0.5, 0.4, 0.1], 2).is_err());
    }
}
