//! Pairs of a batch, and what they cost.

use kshot::nn::Metric;
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

/// Every two examples of a batch with these labels.
///
/// # Errors
/// When no two are of one class, or all are.
pub fn all_pairs(labels: &[usize]) -> Result<Vec<Pair>> {
    let pairs: Vec<Pair> = (0..labels.len())
        .flat_map(|right| {
            (0..right).map(move |left| Pair { left, right, same: labels[left] == labels[right] })
        })
        .collect();
    match pairs.iter().any(|pair| pair.same) && pairs.iter().any(|pair| !pair.same) {
        true => Ok(pairs),
        false => {
            Err(Error::invalid("pairs need a batch of two or more classes, one with two or more examples"))
        }
    }
}

/// Mean of d² over the pairs of one class, plus mean of (margin − d)² over those of two that are closer than the margin;
/// and its gradient in `z` `[n, features]`. Where two that should be apart lie on one another there is no direction to part
/// them in, and the gradient is 0.
///
/// Of all pairs of a batch most are of two classes and soon far apart: a mean over all of them would fade with training, and
/// leave nothing against the pairs of one class.
pub fn contrastive(z: ArrayView2<'_, f32>, pairs: &[Pair], margin: f32) -> (f32, Array2<f32>) {
    let distances = Metric::Euclidean.between(z, z);
    let distance = |pair: &Pair| distances[[pair.left, pair.right]];
    let same = pairs.iter().filter(|pair| pair.same);
    let active = pairs.iter().filter(|pair| !pair.same && distance(pair) < margin);
    let [share_of_same, share_of_active] =
        [same.clone().count(), active.clone().count()].map(|count| 1.0 / count.max(1) as f32);
    let mut sum = 0.0_f64;
    let mut slopes = Array2::zeros(distances.dim());
    for pair in same {
        let d = distance(pair);
        sum += f64::from(share_of_same * d * d);
        slopes[[pair.left, pair.right]] = 2.0 * share_of_same * d;
    }
    for pair in active {
        let gap = margin - distance(pair);
        sum += f64::from(share_of_active * gap * gap);
        slopes[[pair.left, pair.right]] = -2.0 * share_of_active * gap;
    }
    (sum as f32, Metric::Euclidean.gradient(z, distances.view(), slopes.view()))
}

/// The logistic loss with its gradients: see [`logistic`].
pub struct Logistic {
    /// The loss.
    pub loss: f32,
    /// Its gradient in the embeddings, `[n, features]`.
    pub in_z: Array2<f32>,
    /// In α, `[features]`.
    pub in_alpha: Vec<f32>,
    /// In b.
    pub in_bias: f32,
}

/// Cross-entropy of σ(Σ_j α_j |z¹_j − z²_j| + b): the mean over the pairs of one class and the mean over those of two, half of
/// each, as if as many were drawn of both.
pub fn logistic(z: ArrayView2<'_, f32>, pairs: &[Pair], alpha: &[f32], bias: f32) -> Logistic {
    let same = pairs.iter().filter(|pair| pair.same).count();
    let shares = [pairs.len() - same, same].map(|count| 0.5 / count.max(1) as f32);
    let mut gradient =
        Logistic { loss: 0.0, in_z: Array2::zeros(z.dim()), in_alpha: vec![0.0; alpha.len()], in_bias: 0.0 };
    let mut sum = 0.0_f64;
    let mut differences = vec![0.0; alpha.len()];
    for &Pair { left, right, same } in pairs {
        let rows = z.row(left).into_iter().zip(z.row(right));
        differences.iter_mut().zip(rows).for_each(|(difference, (a, b))| *difference = a - b);
        let logit = bias + differences.iter().zip(alpha).map(|(d, alpha)| alpha * d.abs()).sum::<f32>();
        // −log σ(±logit) = softplus(∓logit), written so that it does not overflow.
        let x = if same { -logit } else { logit };
        let share = shares[usize::from(same)];
        sum += f64::from(share * (x.max(0.0) + (-x.abs()).exp().ln_1p()));
        let slope = share * if same { -1.0 } else { 1.0 } / (1.0 + (-x).exp());
        gradient.in_bias += slope;
        gradient.in_alpha.iter_mut().zip(&differences).for_each(|(sum, d)| *sum += slope * d.abs());
        for (row, sign) in [(left, slope), (right, -slope)] {
            let weights = differences.iter().zip(alpha);
            gradient.in_z.row_mut(row).iter_mut().zip(weights).for_each(|(sum, (d, alpha))| {
                *sum += if *d == 0.0 { 0.0 } else { sign * alpha * d.signum() };
            });
        }
    }
    gradient.loss = sum as f32;
    gradient
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn all_pairs_are_every_two_examples() {
        let pairs = all_pairs(&[0, 1, 0, 2]).unwrap();
        assert_eq!(pairs.len(), 6);
        assert_eq!(
            pairs.iter().filter(|pair| pair.same).collect::<Vec<_>>(),
            [&Pair { left: 0, right: 2, same: true }]
        );
        assert!(all_pairs(&[0, 0, 0]).is_err() && all_pairs(&[0, 1, 2]).is_err());
    }

    /// Two of one class 0.5 apart, a pair within the margin and one beyond, which costs nothing and is not counted.
    #[test]
    fn only_pairs_within_the_margin_count() {
        let z = ndarray::array![[0.0], [0.5], [1.2], [9.0]];
        let pair = |left, right, same| Pair { left, right, same };
        let pairs = [pair(0, 1, true), pair(1, 2, false), pair(0, 3, false)];
        let (loss, gradient) = contrastive(z.view(), &pairs, 1.0);
        assert!((loss - (0.25 + 0.09)).abs() < 1e-6, "{loss}");
        let expected = ndarray::array![[-1.0], [1.0 + 0.6], [-0.6], [0.0]];
        assert!((&gradient - &expected).iter().all(|d: &f32| d.abs() < 1e-5), "{gradient}");
    }

    #[test]
    fn pairs_on_one_another_have_a_finite_gradient() {
        let z = Array2::<f32>::ones((2, 3));
        let (loss, gradient) = contrastive(z.view(), &[Pair { left: 0, right: 1, same: false }], 1.0);
        assert_eq!(loss, 1.0);
        assert!(gradient.iter().all(|g| *g == 0.0));
    }

    #[test]
    fn the_gradients_of_the_logistic_loss_are_its_differences() {
        let z = Array2::from_shape_fn((5, 3), |(i, j)| ((i * 3 + j) as f32 * 1.7).sin());
        let pairs = all_pairs(&[0, 1, 0, 1, 2]).unwrap();
        let (alpha, bias) = ([-1.0_f32, 0.5, -2.0], 0.3);
        let exact = logistic(z.view(), &pairs, &alpha, bias);
        let step = 1e-2;
        let close = |up: f32, down: f32, exact: f32| {
            let difference = (up - down) / (2.0 * step);
            assert!((difference - exact).abs() < 1e-3, "{difference} {exact}");
        };
        for (i, j) in [(0, 0), (2, 1), (4, 2)] {
            let at = |by: f32| {
                let mut z = z.clone();
                z[[i, j]] += by;
                logistic(z.view(), &pairs, &alpha, bias).loss
            };
            close(at(step), at(-step), exact.in_z[[i, j]]);
        }
        for j in 0..3 {
            let at = |by: f32| {
                let mut alpha = alpha;
                alpha[j] += by;
                logistic(z.view(), &pairs, &alpha, bias).loss
            };
            close(at(step), at(-step), exact.in_alpha[j]);
        }
        let at = |by: f32| logistic(z.view(), &pairs, &alpha, bias + by).loss;
        close(at(step), at(-step), exact.in_bias);
    }
}
