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
    /// 1.96·s/√n, s the sample standard deviation (divisor n − 1) over n episodes, or as Student's t has it over a few
    /// seeds; NaN where there is one value only.
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

/// The mean of a few independent values, as over seeds, and its 95 % interval by Student's t.
///
/// # Errors
/// As [`interval95`].
///
/// ```
/// let interval = kshot::stats::interval95_of_few(&[0.8, 0.6, 1.0])?;
/// assert!((interval.ci95 - 0.4968).abs() < 1e-4);
/// # Ok::<(), kshot::Error>(())
/// ```
pub fn interval95_of_few(values: &[f32]) -> Result<Interval> {
    let normal = interval95(values)?;
    Ok(Interval { ci95: normal.ci95 / Z95 * student95(values.len() - 1), ..normal })
}

/// The 97.5 % quantile of Student's t distribution with this many degrees of freedom, by bisection of its distribution
/// function for whole degrees (Abramowitz & Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4).
fn student95(freedom: usize) -> f64 {
    // P(|T| ≤ t).
    let within = |t: f64| {
        let angle = (t / (freedom as f64).sqrt()).atan();
        let (sine, cosine) = angle.sin_cos();
        // cosⁿ with the product of 1/2 · 3/4 …, or of 2/3 · 4/5 …, before it.
        let series = |first: f64| {
            let (mut term, mut sum, mut n) = (first, 0.0, if freedom.is_multiple_of(2) { 0.0 } else { 1.0 });
            while n <= freedom as f64 - 2.0 {
                sum += term;
                term *= cosine * cosine * (n + 1.0) / (n + 2.0);
                n += 2.0;
            }
            sum
        };
        match freedom.is_multiple_of(2) {
            true => sine * series(1.0),
            false => (angle + sine * series(cosine)) / std::f64::consts::FRAC_PI_2,
        }
    };
    let (mut low, mut high) = (0.0, 1e3);
    while high - low > 1e-9 {
        let middle = (low + high) / 2.0;
        if within(middle) < 0.95 { low = middle } else { high = middle }
    }
    high
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
    fn quantiles_of_student_as_tables_have_them() {
        for (freedom, quantile) in
            [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423), (599, 1.9639)]
        {
            let found = student95(freedom);
            assert!((found - quantile).abs() < 1e-4, "{freedom}: {found}, not {quantile}");
        }
    }

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
