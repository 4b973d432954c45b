use kshot::backbone::Backbone;
use kshot::episode::Count;
use kshot::nn::{Norm, value_and_grad_of_head};
use kshot::registry::Problem;
use kshot::rng::stream;
use ndarray::Axis;

use super::*;

const SUPPORT: [usize; 4] = [0, 1, 2, 1];
const QUERY: [usize; 3] = [2, 0, 1];

fn setup(backbone: &str, norm: Norm) -> Setup {
    let backbone = Backbone::of(&backbone.parse().unwrap(), [1, 8, 8], norm).unwrap();
    Setup {
        problem: Problem::Classification,
        backbone,
        base_classes: 9,
        ways: 3,
        shots: Count::fixed(1),
        queries: 1,
        seed: 0,
    }
}

fn relation(module: Kind, loss: RelationLoss) -> Relation {
    let options = Options { module, loss, hidden: Some(5), ..Options::default() };
    Relation::new(&setup("width = 3\nblocks = 2\npools = 1", Norm::Batch), options).unwrap()
}

/// Seven embeddings of three channels of 4×4.
fn embeddings() -> Array2<f32> {
    Array2::from_shape_fn((7, 48), |(i, j)| ((i * 48 + j) as f32 * 1.7).sin())
}

#[test]
fn the_loss_is_that_of_the_scores_and_its_gradient_a_difference() {
    for module in [Kind::Perceptron, Kind::Convolutional] {
        for loss in [RelationLoss::CrossEntropy, RelationLoss::Mse] {
            let relation = relation(module, loss);
            let theta = relation.weights(48, &mut stream(4, "test", 0)).unwrap();
            let at = |theta: &Params, z: &Array2<f32>| {
                let (support, query) = z.view().split_at(Axis(0), 4);
                let scores = relation.scores(theta, Support { z: support, labels: &SUPPORT }, query).unwrap();
                let costs = scores.outer_iter().zip(QUERY).map(|(scores, label)| match loss {
                    RelationLoss::CrossEntropy => scores.mapv(f32::exp).sum().ln() - scores[label],
                    RelationLoss::Mse => {
                        let errors = scores
                            .indexed_iter()
                            .map(|(class, score)| 1.0 / (1.0 + (-score).exp()) - f32::from(label == class));
                        errors.map(|error| error * error).sum::<f32>() / 3.0
                    }
                });
                costs.sum::<f32>() / 3.0
            };
            let z = embeddings();
            let mut gradient = Params::zeros(theta.layout());
            let (value, d_z) = value_and_grad_of_head(&theta, z.clone(), &mut gradient, &mut |z, weights| {
                Ok(relation.module.loss(z, weights, loss, [&SUPPORT, &QUERY])?.loss)
            })
            .unwrap();
            assert!((value - at(&theta, &z)).abs() < 1e-5, "{value}");
            // Along a direction, as kinks of single weights are many.
            let step = 2e-3;
            let direction: Vec<f32> = (0..theta.values().len()).map(|i| (i as f32 * 0.7).cos()).collect();
            let moved = |by: f32| {
                let mut theta = theta.clone();
                theta.values_mut().iter_mut().zip(&direction).for_each(|(w, d)| *w += by * d);
                at(&theta, &z)
            };
            let difference = (moved(step) - moved(-step)) / (2.0 * step);
            let exact: f32 = gradient.values().iter().zip(&direction).map(|(g, d)| g * d).sum();
            assert!(
                (difference - exact).abs() < 0.03 * exact.abs().max(0.1),
                "{module:?} {loss:?}: {difference} {exact}"
            );
            let direction = z.mapv(|z| (z * 5.0).cos());
            let moved = |by: f32| at(&theta, &(&z + &(&direction * by)));
            let difference = (moved(step) - moved(-step)) / (2.0 * step);
            let exact = (&d_z * &direction).sum();
            assert!(
                (difference - exact).abs() < 0.03 * exact.abs().max(0.1),
                "{module:?} {loss:?}: {difference} {exact}"
            );
        }
    }
}

#[test]
fn many_pairs_are_scored_as_few_are() {
    let options = Options { module: Kind::Convolutional, ..Options::default() };
    let relation =
        Relation::new(&setup("width = 16\nblocks = 2\npools = 0", Norm::Running), options).unwrap();
    let theta = relation.weights(1024, &mut stream(4, "test", 0)).unwrap();
    let z = Array2::from_shape_fn((60, 1024), |(i, j)| ((i * 7 + j) as f32 * 1.3).sin());
    let all = relation.module.scores(&theta, z.view(), z.view()).unwrap();
    let one = relation.module.scores(&theta, z.slice_axis(Axis(0), (59..).into()), z.view()).unwrap();
    assert_eq!(all.index_axis(Axis(0), 59), one.index_axis(Axis(0), 0));
}

#[test]
fn a_convolutional_module_needs_maps() {
    let options = Options { module: Kind::Convolutional, ..Options::default() };
    let error = Relation::new(&setup("width = 4\npooling = \"strided\"", Norm::Running), options);
    let error = error.err().unwrap().to_string();
    assert!(error.contains("`module = \"perceptron\"`") && error.contains("conv4"), "{error}");
}
