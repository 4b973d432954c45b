//! The rows of `kshot perf`: what is timed, at which sizes.

use kshot::backbone::Backbone;
use kshot::episode::Count;
use kshot::nn::{Architecture, Norm};
use kshot::registry::{Problem, Setup};
use kshot::train::TrainConfig;
use serde_json::{Map, Value, json};

use super::count::{Pass, multiply_adds};

/// One row.
pub(super) struct Row {
    pub(super) bench: &'static str,
    /// Its settings, as fields of its line.
    pub(super) fields: Map<String, Value>,
    pub(super) work: Work,
}

/// What is timed.
pub(super) enum Work {
    /// Training steps of the engine: sampling, gradients, the optimizer.
    Train {
        learner: &'static str,
        options: toml::Table,
        setup: Setup,
        config: TrainConfig,
        multiply_adds: f64,
    },
    /// Sampling an episode and answering its queries.
    Evaluate { learner: &'static str, options: toml::Table, setup: Setup, multiply_adds: f64 },
    /// Embedding this many images of the backbone's shape.
    Embed { backbone: Backbone, images: usize, multiply_adds: f64 },
    /// Adapting a source to a target of as many examples, the kernel included, and classifying the target.
    Adapt { learner: &'static str, options: toml::Table, examples: usize, features: usize },
    /// Sampling this many episodes, 5-way 1-shot 15 queries, on one thread.
    Sample { episodes: u64 },
    /// Sampling one episode of colour images, 5-way 1-shot 15 queries, with what `standard` varies.
    Augment { side: usize },
    /// The 64→64 convolution at 14×14 of this many images.
    Convolution { images: usize },
    /// Multiply-adds in registers, on every thread.
    MultiplyAdd,
}

impl Work {
    /// Whether one repetition takes seconds.
    pub(super) fn is_heavy(&self) -> bool {
        match self {
            Self::Train { multiply_adds, .. }
            | Self::Evaluate { multiply_adds, .. }
            | Self::Embed { multiply_adds, .. } => *multiply_adds > 5e10,
            _ => false,
        }
    }
}

impl Row {
    /// The learner it needs.
    pub(super) fn learner(&self) -> Option<&'static str> {
        match &self.work {
            Work::Train { learner, .. } | Work::Evaluate { learner, .. } | Work::Adapt { learner, .. } => {
                Some(learner)
            }
            _ => None,
        }
    }
}

/// Queries of each class, in all rows that have some.
const QUERIES: usize = 15;

/// All rows, in order.
pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![row("fma_peak", json!({}), Work::MultiplyAdd)];
    rows.push(row("conv_peak", json!({ "images": 80 }), Work::Convolution { images: 80 }));
    for (ways, shots) in [(5, 1), (20, 5)] {
        let images = ways * (shots + QUERIES);
        let setup = images_setup(ways, shots, Norm::Running, "maxpool");
        let fields = || json!({ "ways": ways, "shots": shots, "query": QUERIES });
        let options = format!("train-ways = {ways}\ntrain-queries = {QUERIES}");
        let work = |pass| multiply_adds(&architecture(&setup.backbone, None), pass, images);
        rows.push(train("proto_train", fields(), "prototypical", &options, &setup, 1, work(Pass::Gradient)));
        let work = Work::Evaluate {
            learner: "prototypical",
            options: table(&options),
            multiply_adds: work(Pass::Forward),
            setup,
        };
        rows.push(row("proto_eval", fields(), work));
    }
    for strided in [false, true] {
        for inner in [1, 5] {
            rows.extend([true, false].map(|second| maml(strided, inner, second)));
        }
    }
    // Beyond the comparison with others: memory must not grow with the steps.
    rows.push(maml(false, 50, true));
    let setup = images_setup(5, 1, Norm::Running, "maxpool");
    let triplet = "classes = 16\nper-class = 4\nmargin = 0.2\nmining = \"batch-hard\"\nnormalise = true";
    let siamese = "loss = \"contrastive\"\nclasses = 32\nper-class = 4";
    for (bench, fields, learner, options, images) in [
        ("triplet_batch_hard", json!({ "images": 64 }), "triplet", triplet, 64),
        ("siamese_contrastive", json!({ "pairs": 64 }), "siamese", siamese, 128),
    ] {
        let gradient = multiply_adds(&architecture(&setup.backbone, None), Pass::Gradient, images);
        rows.push(train(bench, fields, learner, options, &setup, 1, gradient));
    }
    rows.push(sinusoid());
    rows.extend(larger());
    for (examples, landmarks) in [(500, None), (2000, None), (4000, None), (100_000, Some(500))] {
        let fields = json!({
            "n": examples, "d": 800, "kernel": "rbf", "components": 30, "landmarks": landmarks,
        });
        let landmarks = landmarks.map_or(String::new(), |count| format!("landmarks = {count}"));
        let options = table(&format!("kernel = \"rbf\"\ncomponents = 30\n{landmarks}"));
        rows.push(row("tca", fields, Work::Adapt { learner: "tca", options, examples, features: 800 }));
    }
    rows.push(row(
        "sample",
        json!({ "episodes": 100, "ways": 5, "shots": 1, "query": QUERIES }),
        Work::Sample { episodes: 100 },
    ));
    rows.push(row(
        "augment",
        json!({ "ways": 5, "shots": 1, "query": QUERIES, "side": 84 }),
        Work::Augment { side: 84 },
    ));
    rows
}

/// Colour images, residual networks, signals.
fn larger() -> Vec<Row> {
    let mut rows = Vec::new();
    let images = 5 * (1 + QUERIES);
    for (bench, input, kind) in [
        ("conv4_84", [3, 84, 84], "conv4"),
        ("resnet12_84", [3, 84, 84], "resnet12"),
        ("conv1d", [1, 1, 1024], "conv1d"),
    ] {
        let backbone = backbone(input, Norm::Running, &format!("kind = \"{kind}\""));
        let setup = Setup { backbone, ..images_setup(5, 1, Norm::Running, "maxpool") };
        let options = format!("train-ways = 5\ntrain-queries = {QUERIES}");
        let work = |pass| multiply_adds(&architecture(&setup.backbone, None), pass, images);
        let (gradient, multiply_adds) = (work(Pass::Gradient), work(Pass::Forward));
        let fields = |pass| json!({ "pass": pass, "ways": 5, "shots": 1, "query": QUERIES });
        rows.push(train(bench, fields("train"), "prototypical", &options, &setup, 1, gradient));
        let work = Work::Evaluate { learner: "prototypical", options: table(&options), setup, multiply_adds };
        rows.push(row(bench, fields("eval"), work));
    }
    for inner in [1, 5] {
        let options = "kind = \"resnet12\"\nwidths = [32, 64, 128, 256]";
        let backbone = backbone([3, 42, 42], Norm::Batch, options);
        let setup = Setup { backbone, ..images_setup(5, 1, Norm::Batch, "maxpool") };
        let multiply_adds = maml_multiply_adds(&setup, inner, true);
        let fields = json!({ "inner": inner, "query": QUERIES, "second": true, "tasks": 1 });
        let options = format!("inner-rate = 0.01\ntrain-steps = {inner}");
        rows.push(train("maml_resnet12", fields, "maml", &options, &setup, 1, multiply_adds));
    }
    let backbone = backbone([3, 224, 224], Norm::Running, "kind = \"resnet18\"");
    let multiply_adds = multiply_adds(&architecture(&backbone, None), Pass::Forward, BATCH);
    let work = Work::Embed { backbone, images: BATCH, multiply_adds };
    rows.push(row("resnet18_224", json!({ "images": BATCH }), work));
    rows
}

/// Images that are embedded at once.
const BATCH: usize = 16;

/// Of one task: support gradients, Hessian-vector products if wanted, the queries' gradient.
fn maml_multiply_adds(setup: &Setup, inner: usize, second: bool) -> f64 {
    let network = architecture(&setup.backbone, Some(5));
    let product = if second { multiply_adds(&network, Pass::Product, 5) } else { 0.0 };
    inner as f64 * (multiply_adds(&network, Pass::Gradient, 5) + product)
        + multiply_adds(&network, Pass::Gradient, 5 * QUERIES)
}

/// Four tasks, inner rate 0.4.
fn maml(strided: bool, inner: usize, second: bool) -> Row {
    const TASKS: u64 = 4;
    let setup = images_setup(5, 1, Norm::Batch, if strided { "strided" } else { "maxpool" });
    let task = maml_multiply_adds(&setup, inner, second);
    let fields = json!({
        "strided": strided, "inner": inner, "query": QUERIES, "second": second, "tasks": TASKS, "inner_rate": 0.4,
    });
    let options = format!("inner-rate = 0.4\ntrain-steps = {inner}");
    let learner = if second { "maml" } else { "fomaml" };
    train("maml", fields, learner, &options, &setup, TASKS, TASKS as f64 * task)
}

/// 25 tasks of 10 + 10 points, one second-order step.
fn sinusoid() -> Row {
    const TASKS: u64 = 25;
    let backbone = backbone([1, 1, 1], Norm::Batch, "");
    let network = architecture(&backbone, Some(1));
    let setup = Setup {
        problem: Problem::Regression,
        backbone,
        base_classes: 0,
        ways: 1,
        shots: Count::fixed(10),
        queries: 10,
        seed: 0,
    };
    let task = 2.0 * multiply_adds(&network, Pass::Gradient, 10) + multiply_adds(&network, Pass::Product, 10);
    let fields = json!({ "tasks": TASKS, "shots": 10, "query": 10, "inner": 1, "second": true });
    train("sinusoid_maml", fields, "maml", "inner-rate = 0.01\ntrain-steps = 1", &setup, TASKS, 25.0 * task)
}

fn row(bench: &'static str, fields: Value, work: Work) -> Row {
    let Value::Object(fields) = fields else { unreachable!("fields are an object") };
    Row { bench, fields, work }
}

fn train(
    bench: &'static str,
    fields: Value,
    learner: &'static str,
    options: &str,
    setup: &Setup,
    meta_batch: u64,
    multiply_adds: f64,
) -> Row {
    let config = TrainConfig { meta_batch, validation_episodes: 0, ..TrainConfig::default() };
    let options = table(options);
    row(bench, fields, Work::Train { learner, options, setup: setup.clone(), config, multiply_adds })
}

fn table(options: &str) -> toml::Table {
    options.parse().expect("the options of a row are TOML")
}

fn images_setup(ways: usize, shots: usize, norm: Norm, pooling: &str) -> Setup {
    Setup {
        problem: Problem::Classification,
        backbone: backbone([1, 28, 28], norm, &format!("pooling = \"{pooling}\"")),
        base_classes: 100,
        ways,
        shots: Count::fixed(shots),
        queries: QUERIES,
        seed: 0,
    }
}

/// The default backbone for inputs of this shape, with some options.
pub(super) fn backbone(input: [usize; 3], norm: Norm, options: &str) -> Backbone {
    Backbone::of(&table(options), input, norm).expect("a backbone for this input")
}

fn architecture(backbone: &Backbone, head: Option<usize>) -> Architecture {
    let body = backbone.architecture().expect("it fits the input");
    match head {
        Some(outputs) => body.with_head(outputs).expect("it has no head yet"),
        None => body,
    }
}
