use kshot::episode::{Labelled, Targets};
use kshot::nn::value_and_grad_of_head;
use ndarray::{Array4, Axis, array, concatenate};

use super::*;

const LABELS: [usize; 3] = [0, 0, 1];
const QUERY_LABELS: [usize; 2] = [0, 1];

/// Two classes in the plane: prototypes (1, 1), the mean of two, and (0, −3). The first query is of class 0 and nearest
/// to it; the second is of class 1 and yet nearest to class 0.
fn embedded() -> (Array2<f32>, Array2<f32>) {
    (array![[2.0, 0.0], [0.0, 2.0], [0.0, -3.0]], array![[1.0, 0.0], [0.0, 1.0]])
}

fn learner(distance: Similarity) -> Prototypical {
    Prototypical { distance, ..Prototypical::default() }
}

fn loss(support: &Array2<f32>, labels: &[usize], distance: Similarity) -> (f32, f32) {
    let set = |labels: &[usize]| {
        Labelled::new(Array4::zeros((labels.len(), 1, 1, 1)), Targets::Classes(labels.to_vec()))
    };
    let (support_set, query) = (set(labels), set(&QUERY_LABELS));
    let episode = Episode { index: 0, support: support_set, query, classes: vec![0, 1] };
    let z = concatenate![Axis(0), *support, embedded().1];
    let (none, mut accuracy) = (Params::zeros(&Default::default()), 0.0);
    let (loss, _) = value_and_grad_of_head(&none, z, &mut none.clone(), &mut |z, weights| {
        let training = learner(distance).loss(z, weights, &episode)?;
        accuracy = training.metrics[0].1;
        Ok(training.loss)
    })
    .unwrap();
    (loss, accuracy)
}

fn scores(support: &Array2<f32>, labels: &[usize], distance: Similarity) -> Result<Array2<f32>> {
    let (_, queries) = embedded();
    let support = Support { z: support.view(), labels };
    learner(distance).scores(&Params::zeros(&Default::default()), support, queries.view())
}

#[test]
fn scores_and_loss_by_hand_under_both_distances() {
    let (support, _) = embedded();
    // Cosines with the prototypes: 1/√2 and 0; 1/√2 and −1. Times 10.
    let cosine = array![[7.071_068, 0.0], [7.071_068, -10.0]];
    // −‖q − p‖² + ‖q‖² = −1 + 1 and −10 + 1; −1 + 1 and −16 + 1.
    let squared = array![[0.0, -9.0], [0.0, -15.0]];
    // Means of log(1 + e^−7.071) and log(1 + e^17.071); of log(1 + e^−9) and log(1 + e^15).
    for (distance, wanted, mean) in
        [(Similarity::Cosine, cosine, 8.535_958), (Similarity::Squared, squared, 7.500_062)]
    {
        let scores = scores(&support, &LABELS, distance).unwrap();
        assert!((&scores - &wanted).iter().all(|e| e.abs() < 1e-5), "{distance:?}: {scores}");
        let (loss, accuracy) = loss(&support, &LABELS, distance);
        assert!((loss - mean).abs() < 1e-5, "{distance:?}: {loss}");
        assert_eq!(accuracy, 0.5);
    }
}

#[test]
fn the_order_of_the_support_does_not_matter() {
    let (support, _) = embedded();
    for distance in [Similarity::Cosine, Similarity::Squared] {
        let (before, _) = loss(&support, &LABELS, distance);
        let order = [2, 1, 0];
        let (after, _) = loss(&support.select(Axis(0), &order), &order.map(|i| LABELS[i]), distance);
        assert!((before - after).abs() < 1e-6, "{distance:?}: {before} {after}");
    }
}

#[test]
fn a_class_without_support_is_refused() {
    let (support, _) = embedded();
    let error = scores(&support, &[0, 0, 2], Similarity::Squared).unwrap_err();
    assert!(error.to_string().contains("class 1 has no example"), "{error}");
}
