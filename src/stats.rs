//! Means with 95 % intervals over episodes, and the paired comparison of two learners.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Quantile of the standard normal distribution for a two-sided 95 % interval, as few-shot papers report it.
const Z95: f64 = 1.96;

/// A mean and the half-width of its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean over episodes.
    pub mean: f64,
    /// 1.96·s/√n, s the sample standard deviation (divisor n − 1) over n episodes; NaN where there is one episode only.
    pub ci95: f64,
}

impl Interval {
    /// Lower end.
    pub fn low(&self) -> f64 {
        self.mean - self.ci95
    }

    /// Upper end.
    pub fn high(&self) -> f64 {
        self.mean + self.ci95
    }
}

/// The mean of independent values and its 95 % interval.
///
/// # Errors
/// When there are fewer than two values: their spread is unknown.
///
/// ```
/// let interval = kshot::stats::interval95(&[0.8, 0.6, 1.0, 0.6])?;
/// assert!((interval.mean - 0.75).abs() < 1e-7);
/// assert!((interval.ci95 - 0.187656).abs() < 1e-6);
/// # Ok::<(), kshot::Error>(())
/// ```
pub fn interval95(values: &[f32]) -> Result<Interval> {
    over(values.iter().map(|&value| f64::from(value)).collect())
}

/// The mean difference `a − b` of two learners on identical episodes, with its 95 % interval.
///
/// Episodes differ in difficulty more than learners do; that part cancels in the differences, so this interval is
/// narrower than those of the two means. Where it excludes 0 the learners differ.
///
/// # Errors
/// When the lengths differ, as then the episodes are not the same, or there are fewer than two.
pub fn paired_difference95(a: &[f32], b: &[f32]) -> Result<Interval> {
    if a.len() != b.len() {
        return Err(Error::invalid(format!(
            "a paired comparison needs the same episodes for both learners, but one has {} and the other {}",
            a.len(),
            b.len()
        )));
    }
    over(a.iter().zip(b).map(|(&a, &b)| f64::from(a) - f64::from(b)).collect())
}

fn over(values: Vec<f64>) -> Result<Interval> {
    if values.len() < 2 {
        return Err(Error::invalid(format!(
            "an interval needs at least two episodes, there is {}; ask for more episodes",
            values.len()
        )));
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Ok(Interval { mean, ci95: Z95 * (variance / n).sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_hand_computed_example() {
        // Mean 0.6; squared deviations 0.16, 0.04, 0, 0.04, 0.16 sum to 0.4; s² = 0.1; 1.96·√(0.1/5) = 0.277186.
        let interval = interval95(&[0.2, 0.4, 0.6, 0.8, 1.0]).unwrap();
        assert!((interval.mean - 0.6).abs() < 1e-7);
        assert!((interval.ci95 - 0.277_185_9).abs() < 1e-7);
        assert!((interval.low() - 0.322_814_1).abs() < 1e-7 && (interval.high() - 0.877_185_9).abs() < 1e-7);
    }

    #[test]
    fn pairing_removes_what_the_episodes_share() {
        // Differences 0.1, 0.1, 0.1, 0.3: mean 0.15, s² = 0.01, 1.96·0.1/2 = 0.098.
        let difference = paired_difference95(&[0.3, 0.6, 0.9, 1.0], &[0.2, 0.5, 0.8, 0.7]).unwrap();
        assert!((difference.mean - 0.15).abs() < 1e-6);
        assert!((difference.ci95 - 0.098).abs() < 1e-6);
        assert!(difference.ci95 < interval95(&[0.3, 0.6, 0.9, 1.0]).unwrap().ci95);
    }

    #[test]
    fn one_episode_has_no_interval_and_unequal_numbers_are_no_pairs() {
        assert!(interval95(&[1.0]).is_err());
        assert!(paired_difference95(&[1.0, 0.5], &[1.0]).is_err());
    }
}
