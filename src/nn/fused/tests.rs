//! The kernels against values computed by someone else, and against plain double precision.

use std::path::PathBuf;

use ndarray::{Array2, Array4};
use proptest::prelude::*;
use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;

use super::simd::Isa;
use super::{Fused, naive};
use crate::nn::network::{Network as _, Passes};
use crate::nn::{Architecture, Loss, Norm, Pooling};
use crate::params::{Params, Role};

/// A file of reference values computed by someone else, in double precision.
struct Oracle(Vec<u8>);

impl Oracle {
    /// The file `NAME.safetensors`, or `None`, said aloud, where there are no fixtures.
    fn open(name: &str) -> Option<Self> {
        let folder = std::env::var_os("KSHOT_FIXTURES").map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures")),
            PathBuf::from,
        );
        let path = folder.join(name).with_extension("safetensors");
        if !path.exists() {
            eprintln!("SKIPPED: no {}; set KSHOT_FIXTURES", path.display());
            return None;
        }
        Some(Self(std::fs::read(path).unwrap()))
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
pub(in crate::nn) fn distance(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let norm = squares(&mut b.iter().copied());
    squares(&mut a.iter().zip(b).map(|(&a, b)| f64::from(a) - b)) / norm.max(1e-30)
}

fn conv4_agrees_with_oracle(name: &str, pooling: Pooling) {
    let Some(oracle) = Oracle::open(name) else { return };
    let x = oracle.images();
    let input = [x.dim().1, x.dim().2, x.dim().3];
    let labels = oracle.get("y").1.iter().map(|&label| label as usize).collect();
    let loss = Loss::CrossEntropy { labels };
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
        let value = f64::from(loss.value(logits.view()).unwrap());
        assert!((value / oracle.get("loss").1[0] - 1.0).abs() < 1e-5);
        let d_logits = loss.gradient(logits.view()).unwrap();
        let gradient = network.backward(&theta, &saved, d_logits).unwrap();
        let direction = oracle.params("v", &architecture);
        let product = network.hvp(&theta, x.view(), &loss, &direction).unwrap();
        for entry in architecture.layout.entries() {
            let ours = &gradient.values()[entry.range.clone()];
            let theirs = oracle.get(&format!("grad/{}", entry.name)).1;
            if entry.name.ends_with("conv.bias") {
                assert!(ours.iter().all(|g| g.abs() < 1e-6));
                assert!(product.values()[entry.range.clone()].iter().all(|g| g.abs() < 1e-6));
                continue;
            }
            let error = distance(ours, &theirs);
            let second = distance(
                &product.values()[entry.range.clone()],
                &oracle.get(&format!("hvp/{}", entry.name)).1,
            );
            println!("{isa:?} {}: gradient {error:.1e}, second order {second:.1e}", entry.name);
            assert!(error < 1e-4 && second < 1e-3, "{}: {error} {second}", entry.name);
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

pub(in crate::nn) fn random_images(seed: u64, shape: [usize; 4]) -> Array4<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array4::from_shape_fn((shape[0], shape[1], shape[2], shape[3]), |_| rng.random_range(0.0..1.0))
}

/// Weights away from their start, so that no term of a gradient vanishes; variances stay positive.
pub(in crate::nn) fn random_params(seed: u64, architecture: &Architecture) -> Params {
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

pub(in crate::nn) fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// A network of a random shape that its images (or signals, of one row) are large enough for.
pub(in crate::nn) fn networks() -> impl Strategy<Value = (Architecture, usize, u64)> {
    let pooling = prop_oneof![Just(Pooling::Maxpool), Just(Pooling::Strided)];
    let norm = prop_oneof![Just(Norm::Batch), Just(Norm::Running)];
    let head = prop_oneof![Just(None), (1..6_usize).prop_map(Some)];
    (
        // Now and then more images than are computed at once, and more than one group of them.
        (prop_oneof![3 => 1..=7_usize, 1 => 13..=40_usize], 1..=20_usize),
        (prop_oneof![1 => Just(1), 3 => 2..=17_usize], 2..=40_usize),
        (1..=3_usize, 1..=20_usize),
        pooling,
        norm,
        head,
        any::<u64>(),
    )
        .prop_filter_map("too small", |((n, c), (h, w), (blocks, width), pooling, norm, head, seed)| {
            // Statistics of a handful of values make gradients as ill-conditioned as one likes.
            let architecture = Architecture::conv([c, h, w], blocks, width, pooling, norm, head).ok()?;
            let last = architecture.layers.iter().rev().find_map(|layer| match layer {
                crate::nn::Layer::ConvBlock(block) => Some(block.convolved().iter().product::<usize>()),
                _ => None,
            })?;
            (n * last >= 8).then_some((architecture, n, seed))
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
        let expected = naive::reference(
            &architecture, &double(theta.values()), n, &double(x.as_slice().unwrap()), |_| cotangent.clone());
        prop_assume!(expected.margin > 1e-5);
        for isa in Isa::available() {
            let network = Fused::with(architecture.clone(), isa).unwrap();
            let (output, saved) = Passes::forward(&network, &theta, x.view()).unwrap();
            prop_assert!(distance(output.as_slice().unwrap(), &expected.output) < 2e-5);
            let gradient = network.backward(&theta, &saved, d.clone()).unwrap();
            prop_assert!(gradient.values().iter().all(|g| g.is_finite()));
            let mut expected_gradient = expected.gradient.clone();
            let mut ours = gradient.values().to_vec();
            for range in architecture.layout.ranges(Role::Statistic) {
                ours[range.clone()].fill(0.0);
                expected_gradient[range].fill(0.0);
            }
            let error = distance(&ours, &expected_gradient);
            prop_assert!(error < 3e-4, "{isa:?}: gradient {error:.1e}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn hessian_agrees_with_differences_in_double_precision((architecture, n, seed) in networks()) {
        let [c, h, w] = architecture.input;
        let x = random_images(seed, [n, c, h, w]);
        let theta = random_params(seed, &architecture);
        let [u, v] = [1, 2].map(|k| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed ^ k);
            let mut direction = Params::zeros(&architecture.layout);
            for range in architecture.layout.ranges(Role::Weight) {
                direction.values_mut()[range].fill_with(|| rng.random_range(-0.1..0.1));
            }
            direction
        });
        let mut rng = ChaCha8Rng::seed_from_u64(!seed);
        let targets = Array2::from_shape_fn((n, architecture.features), |_| rng.random_range(-1.0..1.0));
        let difference = {
            let step = 1e-6;
            let gradient = |step: f64| {
                let theta: Vec<f64> = theta.values().iter().zip(v.values())
                    .map(|(&theta, &v)| f64::from(theta) + step * f64::from(v)).collect();
                let cotangent = |y: &[f64]| {
                    y.iter().zip(&targets).map(|(y, &t)| (y - f64::from(t)) * 2.0 / y_len(&targets)).collect()
                };
                naive::reference(&architecture, &theta, n, &double(x.as_slice().unwrap()), cotangent)
            };
            let (ahead, behind) = (gradient(step), gradient(-step));
            prop_assume!(ahead.margin > 1e-5 && behind.margin > 1e-5);
            let both = ahead.gradient.iter().zip(&behind.gradient);
            both.map(|(a, b)| (a - b) / (2.0 * step)).collect::<Vec<f64>>()
        };
        let loss = Loss::Mse { targets };
        for isa in Isa::available() {
            let network = Fused::with(architecture.clone(), isa).unwrap();
            let hv = network.hvp(&theta, x.view(), &loss, &v).unwrap();
            let error = distance(hv.values(), &difference);
            prop_assert!(error < 2e-3, "{isa:?}: {error:.1e}");
            let hu = network.hvp(&theta, x.view(), &loss, &u).unwrap();
            let dot = |a: &Params, b: &Params| {
                a.values().iter().zip(b.values()).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
            };
            let size = dot(&hv, &hv).sqrt() * dot(&u, &u).sqrt() + dot(&hu, &hu).sqrt() * dot(&v, &v).sqrt();
            prop_assert!((dot(&u, &hv) - dot(&v, &hu)).abs() < 1e-4 * size);
        }
    }
}

fn y_len(targets: &Array2<f32>) -> f64 {
    targets.len() as f64
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
        let gradient = network.backward(&theta, &saved, trained.clone()).unwrap();
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
    let gradient = network.backward(&theta, &saved, output.clone()).unwrap();
    let expected = naive::reference(
        &architecture,
        &double(theta.values()),
        10,
        &double(x.as_slice().unwrap()),
        <[f64]>::to_vec,
    );
    assert!(distance(output.as_slice().unwrap(), &expected.output) < 1e-5);
    assert!(distance(gradient.values(), &expected.gradient) < 1e-5);
    // The Hessian of a piecewise linear network, against differences of gradients.
    let (loss, direction) = (Loss::Mse { targets: Array2::zeros((10, 2)) }, random_params(5, &architecture));
    let step = 1e-6;
    let gradient = |step: f64| {
        let theta: Vec<f64> = theta
            .values()
            .iter()
            .zip(direction.values())
            .map(|(&theta, &v)| f64::from(theta) + step * f64::from(v))
            .collect();
        let cotangent = |y: &[f64]| y.iter().map(|y| y * 0.1).collect();
        naive::reference(&architecture, &theta, 10, &double(x.as_slice().unwrap()), cotangent).gradient
    };
    let difference: Vec<f64> =
        gradient(step).iter().zip(gradient(-step)).map(|(a, b)| (a - b) / (2.0 * step)).collect();
    let product = network.hvp(&theta, x.view(), &loss, &direction).unwrap();
    assert!(distance(product.values(), &difference) < 1e-5);
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
                let gradient = network.backward(&theta, &saved, output.clone()).unwrap();
                let loss = Loss::Mse { targets: Array2::zeros(output.dim()) };
                let product = network.hvp(&theta, x.view(), &loss, &gradient).unwrap();
                (output, gradient, product)
            })
        };
        let one = run(1);
        assert!(one == run(2));
        assert!(one == run(3));
        assert!(one == run(1), "nor on what the buffers held before");
    }
}
