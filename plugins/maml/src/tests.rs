//! Properties of the family on sinusoids and small networks.

use ndarray::Array2;

use super::*;
use kshot::backbone::Backbone;
use kshot::dataset::{FunctionTasks, Split};
use kshot::optimizer::{Optimizer, OptimizerKind};
use kshot::registry;
use ndarray::Array4;
use rand::Rng as _;

/// Lines y = a x + b: a family of tasks a small perceptron can adapt to.
struct Lines;

impl FunctionTasks for Lines {
    fn task(&self, seed: u64, split: Split, index: u64, support: usize, query: usize) -> Episode {
        let mut rng = stream(seed, &format!("lines/{}", split.name()), index);
        let (a, b) = (rng.random_range(-2.0..2.0f32), rng.random_range(-2.0..2.0f32));
        let mut points = |n| {
            let inputs = Array4::from_shape_simple_fn((n, 1, 1, 1), || rng.random_range(-2.0..2.0f32));
            let targets = Array2::from_shape_fn((n, 1), |(i, _)| a * inputs[[i, 0, 0, 0]] + b);
            Labelled::new(inputs, kshot::episode::Targets::Values(targets))
        };
        Episode { index, support: points(support), query: points(query), classes: Vec::new() }
    }
}

fn setup() -> Setup {
    let backbone = Backbone::of(&"hidden = [16]".parse().unwrap(), [1, 1, 1], Norm::Batch).unwrap();
    let problem = Problem::Regression;
    Setup { problem, backbone, base_classes: 0, ways: 1, shots: Count::fixed(10), queries: 10, seed: 1 }
}

fn build(name: &str, options: &str) -> Box<dyn Learner> {
    (registry::learner(name).unwrap().build)(&setup(), &options.parse().unwrap()).unwrap()
}

fn tasks(learner: &mut dyn Trainable) -> impl Fn(u64) -> Episode + use<> {
    let TaskSpec::Regression { shots, queries } = learner.learned().task else { panic!("a regression") };
    move |index| Lines.task(1, Split::Train, index, shots, queries)
}

/// Mean squared error on fresh tasks.
fn error(learner: &dyn Learner) -> f32 {
    let errors = (0..50).map(|index| {
        let task = Lines.task(1, Split::Test, index, 10, 10);
        let Prediction::Values(values) = learner.answer(&task.support, &task.query.examples).unwrap() else {
            panic!("values for a regression")
        };
        task.query.targets.loss().value(values.view()).unwrap()
    });
    errors.sum::<f32>() / 50.0
}

fn meta_train(learner: &mut dyn Trainable, steps: u64, kind: OptimizerKind, rate: f32) {
    let task = tasks(learner);
    let mut optimizer = Optimizer::new(kind, 0.0, 0.0, learner.learned().theta.layout());
    for step in 0..steps {
        let mut gradient = Params::zeros(learner.learned().theta.layout());
        for index in 0..4 {
            let outer = learner.outer_gradient(&task(4 * step + index)).unwrap();
            gradient.add_scaled(0.25, &outer.gradient).unwrap();
        }
        optimizer.update(&mut learner.learned().theta, &gradient, rate, step + 1);
    }
}

#[test]
fn meta_training_makes_every_method_adapt_better() {
    for (name, options) in [
        ("maml", "inner-rate = 0.1"),
        ("maml", "inner-rate = 0.1\ntrain-steps = 2\nstep-weights = [0.3, 0.7]"),
        ("fomaml", "inner-rate = 0.1"),
        ("maml", "inner-rate = 0.1\ntrain-steps = 2\nmsl-tasks = 400"),
        ("maml", "inner-rate = 0.1\ntrain-steps = 2\nlearned-rates = true\nfirst-order-tasks = 400"),
        ("fomaml", "inner-rate = 0.1\nlearned-rates = true"),
        ("anil", "inner-rate = 0.1"),
        ("boil", "inner-rate = 0.1"),
        ("meta-sgd", "inner-rate = 0.1"),
        ("reptile", "inner-rate = 0.05\ntrain-steps = 20\ntest-steps = 20"),
        ("imaml", "inner-rate = 0.05\nlambda = 0.5\ntrain-steps = 40\ntest-steps = 40"),
    ] {
        let mut learner = build(name, options);
        let before = error(learner.as_ref());
        let (kind, rate) =
            if name == "reptile" { (OptimizerKind::Sgd, 0.5) } else { (OptimizerKind::Adam, 0.01) };
        meta_train(learner.trainable().unwrap(), 300, kind, rate);
        let after = error(learner.as_ref());
        assert!(after < 0.5 * before, "{name} {options}: {before} before, {after} after");
    }
}

#[test]
fn a_step_lowers_the_support_loss_of_a_fresh_task_more_after_meta_training() {
    let options = kshot::options::read("`maml`", &"inner-rate = 0.1".parse().unwrap()).unwrap();
    let mut learner = Maml::new(&setup(), Method::Maml, options).unwrap();
    let fixed = [rates(learner.network.layout(), 0.1, |_| true)];
    let drop = |learner: &Maml| -> f32 {
        let drops = (0..20).map(|index| {
            let task = Lines.task(1, Split::Test, index, 10, 10);
            let loss = task.support.targets.loss();
            let support = Objective { x: task.support.inputs(), loss: &loss };
            let inner = InnerLoop { rates: &fixed, ..InnerLoop::new(learner.network.as_ref(), 1) };
            let mut theta = learner.learned.theta.clone();
            let before = inner.step(&mut theta, support).unwrap().loss;
            let after = learner.network.gradient(&theta, support.x, support.loss).unwrap().loss;
            (before - after) / before
        });
        drops.sum::<f32>() / 20.0
    };
    let before = drop(&learner);
    meta_train(&mut learner, 300, OptimizerKind::Adam, 0.01);
    let after = drop(&learner);
    assert!(after > before + 0.1, "{before} before, {after} after");
}

/// A small convolutional learner, and a task for it of three classes.
fn images(method: Method, options: &str, norm: Norm) -> (Maml, Episode) {
    let backbone = "width = 6\nblocks = 2\npooling = \"strided\"".parse().unwrap();
    let backbone = Backbone::of(&backbone, [1, 8, 8], norm).unwrap();
    let setup = Setup { problem: Problem::Classification, backbone, ways: 3, ..setup() };
    let options = kshot::options::read("`maml`", &options.parse().unwrap()).unwrap();
    let examples = |n: usize, seed: u64| {
        let mut rng = stream(seed, "images", 0);
        let inputs = Array4::from_shape_simple_fn((n, 1, 8, 8), || rng.random_range(0.0..1.0f32));
        Labelled::new(inputs, kshot::episode::Targets::Classes((0..n).map(|i| i % 3).collect()))
    };
    let episode = Episode { index: 0, support: examples(6, 1), query: examples(9, 2), classes: Vec::new() };
    (Maml::new(&setup, method, options).unwrap(), episode)
}

#[test]
fn anil_is_maml_without_rates_in_the_body() {
    for norm in [Norm::Batch, Norm::Running] {
        let (learner, episode) =
            images(Method::Anil, "train-steps = 3\nstep-weights = [0.0, 0.4, 0.6]", norm);
        let own = learner.outer_gradient(&episode).unwrap();
        let (support_loss, query_loss) = (episode.support.targets.loss(), episode.query.targets.loss());
        let support = Objective { x: episode.support.inputs(), loss: &support_loss };
        let query = Objective { x: episode.query.inputs(), loss: &query_loss };
        let head = [rates(learner.network.layout(), 0.4, |name| name.starts_with("head."))];
        let network = learner.network.as_ref();
        let inner =
            InnerLoop { rates: &head, step_weights: Some(&[0.0, 0.4, 0.6]), ..InnerLoop::new(network, 3) };
        let theta = &learner.learned.theta;
        let general = inner.maml(theta, support, query).unwrap();
        assert!((own.loss - general.loss).abs() < 1e-5, "{} {}", own.loss, general.loss);
        let largest = general.gradient.values().iter().fold(0.0_f32, |max, g| max.max(g.abs()));
        for (own, general) in own.gradient.values().iter().zip(general.gradient.values()) {
            assert!((own - general).abs() < 1e-4 * largest, "{norm:?}: {own} {general}");
        }
        let adapted = InnerLoop { step_weights: None, ..inner }.adapt(theta, support).unwrap();
        let expected = network.forward(&adapted, query.x).unwrap();
        let answer = learner.answer(&episode.support, &episode.query.examples).unwrap();
        let Prediction::Scores(scores) = answer else { panic!("scores for a classification") };
        assert!((&scores - &expected).iter().all(|d| d.abs() < 1e-4), "{norm:?}: {scores} {expected}");
    }
}

/// Along each tensor that is learned beside the network's weights.
#[test]
fn what_is_learned_beside_the_weights_has_its_derivative() {
    for (method, options) in [
        (Method::Maml, "train-steps = 2\nlearned-rates = true\nstep-norms = true"),
        (Method::Boil, "train-steps = 2\nstep-norms = true"),
        (Method::MetaSgd, "train-steps = 2"),
    ] {
        let (mut learner, episode) = images(method, &format!("inner-rate = 0.05\n{options}"), Norm::Batch);
        let gradient = learner.outer_gradient(&episode).unwrap().gradient;
        let layout = gradient.layout().clone();
        let beside = layout.entries().iter().skip(learner.network.layout().entries().len());
        let mut slopes = 0;
        for entry in beside {
            let start = learner.learned.theta.clone();
            let mut moved = |by: f32| {
                learner.learned.theta = start.clone();
                let own = learner.learned.theta.values_mut()[entry.range.clone()].iter_mut();
                own.enumerate().for_each(|(i, w)| *w += by * (1.0 + (i as f32).sin()));
                learner.outer_gradient(&episode).unwrap().loss
            };
            let difference = (moved(4e-3) - moved(-4e-3)) / 8e-3;
            learner.learned.theta = start.clone();
            let own = gradient.values()[entry.range.clone()].iter().enumerate();
            let exact: f32 = own.map(|(i, g)| g * (1.0 + (i as f32).sin())).sum();
            assert!(
                (difference - exact).abs() < 0.05 * exact.abs() + 1e-3,
                "{}: {difference} {exact}",
                entry.name
            );
            slopes += usize::from(exact.abs() > 1e-3);
        }
        assert!(slopes > 1, "{options}: only {slopes} tensors matter");
    }
}

#[test]
fn the_multi_step_loss_ends_at_the_last_step() {
    let options = MamlOptions { msl_tasks: Some(100), ..MamlOptions::default() };
    let options = MamlOptions { inner: InnerOptions { train_steps: 4, ..options.inner }, ..options };
    assert_eq!(options.weights(0).unwrap(), [0.25; 4]);
    let middle = options.weights(50).unwrap();
    assert!(
        middle[..3].iter().all(|w| (w - 0.125).abs() < 1e-6)
            && (middle.iter().sum::<f32>() - 1.0).abs() < 1e-6
    );
    assert_eq!(options.weights(100), options.weights(9000));
    assert!(options.weights(100).unwrap()[3] > 0.97);
}

#[test]
fn no_test_step_leaves_the_weights_as_they_are() {
    let learner = build("maml", "test-steps = 0");
    let task = Lines.task(1, Split::Test, 0, 10, 10);
    let other = Lines.task(1, Split::Test, 1, 10, 10);
    let predict = |support: &Labelled| learner.answer(support, &task.query.examples).unwrap();
    assert_eq!(predict(&task.support), predict(&other.support));
}

#[test]
fn the_learned_rates_of_meta_sgd_are_part_of_its_weights() {
    let mut learner = build("meta-sgd", "inner-rate = 0.1");
    let rates = |learner: &mut dyn Learner| {
        let params = &learner.trainable().unwrap().learned().theta;
        params.tensor("alpha/layer0.weight").map(<[f32]>::to_vec)
    };
    let before = rates(learner.as_mut());
    assert!(before.is_some());
    meta_train(learner.trainable().unwrap(), 5, OptimizerKind::Adam, 0.01);
    assert_ne!(before, rates(learner.as_mut()));
}

#[test]
fn options_that_are_not_set_are_the_learners_own() {
    let given = "train-shots = 3".parse().unwrap();
    let config: ReptileOptions = kshot::options::read("`reptile`", &given).unwrap();
    let (method, config) = config.method(Problem::Regression);
    assert!(matches!(method, Method::Reptile { shots: 3, optimizer: InnerOptimizer::Sgd, .. }));
    assert_eq!((config.inner.train_steps, config.inner.test_steps), (10, 5));
    let (method, config) = ReptileOptions::default().method(Problem::Classification);
    assert!(matches!(method, Method::Reptile { shots: 10, batch: 10, optimizer: InnerOptimizer::Adam }));
    assert_eq!((config.inner.train_steps, config.inner.test_steps), (5, 10));
    assert_ne!(config.inner.train_steps, InnerOptions::default().train_steps);
}

/// What Adam gathers on a task goes into θ as running statistics do, and to the next.
#[test]
fn reptile_hands_the_second_moment_of_adam_on() {
    let options: ReptileOptions =
        kshot::options::read("`reptile`", &"inner-optimizer = 'adam'".parse().unwrap()).unwrap();
    let (method, options) = options.method(Problem::Regression);
    let steps = options.inner.train_steps as i32;
    let mut learner = Maml::new(&setup(), method, options).unwrap();
    let tensor = |learner: &Maml, name: &str| learner.learned.theta.tensor(name).unwrap().to_vec();
    assert_eq!(tensor(&learner, "adam/ones"), [0.0]);
    let outer = learner.outer_gradient(&Lines.task(1, Split::Train, 0, 10, 0)).unwrap();
    learner.learned.theta.fold_statistics(&outer.gradient).unwrap();
    let gathered = 1.0 - 0.999f32.powi(steps);
    assert!((tensor(&learner, "adam/ones")[0] / gathered - 0.1).abs() < 1e-3);
    assert!(tensor(&learner, "adam/layer0.weight").iter().any(|square| *square > 0.0));
    // A task that is evaluated starts from there too.
    let after = learner.parts().unwrap().moment.unwrap();
    assert!(after.ones > 0.0 && after.squares.values().iter().any(|square| *square > 0.0));
}

/// As descending along each drawn minibatch in turn, by hand.
#[test]
fn reptile_steps_on_minibatches_drawn_for_each_episode() {
    let options: ReptileOptions = kshot::options::read(
        "`reptile`",
        &"inner-batch = 4\ntrain-steps = 6\ninner-rate = 0.05".parse().unwrap(),
    )
    .unwrap();
    let (method, options) = options.method(Problem::Regression);
    let learner = Maml::new(&setup(), method, options).unwrap();
    let task = Lines.task(1, Split::Train, 3, 10, 0);
    let batches = learner.batches(&task.support, 3);
    let points = |batch: &Labelled| batch.inputs().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert!(batches.iter().all(|batch| batch.len() == 4));
    // 24 draws are two passes over ten points and a part of a third.
    let drawn: Vec<u32> = batches.iter().flat_map(|batch| points(batch)).collect();
    for point in points(&task.support) {
        assert!((2..=3).contains(&drawn.iter().filter(|&&other| other == point).count()));
    }
    assert_ne!(drawn, learner.batches(&task.support, 4).iter().flat_map(|b| points(b)).collect::<Vec<_>>());

    let mut theta = learner.learned.theta.clone();
    for batch in &batches {
        let loss = batch.targets.loss();
        let gradient = learner.network.gradient(&theta, batch.inputs(), &loss).unwrap().gradient;
        theta.add_scaled(-0.05, &gradient).unwrap();
    }
    let outer = learner.outer_gradient(&task).unwrap().gradient;
    let start = learner.learned.theta.values();
    for ((outer, start), end) in outer.values().iter().zip(start).zip(theta.values()) {
        assert!((outer - (start - end)).abs() < 1e-5, "{outer} {}", start - end);
    }
}

#[test]
fn a_minibatch_is_never_larger_than_the_support() {
    let gradient = |batch: &str| {
        let mut learner = build("reptile", &format!("inner-batch = {batch}"));
        learner.trainable().unwrap().outer_gradient(&Lines.task(1, Split::Train, 0, 3, 0)).unwrap().gradient
    };
    assert_eq!(gradient("3"), gradient("1000"));
    assert_ne!(gradient("3"), gradient("2"));
}

#[test]
fn imaml_says_how_many_iterations_it_took_and_adapts_functions_with_its_own_settings() {
    let mut learner = build("imaml", "");
    let episode = tasks(learner.trainable().unwrap())(0);
    let outer = learner.trainable().unwrap().outer_gradient(&episode).unwrap();
    let taken = outer.metrics.iter().find(|(name, _)| *name == "cg_iterations").unwrap().1;
    assert!((1.0..=5.0).contains(&taken), "{taken}");
    let before = error(learner.as_ref());
    meta_train(learner.trainable().unwrap(), 300, OptimizerKind::Adam, 0.01);
    let after = error(learner.as_ref());
    assert!(after < 0.8 * before, "{before} before, {after} after");
}

#[test]
fn options_that_make_no_sense_are_refused_by_name() {
    for (name, options, key) in [
        ("maml", "inner-rate = -1.0", "inner-rate"),
        ("maml", "step-weights = [1.0, 1.0]", "step-weights"),
        ("maml", "step-weights = [0.0]", "step-weights"),
        ("maml", "inner-stpes = 3", "inner-stpes"),
        ("maml", "step-norms = true", "step-norms"),
        ("maml", "step-weights = [1.0]\nmsl-tasks = 9", "msl-tasks"),
        ("anil", "learned-rates = true", "learned-rates"),
        ("meta-sgd", "first-order-tasks = 9", "first-order-tasks"),
        ("reptile", "train-shots = 0", "train-shots"),
        ("reptile", "train-steps = 0", "train-steps"),
        ("reptile", "inner-batch = 0", "inner-batch"),
        ("imaml", "cg-damping = -1.0", "cg-damping"),
        ("imaml", "train-steps = 0", "train-steps"),
        ("imaml", "lambda = 0.0", "lambda"),
    ] {
        let entry = registry::learner(name).unwrap();
        let error = (entry.build)(&setup(), &options.parse().unwrap()).err().unwrap().to_string();
        assert!(error.contains(&format!("`{key}`")) && error.contains(name), "{error}");
    }
}
