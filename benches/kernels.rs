//! Times of the fused kernels, block by block: `cargo bench -p kshot`, or `cargo bench -p kshot -- block` for those of
//! one name. Items are multiply-adds of the direct algorithms. Threads are rayon's (`RAYON_NUM_THREADS`).

// A bench fails by panicking.
#![allow(clippy::unwrap_used, missing_docs)]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use kshot::nn::peak::ConvolutionPeak;
use kshot::nn::{Architecture, Fused, Loss, Network, Norm, Pooling};
use kshot::params::Params;
use kshot::rng::stream;
use ndarray::{Array2, Array4};
use rand::Rng as _;

/// Images of a 5-way 1-shot 15-query episode, and of its support.
const EPISODE: usize = 80;
const SUPPORT: usize = 5;

fn main() {
    divan::main();
}

/// A network with weights, a batch and a loss on it.
struct Batch {
    network: Fused,
    theta: Params,
    x: Array4<f32>,
    loss: Loss,
}

impl Batch {
    fn new(architecture: Architecture, count: usize) -> Self {
        let [c, h, w] = architecture.input;
        let network = Fused::new(architecture).unwrap();
        let mut rng = stream(0, "bench", 0);
        let theta = network.init(&mut rng);
        let x = Array4::from_shape_simple_fn((count, c, h, w), || rng.random());
        let loss = Loss::Mse { targets: Array2::zeros((count, network.features())) };
        Self { network, theta, x, loss }
    }

    fn forward(&self) {
        black_box(self.network.forward(&self.theta, self.x.view()).unwrap());
    }

    fn gradient(&self) {
        black_box(self.network.gradient(&self.theta, self.x.view(), &self.loss).unwrap());
    }

    fn hvp(&self) {
        black_box(self.network.hvp(&self.theta, self.x.view(), &self.loss, &self.theta).unwrap());
    }
}

/// The convolution of 64 to 64 channels at 14×14, without norm and pooling.
#[divan::bench]
fn convolution(bencher: Bencher<'_, '_>) {
    let mut convolution = ConvolutionPeak::new(EPISODE).unwrap();
    let items = ItemsCount::new(convolution.run() as u64 / 2);
    bencher.counter(items).bench_local(|| convolution.run());
}

/// Each block of Conv4-64 alone: convolution, batch norm, ReLU, pooling.
mod block {
    use super::*;

    /// Channels and size of the images that go in.
    const INPUTS: [(usize, usize); 4] = [(1, 28), (64, 14), (64, 7), (64, 3)];

    fn batch((channels, size): (usize, usize)) -> (Batch, u64) {
        let input = [channels, size, size];
        let block = Architecture::conv(input, 1, 64, Pooling::Maxpool, Norm::Batch).unwrap();
        (Batch::new(block, EPISODE), (EPISODE * size * size * channels * 64 * 9) as u64)
    }

    #[divan::bench(args = INPUTS)]
    fn forward(bencher: Bencher<'_, '_>, input: (usize, usize)) {
        let (batch, products) = batch(input);
        bencher.counter(ItemsCount::new(products)).bench_local(|| batch.forward());
    }

    /// Forward and backward; the inputs have no gradient.
    #[divan::bench(args = INPUTS)]
    fn gradient(bencher: Bencher<'_, '_>, input: (usize, usize)) {
        let (batch, products) = batch(input);
        bencher.counter(ItemsCount::new(2 * products)).bench_local(|| batch.gradient());
    }
}

/// Matrix products alone: a linear layer of 576 to 64 features, as many as a 3×3 patch of 64 channels has.
#[divan::bench(args = [SUPPORT, EPISODE])]
fn linear(bencher: Bencher<'_, '_>, count: usize) {
    let batch = Batch::new(Architecture::mlp([576, 1, 1], &[]).unwrap().with_head(64).unwrap(), count);
    bencher.counter(ItemsCount::new(count * 576 * 64)).bench_local(|| batch.forward());
}

/// The sinusoid's perceptron, 1-40-40-1 on ten points: all overhead.
mod perceptron {
    use super::*;

    fn batch() -> Batch {
        Batch::new(Architecture::mlp([1, 1, 1], &[40, 40]).unwrap().with_head(1).unwrap(), 10)
    }

    #[divan::bench]
    fn gradient(bencher: Bencher<'_, '_>) {
        let batch = batch();
        bencher.bench_local(|| batch.gradient());
    }

    #[divan::bench]
    fn hessian_vector_product(bencher: Bencher<'_, '_>) {
        let batch = batch();
        bencher.bench_local(|| batch.hvp());
    }
}

/// Conv4-64 with a head for five classes, on the support of a task and on a whole episode.
mod conv4 {
    use super::*;

    const CASES: [(Pooling, usize); 4] = [
        (Pooling::Maxpool, SUPPORT),
        (Pooling::Maxpool, EPISODE),
        (Pooling::Strided, SUPPORT),
        (Pooling::Strided, EPISODE),
    ];

    fn batch((pooling, count): (Pooling, usize)) -> Batch {
        Batch::new(
            Architecture::conv([1, 28, 28], 4, 64, pooling, Norm::Batch).unwrap().with_head(5).unwrap(),
            count,
        )
    }

    #[divan::bench(args = CASES)]
    fn gradient(bencher: Bencher<'_, '_>, case: (Pooling, usize)) {
        let batch = batch(case);
        bencher.bench_local(|| batch.gradient());
    }

    #[divan::bench(args = CASES)]
    fn hessian_vector_product(bencher: Bencher<'_, '_>, case: (Pooling, usize)) {
        let batch = batch(case);
        bencher.bench_local(|| batch.hvp());
    }
}
