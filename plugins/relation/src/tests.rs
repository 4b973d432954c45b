use kshot::nn::value_and_grad_of_head;

use super::*;

const SUPPORT: [usize; 4] = [0, 1, 2, 1];
const QUERY: [usize; 3] = [2, 0, 1];

fn module() -> (Module, Params) {
    let module = Module { hidden: 6 };
    let mut theta = module.weights(4, &mut kshot::rng::stream(4, "test", 0));
    // A seed for which no ReLU is near its kink. Away from the start, where the biases are 0 and half of the first layer mirrors the other.
    theta.values_mut().iter_mut().enumerate().for_each(|(i, w)| *w += 0.1 * (i as f32).sin());
    (module, theta)
}

fn embeddings() -> Array2<f32> {
    Array2::from_shape_fn((7, 4), |(i, j)| ((i * 4 + j) as f32 * 1.7).sin())
}

#[test]
fn the_loss_is_the_squared_error_of_the_scores_and_its_gradient_a_difference() {
    let (module, theta) = module();
    let z = embeddings();
    let classes = head::class_means(z.slice_axis(ndarray::Axis(0), (..4).into()), &SUPPORT).unwrap();
    let loss_at = |theta: &Params| {
        let scores =
            module.scores(theta, z.slice_axis(ndarray::Axis(0), (4..).into()), classes.view()).unwrap();
        let errors = scores.indexed_iter().map(|((query, class), score)| {
            (1.0 / (1.0 + (-score).exp()) - f32::from(QUERY[query] == class)).powi(2)
        });
        errors.sum::<f32>() / 9.0
    };
    let mut gradient = Params::zeros(theta.layout());
    let (loss, _) = value_and_grad_of_head(&theta, z.clone(), &mut gradient, &mut |z, weights| {
        Ok(module.loss(z, weights, &SUPPORT, &QUERY)?.loss)
    })
    .unwrap();
    assert!((loss - loss_at(&theta)).abs() < 1e-6, "{loss}");
    let step = 1e-3;
    for at in 0..theta.values().len() {
        let moved = |by: f32| {
            let mut theta = theta.clone();
            theta.values_mut()[at] += by;
            loss_at(&theta)
        };
        let (difference, exact) = ((moved(step) - moved(-step)) / (2.0 * step), gradient.values()[at]);
        assert!((difference - exact).abs() < 5e-4, "{at}: {difference} {exact}");
    }
}
