//! Several learners over several settings (datasets, ways and shots): mean ranks, and which learners differ.
//!
//! Accuracies of different settings do not add up: a point on Omniglot is not one on miniImageNet. Ranks do.
//! First [`friedman`] asks whether the learners differ at all; if so, [`nemenyi`] says how far apart two mean
//! ranks must be, and [`groups`] which learners no such distance parts: the bars of a critical-difference
//! diagram. All after Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006,
//! section 3.2.2. Settings count, not episodes or seeds: give one figure, a mean over them, for each learner
//! and setting.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF, Normal};

use super::all_finite;
use crate::{Error, Result};

/// Friedman's test of several learners over several settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Friedman {
    /// Mean rank of each learner: 1 is best in every setting.
    pub mean_ranks: Vec<f64>,
    /// Friedman's statistic, corrected for ties.
    pub statistic: f64,
    /// p-value of all learners being equal, 0–1: by χ² with one degree of freedom fewer than learners.
    pub p: f64,
}

/// The mean rank of each learner over settings, `settings[i][j]` being the figure of learner `j` in setting
/// `i`. Higher is better (negate errors) and the best has rank 1; equal figures share their mean rank.
///
/// # Errors
/// When there is no setting, settings have different numbers of learners, or a figure is not finite.
///
/// ```
/// let ranks = kshot::stats::ranks::mean_ranks(&[vec![0.9, 0.8, 0.7], vec![0.5, 0.6, 0.5]])?;
/// assert_eq!(ranks, [1.75, 1.5, 2.75]);
/// # Ok::<(), kshot::Error>(())
/// ```
pub fn mean_ranks(settings: &[Vec<f64>]) -> Result<Vec<f64>> {
    ranks_and_ties(settings).map(|(mean_ranks, _)| mean_ranks)
}

/// Friedman's test of three learners or more ("The use of ranks to avoid the assumption of normality implicit
/// in the analysis of variance", JASA 32, 1937). With N settings, k learners and mean ranks R it is
/// 12 N / (k (k + 1)) · (ΣR² − k (k + 1)² / 4), divided by 1 − Σ(t³ − t) / (N (k³ − k)) for
/// ties of t figures.
///
/// χ² is near for ten settings and five learners or more (Demšar). With fewer settings equal learners are
/// called different in less than 5 % (at four learners 1.8 % over three settings, 3.7 % over seven), but for
/// three learners, where few values of the statistic are possible: 6.9 % over four settings, 6 % at most over
/// six or more. Iman and Davenport's F is not offered: over three settings it gives 6 % (five learners) to
/// 19 % (three).
///
/// # Errors
/// As [`mean_ranks`]; when there are fewer than three learners (for two, compare by
/// [`super::paired::wilcoxon`]) or fewer than two settings.
pub fn friedman(settings: &[Vec<f64>]) -> Result<Friedman> {
    let (mean_ranks, ties) = ranks_and_ties(settings)?;
    let (n, k) = (settings.len() as f64, mean_ranks.len() as f64);
    if mean_ranks.len() < 3 || settings.len() < 2 {
        return Err(Error::invalid(format!(
            "Friedman's test needs at least three learners in two settings, there are {k} in {n}; \
             compare two learners by Wilcoxon's test"
        )));
    }
    let correction = 1.0 - ties / (n * (k * k * k - k));
    if correction <= 0.0 {
        // All are equal in every setting.
        return Ok(Friedman { mean_ranks, statistic: 0.0, p: 1.0 });
    }
    // Σ(R − (k + 1) / 2)², which is ΣR² − k (k + 1)² / 4 without its cancellation.
    let spread: f64 = mean_ranks.iter().map(|rank| (rank - (k + 1.0) / 2.0).powi(2)).sum();
    let statistic = 12.0 * n / (k * (k + 1.0)) * spread / correction;
    let chi_squared = ChiSquared::new(k - 1.0)
        .map_err(|error| Error::invalid(format!("χ² with {} degrees of freedom: {error}", k - 1.0)))?;
    Ok(Friedman { mean_ranks, statistic, p: chi_squared.sf(statistic) })
}

/// Nemenyi's critical difference at 0.05: two of `learners` whose mean ranks over `settings` differ by it or
/// more are different, whichever of all pairs they are. It is q · √(k (k + 1) / (6 N)), q the 95 % quantile
/// of the studentized range of k normal values with infinite degrees of freedom, divided by √2 (Demšar 2006,
/// section 3.2.2 and table 5a).
///
/// # Errors
/// When there are fewer than two learners or no settings.
pub fn nemenyi(learners: usize, settings: usize) -> Result<f64> {
    if learners < 2 || settings < 1 {
        return Err(Error::invalid(format!(
            "a critical difference is of at least two learners in one setting, \
             there are {learners} in {settings}"
        )));
    }
    let (k, n) = (learners as f64, settings as f64);
    Ok(studentized_range95(k) / std::f64::consts::SQRT_2 * (k * (k + 1.0) / (6.0 * n)).sqrt())
}

/// The largest groups of two learners or more whose mean ranks are all less than the critical difference
/// apart: those that a bar joins in a critical-difference diagram. Each group and the groups themselves go
/// from the best rank to the worst; a learner may be in several, and in none when it differs from all.
///
/// ```
/// use kshot::stats::ranks::groups;
///
/// assert_eq!(groups(&[2.0, 1.2, 3.9, 2.9], 1.0), [vec![1, 0], vec![0, 3]]);
/// ```
pub fn groups(mean_ranks: &[f64], critical_difference: f64) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..mean_ranks.len()).collect();
    order.sort_by(|&a, &b| mean_ranks[a].total_cmp(&mean_ranks[b]));
    let mut groups = Vec::new();
    let mut joined = 0;
    for first in 0..order.len() {
        let best = mean_ranks[order[first]];
        let reach = order.partition_point(|&learner| mean_ranks[learner] - best < critical_difference);
        // A run that ends where an earlier one did is part of it.
        if reach > joined && reach - first > 1 {
            groups.push(order[first..reach].to_vec());
        }
        joined = joined.max(reach);
    }
    groups
}

/// Mean ranks, and Σ(t³ − t) over the ties of t figures in each setting.
fn ranks_and_ties(settings: &[Vec<f64>]) -> Result<(Vec<f64>, f64)> {
    let learners = settings.first().map_or(0, Vec::len);
    if learners == 0 || settings.iter().any(|figures| figures.len() != learners) {
        return Err(Error::invalid(
            "ranks need a figure of every learner in every setting; \
             leave out settings that one of them lacks",
        ));
    }
    let mut sums = vec![0.0; learners];
    let mut all_ties = 0.0;
    for figures in settings {
        all_finite(figures)?;
        let (ranks, ties) = midranks(figures, |first, next| figures[first] == figures[next]);
        // Ascending rank r is k + 1 − r from the best.
        sums.iter_mut().zip(ranks).for_each(|(sum, rank)| *sum += learners as f64 + 1.0 - rank);
        all_ties += ties;
    }
    Ok((sums.into_iter().map(|sum| sum / settings.len() as f64).collect(), all_ties))
}

/// Ranks from 1, smallest first, in the order of `values`, ties sharing their mean rank, and Σ(t³ − t) over
/// ties of t values. `tied` says of two indices, the first that of the smallest of a tie, whether the next
/// belongs to it.
pub(super) fn midranks(values: &[f64], tied: impl Fn(usize, usize) -> bool) -> (Vec<f64>, f64) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let (mut ranks, mut ties) = (vec![0.0; values.len()], 0.0);
    let mut start = 0;
    while start < order.len() {
        let more = order[start + 1..].iter().take_while(|&&next| tied(order[start], next)).count();
        let end = start + 1 + more;
        // Mean of the ranks start + 1 ..= end.
        order[start..end].iter().for_each(|&at| ranks[at] = (start + 1 + end) as f64 / 2.0);
        let t = (end - start) as f64;
        ties += t * t * t - t;
        start = end;
    }
    (ranks, ties)
}

/// The 95 % quantile of the range of `k` independent standard normal values: the studentized range with
/// infinite degrees of freedom.
fn studentized_range95(k: f64) -> f64 {
    let (mut low, mut high) = (0.0, 64.0);
    // Down to 64 / 2⁵⁰ = 6e-14.
    for _ in 0..50 {
        let middle = (low + high) / 2.0;
        if range_within(middle, k) < 0.95 { low = middle } else { high = middle }
    }
    high
}

/// The chance that the range of `k` standard normal values is at most `q`: ∫ k φ(z) (Φ(z) − Φ(z − q))ᵏ⁻¹ dz,
/// z being the largest (Tukey 1953; as scipy.stats.studentized_range has it for infinite degrees of freedom).
/// The integrand and all its derivatives vanish at both ends, so the trapezoidal rule is right to rounding.
fn range_within(q: f64, k: f64) -> f64 {
    const STEP: f64 = 1.0 / 16.0;
    let normal = Normal::standard();
    let density = |z: f64| (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let at = |z: f64| k * density(z) * (normal.cdf(z) - normal.cdf(z - q)).powf(k - 1.0);
    (-160..=160).map(|i| at(f64::from(i) * STEP)).sum::<f64>() * STEP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn critical_values_as_demsar_prints_them() {
        // Table 5a, two to ten learners; q/√2 to three decimals.
        let printed = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164];
        for (learners, q) in (2..).zip(printed) {
            let found = studentized_range95(f64::from(learners)) / std::f64::consts::SQRT_2;
            // Printed are tables' values, some rounded down.
            assert!((found - q).abs() < 1e-3, "{learners}: {found}, not {q}");
        }
    }

    #[test]
    fn critical_values_as_scipy_has_them() {
        for (learners, q) in [
            (2.0, 2.771807648699355),
            (3.0, 3.314493155398122),
            (5.0, 3.857655510378623),
            (10.0, 4.474124221725907),
            (50.0, 5.646026026380527),
        ] {
            let found = studentized_range95(learners);
            assert!((found / q - 1.0).abs() < 1e-9, "{learners}: {found}, not {q}");
        }
    }

    #[test]
    fn friedman_with_ties_as_scipy_has_it() {
        let settings = [
            vec![0.9, 0.8, 0.8, 0.7],
            vec![0.6, 0.6, 0.6, 0.5],
            vec![0.7, 0.9, 0.8, 0.4],
            vec![0.8, 0.7, 0.7, 0.8],
            vec![0.5, 0.4, 0.3, 0.2],
        ];
        let found = friedman(&settings).unwrap();
        assert!((found.statistic - 6.0697674418604635).abs() < 1e-12, "{found:?}");
        assert!((found.p - 0.10826478631806909).abs() < 1e-12, "{found:?}");
        assert_eq!(found.mean_ranks, [1.7, 2.2, 2.6, 3.5]);
    }

    #[test]
    fn equal_learners_share_all_ranks() {
        let found = friedman(&[vec![0.5; 3], vec![0.7; 3]]).unwrap();
        assert_eq!((found.mean_ranks, found.statistic, found.p), (vec![2.0; 3], 0.0, 1.0));
    }

    #[test]
    fn groups_are_the_largest_runs() {
        assert_eq!(groups(&[1.0, 2.0, 3.0], 5.0), [vec![0, 1, 2]]);
        assert_eq!(groups(&[1.0, 2.0, 3.0], 1.0), [[0; 0]; 0], "as far apart as that is different");
        assert_eq!(groups(&[1.0, 1.5, 2.0, 2.5], 1.2), [vec![0, 1, 2], vec![1, 2, 3]]);
        assert_eq!(groups(&[2.0, 2.0], 0.1), [vec![0, 1]]);
        assert!(groups(&[], 1.0).is_empty());
    }

    #[test]
    fn incomplete_tables_are_refused() {
        assert!(mean_ranks(&[]).is_err());
        assert!(mean_ranks(&[vec![0.5, 0.6], vec![0.5]]).is_err());
        assert!(mean_ranks(&[vec![0.5, f64::NAN]]).is_err());
        assert!(friedman(&[vec![0.5, 0.6], vec![0.5, 0.6]]).is_err());
        assert!(friedman(&[vec![0.5, 0.6, 0.7]]).is_err());
        assert!(nemenyi(1, 5).is_err() && nemenyi(5, 0).is_err());
    }
}
