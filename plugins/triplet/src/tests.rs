use super::*;
use ndarray::Array2;

/// Points on a line: distances are differences.
fn line(points: &[f32]) -> Array2<f32> {
    Array2::from_shape_fn((points.len(), points.len()), |(i, j)| (points[i] - points[j]).abs())
}

fn mined(mining: Mining, points: &[f32], labels: &[usize]) -> Vec<(usize, usize, usize)> {
    let triplets = mine(mining, line(points).view(), labels, &mut stream(0, "test", 0));
    triplets.iter().map(|t| (t.anchor, t.positive, t.negative)).collect()
}

#[test]
fn mining_on_a_line() {
    let (points, labels) = ([0.0, 1.0, 3.0, 1.5, 9.0], [0, 0, 0, 1, 1]);
    let hard = mined(Mining::BatchHard, &points, &labels);
    assert_eq!(hard, [(0, 2, 3), (1, 2, 3), (2, 0, 3), (3, 4, 1), (4, 3, 2)]);
    assert_eq!(mined(Mining::BatchAll, &points, &labels).len(), 3 * 2 * 2 + 2 * 3);
    let semi = mined(Mining::SemiHard, &points, &labels);
    // The nearest negative beyond the positive; anchor 3 has none beyond its positive at 7.5, so the farthest.
    assert!(semi.contains(&(0, 1, 3)) && semi.contains(&(0, 2, 4)) && semi.contains(&(3, 4, 2)), "{semi:?}");
    let random = mined(Mining::Random, &points, &labels);
    assert_eq!(random.len(), 3 * 2 + 2);
    assert!(random.iter().all(|&(a, p, n)| a != p && labels[a] == labels[p] && labels[a] != labels[n]));
}

#[test]
fn a_batch_of_one_class_or_of_singletons_has_no_triplet_and_costs_nothing() {
    for labels in [[0, 0, 0], [0, 1, 2]] {
        let triplets =
            mine(Mining::BatchAll, line(&[0.0, 1.0, 2.0]).view(), &labels, &mut stream(0, "test", 0));
        assert!(triplets.is_empty());
    }
    let (loss, gradient, _) = triplet_loss(TripletLoss::Hinge, 0.2, true, line(&[0.0, 1.0]).view(), &[]);
    assert_eq!((loss, gradient.sum()), (0.0, 0.0));
}

#[test]
fn batches_without_a_positive_or_a_negative_are_refused() {
    for (table, key) in [
        (toml::toml! { classes = 1 }, "`classes`"),
        (toml::toml! { per-class = 1 }, "`per-class`"),
        (toml::toml! { margin = nan }, "`margin`"),
    ] {
        let error = kshot::options::read::<TripletOptions>("`triplet`", &table).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}
