//! Random networks for tests, and what their derivatives are compared with.

use std::sync::Arc;

use ndarray::{Array2, Array4};
use proptest::prelude::*;
use rand::{Rng as _, SeedableRng};

use crate::Result;
use crate::architecture::{Architecture, Builder, Filters, Layer, Norm, Pooling};
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
                Layer::Conv(conv) => Some(conv.output[1] * conv.output[2]),
                _ => None,
            })?;
            (n * convolved >= 8).then(|| {
                let (x, theta) = (random_images(seed, [n, c, h, w]), random_params(seed, &architecture));
                Case { architecture, x, theta, seed }
            })
        })
}

/// A convolution with what may follow it.
fn random_stage(rng: &mut Rng, builder: Builder, name: &str, width: usize, stride: usize) -> Result<Builder> {
    let row = rng.random_bool(0.5);
    let length = [1, 3, 3, 5, 7][rng.random_range(0..5)];
    let mut filters = if row { Filters::row(length) } else { Filters::square(length) }.stride(stride);
    if rng.random_bool(0.5) {
        filters = filters.biased();
    }
    let mut builder = builder.conv(&format!("{name}.conv"), width, filters)?;
    if rng.random_bool(0.2) {
        let depthwise = Filters::square(3).depthwise();
        builder = builder.conv(&format!("{name}.depthwise"), width, depthwise)?;
    }
    if rng.random_bool(0.8) {
        builder = builder.norm(&format!("{name}.norm"))?;
    }
    Ok(builder)
}

fn random_tree(rng: &mut Rng, input: [usize; 3], norm: Norm) -> Result<Architecture> {
    let mut builder = Architecture::builder(input, norm);
    for stage in 0..rng.random_range(1..=3) {
        let (width, stride) = (rng.random_range(1..=18), rng.random_range(1..=2));
        let name = |part: &str| format!("stage{stage}.{part}");
        builder = random_stage(rng, builder, &name("first"), width, stride)?;
        if rng.random_bool(0.2) {
            builder = builder.dropout(0.3)?;
        }
        if rng.random_bool(0.5) {
            builder = builder.leaky_relu(if rng.random_bool(0.5) { 0.0 } else { 0.1 });
        }
        if rng.random_bool(0.6) {
            let projected = rng.random_bool(0.5);
            let mut other = rng.clone();
            let main = |main: Builder| {
                let main = if rng.random_bool(0.3) { main.norm(&name("before"))?.relu() } else { main };
                let main = random_stage(rng, main, &name("main0"), width, 1)?.leaky_relu(0.1);
                let main = if rng.random_bool(0.2) { main.dropout(0.2)? } else { main };
                random_stage(rng, main, &name("main1"), width, 1)
            };
            builder = builder.residual(main, |shortcut| match projected {
                true => random_stage(&mut other, shortcut, &name("shortcut"), width, 1),
                false => Ok(shortcut),
            })?;
            if rng.random_bool(0.7) {
                builder = builder.leaky_relu(0.1);
            }
        }
        builder = match rng.random_range(0..5) {
            0 => builder.max_pool(2, 2, 0)?,
            1 => builder.max_pool(3, 2, 1)?,
            2 => builder.average_pool(2)?,
            3 => builder.max_pool_row(2)?,
            _ => builder,
        };
        if rng.random_bool(0.4) {
            builder = builder.drop_block(0.2, rng.random_range(1..=4))?;
        }
        if rng.random_bool(0.2) {
            builder = builder.norm(&name("behind"))?;
        }
    }
    let builder = if rng.random_bool(0.5) { builder.flatten() } else { builder.spatial_mean() };
    match rng.random_bool(0.5) {
        true => builder.linear("hidden", 5)?.leaky_relu(0.1).dropout(0.3)?.linear("head", 3)?.finish(),
        false => builder.finish(),
    }
}

/// Trees of layers: residuals, filters of all sizes, pooling of all kinds.
pub(crate) fn trees() -> impl Strategy<Value = Case> {
    let norm = prop_oneof![Just(Norm::Batch), Just(Norm::Running)];
    let height = prop_oneof![1 => Just(1), 4 => 2..=13_usize];
    (prop_oneof![3 => 2..=7_usize, 1 => 13..=20_usize], 1..=6_usize, height, 3..=14_usize, norm, any::<u64>())
        .prop_filter_map("too small", |(n, c, h, w, norm, seed)| {
            let architecture = random_tree(&mut Rng::seed_from_u64(seed), [c, h, w], norm).ok()?;
            // Statistics of a handful of values make gradients as ill-conditioned as one likes.
            let mut fewest = usize::MAX;
            architecture.each(&mut |layer| {
                if let Layer::Norm(norm) = layer {
                    fewest = fewest.min(norm.shape[1] * norm.shape[2]);
                }
            });
            (n.saturating_mul(fewest) >= 12 && architecture.features <= 500).then(|| {
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
/// changes between; with `noise` in drop layers.
pub(crate) fn hessian_by_differences(
    (architecture, noise): (&Architecture, Option<u64>),
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
        let x_double = double(x.as_slice().unwrap());
        naive::noisy_reference((architecture, noise), &moved, x.dim().0, &x_double, cotangent)
    };
    let (ahead, behind) = (gradient(step), gradient(-step));
    let pairs = ahead.gradient.iter().zip(&behind.gradient);
    (ahead.margin.min(behind.margin) > 1e-5).then(|| pairs.map(|(a, b)| (a - b) / (2.0 * step)).collect())
}

pub(crate) fn dot(a: &Params, b: &Params) -> f64 {
    a.values().iter().zip(b.values()).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
