//! The gradient of a loss and its Hessian's product with a direction, for people who want only that.
//!
//! cargo run --release --example hessian_product

use kshot::nn::{Architecture, Fused, Loss, Network, Norm, Pooling};
use kshot::rng::stream;
use ndarray::Array4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let conv4 = Architecture::conv([1, 28, 28], 4, 64, Pooling::Maxpool, Norm::Batch)?.with_head(5)?;
    let network = Fused::new(conv4)?;
    let theta = network.init(&mut stream(0, "init", 0));
    let x =
        Array4::from_shape_fn((5, 1, 28, 28), |(n, _, h, w)| ((n * 31 + h * 7 + w * 3) % 11) as f32 / 10.0);
    let loss = Loss::CrossEntropy { labels: vec![0, 1, 2, 3, 4] };

    let at = network.at(&theta, x.view(), &loss)?;
    let gradient = at.gradient()?;
    let product = at.hvp(&gradient.gradient)?;
    let curvature = gradient.gradient.dot(&product) / gradient.gradient.dot(&gradient.gradient);
    println!("loss {:.3}; curvature along the gradient {curvature:.3}", gradient.loss);
    Ok(())
}
