//! Linear layers on matrices `[n, features]`.

use super::simd::{Simd, dispatch};

dispatch! {
    /// `y = x Wᵀ + b`, with W already transposed to `[in, out]`.
    pub(super) fn forward(x: &[f32], transposed: &[f32], bias: &[f32], y: &mut [f32]) = forward_kernel
}
dispatch! {
    /// Adds to `dw` `[out, in]` and `db` `[out]` their gradients.
    pub(super) fn weight_gradient(x: &[f32], dy: &[f32], dw: &mut [f32], db: &mut [f32]) = weight_gradient_kernel
}
dispatch! {
    /// `dx = dy W`.
    pub(super) fn input_gradient(weight: &[f32], outputs: usize, dy: &[f32], dx: &mut [f32]) = input_gradient_kernel
}

/// `y += factor · x`.
#[inline(always)]
fn add_scaled(y: &mut [f32], factor: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

/// W `[out, in]` to `[in, out]`.
pub(super) fn transpose(weight: &[f32], inputs: usize, transposed: &mut [f32]) {
    let outputs = weight.len() / inputs;
    for (output, weight) in weight.chunks_exact(inputs).enumerate() {
        for (w, to) in weight.iter().zip(transposed.chunks_exact_mut(outputs)) {
            to[output] = *w;
        }
    }
}

#[inline(always)]
fn forward_kernel<S: Simd>(_: S, x: &[f32], transposed: &[f32], bias: &[f32], y: &mut [f32]) {
    let outputs = bias.len();
    let inputs = transposed.len() / outputs;
    for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs)) {
        y.copy_from_slice(bias);
        for (&x, w) in x.iter().zip(transposed.chunks_exact(outputs)) {
            add_scaled(y, x, w);
        }
    }
}

#[inline(always)]
fn weight_gradient_kernel<S: Simd>(_: S, x: &[f32], dy: &[f32], dw: &mut [f32], db: &mut [f32]) {
    let outputs = db.len();
    let inputs = dw.len() / outputs;
    for (x, dy) in x.chunks_exact(inputs).zip(dy.chunks_exact(outputs)) {
        add_scaled(db, 1.0, dy);
        for (&d, dw) in dy.iter().zip(dw.chunks_exact_mut(inputs)) {
            add_scaled(dw, d, x);
        }
    }
}

#[inline(always)]
fn input_gradient_kernel<S: Simd>(_: S, weight: &[f32], outputs: usize, dy: &[f32], dx: &mut [f32]) {
    let inputs = weight.len() / outputs;
    for (dy, dx) in dy.chunks_exact(outputs).zip(dx.chunks_exact_mut(inputs)) {
        dx.fill(0.0);
        for (&d, w) in dy.iter().zip(weight.chunks_exact(inputs)) {
            add_scaled(dx, d, w);
        }
    }
}
