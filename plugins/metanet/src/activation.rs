//! What layers and meta-learners put between their products.

use ndarray::{Array2, Zip};

/// Gradient before a ReLU from the one after it: where something came through. `x` may be from before or after it.
pub(crate) fn relu_backward(x: &Array2<f32>, mut d: Array2<f32>) -> Array2<f32> {
    Zip::from(&mut d).and(x).for_each(|d, &x| *d = if x > 0.0 { *d } else { 0.0 });
    d
}

/// Each row's exponentials over their sum.
pub(crate) fn softmax(mut x: Array2<f32>) -> Array2<f32> {
    for mut row in x.rows_mut() {
        let max = row.fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        row.mapv_inplace(|v| (v - max).exp());
        let sum = row.sum();
        row /= sum;
    }
    x
}

/// eˣ to about 1e-7, in arithmetic that compilers turn into vector instructions, where a call of the mathematics library would
/// take most of a training step: 2ⁿ eʳ with n the integer nearest x / ln 2, and eʳ by its Taylor polynomial.
fn exp(x: f32) -> f32 {
    /// Added to a small number, this leaves its integer part in the lowest bits.
    const SHIFT: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    // ln 2 in two parts, of which the first times n is exact.
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let series = 1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r / 720.0))));
    let exponent = shifted.to_bits().wrapping_sub(SHIFT.to_bits()).wrapping_add(127);
    (1.0 + r * series) * f32::from_bits(exponent << 23)
}

/// 1 / (1 + e⁻ˣ).
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

pub(crate) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp(2.0 * x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squashing_is_that_of_the_mathematics_library() {
        for x in (-4000..4000).map(|x| x as f32 * 0.01) {
            let (expected, own) = (1.0 / (1.0 + (-f64::from(x)).exp()), f64::from(sigmoid(x)));
            assert!((own - expected).abs() < 2e-7, "{x}: {own} {expected}");
            let (expected, own) = (f64::from(x).tanh(), f64::from(tanh(x)));
            assert!((own - expected).abs() < 2e-7, "{x}: {own} {expected}");
            let (expected, own) = (f64::from(x).exp(), f64::from(exp(x)));
            assert!((own / expected - 1.0).abs() < 3e-7, "{x}: {own} {expected}");
        }
        assert!(sigmoid(1e4) == 1.0 && sigmoid(-1e4) >= 0.0 && tanh(-1e4) == -1.0);
    }
}
