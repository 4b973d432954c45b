//! What varies in signals and features.

use rand::Rng as _;

use crate::rng::Rng;

/// A normal variate (Box & Muller, "A Note on the Generation of Random Normal Deviates", 1958).
pub(super) fn normal(rng: &mut Rng) -> f32 {
    let (radius, angle) = (1.0 - rng.random::<f64>(), rng.random::<f64>());
    ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
}

/// Adds noise whose deviation is this share of the values' own.
pub(super) fn add_noise(values: &mut [f32], share: f32, rng: &mut Rng) {
    let n = values.len() as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / n;
    let variance = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / n;
    let deviation = share * variance.sqrt() as f32;
    values.iter_mut().for_each(|value| *value += deviation * normal(rng));
}
