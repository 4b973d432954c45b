//! Multiply-adds of the direct algorithms: what `gflops` counts, whatever the kernels really do. A Winograd convolution
//! takes a quarter of them, so a row's figure can exceed the machine's peak.

use kshot::nn::{Architecture, Layer};

/// What a network computes of a batch.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Pass {
    Forward,
    /// Forward and backward.
    Gradient,
    /// A Hessian-vector product: all four passes.
    Product,
}

/// Multiply-adds of `pass` over `images` inputs, convolutions and linear layers only.
pub(super) fn multiply_adds(architecture: &Architecture, pass: Pass, images: usize) -> f64 {
    let mut products = Vec::new();
    architecture.each(&mut |layer| match layer {
        Layer::Conv(conv) => products.push(conv.output.iter().product::<usize>() * conv.fan_in()),
        Layer::Linear(linear) => products.push(linear.input * linear.output),
        _ => {}
    });
    let each = products.into_iter().enumerate().map(|(index, size)| {
        // Products a layer: y = Wx; dW and dx; ẏ = W ẋ + Ẇ x; dẆ = dẏ x + dy ẋ, dẋ = Wᵀ dẏ + Ẇᵀ dy. A Hessian-vector
        // product needs no dW; the inputs of the first layer are constant and nobody asks for their gradient.
        let count = match (pass, index) {
            (Pass::Forward, _) => 1,
            (Pass::Gradient, 0) => 2,
            (Pass::Gradient, _) => 3,
            (Pass::Product, 0) => 3,
            (Pass::Product, _) => 8,
        };
        (count * size) as f64
    });
    each.sum::<f64>() * images as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perceptron_counted_by_hand() {
        let network = Architecture::mlp([1, 1, 1], &[40, 40]).unwrap().with_head(1).unwrap();
        let counted = |pass| multiply_adds(&network, pass, 10);
        assert_eq!(counted(Pass::Forward), 16_800.0);
        assert_eq!(counted(Pass::Gradient), 10.0 * (2 * 40 + 3 * 1640) as f64);
        assert_eq!(counted(Pass::Product), 10.0 * (3 * 40 + 8 * 1640) as f64);
    }
}
