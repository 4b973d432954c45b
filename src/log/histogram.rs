//! How values are distributed, in buckets that are as fine for small values as for large ones.

/// Leading bits of an f32 that make a bucket: sign and exponent, and three bits of the fraction. Eight buckets an octave.
const DROPPED_BITS: u32 = 20;
/// Buckets of one sign: all that finite numbers have.
const BUCKETS: usize = (f32::MAX.to_bits() >> DROPPED_BITS) as usize + 1;
/// Buckets of one sign that are kept apart: ten octaves. Smaller values are in one bucket around 0.
const KEPT: usize = 80;

/// Values in buckets. Those that are not finite are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Histogram {
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) count: f64,
    pub(super) sum: f64,
    pub(super) sum_squares: f64,
    /// Upper end of each bucket, rising. The first reaches down to `min`.
    pub(super) limits: Vec<f64>,
    /// Values in each bucket. Of several empty ones in a row there is one.
    pub(super) buckets: Vec<f64>,
}

impl Histogram {
    /// Two passes over the values.
    pub(super) fn of(values: &[f32]) -> Self {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        let mut histogram = Self::default();
        // Below 0 and from 0 on.
        let mut counts = [[0_u64; BUCKETS]; 2];
        for value in finite() {
            (low, high) = (low.min(value), high.max(value));
            let exact = f64::from(value);
            histogram.sum += exact;
            histogram.sum_squares += exact * exact;
            counts[usize::from(value >= 0.0)][bucket(value)] += 1;
        }
        if low > high {
            return histogram;
        }
        (histogram.min, histogram.max) = (f64::from(low), f64::from(high));
        let largest = bucket(low).max(bucket(high));
        let smallest = (largest + 1).saturating_sub(KEPT).max(1);
        let [negative, positive] = &counts;
        let near_zero = negative[..smallest].iter().chain(&positive[..smallest]).sum();
        let below = (smallest..=largest).rev().map(|at| (-end(at), negative[at]));
        let above = (smallest..=largest).map(|at| (end(at + 1), positive[at]));
        let all: Vec<(f64, u64)> = below.chain([(end(smallest), near_zero)]).chain(above).collect();
        let first = all.iter().position(|(_, count)| *count > 0).unwrap_or(0);
        let last = all.iter().rposition(|(_, count)| *count > 0).unwrap_or(0);
        for at in first..=last {
            let (limit, count) = all[at];
            histogram.count += count as f64;
            if count > 0 || all[at + 1].1 > 0 {
                histogram.limits.push(limit.min(histogram.max));
                histogram.buckets.push(count as f64);
            }
        }
        histogram
    }
}

/// The bucket of a value's magnitude.
fn bucket(value: f32) -> usize {
    (value.abs().to_bits() >> DROPPED_BITS) as usize
}

/// Where the magnitudes of a bucket begin.
fn end(bucket: usize) -> f64 {
    f64::from(f32::from_bits((bucket as u32) << DROPPED_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;
    use rand::Rng as _;

    /// How many of `values` are in each bucket, by search; positive ones lie from an end on, negative ones up to it.
    fn counted(histogram: &Histogram, values: &[f32]) -> Vec<f64> {
        let mut counts = vec![0.0; histogram.limits.len()];
        for value in values.iter().map(|&value| f64::from(value)) {
            let within = |limit: &f64| if value < 0.0 { value <= *limit } else { value < *limit };
            let at = histogram.limits.iter().position(within).unwrap_or(counts.len() - 1);
            counts[at] += 1.0;
        }
        counts
    }

    #[test]
    fn every_value_is_in_its_bucket() {
        let mut rng = stream(0, "histogram", 0);
        let values: Vec<f32> =
            (0..5000).map(|_| rng.random_range(-1.0..1.0f32).powi(5) * 3.0 + 0.01).collect();
        let histogram = Histogram::of(&values);
        assert_eq!(histogram.buckets, counted(&histogram, &values));
        assert!(histogram.limits.is_sorted() && histogram.limits.len() <= 2 * KEPT + 1);
        let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
        let squares: f64 = values.iter().map(|&value| f64::from(value).powi(2)).sum();
        assert_eq!((histogram.count, histogram.sum, histogram.sum_squares), (5000.0, sum, squares));
        let exact = |value: &f32| f64::from(*value);
        let (min, max) =
            (values.iter().copied().fold(0.0, f32::min), values.iter().copied().fold(0.0, f32::max));
        assert_eq!((histogram.min, histogram.max), (exact(&min), exact(&max)));
        assert_eq!(histogram.limits.last(), Some(&histogram.max));
    }

    #[test]
    fn extremes_are_counted_and_what_is_not_finite_is_left_out() {
        let values = [f32::MAX, -f32::MAX, 0.0, -0.0, 1e-40, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        let histogram = Histogram::of(&values);
        assert_eq!(histogram.buckets, [1.0, 0.0, 3.0, 0.0, 1.0]);
        assert_eq!((histogram.min, histogram.max), (-f64::from(f32::MAX), f64::from(f32::MAX)));
        assert!(histogram.limits.iter().all(|limit| limit.is_finite()));
        assert_eq!(Histogram::of(&[]), Histogram::default());
        let zeros = Histogram::of(&[0.0; 3]);
        assert_eq!((zeros.limits, zeros.buckets), (vec![0.0], vec![3.0]));
        let shares = Histogram::of(&[1.0, 0.5, 1.0]);
        assert_eq!((shares.buckets, shares.min, shares.max), (vec![1.0, 0.0, 2.0], 0.5, 1.0));
    }
}
