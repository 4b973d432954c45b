//! Fair comparisons: means with 95 % intervals, tests of a difference, ranks, and figures from predictions.
//!
//! Which question asks for what:
//!
//! | question | answer |
//! | --- | --- |
//! | how accurate are these weights on episodes like these? | [`interval95`] over episodes |
//! | is learner `a` better than `b` on identical episodes? | [`paired::paired_t`], [`paired::wilcoxon`] |
//! | which of many such pairs differ? | [`paired::holm`] on their p-values |
//! | how accurate is the method when trained anew? | [`variance::components`] over several seeds |
//! | is method `a` better than `b`, each trained several times? | [`variance::of_seeds`] |
//! | which methods differ over several settings or datasets? | [`ranks::friedman`], [`ranks::nemenyi`] |
//! | how many episodes until ± 0.5 points? | [`precision::more_episodes`] |
//! | which classes are confused, is confidence to be trusted? | [`classification`] |
//!
//! Accuracies are 0–1 everywhere: 0.005 is half a point. Values may be `f32` or `f64`; sums are in `f64`.

pub mod classification;
pub mod paired;
pub mod precision;
pub mod ranks;
pub mod variance;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::{Error, Result};

/// A mean and the half-width of its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// The mean over episodes or seeds.
    #[serde(deserialize_with = "nan_if_null")]
    #[schemars(with = "Option<f64>")]
    pub mean: f64,
    /// t·s/√n: s the sample standard deviation (divisor n − 1) over n values, t the 97.5 % quantile of
    /// Student's t with n − 1 degrees of freedom; NaN where there is one value only, `null` in JSON.
    #[serde(deserialize_with = "nan_if_null")]
    #[schemars(with = "Option<f64>")]
    pub ci95: f64,
}

fn nan_if_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Option::<f64>::deserialize(deserializer).map(|value| value.unwrap_or(f64::NAN))
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

/// The mean of independent values, as over episodes or over seeds, and its 95 % interval by Student's t ("The
/// probable error of a mean", Biometrika 6, 1908).
///
/// Few-shot papers write 1.96·s/√n. Over 600 episodes the two differ by 0.2 %; over three seeds 1.96 would be
/// less than half of what is due (t = 4.30), so t is used always. A value that is not a number gives an
/// interval that is none.
///
/// # Errors
/// When there are fewer than two values: their spread is unknown.
///
/// ```
/// let interval = kshot::stats::interval95(&[0.8, 0.6, 1.0])?;
/// assert!((interval.mean - 0.8).abs() < 1e-12);
/// assert!((interval.ci95 - 0.4968).abs() < 1e-4);
/// # Ok::<(), kshot::Error>(())
/// ```
pub fn interval95<F: Copy + Into<f64>>(values: &[F]) -> Result<Interval> {
    Sample::of(&to_f64(values))?.interval()
}

/// The mean difference `a − b` of two learners on identical episodes, with its 95 % interval.
///
/// Episodes differ in difficulty more than learners do; that part cancels in the differences, so this
/// interval is narrower than those of the two means. Where it excludes 0 the learners differ;
/// [`paired::paired_t`] says the same with a p-value.
///
/// # Errors
/// When the lengths differ, as then the episodes are not the same, or there are fewer than two.
pub fn paired_difference95<F: Copy + Into<f64>>(a: &[F], b: &[F]) -> Result<Interval> {
    Sample::of(&differences(a, b)?)?.interval()
}

/// The differences `a − b`, episode by episode.
fn differences<F: Copy + Into<f64>>(a: &[F], b: &[F]) -> Result<Vec<f64>> {
    if a.len() != b.len() {
        return Err(Error::invalid(format!(
            "a paired comparison needs the same episodes for both learners, but one has {} and the other {}",
            a.len(),
            b.len()
        )));
    }
    Ok(a.iter().zip(b).map(|(&a, &b)| a.into() - b.into()).collect())
}

fn to_f64<F: Copy + Into<f64>>(values: &[F]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

/// Refuses what has no place in a test: NaN and infinity.
fn all_finite(values: &[f64]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(Error::invalid(format!(
            "value {at} of {} is {}: a comparison needs finite numbers",
            values.len(),
            values[at]
        ))),
        None => Ok(()),
    }
}

/// What Student's t needs of two values or more.
struct Sample {
    n: usize,
    mean: f64,
    /// Divisor n − 1.
    variance: f64,
}

impl Sample {
    fn of(values: &[f64]) -> Result<Self> {
        if values.len() < 2 {
            return Err(Error::invalid(format!(
                "an interval needs at least two values, there is {}; ask for more episodes or seeds",
                values.len()
            )));
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Ok(Self { n: values.len(), mean, variance })
    }

    /// Standard error of the mean.
    fn error(&self) -> f64 {
        (self.variance / self.n as f64).sqrt()
    }

    fn interval(&self) -> Result<Interval> {
        Ok(Interval { mean: self.mean, ci95: student95(self.n - 1)? * self.error() })
    }

    /// Two-sided p-value of a mean of 0.
    fn p(&self) -> Result<f64> {
        if self.mean == 0.0 {
            return Ok(1.0);
        }
        Ok(2.0 * student(self.n - 1)?.cdf(-(self.mean / self.error()).abs()))
    }
}

fn student(freedom: usize) -> Result<StudentsT> {
    StudentsT::new(0.0, 1.0, freedom as f64)
        .map_err(|error| Error::invalid(format!("Student's t with {freedom} degrees of freedom: {error}")))
}

/// The 97.5 % quantile of Student's t.
///
/// From 10,000 degrees on by its expansion around the normal quantile (Abramowitz & Stegun, Handbook of
/// Mathematical Functions, 26.7.5), right to 1e-11 there: statrs 0.18 is 3e-6 off at 100,000 degrees and 7 %
/// at ten million.
fn student95(freedom: usize) -> Result<f64> {
    const Z: f64 = 1.959_963_984_540_054;
    if freedom < 10_000 {
        return Ok(student(freedom)?.inverse_cdf(0.975));
    }
    let n = freedom as f64;
    let first = (Z.powi(3) + Z) / 4.0;
    let second = (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / 96.0;
    Ok(Z + first / n + second / (n * n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_student_as_scipy_has_them() {
        for (freedom, quantile) in [
            (1, 12.706204736174694),
            (2, 4.302652729749462),
            (4, 2.7764451051977934),
            (9, 2.262157162798205),
            (39, 2.022690920036761),
            (599, 1.9639322489452784),
            (9_999, 1.960201263621357),
            (10_000, 1.960201239890626),
            (99_999, 1.9599877077718442),
            (10_000_000, 1.959964221767205),
        ] {
            let found = student95(freedom).unwrap();
            assert!((found / quantile - 1.0).abs() < 1e-10, "{freedom}: {found}, not {quantile}");
        }
    }

    #[test]
    fn the_interval_of_a_hand_computed_example() {
        // Mean 0.6; squared deviations 0.16, 0.04, 0, 0.04, 0.16 sum to 0.4; s² = 0.1; 2.776445·√(0.1/5) =
        // 0.392649.
        let interval = interval95(&[0.2_f32, 0.4, 0.6, 0.8, 1.0]).unwrap();
        assert!((interval.mean - 0.6).abs() < 1e-7);
        assert!((interval.ci95 - 0.392_648_6).abs() < 1e-7, "{interval:?}");
        assert!((interval.low() - 0.207_351_4).abs() < 1e-7 && (interval.high() - 0.992_648_6).abs() < 1e-7);
    }

    #[test]
    fn at_600_episodes_it_is_what_papers_report_to_a_five_hundredth() {
        let values: Vec<f64> = (0..600).map(|i| f64::from(i * 7919 % 100) / 100.0).collect();
        let sample = Sample::of(&values).unwrap();
        let ratio = sample.interval().unwrap().ci95 / (1.96 * sample.error());
        assert!((1.0019..1.0021).contains(&ratio), "{ratio}");
    }

    #[test]
    fn pairing_removes_what_the_episodes_share() {
        // Differences 0.1, 0.1, 0.1, 0.3: mean 0.15, s² = 0.01, 3.182446·0.1/2 = 0.159122.
        let difference = paired_difference95(&[0.3, 0.6, 0.9, 1.0], &[0.2, 0.5, 0.8, 0.7]).unwrap();
        assert!((difference.mean - 0.15).abs() < 1e-6);
        assert!((difference.ci95 - 0.159_122_3).abs() < 1e-6);
        assert!(difference.ci95 < interval95(&[0.3, 0.6, 0.9, 1.0]).unwrap().ci95);
    }

    #[test]
    fn one_episode_has_no_interval_and_unequal_numbers_are_no_pairs() {
        assert!(interval95(&[1.0]).is_err());
        assert!(paired_difference95(&[1.0, 0.5], &[1.0]).is_err());
    }
}
