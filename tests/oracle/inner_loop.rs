//! Meta-gradients of the optimization family on one task.

use kshot::inner_loop::{InnerLoop, MetaGradient, Objective, rates};
use kshot::nn::{Architecture, Fused, Loss, Network, Norm, Pooling, Portable};
use kshot::params::{Layout, Params, Role};
use ndarray::{Array2, Array4, s};

use super::fixture::Fixture;

/// Values 1e-5 relative, gradients of first and second order 1e-4.
const VALUE: f64 = 1e-5;
const FIRST: f64 = 1e-4;
const SECOND: f64 = 1e-4;

type Build = fn(Architecture) -> Box<dyn Network>;

fn fused(architecture: Architecture) -> Box<dyn Network> {
    Box::new(Fused::new(architecture).unwrap())
}

fn portable(architecture: Architecture) -> Box<dyn Network> {
    Box::new(Portable::new(architecture))
}

fn conv4(name: &str, pooling: Pooling, build: Build) {
    let Some(fixture) = Fixture::open(name) else { return };
    let network =
        build(Architecture::conv([1, 28, 28], 4, 32, pooling, Norm::Batch).unwrap().with_head(5).unwrap());
    let layout = network.layout();
    let theta = fixture.params("params", layout);
    let [support_x, query_x] = ["support.x", "query.x"].map(|x| fixture.images(x));
    let [support_loss, query_loss] =
        ["support.y", "query.y"].map(|y| Loss::CrossEntropy { labels: fixture.labels(y) });
    let support = Objective { x: support_x.view(), loss: &support_loss };
    let query = Objective { x: query_x.view(), loss: &query_loss };
    let steps = fixture.metadata("inner_steps").parse().unwrap();
    let rate = fixture.metadata("inner_lr").parse().unwrap();
    let inner =
        |rate| InnerLoop { rates: std::slice::from_ref(rate), ..InnerLoop::new(network.as_ref(), steps) };
    let check = |method: &str, outer: &MetaGradient, tolerance: f64| {
        fixture.assert_close(&format!("{method}/query_loss"), &[outer.loss], VALUE);
        fixture.assert_params_close(&format!("{method}/meta_grad"), &outer.gradient, tolerance);
    };

    let alpha = rates(layout, rate, |_| true);
    check("maml", &inner(&alpha).maml(&theta, support, query).unwrap(), SECOND);
    check("fomaml", &inner(&alpha).fomaml(&theta, support, query).unwrap(), FIRST);
    let outer = inner(&alpha).reptile(&theta, support).unwrap();
    fixture.assert_params_close("reptile/meta_grad", &outer.gradient, FIRST);

    let head = rates(layout, rate, |name| name.starts_with("head."));
    check("anil", &inner(&head).maml(&theta, support, query).unwrap(), SECOND);

    let alpha = fixture.params("metasgd/alpha", layout);
    let (outer, d_alpha) = inner(&alpha).meta_sgd(&theta, support, query).unwrap();
    check("metasgd", &outer, SECOND);
    fixture.assert_params_close("metasgd/alpha_grad", &d_alpha.rates[0], SECOND);
}

#[test]
fn oracle_maml_maxpool_fused() {
    conv4("maml_maxpool_steps1", Pooling::Maxpool, fused);
    conv4("maml_maxpool_steps3", Pooling::Maxpool, fused);
}

#[test]
fn oracle_maml_maxpool_portable() {
    conv4("maml_maxpool_steps1", Pooling::Maxpool, portable);
    conv4("maml_maxpool_steps3", Pooling::Maxpool, portable);
}

#[test]
fn oracle_maml_strided_fused() {
    conv4("maml_strided_steps1", Pooling::Strided, fused);
    conv4("maml_strided_steps3", Pooling::Strided, fused);
}

#[test]
fn oracle_maml_strided_portable() {
    conv4("maml_strided_steps1", Pooling::Strided, portable);
    conv4("maml_strided_steps3", Pooling::Strided, portable);
}

/// The fixture calls the last layer `layer2`, the network calls it `head`; the order is the same.
fn sinusoid(build: Build) {
    let Some(fixture) = Fixture::open("maml_sinusoid_steps2") else { return };
    let network = build(Architecture::mlp([1, 1, 1], &[40, 40]).unwrap().with_head(1).unwrap());
    let mut layout = Layout::new();
    for entry in network.layout().entries() {
        layout.push(entry.name.replace("head", "layer2"), &entry.shape, Role::Weight);
    }
    let theta = fixture.params("params", &layout.into());
    let x = Array4::from_shape_vec((20, 1, 1, 1), fixture.f32("x")).unwrap();
    let y = Array2::from_shape_vec((20, 1), fixture.f32("y")).unwrap();
    let loss = |rows| Loss::Mse { targets: y.slice(s![rows, ..]).to_owned() };
    let [support_loss, query_loss] = [loss(0..10), loss(10..20)];
    let (support_x, query_x) = x.view().split_at(ndarray::Axis(0), 10);
    let rate: Params = rates(theta.layout(), fixture.metadata("inner_lr").parse().unwrap(), |_| true);
    let steps = fixture.metadata("inner_steps").parse().unwrap();
    let inner = InnerLoop { rates: &[rate], ..InnerLoop::new(network.as_ref(), steps) };
    let support = Objective { x: support_x, loss: &support_loss };
    let query = Objective { x: query_x, loss: &query_loss };
    let outer = inner.maml(&theta, support, query).unwrap();
    fixture.assert_close("query_loss", &[outer.loss], VALUE);
    fixture.assert_params_close("meta_grad", &outer.gradient, SECOND);
}

#[test]
fn oracle_maml_sinusoid_fused() {
    sinusoid(fused);
}

#[test]
fn oracle_maml_sinusoid_portable() {
    sinusoid(portable);
}
