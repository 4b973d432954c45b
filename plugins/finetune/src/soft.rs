//! Softer targets in pre-training: smoothed labels, mixed examples.

use kshot::learner::accuracy;
use kshot::nn::Loss;
use kshot::rng::Rng;
use kshot::{Error, Result};
use ndarray::{Array2, Array4, ArrayView4, Axis};
use rand::seq::SliceRandom as _;
use rand_distr::{Beta, Distribution as _};

/// A batch whose every example is mixed with another (Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018):
/// λ·xᵢ + (1 − λ)·xⱼ, with one λ a batch, as in the authors' code.
pub(crate) struct Mixture {
    /// λ, the share of an example's own.
    pub(crate) share: f32,
    /// The number of each one's other.
    pub(crate) others: Vec<usize>,
}

impl Mixture {
    /// λ from Beta(α, α), others in random order.
    pub(crate) fn draw(examples: usize, alpha: f32, rng: &mut Rng) -> Result<Self> {
        let beta = Beta::new(f64::from(alpha), f64::from(alpha)).map_err(|error| {
            Error::invalid(format!("`mixup` = {alpha} is no α of a beta distribution: {error}"))
        })?;
        let mut others: Vec<usize> = (0..examples).collect();
        others.shuffle(rng);
        Ok(Self { share: beta.sample(rng) as f32, others })
    }

    /// The examples `[n, channels, height, width]`, mixed.
    pub(crate) fn of(&self, x: ArrayView4<'_, f32>) -> Array4<f32> {
        let mut mixed = x.select(Axis(0), &self.others);
        mixed.zip_mut_with(&x, |other, own| *other += self.share * (own - *other));
        mixed
    }

    /// The accuracy of logits, row by row, each label counted by its share.
    pub(crate) fn accuracy(&self, logits: &[f32], labels: &[usize]) -> f32 {
        let of = |labels: &[usize]| accuracy(logits.iter().copied(), labels);
        self.share * of(labels) + (1.0 - self.share) * of(&self.labels(labels))
    }

    fn labels(&self, labels: &[usize]) -> Vec<usize> {
        self.others.iter().map(|&other| labels[other]).collect()
    }
}

/// The loss of a batch: labels mixed as the examples are, then `smoothing` of each spread over all classes (Szegedy et al.,
/// "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, section 7).
pub(crate) fn loss(labels: &[usize], classes: usize, smoothing: f32, mixture: Option<&Mixture>) -> Loss {
    if smoothing == 0.0 && mixture.is_none() {
        return Loss::CrossEntropy { labels: labels.to_vec() };
    }
    let mut targets = Array2::from_elem((labels.len(), classes), smoothing / classes as f32);
    let mut add = |labels: &[usize], share: f32| {
        for (mut row, &label) in targets.rows_mut().into_iter().zip(labels) {
            // A label that names no class is the network's to refuse.
            row.iter_mut().skip(label).take(1).for_each(|target| *target += (1.0 - smoothing) * share);
        }
    };
    let share = mixture.map_or(1.0, |mixture| mixture.share);
    add(labels, share);
    if let Some(mixture) = mixture {
        add(&mixture.labels(labels), 1.0 - share);
    }
    Loss::SoftCrossEntropy { targets }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixture_is_of_examples_and_labels_alike() {
        let mixture = Mixture { share: 0.75, others: vec![1, 2, 0] };
        let x = Array4::from_shape_fn((3, 1, 1, 2), |(n, ..)| n as f32);
        assert_eq!(mixture.of(x.view()).into_raw_vec_and_offset().0, [0.25, 0.25, 1.25, 1.25, 1.5, 1.5]);
        let Loss::SoftCrossEntropy { targets } = loss(&[0, 1, 1], 2, 0.2, Some(&mixture)) else {
            unreachable!()
        };
        let expected = [0.7, 0.3, 0.1, 0.9, 0.3, 0.7];
        assert!(targets.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{targets}");
        assert_eq!(mixture.accuracy(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0], &[0, 1, 1]), 1.0 / 3.0);
        assert_eq!(loss(&[0, 1], 2, 0.0, None), Loss::CrossEntropy { labels: vec![0, 1] });
    }
}
