//! What classifies aligned examples: the nearest neighbour, and multinomial logistic regression.

use faer::{Mat, MatRef};
use ndarray::Array2;

use crate::basis::picked;
use crate::components::product;
use crate::config::Classifier;
use crate::neighbours::nearest_of_classes;

impl Classifier {
    /// Scores `[queries, ways]` of the rows of `z` without a label, by those with one.
    pub(crate) fn scores(self, z: MatRef<'_, f64>, labels: &[Option<usize>], ways: usize) -> Array2<f32> {
        let (known, asked): (Vec<usize>, Vec<usize>) = (0..z.nrows()).partition(|&row| labels[row].is_some());
        let (examples, queries) = (picked(z, &known), picked(z, &asked));
        let labels: Vec<usize> = labels.iter().flatten().copied().collect();
        match self {
            // Minus the squared distance to the class's nearest example.
            Self::Nearest => {
                let nearest = nearest_of_classes(examples.as_ref(), &labels, queries.as_ref(), ways);
                Array2::from_shape_fn((asked.len(), ways), |(q, class)| -nearest[q][class] as f32)
            }
            Self::Logistic => logistic(examples.as_ref(), &labels, queries.as_ref(), ways),
        }
    }
}

/// Steps of the descent: enough for the loss to settle with the ridge below.
const STEPS: usize = 300;
/// Weight decay of the logistic regression, per example.
const RIDGE: f64 = 1e-3;

/// Log-probabilities up to a constant, of a multinomial logistic regression on the examples, found by Nesterov's
/// accelerated gradient descent (1983) with the step 1/L of a bound L on the loss's curvature.
fn logistic(
    examples: MatRef<'_, f64>,
    labels: &[usize],
    queries: MatRef<'_, f64>,
    ways: usize,
) -> Array2<f32> {
    let known = labels.len();
    // Standardised by the examples, with a constant feature for the bias.
    let (mean, scale) = standard(examples);
    let standardised = |rows: MatRef<'_, f64>| {
        Mat::from_fn(rows.nrows(), rows.ncols() + 1, |i, j| {
            if j == rows.ncols() { 1.0 } else { (rows[(i, j)] - mean[j]) * scale }
        })
    };
    let (examples, queries) = (standardised(examples), standardised(queries));
    let features = examples.ncols();
    // The softmax's curvature is at most ½, that of the whole at most ½ of the mean squared length of an example.
    let curvature = examples.squared_norm_l2() / (2.0 * known as f64) + RIDGE;
    let mut weights: Mat<f64> = Mat::zeros(features, ways);
    let mut ahead = weights.clone();
    let mut momentum = 1.0_f64;
    for _ in 0..STEPS {
        let mut residual = product(examples.as_ref(), ahead.as_ref());
        for (i, &label) in labels.iter().enumerate() {
            softmax(&mut residual, i);
            residual[(i, label)] -= 1.0;
        }
        let gradient = product(examples.transpose(), residual.as_ref());
        let mut next = ahead.clone();
        for j in 0..ways {
            for i in 0..features {
                let slope = gradient[(i, j)] / known as f64 + RIDGE * ahead[(i, j)];
                next[(i, j)] -= slope / curvature;
            }
        }
        let following = (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt()) / 2.0;
        let carry = (momentum - 1.0) / following;
        ahead = Mat::from_fn(features, ways, |i, j| next[(i, j)] + carry * (next[(i, j)] - weights[(i, j)]));
        (weights, momentum) = (next, following);
    }
    let scores = product(queries.as_ref(), weights.as_ref());
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
        let (s, t) = (rows(source), rows(target));
        let z = Mat::from_fn(s.len() + t.len(), source.ncols(), |i, j| match i.checked_sub(s.len()) {
            None => source[(s[i], j)],
            Some(i) => target[(t[i], j)],
        });
        (z, [vec![0; s.len()], vec![1; t.len()]].concat())
    };
    let ((examples, labels), (asked, truth)) = (half(0), half(1));
    let scores = logistic(examples.as_ref(), &labels, asked.as_ref(), 2);
    // Each domain counts the same, however many examples it has.
    let error = |of: usize| {
        let asked: Vec<usize> = (0..truth.len()).filter(|&i| truth[i] == of).collect();
        let wrong = asked.iter().filter(|&&i| (scores[(i, 1)] > scores[(i, 0)]) != (of == 1)).count();
        wrong as f64 / asked.len().max(1) as f64
    };
    2.0 * (1.0 - (error(0) + error(1)))
}
