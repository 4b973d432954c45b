use std::path::PathBuf;

use ndarray::{Array2, Array4};
use proptest::prelude::*;
use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;

use super::simd::Isa;
use super::{Fused, naive};
use crate::nn::network::Passes;
use crate::nn::{Architecture, Norm, Pooling};
use crate::params::{Params, Role};

/// A file of reference values computed by someone else, in double precision.
struct Oracle(Vec<u8>);

impl Oracle {
    fn open(name: &str) -> Self {
        let folder = std::env::var_os("KSHOT_FIXTURES").map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures")),
            PathBuf::from,
        );
        let path = folder.join(name).with_extension("safetensors");
        Self(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    fn get(&self, name: &str) -> (Vec<usize>, Vec<f64>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let number = |bytes: &[u8]| match tensor.dtype() {
            safetensors::Dtype::F64 => f64::from_le_bytes(bytes.try_into().unwrap()),
            safetensors::Dtype::F32 => f64::from(f32::from_le_bytes(bytes.try_into().unwrap())),
            safetensors::Dtype::I64 => i64::from_le_bytes(bytes.try_into().unwrap()) as f64,
            other => panic!("{name} is {other:?}"),
        };
        let size = tensor.dtype().bitsize() / 8;
        (tensor.shape().to_vec(), tensor.data().chunks(size).map(number).collect())
    }

    /// The tensors `prefix/*` in order of a layout.
    fn params(&self, prefix: &str, network: &Architecture) -> Params {
        let mut params = Params::zeros(&network.layout);
        for entry in network.layout.entries() {
            let values = self.get(&format!("{prefix}/{}", entry.name)).1;
            for (to, value) in params.values_mut()[entry.range.clone()].iter_mut().zip(values) {
                *to = value as f32;
            }
        }
        params
    }

    fn images(&self) -> Array4<f32> {
        let (shape, x) = self.get("x");
        Array4::from_shape_vec(
            (shape[0], shape[1], shape[2], shape[3]),
            x.iter().map(|&x| x as f32).collect(),
        )
        .unwrap()
    }
}

/// ‖a − b‖ / ‖b‖
fn distance(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let norm = squares(&mut b.iter().copied());
    squares(&mut a.iter().zip(b).map(|(&a, b)| f64::from(a) - b)) / norm.max(1e-30)
}

/// Mean cross-entropy's gradient in the logits.
fn cross_entropy_gradient(logits: &Array2<f32>, labels: &[f64]) -> Array2<f32> {
    let mut d = logits.clone();
    for (mut row, &label) in d.rows_mut().into_iter().zip(labels) {
        let max = row.fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        row.mapv_inplace(|v| (v - max).exp());
        let sum = row.sum();
        row.mapv_inplace(|v| v / sum);
        row[label as usize] -= 1.0;
    }
    d / logits.nrows() as f32
}

fn conv4_agrees_with_oracle(name: &str, pooling: Pooling) {
    let oracle = Oracle::open(name);
    let x = oracle.images();
    let input = [x.dim().1, x.dim().2, x.dim().3];
    let labels = oracle.get("y").1;
    for isa in Isa::available() {
        let body = Architecture::conv(input, 4, 64, pooling, Norm::Batch, None).unwrap();
        let embedding = Fused::with(body.clone(), isa)
            .unwrap()
            .evaluate(&oracle.params("params", &body), x.view())
            .unwrap();
        let error = distance(embedding.as_slice().unwrap(), &oracle.get("embedding").1);
        println!("{isa:?} embedding: {error:.1e}");
        assert!(error < 1e-5);

        let architecture = Architecture::conv(input, 4, 64, pooling, Norm::Batch, Some(5)).unwrap();
        let theta = oracle.params("params", &architecture);
        let network = Fused::with(architecture.clone(), isa).unwrap();
        let (logits, saved) = Passes::forward(&network, &theta, x.view()).unwrap();
        let error = distance(logits.as_slice().unwrap(), &oracle.get("logits").1);
        println!("{isa:?} logits: {error:.1e}");
        assert!(error < 1e-5);
        let gradient = network.backward(&theta, saved, cross_entropy_gradient(&logits, &labels)).unwrap();
        for entry in architecture.layout.entries() {
            let ours = &gradient.values()[entry.range.clone()];
            let theirs = oracle.get(&format!("grad/{}", entry.name)).1;
            if entry.name.ends_with("conv.bias") {
                assert!(ours.iter().all(|g| g.abs() < 1e-6));
                continue;
            }
            let error = distance(ours, &theirs);
            println!("{isa:?} {}: {error:.1e}", entry.name);
            assert!(error < 1e-4, "{}: {error}", entry.name);
        }
    }
}

#[test]
fn conv4_maxpool_oracle() {
    conv4_agrees_with_oracle("conv4_maxpool", Pooling::Maxpool);
}

#[test]
fn conv4_strided_oracle() {
    conv4_agrees_with_oracle("conv4_strided", Pooling::Strided);
}

fn random_images(seed: u64, shape: [usize; 4]) -> Array4<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array4::from_shape_fn((shape[0], shape[1], shape[2], shape[3]), |_| rng.random_range(0.0..1.0))
}

/// Weights away from their start, so that no term of a gradient vanishes; variances stay positive.
fn random_params(seed: u64, architecture: &Architecture) -> Params {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut theta = architecture.init(&mut crate::rng::Rng::seed_from_u64(seed));
    for range in architecture.layout.ranges(Role::Weight) {
        for value in &mut theta.values_mut()[range] {
            *value += rng.random_range(-0.1..0.1);
        }
    }
    for range in architecture.layout.ranges(Role::Statistic) {
        for value in &mut theta.values_mut()[range] {
            *value += rng.random_range(0.0..0.3);
        }
    }
    theta
}

fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// A network of a random shape that its images are large enough for.
fn networks() -> impl Strategy<Value = (Architecture, usize, u64)> {
    let pooling = prop_oneof![Just(Pooling::Maxpool), Just(Pooling::Strided)];
    let norm = prop_oneof![Just(Norm::Batch), Just(Norm::Running)];
    let head = prop_oneof![Just(None), (1..6_usize).prop_map(Some)];
    (
        (1..=7_usize, 1..=20_usize, 2..=17_usize, 2..=17_usize),
        (1..=3_usize, 1..=20_usize),
        pooling,
        norm,
        head,
        any::<u64>(),
    )
        .prop_filter_map("too small", |((n, c, h, w), (blocks, width), pooling, norm, head, seed)| {
            // Statistics of a handful of values make gradients as ill-conditioned as one likes.
            let last = (h.min(w)) >> (blocks - 1);
            let architecture = Architecture::conv([c, h, w], blocks, width, pooling, norm, head).ok()?;
            (n * last * last >= 8).then_some((architecture, n, seed))
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn random_networks_agree_with_double_precision((architecture, n, seed) in networks()) {
        let [c, h, w] = architecture.input;
        let x = random_images(seed, [n, c, h, w]);
        let theta = random_params(seed, &architecture);
        let cotangent: Vec<f64> = {
            let mut rng = ChaCha8Rng::seed_from_u64(!seed);
            (0..n * architecture.features).map(|_| rng.random_range(-1.0_f32..1.0).into()).collect()
        };
        let d = Array2::from_shape_vec((n, architecture.features), cotangent.iter().map(|&d| d as f32).collect()).unwrap();
        let (expected, expected_gradient) = naive::value_and_gradient(
            &architecture, &double(theta.values()), n, &double(x.as_slice().unwrap()), |_| cotangent.clone());
        for isa in Isa::available() {
            let network = Fused::with(architecture.clone(), isa).unwrap();
            let (output, saved) = Passes::forward(&network, &theta, x.view()).unwrap();
            prop_assert!(distance(output.as_slice().unwrap(), &expected) < 2e-5);
            let gradient = network.backward(&theta, saved, d.clone()).unwrap();
            prop_assert!(gradient.values().iter().all(|g| g.is_finite()));
            let mut expected_gradient = expected_gradient.clone();
            let mut ours = gradient.values().to_vec();
            for range in architecture.layout.ranges(Role::Statistic) {
                ours[range.clone()].fill(0.0);
                expected_gradient[range].fill(0.0);
            }
            // A mask of a value at zero to rounding may differ: rarely, and then by one element's gradient.
            let error = distance(&ours, &expected_gradient);
            prop_assert!(error < 3e-4, "{isa:?}: gradient {error:.1e}");
        }
    }
}

/// Running statistics: an image's embedding does not depend on the rest of the batch, and statistics equal to the
/// batch's give the batch's outputs.
#[test]
fn evaluation_on_running_statistics() {
    for pooling in [Pooling::Maxpool, Pooling::Strided] {
        let architecture = Architecture::conv([1, 20, 20], 3, 24, pooling, Norm::Running, Some(5)).unwrap();
        let network = Fused::new(architecture.clone()).unwrap();
        let mut theta = random_params(1, &architecture);
        let x = random_images(2, [21, 1, 20, 20]);
        let (trained, saved) = Passes::forward(&network, &theta, x.view()).unwrap();
        let gradient = network.backward(&theta, saved, trained.clone()).unwrap();
        let positions = |block: usize| {
            let size: usize = match &architecture.layers[block] {
                crate::nn::Layer::ConvBlock(block) => block.convolved().iter().product(),
                _ => 1,
            };
            21 * size
        };
        for block in 0..3 {
            for (part, factor) in [("mean", 1.0), ("var", 1.0 - 1.0 / positions(block) as f32)] {
                let range = architecture
                    .layout
                    .get(&format!("block{block}.norm.running_{part}"))
                    .unwrap()
                    .range
                    .clone();
                for at in range {
                    theta.values_mut()[at] = gradient.values()[at] * factor;
                }
            }
        }
        let all = network.evaluate(&theta, x.view()).unwrap();
        assert!(distance(all.as_slice().unwrap(), &double(trained.as_slice().unwrap())) < 1e-5);
        let one = network.evaluate(&theta, x.slice(ndarray::s![7..8, .., .., ..])).unwrap();
        assert_eq!(one.row(0), all.row(7));
    }
}

#[test]
fn multi_layer_perceptron_agrees_with_double_precision() {
    let architecture = Architecture::mlp([1, 1, 3], &[40, 20], Some(2)).unwrap();
    let network = Fused::new(architecture.clone()).unwrap();
    let theta = random_params(3, &architecture);
    let x = random_images(4, [10, 1, 1, 3]);
    let (output, saved) = Passes::forward(&network, &theta, x.view()).unwrap();
    let gradient = network.backward(&theta, saved, output.clone()).unwrap();
    let (expected, expected_gradient) = naive::value_and_gradient(
        &architecture,
        &double(theta.values()),
        10,
        &double(x.as_slice().unwrap()),
        <[f64]>::to_vec,
    );
    assert!(distance(output.as_slice().unwrap(), &expected) < 1e-5);
    assert!(distance(gradient.values(), &expected_gradient) < 1e-5);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for (pooling, n) in [(Pooling::Maxpool, 37), (Pooling::Strided, 70)] {
        let architecture = Architecture::conv([1, 28, 28], 4, 16, pooling, Norm::Batch, Some(5)).unwrap();
        let network = Fused::new(architecture.clone()).unwrap();
        let theta = random_params(5, &architecture);
        let x = random_images(6, [n, 1, 28, 28]);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (output, saved) = Passes::forward(&network, &theta, x.view()).unwrap();
                let gradient = network.backward(&theta, saved, output.clone()).unwrap();
                (output, gradient)
            })
        };
        let one = run(1);
        assert!(one == run(2));
        assert!(one == run(3));
        assert!(one == run(1), "nor on what the buffers held before");
    }
}

/// Times of the passes at the sizes of `docs/performance.md`, beside a register-only loop of multiply-adds:
/// `cargo test --release --lib fused_times -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn fused_times() {
    use std::time::Instant;
    let best = |reps: usize, work: &mut dyn FnMut()| {
        (0..reps)
            .map(|_| {
                let start = Instant::now();
                work();
                start.elapsed().as_secs_f64() * 1e3
            })
            .fold(f64::INFINITY, f64::min)
    };
    let threads: usize = std::env::var("THREADS").map_or(2, |t| t.parse().unwrap());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        for (pooling, n, reps) in [
            (Pooling::Maxpool, 80, 40),
            (Pooling::Maxpool, 400, 12),
            (Pooling::Maxpool, 5, 60),
            (Pooling::Strided, 75, 40),
            (Pooling::Strided, 5, 60),
        ] {
            let architecture = Architecture::conv([1, 28, 28], 4, 64, pooling, Norm::Batch, None).unwrap();
            let network = Fused::new(architecture.clone()).unwrap();
            let theta = random_params(5, &architecture);
            let x = random_images(6, [n, 1, 28, 28]);
            let evaluate = best(reps, &mut || drop(network.evaluate(&theta, x.view()).unwrap()));
            let train = best(reps, &mut || {
                let (output, saved) = Passes::forward(&network, &theta, x.view()).unwrap();
                network.backward(&theta, saved, output).unwrap();
            });
            println!("{pooling:?} {n} images: evaluate {evaluate:.2} ms, forward + backward {train:.2} ms");
        }
    });
}
