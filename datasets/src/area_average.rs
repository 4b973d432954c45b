//! Resampling by exact area averaging: each output pixel is the mean of the input over the area it covers.

/// Resamples planes of one size to another.
pub(crate) struct AreaAverage {
    rows: Axis,
    columns: Axis,
}

/// How the cells of one axis overlap, in units in which an input cell is `to` long and an output cell `from`.
struct Axis {
    from: usize,
    /// For each output cell: the first input cell under it and how much of each lies under it.
    spans: Vec<(usize, Vec<u32>)>,
}

impl Axis {
    fn new(from: usize, to: usize) -> Self {
        let spans = (0..to)
            .map(|cell| {
                let (start, end) = (cell * from, (cell + 1) * from);
                let first = start / to;
                let weights = (first..end.div_ceil(to))
                    .map(|input| (end.min((input + 1) * to) - start.max(input * to)) as u32)
                    .collect();
                (first, weights)
            })
            .collect();
        Self { from, spans }
    }
}

impl AreaAverage {
    /// From planes of `from` = `[height, width]` to planes of `to`; no side is 0.
    pub(crate) fn new(from: [usize; 2], to: [usize; 2]) -> Self {
        Self { rows: Axis::new(from[0], to[0]), columns: Axis::new(from[1], to[1]) }
    }

    /// Resamples `plane` into `out`, rounding to the nearest byte: sums are of integers, so nothing else is rounded.
    pub(crate) fn resample(&self, plane: &[u8], out: &mut [u8]) {
        let (width, area) = (self.columns.from, (self.rows.from * self.columns.from) as u64);
        // Down the columns first: whole rows are added, which the compiler turns into vector instructions.
        let mut sums = vec![0u32; width];
        for (line, (first, weights)) in out.chunks_exact_mut(self.columns.spans.len()).zip(&self.rows.spans) {
            sums.fill(0);
            for (row, &weight) in plane.chunks_exact(width).skip(*first).zip(weights) {
                sums.iter_mut().zip(row).for_each(|(sum, &pixel)| *sum += weight * u32::from(pixel));
            }
            for (pixel, (first, weights)) in line.iter_mut().zip(&self.columns.spans) {
                let sum: u64 = sums
                    .get(*first..)
                    .unwrap_or_default()
                    .iter()
                    .zip(weights)
                    .map(|(&sum, &weight)| u64::from(sum) * u64::from(weight))
                    .sum();
                *pixel = ((sum + area / 2) / area) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, integrated on a grid that both sizes divide.
    fn by_subdivision(plane: &[u8], from: [usize; 2], to: [usize; 2]) -> Vec<u8> {
        let mut out = Vec::new();
        for row in 0..to[0] {
            for column in 0..to[1] {
                let mut sum = 0u64;
                for y in 0..from[0] {
                    for x in 0..from[1] {
                        let (y, x) = ((row * from[0] + y) / to[0], (column * from[1] + x) / to[1]);
                        sum += u64::from(plane[y * from[1] + x]);
                    }
                }
                let area = (from[0] * from[1]) as u64;
                out.push(((sum + area / 2) / area) as u8);
            }
        }
        out
    }

    #[test]
    fn every_output_pixel_is_the_mean_over_the_area_it_covers() {
        for (from, to) in [([105, 105], [28, 28]), ([7, 5], [3, 2]), ([4, 6], [2, 3]), ([3, 2], [5, 7])] {
            let plane: Vec<u8> = (0..from[0] * from[1]).map(|i| (i * i * 31 % 251) as u8).collect();
            let mut out = vec![0; to[0] * to[1]];
            AreaAverage::new(from, to).resample(&plane, &mut out);
            assert_eq!(out, by_subdivision(&plane, from, to), "{from:?} to {to:?}");
        }
    }

    #[test]
    fn the_same_size_is_the_identity_and_a_full_plane_stays_full() {
        let plane: Vec<u8> = (0..35).collect();
        let mut out = vec![0; 35];
        AreaAverage::new([7, 5], [7, 5]).resample(&plane, &mut out);
        assert_eq!(out, plane);
        let mut out = vec![0; 28 * 28];
        AreaAverage::new([105, 105], [28, 28]).resample(&[255; 105 * 105], &mut out);
        assert!(out.iter().all(|&pixel| pixel == 255));
    }
}
