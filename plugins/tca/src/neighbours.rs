//! Nearest neighbours by brute force, in tiles of distances: no matrix of all of them is ever kept.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;

/// Queries and examples whose distances are computed at a time: half a megabyte, which stays in a core's cache.
const QUERIES: usize = 64;
const EXAMPLES: usize = 1024;

/// For each row of `queries`, in order, what is made of its squared distances to all rows of `examples`: `visit` gets them
/// piece by piece, with the place of a piece's first example.
fn over_distances<T: Send>(
    examples: MatRef<'_, f64>,
    queries: MatRef<'_, f64>,
    start: impl Fn() -> T + Sync,
    visit: impl Fn(&mut T, usize, &[f64]) + Sync,
) -> Vec<T> {
    let lengths = |x: MatRef<'_, f64>| x.row_iter().map(|row| row.squared_norm_l2()).collect::<Vec<f64>>();
    let (squares, own) = (lengths(examples), lengths(queries));
    let tiles: Vec<usize> = (0..queries.nrows()).step_by(QUERIES).collect();
    let visited = tiles.par_iter().map(|&from| {
        let asked = queries.subrows(from, QUERIES.min(queries.nrows() - from));
        let mut all: Vec<T> = (0..asked.nrows()).map(|_| start()).collect();
        let mut products = Mat::<f64>::zeros(EXAMPLES.min(examples.nrows()), asked.nrows());
        for first in (0..examples.nrows()).step_by(EXAMPLES) {
            let count = EXAMPLES.min(examples.nrows() - first);
            let mut tile = products.subrows_mut(0, count);
            matmul(
                &mut tile,
                Accum::Replace,
                examples.subrows(first, count),
                asked.transpose(),
                1.0,
                Par::Seq,
            );
            for (q, one) in all.iter_mut().enumerate() {
                let column = &mut products.col_as_slice_mut(q)[..count];
                for (value, square) in column.iter_mut().zip(&squares[first..]) {
                    let distance = own[from + q] + square - 2.0 * *value;
                    *value = if distance > 0.0 { distance } else { 0.0 };
                }
                visit(one, first, column);
            }
        }
        all
    });
    visited.flatten_iter().collect()
}

/// The squared distance of each query to the nearest example of each class, `[queries][ways]`; infinite to a class without.
pub(crate) fn nearest_of_classes(
    examples: MatRef<'_, f64>,
    labels: &[usize],
    queries: MatRef<'_, f64>,
    ways: usize,
) -> Vec<Vec<f64>> {
    // Sorted by class, so that the nearest of each is the least of a run.
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by_key(|&row| labels[row]);
    let sorted = crate::basis::picked(examples, &order);
    let ends: Vec<usize> =
        (0..ways).map(|class| order.partition_point(|&row| labels[row] <= class)).collect();
    over_distances(
        sorted.as_ref(),
        queries,
        || vec![f64::INFINITY; ways],
        |best, first, distances| {
            let mut from = 0;
            for (best, end) in best.iter_mut().zip(&ends) {
                let to = end.saturating_sub(first).clamp(from, distances.len());
                *best = best.min(least(&distances[from..to]));
                from = to;
            }
        },
    )
}

/// The squared distances and places of each row's `count` nearest others, of equally near ones the first.
fn nearest_others(x: MatRef<'_, f64>, count: usize) -> Vec<Vec<(f64, usize)>> {
    let count = count.min(x.nrows().saturating_sub(1));
    // One more: the row itself may be among them.
    let found = over_distances(x, x, Vec::new, |found: &mut Vec<(f64, usize)>, first, distances| {
        for (piece, values) in distances.chunks(32).enumerate() {
            let farthest = |found: &[(f64, usize)]| match found.len() > count {
                true => found[count].0,
                false => f64::INFINITY,
            };
            if least(values) >= farthest(found) {
                continue;
            }
            for (place, &square) in values.iter().enumerate() {
                if square < farthest(found) {
                    let at = found.partition_point(|&(other, _)| other <= square);
                    found.insert(at, (square, first + 32 * piece + place));
                    found.truncate(count + 1);
                }
            }
        }
    });
    let others = found.into_iter().enumerate().map(|(own, mut found)| {
        found.retain(|&(_, place)| place != own);
        found.truncate(count);
        found
    });
    others.collect()
}

/// The least of some numbers, infinite of none. Eight at a time, which a compiler can do in vectors.
fn least(values: &[f64]) -> f64 {
    let (chunks, rest) = values.as_chunks::<8>();
    let smaller = |a: f64, b: f64| if b < a { b } else { a };
    let mut lanes = [f64::INFINITY; 8];
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = smaller(*lane, value);
        }
    }
    lanes.iter().chain(rest).copied().fold(f64::INFINITY, smaller)
}

/// 𝓛 F, 𝓛 = D − M: M = exp(−‖x − y‖² / 2σ²) for two rows of `x` of which one is among the other's nearest, σ² the mean
/// of their squared distances, D its sums (Pan et al. 2011, section IV-B).
pub(crate) fn laplacian_times(x: MatRef<'_, f64>, neighbours: usize, f: MatRef<'_, f64>) -> Mat<f64> {
    let nearest = nearest_others(x, neighbours);
    let squares = nearest.iter().flatten().map(|(square, _)| square);
    let mean = squares.clone().sum::<f64>() / squares.count().max(1) as f64;
    // Each edge once, whichever of its ends names the other.
    let mut edges: Vec<(usize, usize, f64)> = nearest
        .iter()
        .enumerate()
        .flat_map(|(i, own)| own.iter().map(move |&(square, j)| (i.min(j), i.max(j), square)))
        .collect();
    edges.sort_unstable_by_key(|&(i, j, _)| (i, j));
    edges.dedup_by_key(|&mut (i, j, _)| (i, j));
    edges.iter_mut().for_each(|(.., weight)| {
        *weight = if mean > 0.0 { (-*weight / (2.0 * mean)).exp() } else { 1.0 };
    });
    let mut result = Mat::zeros(x.nrows(), f.ncols());
    result.par_col_iter_mut().zip(f.par_col_iter()).for_each(|(mut result, f)| {
        for &(i, j, weight) in &edges {
            let difference = weight * (f[i] - f[j]);
            result[i] += difference;
            result[j] -= difference;
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(n: usize) -> Mat<f64> {
        Mat::from_fn(n, 3, |i, j| ((i * 3 + j) as f64 * 1.7).sin() + 0.5 * ((i * i + j) as f64 * 0.37).cos())
    }

    fn square(x: &Mat<f64>, i: usize, j: usize) -> f64 {
        (0..3).map(|k| (x[(i, k)] - x[(j, k)]).powi(2)).sum()
    }

    /// More rows than a tile has, and than a multiple of it.
    #[test]
    fn neighbours_are_those_of_the_definition() {
        let n = EXAMPLES + QUERIES + 7;
        let x = points(n);
        for (own, found) in nearest_others(x.as_ref(), 4).iter().enumerate() {
            let mut others: Vec<f64> = (0..n).filter(|&j| j != own).map(|j| square(&x, own, j)).collect();
            others.sort_by(f64::total_cmp);
            assert_eq!(found.len(), 4);
            for (k, &(distance, place)) in found.iter().enumerate() {
                assert!(
                    (distance - others[k]).abs() < 1e-12 && (square(&x, own, place) - distance).abs() < 1e-12
                );
            }
        }
        // Fewer others than asked for, and the same point twice.
        assert!(nearest_others(points(3).as_ref(), 9).iter().all(|found| found.len() == 2));
        assert!(nearest_others(Mat::full(5, 2, 1.0).as_ref(), 2).iter().all(|found| found.len() == 2));
    }

    #[test]
    fn the_nearest_of_each_class_is_that_of_the_definition() {
        let x = points(EXAMPLES + 90);
        let (examples, queries) = (x.subrows(0, EXAMPLES + 20), x.subrows(EXAMPLES + 20, 70));
        let labels: Vec<usize> = (0..examples.nrows()).map(|i| [0, 3, 1, 0, 3][i % 5]).collect();
        let found = nearest_of_classes(examples, &labels, queries, 4);
        for (q, row) in found.iter().enumerate() {
            for (class, &distance) in row.iter().enumerate() {
                let own = (0..labels.len()).filter(|&i| labels[i] == class);
                let expected = own.map(|i| square(&x, EXAMPLES + 20 + q, i)).fold(f64::INFINITY, f64::min);
                assert!(distance == expected || (distance - expected).abs() < 1e-12, "{q} {class}");
            }
        }
    }

    #[test]
    fn a_laplacian_has_no_part_in_constants_and_is_symmetric() {
        let x = points(40);
        let whole = laplacian_times(x.as_ref(), 3, Mat::<f64>::identity(40, 40).as_ref());
        assert!((&whole - whole.transpose()).norm_l2() < 1e-12);
        assert!(laplacian_times(x.as_ref(), 3, Mat::<f64>::full(40, 1, 2.0).as_ref()).norm_l2() < 1e-12);
        assert!((0..40).all(|i| whole[(i, i)] > 0.0));
    }
}
