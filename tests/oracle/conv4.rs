//! Conv4 with 64 channels: embedding, logits, loss, gradient and Hessian-vector product.

use kshot::nn::{Architecture, Fused, Loss, Network, Norm, Pooling, Portable, cross_entropy};

use super::fixture::Fixture;

/// Values 1e-5 relative, gradients 1e-4, and so second derivatives: what float32 can be expected to keep.
const VALUE: f64 = 1e-5;
const GRADIENT: f64 = 1e-4;
const SECOND: f64 = 1e-4;

fn check(name: &str, pooling: Pooling, network: fn(Architecture) -> Box<dyn Network>) {
    let Some(fixture) = Fixture::open(name) else { return };
    let x = fixture.images("x");
    let labels = fixture.labels("y");
    let head = fixture.shape("params/head.weight")[0];
    let build = |head: Option<usize>| {
        let body = Architecture::conv([1, 28, 28], 4, 64, pooling, Norm::Batch).unwrap();
        network(match head {
            Some(outputs) => body.with_head(outputs).unwrap(),
            None => body,
        })
    };

    let trunk = build(None);
    let embedding = trunk.forward(&fixture.params("params", trunk.layout()), x.view()).unwrap();
    fixture.assert_close("embedding", embedding.as_slice().unwrap(), VALUE);

    let whole = build(Some(head));
    let theta = fixture.params("params", whole.layout());
    let logits = whole.forward(&theta, x.view()).unwrap();
    fixture.assert_close("logits", logits.as_slice().unwrap(), VALUE);

    let (loss, gradient) =
        whole.value_and_grad(&theta, x.view(), &mut |logits, _| cross_entropy(logits, &labels)).unwrap();
    fixture.assert_close("loss", &[loss], VALUE);
    fixture.assert_params_close("grad", &gradient, GRADIENT);

    let mean = Loss::CrossEntropy { labels };
    let whole_batch = whole.gradient(&theta, x.view(), &mean).unwrap();
    fixture.assert_close("loss", &[whole_batch.loss], VALUE);
    fixture.assert_close("logits", whole_batch.outputs.as_slice().unwrap(), VALUE);
    fixture.assert_params_close("grad", &whole_batch.gradient, GRADIENT);

    let direction = fixture.params("v", whole.layout());
    let product = whole.hvp(&theta, x.view(), &mean, &direction).unwrap();
    fixture.assert_params_close("hvp", &product, SECOND);
}

#[test]
fn oracle_conv4_maxpool_portable() {
    check("conv4_maxpool", Pooling::Maxpool, |a| Box::new(Portable::new(a)));
}

#[test]
fn oracle_conv4_strided_portable() {
    check("conv4_strided", Pooling::Strided, |a| Box::new(Portable::new(a)));
}

#[test]
fn oracle_conv4_maxpool_fused() {
    check("conv4_maxpool", Pooling::Maxpool, |a| Box::new(Fused::new(a).unwrap()));
}

#[test]
fn oracle_conv4_strided_fused() {
    check("conv4_strided", Pooling::Strided, |a| Box::new(Fused::new(a).unwrap()));
}
