//! What classifies aligned examples: the nearest neighbour, and multinomial logistic regression.

use faer::{Mat, MatRef};
use ndarray::Array2;
use rayon::prelude::*;

use crate::Kernel;
use crate::components::product;

/// Queries whose distances are kept at a time.
const QUERIES: usize = 512;

/// Scores of the rows of `z` after the first `labels.len()`, `[queries, ways]`: minus the squared distance to the class's
/// nearest labelled row.
pub(crate) fn nearest(z: MatRef<'_, f64>, labels: &[usize], ways: usize) -> Array2<f32> {
    let known = labels.len();
    let (examples, queries) = (z.subrows(0, known), z.subrows(known, z.nrows() - known));
    let squares: Vec<f64> = (0..known).map(|i| examples.row(i).squared_norm_l2()).collect();
    let mut scores = Array2::zeros((queries.nrows(), ways));
    for from in (0..queries.nrows()).step_by(QUERIES) {
        let asked = queries.subrows(from, QUERIES.min(queries.nrows() - from));
        let products = Kernel::Linear.matrix(examples, asked);
        let rows: Vec<Vec<f64>> = (0..asked.nrows())
            .into_par_iter()
            .map(|q| {
                let own = asked.row(q).squared_norm_l2();
                let mut best = vec![f64::INFINITY; ways];
                for (i, &label) in labels.iter().enumerate() {
                    best[label] = best[label].min(own + squares[i] - 2.0 * products[(i, q)]);
                }
                best
            })
            .collect();
        for (q, best) in rows.into_iter().enumerate() {
            best.into_iter()
                .enumerate()
                .for_each(|(class, distance)| scores[[from + q, class]] = -distance as f32);
        }
    }
    scores
}

/// Steps of the descent: enough for the loss to settle with the ridge below.
const STEPS: usize = 300;
/// Weight decay of the logistic regression, per example.
const RIDGE: f64 = 1e-3;

/// Scores of the rows of `z` after the first `labels.len()`, `[queries, ways]`: log-probabilities up to a constant, of a
/// multinomial logistic regression on the labelled rows, found by Nesterov's accelerated gradient descent (1983) with
/// the step 1/L of a bound L on the loss's curvature.
pub(crate) fn logistic(z: MatRef<'_, f64>, labels: &[usize], ways: usize) -> Array2<f32> {
    let known = labels.len();
    // Standardised by the labelled rows, with a constant feature for the bias.
    let (mean, scale) = standard(z.subrows(0, known));
    let x = Mat::from_fn(z.nrows(), z.ncols() + 1, |i, j| {
        if j == z.ncols() { 1.0 } else { (z[(i, j)] - mean[j]) * scale }
    });
    let examples = x.subrows(0, known);
    // The softmax's curvature is at most ½, that of the whole at most ½ of the mean squared length of an example.
    let curvature = examples.squared_norm_l2() / (2.0 * known as f64) + RIDGE;
    let mut weights: Mat<f64> = Mat::zeros(x.ncols(), ways);
    let mut ahead = weights.clone();
    let mut momentum = 1.0_f64;
    for _ in 0..STEPS {
        let mut residual = product(examples, ahead.as_ref());
        for (i, &label) in labels.iter().enumerate() {
            softmax(&mut residual, i);
            residual[(i, label)] -= 1.0;
        }
        let gradient = product(examples.transpose(), residual.as_ref());
        let mut next = ahead.clone();
        for j in 0..ways {
            for i in 0..x.ncols() {
                let slope = gradient[(i, j)] / known as f64 + RIDGE * ahead[(i, j)];
                next[(i, j)] -= slope / curvature;
            }
        }
        let following = (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt()) / 2.0;
        let carry = (momentum - 1.0) / following;
        ahead = Mat::from_fn(x.ncols(), ways, |i, j| next[(i, j)] + carry * (next[(i, j)] - weights[(i, j)]));
        (weights, momentum) = (next, following);
    }
    let scores = product(x.subrows(known, x.nrows() - known), weights.as_ref());
    Array2::from_shape_fn((scores.nrows(), ways), |(q, class)| scores[(q, class)] as f32)
}

/// The mean of each column, and one factor that gives all of them together a mean squared value of 1.
fn standard(x: MatRef<'_, f64>) -> (Vec<f64>, f64) {
    let n = x.nrows() as f64;
    let mean: Vec<f64> = x.col_iter().map(|column| column.iter().sum::<f64>() / n).collect();
    let squares: f64 = x
        .col_iter()
        .zip(&mean)
        .map(|(column, mean)| column.iter().map(|v| (v - mean).powi(2)).sum::<f64>())
        .sum();
    let variance = squares / (n * x.ncols() as f64);
    (mean, if variance > 0.0 { variance.sqrt().recip() } else { 1.0 })
}

/// Turns a row into probabilities.
fn softmax(scores: &mut Mat<f64>, row: usize) {
    let most = (0..scores.ncols()).map(|j| scores[(row, j)]).fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for j in 0..scores.ncols() {
        scores[(row, j)] = (scores[(row, j)] - most).exp();
        sum += scores[(row, j)];
    }
    (0..scores.ncols()).for_each(|j| scores[(row, j)] /= sum);
}

/// Proxy A-distance of two domains (Ben-David et al., "Analysis of Representations for Domain Adaptation", NIPS 2006):
/// 2 (1 − 2 ε), ε the error of a classifier of domains, here logistic regression on every other row, asked the others.
/// About 0 (or below, by chance) where they cannot be told apart, 2 where they never are confused.
pub fn proxy_a_distance(source: MatRef<'_, f64>, target: MatRef<'_, f64>) -> f64 {
    let half = |rest: usize| {
        let rows = |domain: MatRef<'_, f64>| (rest..domain.nrows()).step_by(2).collect::<Vec<_>>();
        (rows(source), rows(target))
    };
    let ((s, t), (s_asked, t_asked)) = (half(0), half(1));
    let all: Vec<(MatRef<'_, f64>, usize)> =
        [(source, s.clone()), (target, t.clone()), (source, s_asked.clone()), (target, t_asked.clone())]
            .into_iter()
            .flat_map(|(domain, rows)| rows.into_iter().map(move |row| (domain, row)))
            .collect();
    let z = Mat::from_fn(all.len(), source.ncols(), |i, j| all[i].0[(all[i].1, j)]);
    let domain = |s: usize, t: usize| [vec![0; s], vec![1; t]].concat();
    let scores = logistic(z.as_ref(), &domain(s.len(), t.len()), 2);
    let truth = domain(s_asked.len(), t_asked.len());
    // Each domain counts the same, however many examples it has.
    let error = |of: usize| {
        let asked: Vec<usize> = (0..truth.len()).filter(|&i| truth[i] == of).collect();
        let wrong = asked.iter().filter(|&&i| (scores[(i, 1)] > scores[(i, 0)]) != (of == 1)).count();
        wrong as f64 / asked.len().max(1) as f64
    };
    2.0 * (1.0 - (error(0) + error(1)))
}
