use kshot::nn::value_and_grad_of_head;
use kshot::rng::stream;

use super::*;

fn embeddings() -> Array2<f32> {
    Array2::from_shape_fn((8, 6), |(i, j)| ((i * 8 + j) as f32 * 1.3).sin() * 3.0)
}

/// The loss of a batch of two classes by four, and its gradient in all weights.
fn loss(learner: &Siamese, theta: &Params, z: Array2<f32>) -> (f32, Params) {
    let episode = kshot::episode::Episode {
        index: 0,
        support: kshot::episode::Labelled::new(
            ndarray::Array4::zeros((8, 1, 1, 1)),
            kshot::episode::Targets::Classes(vec![0, 0, 0, 0, 1, 1, 1, 1]),
        ),
        query: kshot::episode::Labelled::new(
            ndarray::Array4::zeros((0, 1, 1, 1)),
            kshot::episode::Targets::Classes(vec![]),
        ),
        classes: Vec::new(),
    };
    let mut gradient = Params::zeros(theta.layout());
    let (loss, _) = value_and_grad_of_head(theta, z, &mut gradient, &mut |z, weights| {
        Ok(learner.loss(z, weights, &episode)?.loss)
    })
    .unwrap();
    (loss, gradient)
}

/// Through the fully connected layer as without it, with a derivative in every weight.
#[test]
fn the_logistic_loss_is_the_cross_entropy_of_its_comparison() {
    for hidden in [None, Some(3)] {
        let learner = Siamese { loss: PairLoss::Logistic, hidden, ..Siamese::default() };
        let theta = learner.weights(6, &mut stream(0, "init", 0)).unwrap();
        let pairs = all_pairs(&[0, 0, 0, 0, 1, 1, 1, 1]).unwrap();
        let logits = learner.similarity(&theta, embeddings().view(), embeddings().view()).unwrap();
        let mean = |same: bool| {
            let pairs: Vec<&Pair> = pairs.iter().filter(|pair| pair.same == same).collect();
            let sign = if same { -1.0 } else { 1.0 };
            let costs = pairs.iter().map(|pair| (sign * logits[[pair.left, pair.right]]).exp().ln_1p());
            costs.sum::<f32>() / pairs.len() as f32
        };
        let expected = (mean(true) + mean(false)) / 2.0;
        let (value, gradient) = loss(&learner, &theta, embeddings());
        assert!((value - expected).abs() < 1e-5, "{value} {expected}");
        for at in 0..theta.values().len() {
            let moved = |by: f32| {
                let mut theta = theta.clone();
                theta.values_mut()[at] += by;
                loss(&learner, &theta, embeddings()).0
            };
            let (difference, exact) = ((moved(1e-2) - moved(-1e-2)) / 2e-2, gradient.values()[at]);
            assert!((difference - exact).abs() < 2e-3, "{hidden:?} {at}: {difference} {exact}");
        }
    }
}

#[test]
fn the_contrastive_comparison_knows_directions_only() {
    let (learner, theta) = (Siamese::default(), Params::zeros(&Default::default()));
    let z = embeddings();
    let longer = &z * 7.0;
    let [one, other] = [&z, &longer].map(|right| learner.similarity(&theta, z.view(), right.view()).unwrap());
    assert!((&one - &other).iter().all(|d| d.abs() < 1e-3), "{one} {other}");
    let [(one, _), (other, _)] = [z, longer].map(|z| loss(&learner, &theta, z));
    assert!((one - other).abs() < 1e-5 && one > 0.0, "{one} {other}");
}

#[test]
fn options_that_make_no_sense_are_refused_by_name() {
    for (table, key) in [
        (toml::toml! { classes = 1 }, "`classes`"),
        (toml::toml! { hidden = 64 }, "`hidden`"),
        (toml::toml! { margin = 0.0 }, "`margin`"),
        (toml::toml! { margin = 3.0 }, "`margin`"),
    ] {
        let error = kshot::options::read::<Siamese>("`siamese`", &table).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}
