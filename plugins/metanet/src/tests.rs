use kshot::nn::Loss;
use kshot::params::Params;
use kshot::rng::stream;
use ndarray::{Array2, Axis};

use super::*;
use crate::meta_learners::preprocess;

const SIZES: Sizes = Sizes { features: 4, hidden: 6, ways: 3, meta: 5 };
const LABELS: [usize; 4] = [0, 1, 2, 1];
const QUERY: [usize; 3] = [2, 0, 1];

/// Of a seed for which no ReLU is near its kink.
fn theta() -> Params {
    Weights::init(SIZES, &mut stream(8, "test", 0)).into_params()
}

fn embeddings() -> Array2<f32> {
    Array2::from_shape_fn((7, 4), |(i, j)| ((i * 4 + j) as f32 * 1.7).sin())
}

fn loss(z: &Array2<f32>, theta: &Params, fast: FastWeights) -> f32 {
    let weights = Weights::read(SIZES, theta).unwrap();
    let (support, query) = z.view().split_at(Axis(0), LABELS.len());
    let adaptation = Adaptation::new(support, &LABELS, 3, &weights, (fast, 10.0));
    let loss = Loss::CrossEntropy { labels: QUERY.to_vec() };
    loss.value(adaptation.answer(query, &weights).logits.view()).unwrap()
}

fn gradients(z: &Array2<f32>, theta: &Params, fast: FastWeights) -> (Array2<f32>, Params) {
    let weights = Weights::read(SIZES, theta).unwrap();
    let mut d_weights = Weights::zeros(SIZES);
    let (support, query) = z.view().split_at(Axis(0), LABELS.len());
    let adaptation = Adaptation::new(support, &LABELS, 3, &weights, (fast, 10.0));
    let answer = adaptation.answer(query, &weights);
    let loss = Loss::CrossEntropy { labels: QUERY.to_vec() };
    let d_z = answer.backward(z.view(), &loss.gradient(answer.logits.view()).unwrap(), &mut d_weights);
    let mut gradient = Params::zeros(theta.layout());
    d_weights.write(&mut gradient);
    (d_z, gradient)
}

/// Z and G do not enter the gradients that are data, nor do the queries: there the derivative is a plain difference.
#[test]
fn gradients_of_the_meta_learners_and_queries_are_differences() {
    let (z, theta) = (embeddings(), theta());
    let (d_z, gradient) = gradients(&z, &theta, FastWeights::All);
    let step = 4e-3;
    for name in ["m.layer0", "m.layer1", "m.layer2", "d.lstm", "d.output"] {
        let range = theta.layout().get(name).unwrap().range.clone();
        for at in range {
            let moved = |by: f32| {
                let mut theta = theta.clone();
                theta.values_mut()[at] += by;
                loss(&z, &theta, FastWeights::All)
            };
            let difference = (moved(step) - moved(-step)) / (2.0 * step);
            let exact = gradient.values()[at];
            assert!(
                (difference - exact).abs() < 2e-3 + 0.02 * exact.abs(),
                "{name} {at}: {difference} {exact}"
            );
        }
        let range = theta.layout().get(name).unwrap().range.clone();
        assert!(gradient.values()[range].iter().any(|d| d.abs() > 1e-4), "{name} learns");
    }
    for (at, exact) in d_z.indexed_iter().filter(|((row, _), _)| *row >= LABELS.len()) {
        let moved = |by: f32| {
            let mut z = z.clone();
            z[at] += by;
            loss(&z, &theta, FastWeights::All)
        };
        let difference = (moved(step) - moved(-step)) / (2.0 * step);
        assert!((difference - exact).abs() < 2e-3 + 0.02 * exact.abs(), "query {at:?}: {difference} {exact}");
    }
}

/// Without fast weights nothing is data: every gradient is a difference.
#[test]
fn gradients_of_the_slow_weights_are_differences() {
    let (z, theta) = (embeddings(), theta());
    let (_, gradient) = gradients(&z, &theta, FastWeights::None);
    let step = 4e-3;
    for at in 0..theta.values().len() {
        let moved = |by: f32| {
            let mut theta = theta.clone();
            theta.values_mut()[at] += by;
            loss(&z, &theta, FastWeights::None)
        };
        let (difference, exact) = ((moved(step) - moved(-step)) / (2.0 * step), gradient.values()[at]);
        assert!((difference - exact).abs() < 1e-3, "{at}: {difference} {exact}");
    }
}

/// As in the authors' code: `u.classifier` is only in gradients that are data.
#[test]
fn the_classifier_of_the_representation_loss_stays_as_drawn() {
    let (_, gradient) = gradients(&embeddings(), &theta(), FastWeights::All);
    assert!(gradient.tensor("u.classifier").unwrap().iter().all(|&d| d == 0.0));
    assert!(gradient.tensor("u.weight").unwrap().iter().any(|&d| d != 0.0));
}

/// Queries read what the support made; they do not make it.
#[test]
fn an_adaptation_answers_queries_one_by_one_as_together() {
    let (z, theta) = (embeddings(), theta());
    let weights = Weights::read(SIZES, &theta).unwrap();
    let (support, query) = z.view().split_at(Axis(0), LABELS.len());
    let adaptation = Adaptation::new(support, &LABELS, 3, &weights, (FastWeights::All, 10.0));
    let together = adaptation.answer(query, &weights).logits;
    for (one, wanted) in query.axis_chunks_iter(Axis(0), 1).zip(together.outer_iter()) {
        let alone = adaptation.answer(one, &weights).logits;
        assert!(alone.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-5), "{alone} {wanted}");
    }
}

#[test]
fn gradients_enter_as_logarithm_and_sign() {
    let pairs = preprocess(ndarray::array![[1.0_f32, -(-3.5_f32).exp(), 0.0, 1e-4]].view());
    let small = 1e-4 * 7.0_f32.exp();
    for (pair, expected) in pairs.outer_iter().zip([[0.0, 1.0], [-0.5, -1.0], [-1.0, 0.0], [-1.0, small]]) {
        assert!((pair[0] - expected[0]).abs() < 1e-6 && (pair[1] - expected[1]).abs() < 1e-6, "{pair}");
    }
}
