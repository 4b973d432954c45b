use ndarray::{Array4, ArrayView4};
use rand::Rng as _;

use super::*;
use crate::nn::{Architecture, Fused, Norm, Pooling};
use crate::rng::stream;

/// A network, its weights, and a task of 5 classes: support and query inputs with their losses.
struct Task {
    network: Fused,
    theta: Params,
    x: [Array4<f32>; 2],
    loss: [Loss; 2],
}

impl Task {
    fn new(norm: Norm) -> Self {
        Self::of(Architecture::conv([1, 12, 12], 2, 8, Pooling::Strided, norm).unwrap().with_head(5).unwrap())
    }

    fn of(architecture: Architecture) -> Self {
        let network = Fused::new(architecture).unwrap();
        let theta = network.init(&mut stream(1, "init", 0));
        let mut rng = stream(1, "task", 0);
        let x = [10, 15].map(|n| Array4::from_shape_fn((n, 1, 12, 12), |_| rng.random_range(0.0..1.0)));
        let loss = [10, 15].map(|n| Loss::CrossEntropy { labels: (0..n).map(|i| i % 5).collect() });
        Self { network, theta, x, loss }
    }

    fn objective(&self, set: usize) -> Objective<'_> {
        Objective { x: self.x[set].view(), loss: &self.loss[set] }
    }

    fn support(&self) -> Objective<'_> {
        self.objective(0)
    }

    fn query(&self) -> Objective<'_> {
        self.objective(1)
    }

    fn inner<'a>(&'a self, rate: &'a Params, steps: usize) -> InnerLoop<'a> {
        InnerLoop { rates: std::slice::from_ref(rate), ..InnerLoop::new(&self.network, steps) }
    }

    fn rate(&self, rate: f32) -> Params {
        rates(self.theta.layout(), rate, |_| true)
    }

    fn statistics(&self, params: &Params) -> Vec<f32> {
        let places = params.layout().ranges(Role::Statistic).flatten();
        places.map(|at| params.values()[at]).collect()
    }

    /// What a training pass over `x` says of its batch.
    fn batch_statistics(&self, theta: &Params, x: ArrayView4<'_, f32>, loss: &Loss) -> Vec<f32> {
        self.statistics(&self.network.gradient(theta, x, loss).unwrap().gradient)
    }
}

/// ‖a − b‖ / ‖b‖ over learned weights.
fn distance(a: &Params, b: &Params) -> f64 {
    let places = || a.layout().ranges(Role::Weight).flatten();
    let squares = |value: &dyn Fn(usize) -> f32| places().map(|at| f64::from(value(at)).powi(2)).sum::<f64>();
    (squares(&|at| a.values()[at] - b.values()[at]) / squares(&|at| b.values()[at])).sqrt()
}

#[test]
fn inner_steps_lower_the_support_loss() {
    let task = Task::new(Norm::Batch);
    let rate = task.rate(0.1);
    let inner = task.inner(&rate, 5);
    let mut theta = task.theta.clone();
    let losses: Vec<f32> = (0..5).map(|_| inner.step(&mut theta, task.support()).unwrap().loss).collect();
    assert!(losses.is_sorted_by(|before, after| before > after), "{losses:?}");
    assert_eq!(inner.adapt(&task.theta, task.support()).unwrap(), theta);
}

#[test]
fn without_adaptation_the_meta_gradient_is_the_query_gradient() {
    let task = Task::new(Norm::Running);
    let query = task.query();
    let plain = task.network.gradient(&task.theta, query.x, query.loss).unwrap();
    let (some, none) = (task.rate(0.1), task.rate(0.0));
    for inner in [task.inner(&some, 0), task.inner(&none, 3)] {
        for outer in [
            inner.maml(&task.theta, task.support(), query).unwrap(),
            inner.fomaml(&task.theta, task.support(), query).unwrap(),
            inner.meta_sgd(&task.theta, task.support(), query).unwrap().0,
        ] {
            assert_eq!((outer.loss, &outer.outputs), (plain.loss, &plain.outputs));
            assert_eq!(outer.gradient, plain.gradient);
        }
    }
}

/// The multi-step loss is a weighted sum of losses after fewer steps, and so is its gradient.
#[test]
fn step_weights_sum_the_losses_after_each_step() {
    let task = Task::new(Norm::Batch);
    let rate = task.rate(0.1);
    let weights = [0.2, 0.0, 0.5, 0.3];
    type Method = fn(&InnerLoop<'_>, &Task) -> Result<MetaGradient>;
    let methods: [Method; 3] = [
        |inner, task| inner.maml(&task.theta, task.support(), task.query()),
        |inner, task| inner.fomaml(&task.theta, task.support(), task.query()),
        |inner, task| Ok(inner.meta_sgd(&task.theta, task.support(), task.query())?.0),
    ];
    for method in methods {
        let inner = InnerLoop { step_weights: Some(&weights), ..task.inner(&rate, 4) };
        let outer = method(&inner, &task).unwrap();
        let (mut loss, mut gradient) = (0.0, Params::zeros(task.theta.layout()));
        for (steps, weight) in (1..).zip(weights) {
            let shorter = task.inner(&rate, steps);
            let shorter = method(&shorter, &task).unwrap();
            loss += weight * shorter.loss;
            gradient.add_scaled(weight, &shorter.gradient).unwrap();
        }
        assert!((outer.loss - loss).abs() < 1e-5);
        assert!(distance(&outer.gradient, &gradient) < 1e-4);
    }
}

/// Beyond a number of steps not every one is kept; those taken again are the same bits, and so is what follows.
#[test]
fn the_recursion_is_the_same_whether_steps_are_kept_or_taken_again() {
    let task = Task::new(Norm::Batch);
    let rate = task.rate(0.05);
    for steps in [16, 17, 30] {
        let mut path = vec![task.theta.clone()];
        for _ in 0..steps {
            let mut next = path[path.len() - 1].clone();
            task.inner(&rate, 1).step(&mut next, task.support()).unwrap();
            path.push(next);
        }
        let mut outer = task.inner(&rate, 0).maml(&path[steps], task.support(), task.query()).unwrap();
        for theta_k in path[..steps].iter().rev() {
            let Objective { x, loss } = task.support();
            let at = task.network.at(theta_k, x, loss).unwrap();
            task.inner(&rate, 1).pull_back(0, at.as_ref(), &mut outer.gradient).unwrap();
        }
        let inner = task.inner(&rate, steps);
        let maml = inner.maml(&task.theta, task.support(), task.query()).unwrap();
        assert_eq!((maml.loss, &maml.gradient), (outer.loss, &outer.gradient));
        let (meta_sgd, _) = inner.meta_sgd(&task.theta, task.support(), task.query()).unwrap();
        assert_eq!(meta_sgd.gradient, outer.gradient);
    }
}

#[test]
fn the_rate_gradient_is_a_derivative() {
    // Without kinks, so that differences are derivatives.
    let task = Task::of(Architecture::mlp([1, 12, 12], &[]).unwrap().with_head(5).unwrap());
    let loss = |rate: f32| {
        let rate = task.rate(rate);
        let adapted = task.inner(&rate, 2).adapt(&task.theta, task.support()).unwrap();
        task.network.gradient(&adapted, task.query().x, task.query().loss).unwrap().loss
    };
    let rate = task.rate(0.05);
    let inner = task.inner(&rate, 2);
    let (outer, d_rate) = inner.meta_sgd(&task.theta, task.support(), task.query()).unwrap();
    let maml = inner.maml(&task.theta, task.support(), task.query()).unwrap();
    assert_eq!(outer.gradient, maml.gradient);
    let derivative = d_rate.rates[0].values().iter().sum::<f32>();
    let difference = (loss(0.051) - loss(0.049)) / 0.002;
    assert!((derivative / difference - 1.0).abs() < 5e-3, "{derivative} {difference}");
}

/// Rates of single steps, and values that single steps have of their own, without kinks.
#[test]
fn what_belongs_to_single_steps_has_its_derivative() {
    let task = Task::of(Architecture::mlp([1, 12, 12], &[]).unwrap().with_head(5).unwrap());
    let mut layout = Layout::new();
    layout.push("head.bias", &[5], Role::Weight);
    let layout = Arc::new(layout);
    let adapts = |rate: f32| rates(task.theta.layout(), rate, |name| name != "head.bias");
    let bias = |shift: f32| {
        Params::from_values(&layout, (0..5).map(|i| (i as f32 + shift).sin()).collect()).unwrap()
    };
    // Three steps: the last rate and the last values serve two of them.
    let through = |rates: &[Params], own: &[Params]| {
        let inner = InnerLoop { rates, own, ..InnerLoop::new(&task.network, 3) };
        inner.through(&task.theta, task.support(), task.query(), Order::Second, true).unwrap()
    };
    let loss = |[a, b, c, d]: [f32; 4]| through(&[adapts(a), adapts(b)], &[bias(c), bias(d)]).0.loss;
    let at = [0.05, 0.1, 0.3, 0.9];
    let (_, steps) = through(&[adapts(at[0]), adapts(at[1])], &[bias(at[2]), bias(at[3])]);
    let of_own = |own: &Params, shift: f32| -> f32 {
        own.values().iter().enumerate().map(|(i, g)| g * (i as f32 + shift).cos()).sum()
    };
    let of_rate = |rate: &Params| -> f32 {
        let weights = task.theta.layout().get("head.weight").unwrap().range.clone();
        rate.values()[weights].iter().sum()
    };
    let exact = [
        of_rate(&steps.rates[0]),
        of_rate(&steps.rates[1]),
        of_own(&steps.own[0], at[2]),
        of_own(&steps.own[1], at[3]),
    ];
    for (place, exact) in exact.into_iter().enumerate() {
        let moved = |by: f32| {
            let mut at = at;
            at[place] += by;
            loss(at)
        };
        let difference = (moved(2e-3) - moved(-2e-3)) / 4e-3;
        assert!((difference - exact).abs() < 0.01 * exact.abs() + 2e-4, "{place}: {difference} {exact}");
    }
}

/// ANIL by the head alone is MAML with rates of 0 outside of it, and the same derivative in the features.
#[test]
fn a_loop_of_the_head_is_the_recursion_on_its_inputs() {
    let features = Architecture::mlp([3, 1, 1], &[]).unwrap().with_head(4).unwrap();
    let network = Fused::new(features).unwrap();
    let theta = network.init(&mut stream(3, "init", 0));
    let z = |n: usize, shift: f32| {
        Array4::from_shape_fn((n, 3, 1, 1), |(i, j, ..)| ((3 * i + j) as f32 * 1.3 + shift).sin() * 2.0)
    };
    let (support, query) = (z(8, 0.0), z(6, 0.5));
    let labels = |n: usize| Loss::CrossEntropy { labels: (0..n).map(|i| i % 4).collect() };
    let (support_loss, query_loss) = (labels(8), labels(6));
    let rate = [rates(theta.layout(), 0.4, |_| true)];
    let weights = [0.2_f32, 0.3, 0.5];
    for step_weights in [None, Some(&weights[..])] {
        let inner = InnerLoop { rates: &rate, step_weights, ..InnerLoop::new(&network, 3) };
        let objective = |x, loss| Objective { x, loss };
        let outer = inner
            .maml(&theta, objective(support.view(), &support_loss), objective(query.view(), &query_loss))
            .unwrap();
        let head = HeadLoop { rate: 0.4, steps: 3, step_weights };
        let flat = |z: &Array4<f32>| z.clone().into_shape_with_order((z.dim().0, 3)).unwrap();
        let start = HeadLoop::head_of(&theta).unwrap();
        let at = |support: &Array2<f32>, query: &Array2<f32>| {
            head.gradient(&start, (support.view(), &support_loss), (query.view(), &query_loss)).unwrap()
        };
        let (support, query) = (flat(&support), flat(&query));
        let own = at(&support, &query);
        assert!((own.loss - outer.loss).abs() < 1e-6);
        let mut gradient = Params::zeros(theta.layout());
        HeadLoop::put_head(&mut gradient, &own.head);
        assert!(distance(&gradient, &outer.gradient) < 1e-5);
        for (which, exact) in [&own.support, &own.query].into_iter().enumerate() {
            for place in [[0, 0], [3, 2], [5, 1]] {
                let moved = |by: f32| {
                    let mut sets = [support.clone(), query.clone()];
                    sets[which][place] += by;
                    at(&sets[0], &sets[1]).loss
                };
                let difference = (moved(5e-3) - moved(-5e-3)) / 1e-2;
                assert!(
                    (difference - exact[place]).abs() < 3e-4,
                    "{which} {place:?}: {difference} {}",
                    exact[place]
                );
            }
        }
    }
}

/// Running statistics stay as they are within a task; the engine is told those of the last batch.
#[test]
fn statistics_are_those_of_the_last_batch() {
    let task = Task::new(Norm::Running);
    let rate = task.rate(0.1);
    let inner = task.inner(&rate, 2);
    let adapted = inner.adapt(&task.theta, task.support()).unwrap();
    assert_eq!(task.statistics(&adapted), task.statistics(&task.theta));

    let of_query = task.batch_statistics(&adapted, task.x[1].view(), &task.loss[1]);
    for outer in [
        inner.maml(&task.theta, task.support(), task.query()).unwrap(),
        inner.fomaml(&task.theta, task.support(), task.query()).unwrap(),
        inner.meta_sgd(&task.theta, task.support(), task.query()).unwrap().0,
    ] {
        assert_eq!(task.statistics(&outer.gradient), of_query);
    }

    let once = task.inner(&rate, 1).adapt(&task.theta, task.support()).unwrap();
    let of_support = task.batch_statistics(&once, task.x[0].view(), &task.loss[0]);
    let reptile = inner.reptile(&task.theta, task.support()).unwrap();
    assert_eq!(task.statistics(&reptile.gradient), of_support);
}

#[test]
fn what_does_not_fit_is_refused() {
    let task = Task::new(Norm::Batch);
    let rate = task.rate(0.1);
    let message = |result: Result<MetaGradient>| result.unwrap_err().to_string();
    assert!(message(task.inner(&rate, 0).reptile(&task.theta, task.support())).contains("at least one"));
    let inner = InnerLoop { step_weights: Some(&[1.0]), ..task.inner(&rate, 2) };
    assert!(message(inner.maml(&task.theta, task.support(), task.query())).contains("takes 2 steps"));
    let none = Params::zeros(&Arc::default());
    let inner = task.inner(&none, 1);
    assert!(
        message(inner.fomaml(&task.theta, task.support(), task.query())).contains("learning rates for 0")
    );
}

/// On a convex problem solved to its optimum, the implicit gradient is the derivative of the query loss there.
#[test]
fn the_implicit_gradient_is_that_of_the_proximal_optimum() {
    let task = Task::of(Architecture::mlp([1, 12, 12], &[]).unwrap().with_head(5).unwrap());
    let rate = task.rate(0.05);
    let inner = InnerLoop { proximal: Some(Proximal { lambda: 0.5 }), ..task.inner(&rate, 400) };
    let outer = inner.imaml(&task.theta, task.support(), task.query(), 30).unwrap();
    let query = task.query();
    let judged = |theta: &Params| {
        let adapted = inner.adapt(theta, task.support()).unwrap();
        f64::from(task.network.gradient(&adapted, query.x, query.loss).unwrap().loss)
    };
    let mut rng = stream(1, "direction", 0);
    for _ in 0..3 {
        let mut direction = Params::zeros(task.theta.layout());
        direction.values_mut().fill_with(|| rng.random_range(-1.0..1.0));
        let shifted = |by: f32| {
            let mut theta = task.theta.clone();
            theta.add_scaled(by, &direction).unwrap();
            judged(&theta)
        };
        let difference = (shifted(0.02) - shifted(-0.02)) / 0.04;
        let products = outer.gradient.values().iter().zip(direction.values());
        let derivative: f64 = products.map(|(g, u)| f64::from(*g) * f64::from(*u)).sum();
        assert!(
            (difference - derivative).abs() < 0.01 * derivative.abs().max(0.1),
            "{difference} {derivative}"
        );
    }
}

#[test]
fn a_proximal_term_that_holds_everything_leaves_the_query_gradient() {
    let task = Task::new(Norm::Batch);
    let rate = task.rate(1e-7);
    let inner = InnerLoop { proximal: Some(Proximal { lambda: 1e6 }), ..task.inner(&rate, 3) };
    let outer = inner.imaml(&task.theta, task.support(), task.query(), 5).unwrap();
    let query = task.query();
    let plain = task.network.gradient(&task.theta, query.x, query.loss).unwrap();
    assert!(distance(&outer.gradient, &plain.gradient) < 1e-3);
}

/// Away from a minimum the Hessian of a network is not positive: the exact system ends early and says so, the damped one is
/// solved.
#[test]
fn damping_lets_conjugate_gradients_go_on() {
    let task = Task::new(Norm::Batch);
    let rate = task.rate(0.1);
    let inner = InnerLoop { proximal: Some(Proximal { lambda: 1e-3 }), ..task.inner(&rate, 1) };
    let exact = inner.imaml(&task.theta, task.support(), task.query(), 20).unwrap();
    assert!(exact.cg_iterations.unwrap() < 20, "{:?}", exact.cg_iterations);

    let solver = ConjugateGradients { iterations: 20, damping: 1.0, lambda_damping: 10.0 };
    let damped = inner.imaml(&task.theta, task.support(), task.query(), solver).unwrap();
    let (x, query) = (damped.gradient, task.query());
    let adapted = inner.adapt(&task.theta, task.support()).unwrap();
    let at = task.network.at(&adapted, task.support().x, task.support().loss).unwrap();
    let mut image = at.hvp(&x).unwrap();
    image.update_weights([&x], |hx, [x]| *hx = 2.0 * x + *hx / 10.001);
    let wanted = task.network.gradient(&adapted, query.x, query.loss).unwrap().gradient;
    assert!(distance(&image, &wanted) < 1e-3, "{}", distance(&image, &wanted));
}

/// Without first moment a fresh Adam's first step is α in the direction of each gradient's sign.
#[test]
fn a_first_step_of_adam_is_the_rate() {
    let task = Task::new(Norm::Batch);
    let rate = task.rate(0.01);
    let mut moment = SecondMoment::new(&task.theta);
    let adapted = task.inner(&rate, 1).adapt_by(&task.theta, task.support(), Some(&mut moment)).unwrap();
    let gradient =
        task.network.gradient(&task.theta, task.support().x, task.support().loss).unwrap().gradient;
    let mut moved = 0;
    for at in task.theta.layout().ranges(Role::Weight).flatten() {
        let (step, g) = (adapted.values()[at] - task.theta.values()[at], gradient.values()[at]);
        if g.abs() > 1e-4 {
            assert!((step + 0.01 * g.signum()).abs() < 1e-5, "{step} {g}");
            moved += 1;
        }
    }
    assert!(moved > 100, "{moved}");
}

/// What one task leaves, the next goes on from: two tasks of a step each are Adam's first two steps.
#[test]
fn adams_second_moment_goes_on_from_task_to_task() {
    let task = Task::new(Norm::Batch);
    let rate = task.rate(0.01);
    let (inner, batches) = (task.inner(&rate, 1), [task.support(), task.query()]);
    let mut moment = SecondMoment::new(&task.theta);
    let both = inner.reptile_on(&task.theta, batches, Some(&mut moment)).unwrap();

    let mut carried = SecondMoment::new(&task.theta);
    let first = inner.adapt_by(&task.theta, batches[0], Some(&mut carried)).unwrap();
    let second = inner.adapt_by(&first, batches[1], Some(&mut carried)).unwrap();
    assert_eq!((&moment.squares, moment.ones), (&carried.squares, carried.ones));
    let mut moved = task.theta.clone();
    moved.update_weights([&second], |theta, [adapted]| *theta -= adapted);
    for range in moved.layout().ranges(Role::Weight) {
        assert_eq!(moved.values()[range.clone()], both.gradient.values()[range]);
    }
    let fresh = inner.adapt_by(&first, batches[1], Some(&mut SecondMoment::new(&first))).unwrap();
    assert!(distance(&fresh, &second) > 1e-3);
}

#[test]
fn reptile_on_the_whole_support_each_time_is_reptile() {
    let task = Task::new(Norm::Batch);
    let rate = task.rate(0.1);
    let whole = task.inner(&rate, 3).reptile(&task.theta, task.support()).unwrap();
    let batches = [task.support(); 3];
    let on = task.inner(&rate, 0).reptile_on(&task.theta, batches, None).unwrap();
    assert_eq!((on.loss, &on.gradient), (whole.loss, &whole.gradient));
}
