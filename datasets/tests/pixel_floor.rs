//! How well the nearest neighbour on raw pixels does: whether a dataset is an exercise or a toy.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Instant;

use kshot::dataset::{Dataset, Split};
use kshot::episode::{Count, Episode, TaskSpec};
use kshot_datasets::glyphs::{self, GlyphsConfig};

/// Accuracy, in per cent, of the Euclidean nearest neighbour over 600 episodes, 5-way 1-shot 15-query, of the test
/// classes.
fn pixel_nearest_neighbour(dataset: &dyn Dataset) -> f64 {
    let spec = TaskSpec::FewShot { ways: Count::fixed(5), shots: Count::fixed(1), queries: 15 };
    let tasks = spec.open(&dataset.split(Split::Test).unwrap(), Split::Test, 0).unwrap();
    let episodes = 600;
    let right: usize = (0..episodes).map(|index| correct(&tasks.episode(index).unwrap())).sum();
    100.0 * right as f64 / (episodes * 75) as f64
}

/// How many queries are nearest to a support example of their own class.
fn correct(episode: &Episode) -> usize {
    let (support, query) = (&episode.support, &episode.query);
    let nearest = |input: ndarray::ArrayView3<f32>| {
        let distances =
            support.inputs().outer_iter().map(|s| (&s - &input).mapv(|d| d * d).sum()).collect::<Vec<_>>();
        let best = (0..distances.len()).min_by(|&a, &b| distances[a].total_cmp(&distances[b])).unwrap();
        support.classes().unwrap()[best]
    };
    let labels = query.classes().unwrap();
    query.inputs().outer_iter().zip(labels).filter(|(input, label)| nearest(input.view()) == **label).count()
}

#[test]
fn glyphs_are_as_hard_for_pixels_as_omniglot() {
    let start = Instant::now();
    let dataset = glyphs::draw(&GlyphsConfig::default()).unwrap();
    println!("glyphs opened in {:?}", start.elapsed());
    let accuracy = pixel_nearest_neighbour(dataset.as_ref());
    println!("glyphs: pixel 1-NN {accuracy:.1} %");
    assert!((40.0..=50.0).contains(&accuracy), "{accuracy:.1} %");
}
