//! The kernels against values computed by someone else, and against plain double precision.

use std::path::PathBuf;

use ndarray::{Array2, Array4};
use proptest::prelude::*;
use rand::{Rng as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;

use super::simd::Isa;
use super::{Fused, naive};
use crate::backend::Backend;
use crate::params::{Params, Role};
use crate::test_cases::{
    Case, distance, dot, double, hessian_by_differences, networks, random_direction, random_images,
    random_params, random_targets, trees,
};
use crate::{Architecture, Filters, Loss, LossGradient, Network, Norm, Pooling, Portable};

/// A file of reference values computed by someone else, in double precision.
struct Oracle(Vec<u8>);

impl Oracle {
    /// The file `NAME.safetensors`, or `None`, with a message, where there are no fixtures.
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

/// What makes a network of an architecture: the kernels on every instruction set here, and dfdx.
type Backends = Vec<(String, Box<dyn Fn(Architecture) -> Box<dyn Network>>)>;

fn backends() -> Backends {
    let mut backends: Backends = vec![("portable".into(), Box::new(|of| Box::new(Portable::new(of))))];
    for isa in Isa::available() {
        let fused = move |of| Box::new(Fused::with(of, isa).unwrap()) as Box<dyn Network>;
        backends.push((format!("{isa:?}"), Box::new(fused)));
    }
    backends
}

/// The network that `build` makes of the images' shape and a norm, against a file; first derivatives of `kinks` are allowed
/// to differ more: there a value is so near to 0 that its rounding decides over a mask.
fn agrees_with_oracle(name: &str, build: impl Fn([usize; 3], Norm) -> Architecture, kinks: &[&str]) {
    let Some(oracle) = Oracle::open(name) else { return };
    let x = oracle.images();
    let input = [x.dim().1, x.dim().2, x.dim().3];
    let labels = oracle.get("y").1.iter().map(|&label| label as usize).collect();
    let loss = Loss::CrossEntropy { labels };
    for (backend, network) in backends() {
        let body = build(input, Norm::Batch);
        let embedding = network(body.clone()).forward(&oracle.params("params", &body), x.view()).unwrap();
        let error = distance(embedding.as_slice().unwrap(), &oracle.get("embedding").1);
        println!("{backend} embedding: {error:.1e}");
        assert!(error < 1e-5);

        if name.starts_with("resnet") {
            let body = build(input, Norm::Running);
            let embedding = network(body.clone()).forward(&oracle.params("params", &body), x.view()).unwrap();
            assert!(distance(embedding.as_slice().unwrap(), &oracle.get("embedding_eval").1) < 1e-5);
        }

        let architecture = body.with_head(5).unwrap();
        let theta = oracle.params("params", &architecture);
        let network = network(architecture.clone());
        let at = network.at(&theta, x.view(), &loss).unwrap();
        let LossGradient { loss: value, outputs, gradient } = at.gradient().unwrap();
        let error = distance(outputs.as_slice().unwrap(), &oracle.get("logits").1);
        println!("{backend} logits: {error:.1e}");
        assert!(error < 1e-5);
        assert!((f64::from(value) / oracle.get("loss").1[0] - 1.0).abs() < 1e-5);
        let product = at.hvp(&oracle.params("v", &architecture)).unwrap();
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
            println!("{backend} {}: gradient {error:.1e}, second order {second:.1e}", entry.name);
            let factor = if kinks.iter().any(|kink| entry.name.contains(kink)) { 20.0 } else { 1.0 };
            assert!(error < 1e-4 * factor && second < 1e-3 * factor, "{}: {error} {second}", entry.name);
        }
    }
}

fn conv4(input: [usize; 3], pooling: Pooling, norm: Norm) -> Architecture {
    Architecture::conv(input, 4, 64, pooling, norm).unwrap()
}

#[test]
fn conv4_maxpool_oracle() {
    agrees_with_oracle("conv4_maxpool", |input, norm| conv4(input, Pooling::Maxpool, norm), &[]);
}

#[test]
fn conv4_strided_oracle() {
    agrees_with_oracle("conv4_strided", |input, norm| conv4(input, Pooling::Strided, norm), &[]);
}

#[test]
fn resnet12_oracle() {
    let build = |input, norm| Architecture::resnet12(input, [16, 20, 24, 32], norm).unwrap();
    agrees_with_oracle("resnet12", build, &["layer1.0.conv1", "layer1.0.bn1"]);
}

#[test]
fn resnet18_oracle() {
    let build = |input, norm| Architecture::basic_resnet(input, [16, 24, 32, 40], 2, false, norm).unwrap();
    agrees_with_oracle("resnet18", build, &[]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn random_networks_agree_with_double_precision(Case { architecture, x, theta, seed } in prop_oneof![networks(), trees()]) {
        let n = x.dim().0;
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
            let (output, saved) = Backend::forward(&network, &theta, x.view()).unwrap();
            // Relative to outputs of about 1: a single one may be as near to 0 as it likes.
            let size = expected.output.iter().map(|y| y * y).sum::<f64>().sqrt();
            let error = distance(output.as_slice().unwrap(), &expected.output) * size;
            prop_assert!(error < 2e-5 * size.max(0.1 * (expected.output.len() as f64).sqrt()), "{isa:?}: {error:.1e}");
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

    #[test]
    fn hessian_agrees_with_differences_in_double_precision(Case { architecture, x, theta, seed } in prop_oneof![networks(), trees()]) {
        let n = x.dim().0;
        let [u, v] = [1, 2].map(|k| random_direction(seed ^ k, &architecture.layout));
        let targets = random_targets(!seed, (n, architecture.features));
        let difference = hessian_by_differences((&architecture, None), &theta, &x, &targets, &v);
        prop_assume!(difference.is_some());
        let difference = difference.unwrap_or_default();
        let loss = Loss::Mse { targets };
        for isa in Isa::available() {
            let network = Fused::with(architecture.clone(), isa).unwrap();
            let hv = network.hvp(&theta, x.view(), &loss, &v).unwrap();
            let error = distance(hv.values(), &difference);
            prop_assert!(error < 2e-3, "{isa:?}: {error:.1e}");
            let hu = network.hvp(&theta, x.view(), &loss, &u).unwrap();
            let size = dot(&hv, &hv).sqrt() * dot(&u, &u).sqrt() + dot(&hu, &hu).sqrt() * dot(&v, &v).sqrt();
            // Both sides are 0 where no activation passes anything on.
            prop_assert!((dot(&u, &hv) - dot(&v, &hu)).abs() <= 2e-3 * size);
        }
    }
}

/// Outputs and Hessian-vector products are those of double precision, on all instruction sets.
fn agrees(architecture: &Architecture, images: [usize; 4]) {
    let (theta, x) = (random_params(1, architecture), random_images(2, images));
    let (targets, v) =
        (Array2::zeros((images[0], architecture.features)), random_direction(3, &architecture.layout));
    let product = hessian_by_differences((architecture, None), &theta, &x, &targets, &v).unwrap();
    let (weights, pixels) = (double(theta.values()), double(x.as_slice().unwrap()));
    let expected = naive::reference(architecture, &weights, images[0], &pixels, <[f64]>::to_vec);
    let loss = Loss::Mse { targets };
    for isa in Isa::available() {
        let network = Fused::with(architecture.clone(), isa).unwrap();
        // The second time in buffers that were full of something else.
        for _ in 0..2 {
            let outputs = network.gradient(&theta, x.view(), &loss).unwrap().outputs;
            assert!(distance(outputs.as_slice().unwrap(), &expected.output) < 1e-5, "{isa:?}, {images:?}");
            let hv = network.hvp(&theta, x.view(), &loss, &v).unwrap();
            assert!(distance(hv.values(), &product) < 1e-4, "{isa:?}, {images:?}");
        }
    }
}

/// Nothing between them writes the first one's images again, so its own must be fit to be read beyond their edges.
#[test]
fn a_convolution_may_follow_another_at_once() {
    for stride in [1, 2] {
        let (first, second) = (Filters::square(3).stride(stride), Filters::square(3));
        let built = Architecture::builder([16, 6, 5], Norm::Batch).conv("first", 16, first).unwrap();
        let built = built.conv("second", 11, second).unwrap().conv("third", 5, second).unwrap();
        agrees(&built.flatten().finish().unwrap(), [3, 16, 6, 5]);
    }
}

/// Signals of enough channels for Winograd's algorithm along them, whole tiles or not, and more than a block of these.
#[test]
fn signals_of_many_channels() {
    for width in [4, 5, 7, 8, 97, 130] {
        let filters = Filters::row(3);
        let built = Architecture::builder([40, 1, width], Norm::Batch).conv("first", 33, filters).unwrap();
        agrees(&built.conv("second", 17, filters).unwrap().flatten().finish().unwrap(), [3, 40, 1, width]);
    }
}

/// Filters that no cache holds, for few images.
#[test]
fn few_images_of_many_channels() {
    for (images, [height, width]) in [(2, [3, 5]), (5, [4, 4])] {
        let filters = Filters::square(3);
        let built =
            Architecture::builder([176, height, width], Norm::Batch).conv("first", 176, filters).unwrap();
        let built = built.norm("norm").unwrap().conv("second", 170, filters).unwrap();
        agrees(&built.spatial_mean().finish().unwrap(), [images, 176, height, width]);
    }
}

/// Running statistics: an image's embedding does not depend on the rest of the batch, and statistics equal to the
/// batch's give the batch's outputs.
#[test]
fn evaluation_on_running_statistics() {
    for pooling in [Pooling::Maxpool, Pooling::Strided] {
        let architecture =
            Architecture::conv([1, 20, 20], 3, 24, pooling, Norm::Running).unwrap().with_head(5).unwrap();
        let network = Fused::new(architecture.clone()).unwrap();
        let mut theta = random_params(1, &architecture);
        let x = random_images(2, [21, 1, 20, 20]);
        let (trained, saved) = Backend::forward(&network, &theta, x.view()).unwrap();
        let gradient = network.backward(&theta, &saved, trained.clone()).unwrap();
        let positions = |block: usize| {
            let mut convolutions = architecture.layers.iter().filter_map(|layer| match layer {
                crate::Layer::Conv(conv) => Some(conv.output[1] * conv.output[2]),
                _ => None,
            });
            let size: usize = convolutions.nth(block).unwrap();
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
    let architecture = Architecture::mlp([1, 1, 3], &[40, 20]).unwrap().with_head(2).unwrap();
    let network = Fused::new(architecture.clone()).unwrap();
    let theta = random_params(3, &architecture);
    let x = random_images(4, [10, 1, 1, 3]);
    let (output, saved) = Backend::forward(&network, &theta, x.view()).unwrap();
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
    let small = |pooling| Architecture::conv([1, 28, 28], 4, 16, pooling, Norm::Batch).unwrap();
    let wide = Architecture::resnet12([1, 28, 28], [16, 32, 64, 256], Norm::Batch).unwrap();
    let (widths, drop) = ([16, 20, 24, 32], (0.2, 2));
    let dropping = Architecture::resnet12_with_drop([1, 28, 28], widths, drop, Norm::Batch).unwrap();
    let all = [(small(Pooling::Maxpool), 37), (small(Pooling::Strided), 70), (wide, 37), (dropping, 37)];
    for (architecture, n) in all {
        let architecture = architecture.with_head(5).unwrap();
        let network = Fused::new(architecture.clone()).unwrap().with_noise(1);
        let theta = random_params(5, &architecture);
        let x = random_images(6, [n, 1, 28, 28]);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (output, saved) = Backend::forward(&network, &theta, x.view()).unwrap();
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

/// Wide filters are read for more images at a time, as many as there are for each thread.
#[test]
fn an_evaluated_image_is_the_same_in_whatever_company() {
    let architecture = Architecture::basic_resnet([3, 40, 40], [16, 32, 64, 192], 2, false, Norm::Running);
    let architecture = architecture.unwrap();
    let network = Fused::new(architecture.clone()).unwrap();
    let theta = random_params(7, &architecture);
    let x = random_images(8, [19, 3, 40, 40]);
    let run = |threads: usize, images: std::ops::Range<usize>| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| network.evaluate(&theta, x.slice(ndarray::s![images, .., .., ..])).unwrap())
    };
    let all = run(1, 0..19);
    assert!(all == run(2, 0..19) && all == run(5, 0..19));
    for at in [0, 11, 18] {
        assert_eq!(all.row(at), run(2, at..at + 1).row(0));
    }
}
