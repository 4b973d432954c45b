//! Triplet and contrastive losses of 24 embeddings, 6 classes × 4, and their gradients.

use kshot::nn::Metric;
use kshot::rng::stream;
use kshot_siamese::{Pair, contrastive};
use kshot_triplet::{Mining, Triplet, TripletLoss, mine, triplet_loss};
use ndarray::Array2;

use super::fixture::Fixture;

fn open() -> Option<(Fixture, Array2<f32>, f32)> {
    let fixture = Fixture::open("metric_losses")?;
    let shape = fixture.shape("z");
    let z = Array2::from_shape_vec((shape[0], shape[1]), fixture.f32("z")).unwrap();
    let margin = fixture.metadata("margin").parse().unwrap();
    Some((fixture, z, margin))
}

#[test]
fn oracle_triplet_losses() {
    let Some((fixture, z, margin)) = open() else { return };
    let labels = fixture.labels("y");
    let distances = Metric::Euclidean.between(z.view(), z.view());
    let given: Vec<Triplet> =
        (0..6).map(|i| Triplet { anchor: 4 * i, positive: 4 * i + 1, negative: (4 * i + 4) % 24 }).collect();
    for (name, loss, mining) in [
        ("batch_hard", TripletLoss::Hinge, Some(Mining::BatchHard)),
        ("batch_all", TripletLoss::Hinge, Some(Mining::BatchAll)),
        ("semi_hard", TripletLoss::Hinge, Some(Mining::SemiHard)),
        ("softmax_ratio", TripletLoss::SoftmaxRatio, None),
    ] {
        let triplets = mining.map_or(given.clone(), |mining| {
            mine(mining, distances.view(), &labels, &mut stream(0, "oracle", 0))
        });
        let over_active = mining == Some(Mining::BatchAll);
        let (value, d_distances, _) = triplet_loss(loss, margin, over_active, distances.view(), &triplets);
        let gradient = Metric::Euclidean.gradient(z.view(), distances.view(), d_distances.view());
        fixture.assert_close(&format!("{name}/loss"), &[value], 1e-5);
        fixture.assert_close(&format!("{name}/grad"), gradient.as_slice().unwrap(), 1e-4);
    }
}

/// The fixture's loss is the mean over all pairs; ours is that of the pairs of one class, plus that of the others within the
/// margin.
#[test]
fn oracle_contrastive_loss() {
    let Some((fixture, z, margin)) = open() else { return };
    let pairs: Vec<Pair> = (0..12).map(|i| Pair { left: i, right: i + 12, same: i % 2 == 1 }).collect();
    let distances = Metric::Euclidean.between(z.view(), z.view());
    let counts = |pair: &&Pair| pair.same || distances[[pair.left, pair.right]] < margin;
    let (mut value, mut gradient) = (0.0, Array2::zeros(z.dim()));
    for same in [true, false] {
        let own: Vec<Pair> = pairs.iter().filter(|pair| pair.same == same).copied().collect();
        let share = own.iter().filter(counts).count() as f32 / pairs.len() as f32;
        let (part, d) = contrastive(z.view(), &own, margin);
        value += share * part;
        gradient += &(d * share);
    }
    fixture.assert_close("contrastive/loss", &[value], 1e-5);
    fixture.assert_close("contrastive/grad", gradient.as_slice().unwrap(), 1e-4);
}
