//! The backends against each other, and second derivatives against differences of gradients.

use std::sync::Arc;

use ndarray::{Array2, Array4, ArrayView1, ArrayView4, Axis, s};
use proptest::prelude::*;
use rand::{Rng as _, SeedableRng};

use crate::fused::naive;
use crate::params::{Layout, Params, Role};
use crate::rng::Rng;
use crate::test_cases::{
    Case, distance, dot, double, hessian_by_differences, networks, random_direction, random_images,
    random_params, random_targets, trees,
};
use crate::{Architecture, Fused, Head, Loss, Network, Norm, Pooling, Portable, Result};

fn random_labels(seed: u64, n: usize, classes: usize) -> Vec<usize> {
    let mut rng = Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(0..classes)).collect()
}

/// How far any value is from changing a mask of ReLU or pooling at θ.
fn margin(architecture: &Architecture, theta: &Params, x: &Array4<f32>) -> f64 {
    let x_double = double(x.as_slice().unwrap());
    naive::reference(architecture, &double(theta.values()), x.dim().0, &x_double, <[f64]>::to_vec).margin
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn fused_equals_portable(Case { architecture, x, theta, seed } in prop_oneof![networks(), trees()]) {
        let n = x.dim().0;
        prop_assume!(margin(&architecture, &theta, &x) > 1e-5);
        let fused = Fused::new(architecture.clone()).unwrap();
        let portable = Portable::new(architecture.clone());
        let networks: [&dyn Network; 2] = [&fused, &portable];

        let outputs = networks.map(|network| network.forward(&theta, x.view()).unwrap());
        let error = distance(outputs[0].as_slice().unwrap(), &double(outputs[1].as_slice().unwrap()));
        prop_assert!(error < 1e-4, "outputs {error:.1e}");

        let features = architecture.features;
        let direction = random_direction(!seed, &architecture.layout);
        for loss in [
            Loss::Mse { targets: random_targets(seed, (n, features)) },
            Loss::CrossEntropy { labels: random_labels(seed, n, features) },
        ] {
            let gradients = networks.map(|network| network.gradient(&theta, x.view(), &loss).unwrap());
            let [fused, portable] = [gradients[0].loss, gradients[1].loss];
            prop_assert!((fused - portable).abs() <= 1e-5 * portable.abs() + 1e-6);
            // Cross-entropy over one class is constant.
            if features > 1 || matches!(loss, Loss::Mse { .. }) {
                let error = distance(gradients[0].gradient.values(), &double(gradients[1].gradient.values()));
                prop_assert!(error < 5e-4, "gradient {error:.1e}");
                let products = networks.map(|network| network.hvp(&theta, x.view(), &loss, &direction).unwrap());
                let error = distance(products[0].values(), &double(products[1].values()));
                prop_assert!(error < 3e-3, "Hessian-vector product {error:.1e}");
            }
        }
    }

    #[test]
    fn evaluations_are_on_running_statistics(Case { architecture, x, theta, .. } in trees()) {
        let (theta_double, x_double) = (double(theta.values()), double(x.as_slice().unwrap()));
        let expected = match architecture.norm {
            Norm::Running => naive::evaluation(&architecture, &theta_double, x.dim().0, &x_double),
            Norm::Batch => {
                naive::reference(&architecture, &theta_double, x.dim().0, &x_double, <[f64]>::to_vec).output
            }
        };
        let (fused, portable) = (Fused::new(architecture.clone()).unwrap(), Portable::new(architecture));
        let networks: [&dyn Network; 2] = [&fused, &portable];
        for network in networks {
            let outputs = network.forward(&theta, x.view()).unwrap();
            prop_assert!(distance(outputs.as_slice().unwrap(), &expected) < 5e-5);
        }
    }

    #[test]
    fn the_portable_hessian_is_symmetric_and_a_derivative(Case { architecture, x, theta, seed } in prop_oneof![networks(), trees()]) {
        let n = x.dim().0;
        let [u, v] = [1, 2].map(|k| random_direction(seed ^ k, &architecture.layout));
        let targets = random_targets(!seed, (n, architecture.features));
        let expected = hessian_by_differences((&architecture, None), &theta, &x, &targets, &v);
        prop_assume!(expected.is_some());
        let (loss, network) = (Loss::Mse { targets }, Portable::new(architecture));
        let [hu, hv] = [&u, &v].map(|v| network.hvp(&theta, x.view(), &loss, v).unwrap());
        let error = distance(hv.values(), &expected.unwrap());
        prop_assert!(error < 2e-3, "{error:.1e}");
        let size = dot(&hv, &hv).sqrt() * dot(&u, &u).sqrt() + dot(&hu, &hu).sqrt() * dot(&v, &v).sqrt();
        prop_assert!((dot(&u, &hv) - dot(&v, &hu)).abs() <= 2e-3 * size);
    }

    #[test]
    fn traces_give_the_derivative_in_weights_and_inputs(Case { architecture, x, theta, seed } in prop_oneof![networks(), trees()]) {
        let n = x.dim().0;
        let along = random_direction(seed, &architecture.layout);
        let (x_along, d) = (random_images(!seed, x.dim().into()), random_targets(seed, (n, architecture.features)));
        let (fused, portable) = (Fused::new(architecture.clone()).unwrap(), Portable::new(architecture.clone()));
        for statistics in [Norm::Batch, Norm::Running] {
            let score = |step: f64| {
                let moved = |from: &[f32], along: &[f32]| -> Vec<f64> {
                    from.iter().zip(along).map(|(&v, &a)| f64::from(v) + step * f64::from(a)).collect()
                };
                let theta = moved(theta.values(), along.values());
                let x = moved(x.as_slice().unwrap(), x_along.as_slice().unwrap());
                let outputs = match statistics {
                    Norm::Batch => naive::reference(&architecture, &theta, n, &x, <[f64]>::to_vec).output,
                    Norm::Running => naive::evaluation(&architecture, &theta, n, &x),
                };
                outputs.iter().zip(&d).map(|(&y, &d)| y * f64::from(d)).sum::<f64>()
            };
            let difference = |step: f64| (score(step) - score(-step)) / (2.0 * step);
            let [expected, closer] = [1e-5, 1e-6].map(difference);
            // Else a mask changes in between.
            prop_assume!((expected - closer).abs() < 1e-4 * expected.abs());
            for (which, network) in [("fused", &fused as &dyn Network), ("portable", &portable)] {
                let trace = network.trace(&theta, x.view(), statistics).unwrap();
                let (d_theta, d_x) = trace.back(d.clone()).unwrap();
                let terms = [dot(&d_theta, &along), d_x.iter().zip(&x_along).map(|(&d, &a)| f64::from(d) * f64::from(a)).sum()];
                let size = dot(&d_theta, &d_theta).sqrt() * dot(&along, &along).sqrt() + terms[1].abs();
                prop_assert!((terms[0] + terms[1] - expected).abs() < 1e-3 * size, "{terms:?}, not {expected}, {statistics:?} {which}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Outputs, gradient and Hessian-vector product with noise are those of one function on both backends: gradients of a
    /// plain program in double precision with the same noise, whose own are differences of its outputs.
    #[test]
    fn a_noisy_network_is_a_function_with_its_derivatives(Case { architecture, x, theta, seed } in trees()) {
        prop_assume!(architecture.drops() > 0);
        let (n, noise) = (x.dim().0, Some(seed ^ 5));
        let targets = random_targets(seed, (n, architecture.features));
        let v = random_direction(!seed, &architecture.layout);
        let product = hessian_by_differences((&architecture, noise), &theta, &x, &targets, &v);
        prop_assume!(product.is_some());

        let at = |step: f64| {
            let theta = theta.values().iter().zip(v.values());
            let moved: Vec<f64> = theta.map(|(&t, &v)| f64::from(t) + step * f64::from(v)).collect();
            let x = double(x.as_slice().unwrap());
            naive::noisy_reference((&architecture, noise), &moved, n, &x, <[f64]>::to_vec).output
        };
        let loss = |step: f64| {
            let squares = at(step).into_iter().zip(&targets).map(|(y, &t)| (y - f64::from(t)).powi(2));
            squares.sum::<f64>() / targets.len() as f64
        };
        let slope = (loss(1e-6) - loss(-1e-6)) / 2e-6;

        let loss = Loss::Mse { targets };
        let plain: [&dyn Network; 2] = [&Fused::new(architecture.clone()).unwrap(), &Portable::new(architecture.clone())];
        let networks = plain.map(|network| network.noisy(seed ^ 5).unwrap());
        let gradients = networks.each_ref().map(|network| network.gradient(&theta, x.view(), &loss).unwrap());
        for (network, gradient) in networks.iter().zip(&gradients) {
            let error = distance(gradient.outputs.as_slice().unwrap(), &at(0.0));
            prop_assert!(error < 1e-4, "outputs {error:.1e}");
            let gradient = &gradient.gradient;
            let size = dot(gradient, gradient).sqrt() * dot(&v, &v).sqrt();
            prop_assert!((dot(gradient, &v) - slope).abs() < 1e-3 * size, "{}, not {slope}", dot(gradient, &v));
            let hv = network.hvp(&theta, x.view(), &loss, &v).unwrap();
            let error = distance(hv.values(), product.as_ref().unwrap());
            prop_assert!(error < 3e-3, "Hessian-vector product {error:.1e}");
        }
        let error = distance(gradients[0].gradient.values(), &double(gradients[1].gradient.values()));
        prop_assert!(error < 5e-4, "gradient {error:.1e}");

        // The way back to the inputs: a batch's statistics may leave hardly anything of it.
        if architecture.norm == Norm::Batch {
            return Ok(());
        }
        let back = networks.each_ref().map(|network| {
            let trace = network.trace(&theta, x.view(), Norm::Running).unwrap();
            let (d_theta, d_x) = trace.back(random_targets(!seed, trace.outputs().dim())).unwrap();
            [trace.outputs().iter().copied().collect(), d_theta.values().to_vec(), d_x.iter().copied().collect()]
        });
        for (ours, theirs) in back[0].iter().zip(&back[1]) {
            prop_assert!(distance(ours, &double(theirs)) < 1e-3, "{:.1e}", distance(ours, &double(theirs)));
        }
    }
}

/// A small ResNet-12 on both backends, without drop layers and with them.
fn dropping() -> [[Box<dyn Network>; 2]; 2] {
    let (input, widths) = ([1, 24, 24], [6, 8, 10, 12]);
    let plain = Architecture::resnet12(input, widths, Norm::Running).unwrap();
    let dropping = Architecture::resnet12_with_drop(input, widths, (0.3, 2), Norm::Running).unwrap();
    assert_eq!(dropping.drops(), 4);
    assert_eq!(dropping.layout, plain.layout);
    [plain, dropping].map(|architecture| -> [Box<dyn Network>; 2] {
        [Box::new(Fused::new(architecture.clone()).unwrap()), Box::new(Portable::new(architecture))]
    })
}

#[test]
fn drop_layers_do_nothing_until_noise_is_asked_for() {
    let x = random_images(1, [6, 1, 24, 24]);
    let loss = Loss::CrossEntropy { labels: random_labels(2, 6, 12) };
    let [plain, dropping] = dropping();
    for (plain, dropping) in plain.iter().zip(&dropping) {
        let theta = plain.init(&mut Rng::seed_from_u64(3));
        let v = random_direction(4, plain.layout());
        let outcome = |network: &dyn Network| {
            let outputs = network.forward(&theta, x.view()).unwrap();
            let gradient = network.gradient(&theta, x.view(), &loss).unwrap().gradient;
            (outputs, gradient, network.hvp(&theta, x.view(), &loss, &v).unwrap())
        };
        let without = outcome(plain.as_ref());
        assert!(without == outcome(dropping.as_ref()), "the same bits");
        assert!(plain.noisy(1).is_none());
        let noisy = outcome(dropping.noisy(1).unwrap().as_ref());
        assert!(without.0 != noisy.0 && without.1 != noisy.1 && without.2 != noisy.2);
        assert!(without == outcome(dropping.as_ref()), "nor after it was asked for");
    }
}

/// On running statistics, where nothing else joins the images of a batch.
#[test]
fn an_images_noise_does_not_depend_on_the_others() {
    let (x, mut others) = (random_images(1, [20, 1, 24, 24]), random_images(2, [20, 1, 24, 24]));
    others.index_axis_mut(Axis(0), 7).assign(&x.index_axis(Axis(0), 7));
    let [_, dropping] = dropping();
    for network in &dropping {
        let theta = network.init(&mut Rng::seed_from_u64(3));
        let noisy = network.noisy(4).unwrap();
        let outputs = |x: ArrayView4<'_, f32>| noisy.forward(&theta, x).unwrap();
        let all = outputs(x.view());
        let near = |a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>| {
            distance(a.as_slice().unwrap(), &double(b.as_slice().unwrap()))
        };
        assert!(near(outputs(others.view()).row(7), all.row(7)) < 1e-5);
        assert!(near(outputs(x.slice(s![..8, .., .., ..])).row(7), all.row(7)) < 1e-5);
        // Another place in the batch is other noise.
        assert!(near(outputs(x.slice(s![1.., .., .., ..])).row(6), all.row(7)) > 1e-2);
    }
}

/// A network of a user's own, which has first derivatives only.
struct FirstOrder(Fused);

impl Network for FirstOrder {
    fn layout(&self) -> &Arc<Layout> {
        self.0.layout()
    }

    fn features(&self) -> usize {
        self.0.features()
    }

    fn norm(&self) -> Norm {
        self.0.norm()
    }

    fn init(&self, rng: &mut Rng) -> Params {
        self.0.init(rng)
    }

    fn forward(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
        Network::forward(&self.0, theta, x)
    }

    fn value_and_grad(
        &self,
        theta: &Params,
        x: ArrayView4<'_, f32>,
        head: &mut Head<'_>,
    ) -> Result<(f32, Params)> {
        self.0.value_and_grad(theta, x, head)
    }
}

/// How far the default Hessian-vector product, along a gradient as in meta-learning, is from the exact one.
fn error_of_the_default(architecture: Architecture, n: usize) -> f64 {
    let [c, h, w] = architecture.input;
    let [support, query] = [1, 2].map(|seed| random_images(seed, [n, c, h, w]));
    let theta = random_params(3, &architecture);
    let loss = Loss::CrossEntropy { labels: random_labels(4, n, architecture.features) };
    let fused = Fused::new(architecture.clone()).unwrap();
    let default = FirstOrder(Fused::new(architecture).unwrap());
    let direction = fused.gradient(&theta, query.view(), &loss).unwrap().gradient;
    let exact = fused.hvp(&theta, support.view(), &loss, &direction).unwrap();
    let difference = default.hvp(&theta, support.view(), &loss, &direction).unwrap();
    distance(difference.values(), &double(exact.values()))
}

/// As the documentation of [`Network::hvp`] states it: digits where the network is smooth, the size of the product
/// itself where it has kinks.
#[test]
fn the_default_hessian_has_its_stated_error() {
    let error = error_of_the_default(Architecture::mlp([1, 1, 20], &[]).unwrap().with_head(5).unwrap(), 25);
    assert!(error < 1e-3, "smooth: {error:.1e}");
    for pooling in [Pooling::Maxpool, Pooling::Strided] {
        let conv =
            Architecture::conv([1, 28, 28], 4, 16, pooling, Norm::Running).unwrap().with_head(5).unwrap();
        let error = error_of_the_default(conv, 25);
        assert!((0.1..10.0).contains(&error), "with kinks: {error:.1e}");
    }
}

/// The loss on the tape and the loss on the host are the same.
#[test]
fn the_default_gradient_is_the_gradient() {
    let architecture = Architecture::mlp([1, 1, 7], &[12]).unwrap().with_head(3).unwrap();
    let (theta, x) = (random_params(1, &architecture), random_images(2, [9, 1, 1, 7]));
    let exact = Fused::new(architecture.clone()).unwrap();
    let default = FirstOrder(Fused::new(architecture).unwrap());
    for loss in [
        Loss::Mse { targets: random_targets(3, (9, 3)) },
        Loss::CrossEntropy { labels: random_labels(3, 9, 3) },
    ] {
        let expected = exact.gradient(&theta, x.view(), &loss).unwrap();
        let ours = default.gradient(&theta, x.view(), &loss).unwrap();
        assert!((ours.loss - expected.loss).abs() < 1e-5);
        assert_eq!(ours.outputs, expected.outputs);
        assert!(distance(ours.gradient.values(), &double(expected.gradient.values())) < 1e-5);
    }
}

/// Weights after the network's, a head's own, have no part in a loss on the network's outputs.
#[test]
fn weights_of_a_head_have_no_derivatives() {
    let architecture =
        Architecture::conv([1, 9, 9], 2, 6, Pooling::Maxpool, Norm::Running).unwrap().with_head(3).unwrap();
    let mut layout = Layout::clone(&architecture.layout);
    let head = layout.push("scale", &[4], Role::Weight);
    let layout = Arc::new(layout);
    let longer = |params: &Params| {
        let values = [params.values(), [0.5; 4].as_slice()].concat();
        Params::from_values(&layout, values).unwrap()
    };
    let own = random_params(1, &architecture);
    let own_direction = random_direction(2, &architecture.layout);
    let x = random_images(3, [8, 1, 9, 9]);
    let loss = Loss::CrossEntropy { labels: random_labels(4, 8, 3) };
    let networks: [&dyn Network; 3] = [
        &Fused::new(architecture.clone()).unwrap(),
        &Portable::new(architecture.clone()),
        &FirstOrder(Fused::new(architecture.clone()).unwrap()),
    ];
    for network in networks {
        let gradient = network.gradient(&longer(&own), x.view(), &loss).unwrap().gradient;
        let product = network.hvp(&longer(&own), x.view(), &loss, &longer(&own_direction)).unwrap();
        assert_eq!(gradient.layout(), &layout);
        assert_eq!(gradient.values()[head.clone()], [0.0; 4]);
        assert_eq!(product.values()[head.clone()], [0.0; 4]);
        let expected = network.hvp(&own, x.view(), &loss, &own_direction).unwrap();
        assert_eq!(product.values()[..head.start], *expected.values());
        for range in layout.ranges(Role::Statistic) {
            assert!(product.values()[range].iter().all(|&v| v == 0.0));
        }
        assert!(network.hvp(&own, x.view(), &loss, &Params::zeros(&Arc::default())).is_err());
    }
}

#[test]
fn activations_are_what_blocks_say() {
    let conv4 = Architecture::conv([1, 28, 28], 4, 64, Pooling::Maxpool, Norm::Batch).unwrap();
    // 28², 14², 7², 3² before pooling, 14², 7², 3², 1² after it, each 64 times.
    assert_eq!(conv4.activations(), 784 + 64 * (784 + 196 + 49 + 9 + 196 + 49 + 9 + 1));
}
