//! Two learners on identical episodes: do they differ?
//!
//! Both tests look at the differences episode by episode, so what makes an episode easy or hard for every
//! learner cancels. The t-test is about the mean difference and is the one to report: over hundreds of
//! episodes it needs no normal differences. Wilcoxon's is about ranks of differences: few episodes with huge
//! differences (mean squared errors) cannot sway it. Decide on one of them before you look. Over more than
//! two learners adjust by [`holm`].
//!
//! Episodes are independent draws, trainings are few. What these tests say is of these very weights; whether
//! the methods differ when trained anew is for [`of_seeds`](super::variance::of_seeds).

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use super::ranks::midranks;
use super::{Interval, Sample, all_finite, differences};
use crate::Result;

/// Up to so many differences Wilcoxon's distribution is counted out; from there on it is taken for normal.
const EXACT: usize = 25;

/// The difference of two learners and how surprising it would be of equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Mean of `a − b` and its 95 % interval, in the unit of the values: accuracies 0–1.
    pub difference: Interval,
    /// Two-sided p-value, 0–1: under 0.05 where the interval excludes 0.
    pub p: f64,
}

/// The two-sided paired t-test of `a` and `b` on identical episodes (Student 1908; Demšar, "Statistical
/// comparisons of classifiers over multiple data sets", JMLR 7, 2006, section 3.1.2). Learners with the same
/// value in every episode have difference 0 and p = 1.
///
/// # Errors
/// When the lengths differ, there are fewer than two episodes, or a value is not finite.
///
/// ```
/// use kshot::stats::paired::paired_t;
///
/// let paired = paired_t(&[0.82_f32, 0.64, 0.90, 0.76], &[0.78, 0.62, 0.86, 0.70])?;
/// assert!((paired.difference.mean - 0.04).abs() < 1e-6);
/// assert!(paired.difference.low() > 0.0 && paired.p < 0.05);
/// # Ok::<(), kshot::Error>(())
/// ```
pub fn paired_t<F: Copy + Into<f64>>(a: &[F], b: &[F]) -> Result<Paired> {
    t_test(&differences(a, b)?)
}

/// Student's test of a mean difference of 0.
pub(super) fn t_test(differences: &[f64]) -> Result<Paired> {
    all_finite(differences)?;
    let sample = Sample::of(differences)?;
    Ok(Paired { difference: sample.interval()?, p: sample.p()? })
}

/// The two-sided p-value of Wilcoxon's signed-rank test of `a` and `b` on identical episodes (Wilcoxon,
/// "Individual comparisons by ranking methods", Biometrics Bulletin 1, 1945; Demšar 2006, section 3.1.3).
///
/// Episodes with equal values are left out, as Wilcoxon does; equal differences share their mean rank. Up to
/// 25 other episodes (where tables end, says Demšar) the distribution is exact, also with ties: all 2ⁿ ways
/// to sign the ranks are counted. Beyond it is normal, the variance corrected for ties, without correction
/// for continuity: SciPy's `wilcoxon(method="asymptotic", correction=False)`.
///
/// Accuracies are whole numbers of queries divided by their count, so many differences are equal; rounding to
/// `f32` would tear these ties apart. Differences that rounding alone may have parted are therefore ties.
///
/// # Errors
/// As [`paired_t`].
pub fn wilcoxon<F: Copy + Into<f64>>(a: &[F], b: &[F]) -> Result<f64> {
    let differences = differences(a, b)?;
    all_finite(&differences)?;
    Sample::of(&differences)?;
    // How far rounding of both values to f32 may move their difference.
    let rounding = |a: f64, b: f64| f64::from(f32::EPSILON) * a.abs().max(b.abs());
    let (apart, tolerance): (Vec<f64>, Vec<f64>) = (a.iter().zip(b))
        .map(|(&a, &b)| (a.into(), b.into()))
        .map(|(a, b)| (a - b, rounding(a, b)))
        .filter(|(difference, tolerance)| difference.abs() > *tolerance)
        .unzip();
    let sizes: Vec<f64> = apart.iter().map(|difference| difference.abs()).collect();
    let (ranks, ties) =
        midranks(&sizes, |first, next| sizes[next] - sizes[first] <= tolerance[first] + tolerance[next]);
    let total = ranks.iter().sum::<f64>();
    let positive: f64 =
        ranks.iter().zip(&apart).filter(|(_, apart)| **apart > 0.0).map(|(rank, _)| rank).sum();
    let statistic = positive.min(total - positive);
    if apart.len() <= EXACT {
        return Ok(exact(&ranks, statistic));
    }
    let n = apart.len() as f64;
    let variance = n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - ties / 48.0;
    let z = (statistic - total / 2.0) / variance.sqrt();
    Ok((2.0 * Normal::standard().cdf(z)).min(1.0))
}

/// Twice the share of all ways to sign `ranks` whose positive ones sum to `statistic` or less.
fn exact(ranks: &[f64], statistic: f64) -> f64 {
    // Mean ranks are whole or half numbers: counted in halves.
    let halves = |rank: f64| (2.0 * rank).round() as usize;
    let most = halves(statistic);
    let mut ways = vec![0.0; most + 1];
    ways[0] = 1.0;
    for &rank in ranks {
        for sum in (halves(rank)..=most).rev() {
            ways[sum] += ways[sum - halves(rank)];
        }
    }
    (2.0 * ways.iter().sum::<f64>() / 2.0_f64.powi(ranks.len() as i32)).min(1.0)
}

/// p-values adjusted for being several, in their order (Holm, "A simple sequentially rejective multiple test
/// procedure", Scandinavian Journal of Statistics 6, 1979): where those under 0.05 are called different, the
/// chance that any pair of equal learners is among them is at most 5 %. The smallest is multiplied by how
/// many there are, the next by one less …; none is smaller than the one before it or greater than 1.
///
/// ```
/// let adjusted = kshot::stats::paired::holm(&[0.01, 0.04, 0.03]);
/// assert_eq!(adjusted, [0.03, 0.06, 0.06]);
/// ```
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut before = 0.0_f64;
    for (smaller, &at) in order.iter().enumerate() {
        before = before.max(p[at] * (p.len() - smaller) as f64).min(1.0);
        adjusted[at] = before;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identical_learners_do_not_differ() {
        let same = [0.25_f32, 0.5, 0.75];
        let paired = paired_t(&same, &same).unwrap();
        assert_eq!((paired.difference.mean, paired.difference.ci95, paired.p), (0.0, 0.0, 1.0));
        assert_eq!(wilcoxon(&same, &same).unwrap(), 1.0);
    }

    #[test]
    fn a_constant_difference_is_no_chance() {
        let paired = paired_t(&[0.75, 0.5, 0.25], &[0.5, 0.25, 0.0]).unwrap();
        assert_eq!((paired.difference.mean, paired.difference.ci95, paired.p), (0.25, 0.0, 0.0));
    }

    #[test]
    fn p_is_under_a_twentieth_just_where_the_interval_excludes_zero() {
        for shift in 0..200 {
            let a: Vec<f64> =
                (0..30).map(|i| f64::from(i * 37 % 30) / 30.0 + f64::from(shift) * 1e-3).collect();
            let b: Vec<f64> = (0..30).map(|i| f64::from(i * 11 % 30) / 30.0).collect();
            let Paired { difference, p } = paired_t(&a, &b).unwrap();
            assert_eq!(p < 0.05, difference.low() > 0.0 || difference.high() < 0.0, "{difference:?} {p}");
        }
    }

    #[test]
    fn wilcoxon_by_hand() {
        // Differences 1, 2, 3, 4, 5, all positive: 2 of 32 ways to sign them are so far out.
        assert_eq!(wilcoxon(&[1.0, 2.0, 3.0, 4.0, 5.0], &[0.0; 5]).unwrap(), 2.0 / 32.0);
        // Of 1, −2, 3, 4, 5 the negative ranks sum to 2: ∅, {1} and {2} do so or less.
        assert_eq!(wilcoxon(&[1.0, -2.0, 3.0, 4.0, 5.0], &[0.0; 5]).unwrap(), 6.0 / 32.0);
        // A zero changes nothing; ties share ranks: 1.5, 1.5 and 3, the negative sum is 1.5: ∅ and two
        // singles.
        assert_eq!(wilcoxon(&[0.0, 1.0, -1.0, 2.0], &[0.0; 4]).unwrap(), 6.0 / 8.0);
    }

    #[test]
    fn wilcoxon_with_ties_as_scipy_counts_them() {
        // scipy.stats.wilcoxon(d), 12 differences with ties: all permutations.
        let d = [1.0, 1.0, -1.0, 2.0, 2.0, 3.0, -2.0, 4.0, 4.0, 5.0, -1.0, 6.0];
        assert!((wilcoxon(&d, &[0.0; 12]).unwrap() - 0.02783203125).abs() < 1e-12);
        // scipy.stats.wilcoxon(d, method="asymptotic", correction=False), 40 with ties and zeros.
        let d: Vec<f64> = (0..40).map(|i| f64::from(i * i % 11) - 4.0).collect();
        assert!((wilcoxon(&d, &[0.0; 40]).unwrap() / 0.7927950105154655 - 1.0).abs() < 1e-9);
    }

    #[test]
    fn ties_of_accuracies_survive_rounding() {
        // All differ by 2 of 75 queries, which f32 has eight different values for.
        let (a, b): (Vec<f32>, Vec<f32>) = (10..70).map(|i| ((i + 2) as f32 / 75.0, i as f32 / 75.0)).unzip();
        let exactly = |numbers: &[f32]| numbers.iter().map(|n| (n * 75.0).round()).collect::<Vec<f32>>();
        assert_eq!(wilcoxon(&a, &b).unwrap(), wilcoxon(&exactly(&a), &exactly(&b)).unwrap());
    }

    #[test]
    fn holm_is_monotone_and_at_most_one() {
        assert_eq!(holm(&[]), [0.0; 0]);
        assert_eq!(holm(&[0.2]), [0.2]);
        assert_eq!(holm(&[0.9, 0.5, 0.01]), [1.0, 1.0, 0.03]);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        assert!(paired_t(&[0.5, f32::NAN], &[0.5, 0.5]).is_err());
        assert!(wilcoxon(&[0.5, f32::INFINITY], &[0.5, 0.5]).is_err());
        assert!(paired_t(&[0.5], &[0.5]).is_err());
        assert!(wilcoxon(&[0.5, 0.5], &[0.5]).is_err());
    }
}
