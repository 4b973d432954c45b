use kshot::nn::value_and_grad_of_head;
use kshot::rng::stream;

use super::*;

#[test]
fn the_logistic_loss_is_the_cross_entropy_of_its_comparison() {
    let learner = Siamese { loss: PairLoss::Logistic, ..Siamese::default() };
    let theta = learner.weights(8, &mut stream(0, "init", 0)).unwrap();
    let z = Array2::from_shape_fn((8, 8), |(i, j)| ((i * 8 + j) as f32 * 1.3).sin() * 3.0);
    let pairs = pair_up(&[0, 0, 0, 0, 1, 1, 1, 1]).unwrap();
    let logits = learner.similarity(&theta, z.view(), z.view()).unwrap();
    let expected: f32 = pairs
        .iter()
        .map(|pair| {
            let logit = logits[[pair.left, pair.right]] * if pair.same { 1.0 } else { -1.0 };
            (1.0 + (-logit).exp()).ln()
        })
        .sum::<f32>()
        / pairs.len() as f32;
    let mut gradient = Params::zeros(theta.layout());
    let (loss, _) =
        value_and_grad_of_head(&theta, z, &mut gradient, &mut |z, weights| logistic(z, weights, &pairs))
            .unwrap();
    assert!((loss - expected).abs() < 1e-5, "{loss} {expected}");
    assert!(gradient.tensor(WEIGHT).unwrap().iter().any(|g| *g != 0.0));
}

#[test]
fn options_that_cannot_be_paired_are_refused() {
    for (table, key) in [
        (toml::toml! { classes = 1 }, "`classes`"),
        (toml::toml! { per-class = 6 }, "`per-class`"),
        (toml::toml! { margin = 0.0 }, "`margin`"),
    ] {
        let error = kshot::options::read::<Siamese>("`siamese`", &table).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}
