//! Random networks for tests, and what their derivatives are compared with.

use std::sync::Arc;

use ndarray::{Array2, Array4};
use proptest::prelude::*;
use rand::{Rng as _, SeedableRng};

use crate::architecture::{Architecture, Layer, Norm, Pooling};
use crate::fused::naive;
use crate::params::{Layout, Params, Role};
use crate::rng::Rng;

/// ‖a − b‖ / ‖b‖
pub(crate) fn distance(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let norm = squares(&mut b.iter().copied());
    squares(&mut a.iter().zip(b).map(|(&a, b)| f64::from(a) - b)) / norm.max(1e-30)
}

pub(crate) fn random_images(seed: u64, shape: [usize; 4]) -> Array4<f32> {
    let mut rng = Rng::seed_from_u64(seed);
    Array4::from_shape_fn((shape[0], shape[1], shape[2], shape[3]), |_| rng.random_range(0.0..1.0))
}

/// Weights away from their start, so that no term of a gradient vanishes; variances stay positive.
pub(crate) fn random_params(seed: u64, architecture: &Architecture) -> Params {
    let mut rng = Rng::seed_from_u64(seed);
    let mut theta = architecture.init(&mut Rng::seed_from_u64(seed));
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

pub(crate) fn double(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// A network of a random shape with images, and weights of its own.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) architecture: Architecture,
    /// `[n, c, h, w]`
    pub(crate) x: Array4<f32>,
    pub(crate) theta: Params,
    pub(crate) seed: u64,
}

/// Networks that their images (or signals, of one row) are large enough for.
pub(crate) fn networks() -> impl Strategy<Value = Case> {
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
            let architecture = Architecture::conv([c, h, w], blocks, width, pooling, norm).ok()?;
            let architecture = match head {
                Some(outputs) => architecture.with_head(outputs).ok()?,
                None => architecture,
            };
            let convolved = architecture.layers.iter().rev().find_map(|layer| match layer {
                Layer::ConvBlock(block) => Some(block.convolved().iter().product::<usize>()),
                _ => None,
            })?;
            (n * convolved >= 8).then(|| {
                let (x, theta) = (random_images(seed, [n, c, h, w]), random_params(seed, &architecture));
                Case { architecture, x, theta, seed }
            })
        })
}

/// A change of all weights; statistics stay.
pub(crate) fn random_direction(seed: u64, layout: &Arc<Layout>) -> Params {
    let mut rng = Rng::seed_from_u64(seed);
    let mut direction = Params::zeros(layout);
    for range in layout.ranges(Role::Weight) {
        direction.values_mut()[range].fill_with(|| rng.random_range(-0.1..0.1));
    }
    direction
}

pub(crate) fn random_targets(seed: u64, shape: (usize, usize)) -> Array2<f32> {
    let mut rng = Rng::seed_from_u64(seed);
    Array2::from_shape_fn(shape, |_| rng.random_range(-1.0..1.0))
}

/// The Hessian of the mean squared error times `v`, as differences of gradients in double precision, if no mask
/// changes between.
pub(crate) fn hessian_by_differences(
    architecture: &Architecture,
    theta: &Params,
    x: &Array4<f32>,
    targets: &Array2<f32>,
    v: &Params,
) -> Option<Vec<f64>> {
    let step = 1e-6;
    let gradient = |step: f64| {
        let moved = theta.values().iter().zip(v.values());
        let moved: Vec<f64> = moved.map(|(&theta, &v)| f64::from(theta) + step * f64::from(v)).collect();
        let cotangent = |y: &[f64]| {
            let scale = 2.0 / targets.len() as f64;
            y.iter().zip(targets).map(|(y, &t)| (y - f64::from(t)) * scale).collect()
        };
        naive::reference(architecture, &moved, x.dim().0, &double(x.as_slice().unwrap()), cotangent)
    };
    let (ahead, behind) = (gradient(step), gradient(-step));
    let pairs = ahead.gradient.iter().zip(&behind.gradient);
    (ahead.margin.min(behind.margin) > 1e-5).then(|| pairs.map(|(a, b)| (a - b) / (2.0 * step)).collect())
}

pub(crate) fn dot(a: &Params, b: &Params) -> f64 {
    a.values().iter().zip(b.values()).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
