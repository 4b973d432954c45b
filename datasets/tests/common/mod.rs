//! What the tests of several datasets need.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]

use std::env;
use std::path::{Path, PathBuf};

use kshot::dataset::{Dataset, Split};
use kshot::episode::{Count, Episode, TaskSpec};

/// The directory of real data that has `dataset` in it: `KSHOT_DATA`, else `shared/data` beside the repository. Prints
/// that the test is skipped where it is absent.
pub fn data(dataset: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = env::var_os("KSHOT_DATA").map_or(beside, PathBuf::from);
    let found = data.join(dataset).exists();
    if !found {
        println!("skipped: there is no {dataset} in {}; set KSHOT_DATA", data.display());
    }
    found.then_some(data)
}

/// Accuracy, in per cent, of the Euclidean nearest neighbour over 600 episodes, 5-way 1-shot 15-query, of the test
/// classes.
pub fn pixel_nearest_neighbour(dataset: &dyn Dataset) -> f64 {
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
