//! What training takes from the allocator: how much at a time, and what is left once buffers are used again.

// A test fails by panicking, its helpers too.
#![allow(clippy::unwrap_used)]

use allocation_counter::measure;
use kshot::inner_loop::{InnerLoop, Objective, rates};
use kshot::nn::{Architecture, Fused, Loss, Network, Norm, Pooling};
use kshot::params::Params;
use kshot::rng::stream;
use ndarray::{Array4, Axis};
use rand::Rng as _;

/// A network with a head for five classes, and the images of a 5-way 1-shot 15-query episode.
struct Setting {
    network: Fused,
    theta: Params,
    x: Array4<f32>,
}

impl Setting {
    fn new(pooling: Pooling) -> Self {
        Self::of(Architecture::conv([1, 28, 28], 4, 64, pooling, Norm::Batch).unwrap())
    }

    fn of(architecture: Architecture) -> Self {
        let [channels, height, width] = architecture.input;
        let network = Fused::new(architecture.with_head(5).unwrap()).unwrap();
        let mut rng = stream(0, "memory", 0);
        let theta = network.init(&mut rng);
        let x = Array4::from_shape_simple_fn((80, channels, height, width), || rng.random());
        Self { network, theta, x }
    }

    /// The meta-gradient of MAML after so many inner steps.
    fn meta_gradient(&self, steps: usize) {
        let rate = rates(self.theta.layout(), 0.01, |_| true);
        let inner = InnerLoop { rates: &[rate], ..InnerLoop::new(&self.network, steps) };
        let (support, query) = self.x.view().split_at(Axis(0), 5);
        let loss = [5, 75].map(|n| Loss::CrossEntropy { labels: (0..n).map(|i| i % 5).collect() });
        let [support, query] =
            [(support, &loss[0]), (query, &loss[1])].map(|(x, loss)| Objective { x, loss });
        assert!(inner.maml(&self.theta, support, query).unwrap().loss.is_finite());
    }
}

/// Makes this thread the only one that works, so that what it allocates is all that is allocated.
fn alone() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().unwrap()
}

#[test]
fn fifty_inner_steps_take_little_more_memory_than_five() {
    let _pool = alone();
    // The strided network's activations are so small that copies of θ count for more.
    for (pooling, limit) in [(Pooling::Maxpool, 1.2), (Pooling::Strided, 1.3)] {
        let [five, fifty] = [5, 50].map(|steps| {
            let setting = Setting::new(pooling);
            measure(|| setting.meta_gradient(steps)).bytes_max
        });
        assert!(fifty as f64 <= limit * five as f64, "{pooling:?}: {fifty} bytes, {five} for five steps");
    }
}

/// Copies of a ResNet's many weights are not all kept, whatever its widths.
#[test]
fn ten_inner_steps_through_a_residual_network_take_a_tenth_more_memory_than_one() {
    let _pool = alone();
    for widths in [[16, 32, 64, 128], [64, 96, 128, 160], [32, 64, 128, 256]] {
        let [one, ten] = [1, 10].map(|steps| {
            let resnet12 = Architecture::resnet12([3, 42, 42], widths, Norm::Batch).unwrap();
            let setting = Setting::of(resnet12);
            measure(|| setting.meta_gradient(steps)).bytes_max
        });
        assert!(ten as f64 <= 1.1 * one as f64, "{widths:?}: {ten} bytes, {one} for one step");
    }
}

/// The large buffers are used again, gradients too. What a pass still takes anew is outputs and some vectors as long as a
/// layer has channels.
#[test]
fn a_warm_pass_takes_next_to_nothing() {
    let _pool = alone();
    let loss = Loss::CrossEntropy { labels: (0..80).map(|i| i % 5).collect() };
    for pooling in [Pooling::Maxpool, Pooling::Strided] {
        let Setting { network, theta, x } = Setting::new(pooling);
        let gradient = || drop(network.gradient(&theta, x.view(), &loss).unwrap());
        let product = || drop(network.hvp(&theta, x.view(), &loss, &theta).unwrap());
        for (name, pass) in [("gradient", &gradient as &dyn Fn()), ("product", &product)] {
            let cold = measure(pass);
            // Which buffer takes which place settles in two or three passes.
            (0..3).for_each(|_| pass());
            let warm = measure(pass);
            assert!(cold.bytes_total > 5_000_000, "{pooling:?} {name}: nothing was counted: {cold:?}");
            assert!(warm.bytes_total < 100_000, "{pooling:?} {name}: {warm:?}");
            assert_eq!(warm.bytes_current, 0, "{pooling:?} {name}: {warm:?}");
        }
    }
}
