//! What a classification says beside its accuracy.

use ndarray::{Array2, ArrayView1};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::episode::Episode;
use crate::learner::confidence;
use crate::stats::classification::{Calibration, Confusion, calibration_of, macro_auroc};
use crate::stats::{Interval, interval95};

/// More of a classification than its accuracy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// Mean of the classes' F1 in each episode, 0–1.
    pub macro_f1: Vec<f32>,
    /// Mean of the classes' recalls in each episode, 0–1.
    pub balanced_accuracy: Vec<f32>,
    /// Mean of the classes' areas under the ROC curve, each against the rest, in each episode, by the softmax of the scores.
    pub auroc: Vec<f32>,
    /// The answers of each episode, in order of its queries.
    pub answers: Vec<Vec<Answer>>,
}

/// What a learner answered to a query.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The query's class: its number in the dataset's split.
    pub class: u32,
    /// The class it was taken for, in the same manner.
    pub predicted: u32,
    /// How sure the learner was ([`crate::learner::confidence`]).
    pub confidence: f32,
}

/// Figures of a classification besides its accuracy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Classification {
    /// Mean over the episodes of the classes' mean F1, 0–1.
    pub macro_f1: Interval,
    /// Mean over the episodes of the classes' mean recall, 0–1.
    pub balanced_accuracy: Interval,
    /// Mean over the episodes of the classes' mean area under the ROC curve, 0–1.
    pub auroc: Interval,
    /// How well confidence agrees with accuracy, over all queries.
    pub calibration: Calibration,
}

impl Details {
    /// With an episode after one's own.
    pub(super) fn push(&mut self, more: OfEpisode) {
        self.macro_f1.push(more.macro_f1);
        self.balanced_accuracy.push(more.balanced_accuracy);
        self.auroc.push(more.auroc);
        self.answers.push(more.answers);
    }

    /// With the episodes of `next` after one's own.
    pub(super) fn extend(&mut self, next: Self) {
        self.macro_f1.extend(next.macro_f1);
        self.balanced_accuracy.extend(next.balanced_accuracy);
        self.auroc.extend(next.auroc);
        self.answers.extend(next.answers);
    }

    /// The figures over all episodes.
    pub fn summary(&self) -> Classification {
        let over = |values: &[f32]| match values {
            [one] => Interval { mean: f64::from(*one), ci95: f64::NAN },
            all => interval95(all).unwrap_or(Interval { mean: f64::NAN, ci95: f64::NAN }),
        };
        Classification {
            macro_f1: over(&self.macro_f1),
            balanced_accuracy: over(&self.balanced_accuracy),
            auroc: over(&self.auroc),
            calibration: self.calibration(),
        }
    }

    /// Expected calibration error over all answers, and the reliability diagram.
    pub fn calibration(&self) -> Calibration {
        let answers = self.answers.iter().flatten();
        calibration_of(answers.map(|one| (f64::from(one.confidence), one.class == one.predicted)))
    }
}

/// More of an episode of classification.
#[derive(Serialize, Deserialize)]
pub(super) struct OfEpisode {
    pub(super) macro_f1: f32,
    pub(super) balanced_accuracy: f32,
    pub(super) auroc: f32,
    pub(super) answers: Vec<Answer>,
}

/// More of an episode's scores `[queries, classes]`.
pub(super) fn details(
    scores: &Array2<f32>,
    predicted: &[usize],
    labels: &[usize],
    episode: &Episode,
) -> Result<OfEpisode> {
    let ways = scores.ncols();
    let confusion = Confusion::of(labels, predicted, ways)?;
    let softmax = |row: ArrayView1<'_, f32>| {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f32> = row.iter().map(|score| (score - most).exp()).collect();
        let sum: f32 = powers.iter().sum();
        powers.into_iter().map(move |power| power / sum)
    };
    let shares: Vec<f32> = scores.outer_iter().flat_map(softmax).collect();
    // Of one class alone there is no curve.
    let auroc = macro_auroc(labels, &shares, ways).unwrap_or(f64::NAN);
    // Where an episode does not say, its labels are the classes.
    let class = |label: usize| episode.classes.get(label).copied().unwrap_or(label) as u32;
    let answer = |((&label, &taken), row): ((&usize, &usize), ArrayView1<'_, f32>)| Answer {
        class: class(label),
        predicted: class(taken),
        confidence: confidence(row),
    };
    Ok(OfEpisode {
        macro_f1: confusion.macro_f1() as f32,
        balanced_accuracy: confusion.balanced_accuracy() as f32,
        auroc: auroc as f32,
        answers: labels.iter().zip(predicted).zip(scores.outer_iter()).map(answer).collect(),
    })
}
