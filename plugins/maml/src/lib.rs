//! Learning what gradient descent starts from: MAML and its kin, seven learners around one recursion.
//!
//! All adapt by gradient descent on the support loss, θ_{k+1} = θ_k − α ∇L_S(θ_k), and differ in the outer gradient
//! (`kshot::inner_loop` has the formulas):
//!
//! | learner | outer gradient | paper |
//! | --- | --- | --- |
//! | `maml` | ∇_θ L_Q(θ_K), exact | Finn, Abbeel & Levine 2017, algorithm 2 |
//! | `fomaml` | ∇L_Q at θ_K, the Hessians left out | the same, section 5.2 |
//! | `anil` | that of `maml`, with only the head adapting | Raghu, Raghu, Bengio & Vinyals 2020 |
//! | `boil` | that of `maml`, with all but the head adapting | Oh, Yoo, Kim & Yun 2021 |
//! | `reptile` | θ − θ_K, from minibatches of the support | Nichol, Achiam & Schulman 2018, algorithm 1 |
//! | `meta-sgd` | that of `maml`, and the one in a learning rate for each weight | Li, Zhou, Chen & Li 2017, algorithm 1 |
//! | `imaml` | (I + H_S/λ)⁻¹ ∇L_Q at the proximal optimum, damped as in the authors' code | Rajeswaran, Finn, Kakade & Levine 2019, algorithm 2 |
//!
//! The options of MAML++ (Antoniou, Edwards & Storkey 2019) go with `maml`, `fomaml` and `boil`: `learned-rates`, `step-norms`,
//! `msl-tasks`, `first-order-tasks`; statistics of each step (its section 4, "Per-Step Batch Normalization Running
//! Statistics") are those of the batch here, in evaluation too.
//!
//! Batch norm uses the statistics of the batch given, as MAML was published, so all are transductive by default
//! (`--set backbone.norm=running` classifies each query alone). The head has a fresh weight vector for each label, so
//! renaming a task's classes starts from another point, as in the papers.
//!
//! ```
//! use kshot::backbone::Backbone;
//! use kshot::episode::{Count, Labelled, Targets, Unlabelled};
//! use kshot::learner::{Learner, Prediction};
//! use kshot::nn::Norm;
//! use kshot::registry::{Problem, Setup};
//! use kshot_maml::{Maml, MamlOptions, Method};
//! use ndarray::Array4;
//!
//! let backbone = Backbone::of(&"width = 8".parse().expect("TOML"), [1, 28, 28], Norm::Batch)?;
//! let setup = Setup { problem: Problem::Classification, backbone, base_classes: 0, ways: 2, shots: Count::fixed(1), queries: 1, seed: 0 };
//! let learner = Maml::new(&setup, Method::Maml, MamlOptions::default())?;
//! let drawing = |ink: f32| Array4::from_shape_fn((2, 1, 28, 28), |(n, _, y, x)| if [x, y][n] < 14 { ink } else { 0.0 });
//! let support = Labelled::new(drawing(1.0), Targets::Classes(vec![0, 1]));
//! let Prediction::Scores(scores) = learner.answer(&support, &Unlabelled { inputs: drawing(0.9) })? else { unreachable!() };
//! assert_eq!(scores.dim(), (2, 2));
//! # Ok::<(), kshot::Error>(())
//! ```

#![forbid(unsafe_code)]

mod beside;
mod config;
mod register;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use kshot::episode::{Count, Episode, Labelled, TaskSpec, Unlabelled};
use kshot::inner_loop::{
    ConjugateGradients, HeadLoop, InnerLoop, MetaGradient, Objective, Order, Proximal, StepGradients,
    minibatches, rates,
};
use kshot::learner::{Adapted, Learned, Learner, Outer, Prediction, Trainable, accuracy};
use kshot::nn::head::on_host;
use kshot::nn::{Loss, Network, Norm, network};
use kshot::params::Params;
use kshot::registry::{Problem, Setup};
use kshot::rng::stream;
use kshot::{Error, Result};
use ndarray::{Array2, Axis};

use beside::{Beside, Parts, Rates};
pub use config::{ImamlOptions, InnerOptimizer, InnerOptions, MamlOptions, ReptileOptions};

/// The outer gradient, with what only it needs.
#[derive(Clone, Debug)]
pub enum Method {
    /// Exact, through all steps.
    Maml,
    /// Without second derivatives.
    Fomaml,
    /// As MAML, with only the head (`head.*`) adapting.
    Anil,
    /// As MAML, with all but the head adapting.
    Boil,
    /// Towards the adapted weights.
    Reptile {
        /// Support examples of each class in training.
        shots: usize,
        /// Support examples of an inner step in training, at most all.
        batch: usize,
        /// What takes the inner steps.
        optimizer: InnerOptimizer,
    },
    /// As MAML, learning a rate for each weight as well.
    MetaSgd,
    /// Implicit, by conjugate gradients.
    Imaml {
        /// λ of the proximal term.
        lambda: f32,
        /// How the linear system is solved.
        solver: ConjugateGradients,
    },
}

/// A learner of the family.
pub struct Maml {
    method: Method,
    options: MamlOptions,
    network: Arc<dyn Network>,
    /// The network without its head.
    body: Arc<dyn Network>,
    learned: Learned,
    /// What θ holds beside the network's weights.
    beside: Beside,
    problem: Problem,
    seed: u64,
}

impl Maml {
    /// A learner with fresh weights.
    ///
    /// # Errors
    /// When the backbone does not fit the input, or an option the method.
    pub fn new(setup: &Setup, method: Method, options: MamlOptions) -> Result<Self> {
        let problem = setup.problem;
        let head = if problem == Problem::Regression { 1 } else { setup.ways };
        let architecture = setup.backbone.architecture()?.with_head(head)?;
        let network = network(architecture.clone())?;
        let initial = network.init(&mut stream(setup.seed, "init", 0));
        let adapts = |name: &str| match method {
            Method::Anil => name.starts_with("head."),
            Method::Boil => !name.starts_with("head."),
            _ => true,
        };
        let fixed = rates(network.layout(), options.inner.rate(problem), adapts);
        let learned = match (&method, options.learned_rates) {
            (Method::MetaSgd, false) => Rates::Weight,
            (_, false) => Rates::Fixed,
            (Method::Maml | Method::Fomaml | Method::Boil, true) => Rates::Tensor,
            (_, true) => {
                return Err(Error::invalid("`learned-rates` goes with `maml`, `fomaml` and `boil` only"));
            }
        };
        if matches!(method, Method::Anil | Method::MetaSgd)
            && (options.step_norms || options.first_order_tasks > 0)
        {
            return Err(Error::invalid(
                "`step-norms` and `first-order-tasks` go with `maml`, `fomaml` and `boil` only",
            ));
        }
        let steps = options.inner.train_steps;
        let adam = matches!(method, Method::Reptile { optimizer: InnerOptimizer::Adam, .. });
        let beside = Beside::new(&architecture, fixed, learned, options.step_norms, adam, steps)?;
        let (shots, queries) = match method {
            Method::Reptile { shots, .. } => (Count::fixed(shots), 0),
            _ => (setup.shots, options.train_queries.unwrap_or(setup.queries)),
        };
        let task = match problem {
            Problem::Regression => TaskSpec::Regression { shots: shots.max(), queries },
            Problem::Classification => TaskSpec::FewShot { ways: Count::fixed(setup.ways), shots, queries },
        };
        let (learned, body) = (Learned { theta: beside.init(initial), task }, setup.backbone.build()?);
        Ok(Self { method, options, network, body, learned, beside, problem, seed: setup.seed })
    }

    fn parts(&self) -> Result<Parts<'_>> {
        self.beside.parts(&self.learned.theta)
    }

    /// What each of Reptile's training steps is taken on: minibatches, or the support as it is where those hold all of it.
    fn batches<'a>(&self, support: &'a Labelled, episode: u64) -> Vec<Cow<'a, Labelled>> {
        let (n, steps) = (support.len(), self.options.inner.train_steps);
        match self.method {
            Method::Reptile { batch, .. } if batch < n => {
                let draws = minibatches(n, batch, stream(self.seed, "reptile/minibatches", episode));
                draws.take(steps).map(|examples| Cow::Owned(support.select(&examples))).collect()
            }
            _ => vec![Cow::Borrowed(support); steps],
        }
    }

    fn inner_loop<'a>(&'a self, parts: &'a Parts<'_>, steps: usize) -> InnerLoop<'a> {
        let proximal = match self.method {
            Method::Imaml { lambda, .. } => Some(Proximal { lambda }),
            _ => None,
        };
        let (rates, own) = (&*parts.rates, &*parts.own);
        InnerLoop { rates, own, proximal, ..InnerLoop::new(self.network.as_ref(), steps) }
    }

    /// ANIL's inner loop, which the body takes no part in.
    fn head_loop<'a>(&self, steps: usize, step_weights: Option<&'a [f32]>) -> HeadLoop<'a> {
        HeadLoop { rate: self.options.inner.rate(self.problem), steps, step_weights }
    }

    /// The support's features, on its own statistics as in training.
    fn features(&self, theta: &Params, support: &Labelled) -> Result<Array2<f32>> {
        match self.body.norm() {
            Norm::Batch => self.body.forward(theta, support.inputs()),
            Norm::Running => Ok(self.body.trace(theta, support.inputs(), Norm::Batch)?.outputs().to_owned()),
        }
    }

    /// The meta-gradient of ANIL: that of MAML with rates of 0 outside of the head, the body passed once each for support and
    /// queries.
    fn anil(
        &self,
        theta: &Params,
        inner: HeadLoop<'_>,
        support: Objective<'_>,
        query: Objective<'_>,
    ) -> Result<MetaGradient> {
        let head = HeadLoop::head_of(theta)?;
        let (mut judged, mut of_support) = (None, None);
        let (_, mut gradient) = self.body.value_and_grad(theta, query.x, &mut |z_query, _| {
            on_host(z_query, |z_query| {
                let mut d_query = Array2::zeros(z_query.dim());
                let (_, gradient) = self.body.value_and_grad(theta, support.x, &mut |z_support, _| {
                    on_host(z_support, |z_support| {
                        let mut through =
                            inner.gradient(&head, (z_support, support.loss), (z_query, query.loss))?;
                        d_query = std::mem::take(&mut through.query);
                        let d_support = std::mem::take(&mut through.support);
                        judged = Some(through);
                        Ok((0.0, d_support))
                    })
                })?;
                of_support = Some(gradient);
                Ok((0.0, d_query))
            })
        })?;
        let (Some(through), Some(of_support)) = (judged, of_support) else {
            return Err(Error::invalid("the body was not evaluated"));
        };
        gradient.update_weights([&of_support], |sum, [g]| *sum += g);
        HeadLoop::put_head(&mut gradient, &through.head);
        Ok(MetaGradient { loss: through.loss, gradient, outputs: through.outputs, cg_iterations: None })
    }
}

impl Learner for Maml {
    fn is_transductive(&self) -> bool {
        self.network.norm() == Norm::Batch
    }

    fn adapt<'a>(&'a self, support: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
        let ways = match self.problem {
            Problem::Regression => 1,
            Problem::Classification => support.ways()?,
        };
        let parts = self.parts()?;
        let heads = self.network.features();
        if ways > heads {
            return Err(Error::invalid(format!(
                "the task has {ways} classes, but the head was trained for {heads}"
            )));
        }
        let loss = support.targets.loss();
        let (theta, steps) = (&parts.weights, self.options.inner.test_steps);
        let inner = self.inner_loop(&parts, steps);
        let objective = Objective { x: support.inputs(), loss: &loss };
        let adapt = || match self.method {
            Method::Reptile { .. } => inner.adapt_by(theta, objective, parts.moment.clone().as_mut()),
            Method::Anil => {
                let (head, z) = (HeadLoop::head_of(theta)?, self.features(theta, support)?);
                let mut adapted = theta.clone().into_owned();
                HeadLoop::put_head(
                    &mut adapted,
                    &self.head_loop(steps, None).adapt(&head, (z.view(), &loss))?,
                );
                Ok(adapted)
            }
            _ => inner.adapt(theta, objective),
        };
        let weights = adapt().map_err(|error| error.context("adapting to the support set"))?;
        Ok(Box::new(Descended { learner: self, weights, ways }))
    }

    fn trainable(&mut self) -> Option<&mut dyn Trainable> {
        Some(self)
    }
}

/// The network after its inner steps on a task.
struct Descended<'a> {
    learner: &'a Maml,
    weights: Params,
    ways: usize,
}

impl Adapted for Descended<'_> {
    fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
        let outputs: Array2<f32> = self.learner.network.forward(&self.weights, query.inputs.view())?;
        Ok(match self.learner.problem {
            Problem::Regression => Prediction::Values(outputs),
            // Of a head for more classes, the first.
            Problem::Classification => {
                Prediction::Scores(outputs.slice_axis(Axis(1), (..self.ways).into()).to_owned())
            }
        })
    }
}

impl Trainable for Maml {
    fn learned(&mut self) -> &mut Learned {
        &mut self.learned
    }

    fn outer_gradient(&self, episode: &Episode) -> Result<Outer> {
        let parts = self.parts()?;
        let theta = &parts.weights;
        let (support_loss, query_loss) = (episode.support.targets.loss(), episode.query.targets.loss());
        let support = Objective { x: episode.support.inputs(), loss: &support_loss };
        let query = Objective { x: episode.query.inputs(), loss: &query_loss };
        let (steps, step_weights) = (self.options.inner.train_steps, self.options.weights(episode.index));
        let inner = InnerLoop { step_weights: step_weights.as_deref(), ..self.inner_loop(&parts, steps) };
        let nothing = StepGradients { rates: Vec::new(), own: Vec::new() };
        let through = |order| inner.through(theta, support, query, order, self.options.learned_rates);
        let mut judged_on = query_loss.clone();
        let mut moment = parts.moment.clone();
        let (judged, of_steps) = match self.method {
            Method::Maml | Method::Boil => through(match episode.index < self.options.first_order_tasks {
                true => Order::First,
                false => Order::Second,
            })?,
            Method::Fomaml if self.options.learned_rates || self.options.step_norms => through(Order::First)?,
            Method::Fomaml => (inner.fomaml(theta, support, query)?, nothing),
            Method::Anil => {
                let inner = self.head_loop(steps, step_weights.as_deref());
                (self.anil(theta, inner, support, query)?, nothing)
            }
            Method::Reptile { .. } => {
                let batches = self.batches(&episode.support, episode.index);
                let losses: Vec<Loss> = batches.iter().map(|batch| batch.targets.loss()).collect();
                let objectives = batches.iter().zip(&losses);
                let objectives = objectives.map(|(batch, loss)| Objective { x: batch.inputs(), loss });
                let judged = inner.reptile_on(theta, objectives, moment.as_mut())?;
                judged_on = losses.into_iter().last().unwrap_or(judged_on);
                (judged, nothing)
            }
            Method::Imaml { solver, .. } => (inner.imaml(theta, support, query, solver)?, nothing),
            Method::MetaSgd => inner.meta_sgd(theta, support, query)?,
        };
        let mut metrics = match judged_on {
            Loss::CrossEntropy { labels } => vec![("accuracy", accuracy(judged.outputs, &labels))],
            Loss::SoftCrossEntropy { .. } | Loss::Mse { .. } => Vec::new(),
        };
        metrics.extend(judged.cg_iterations.map(|taken| ("cg_iterations", taken as f32)));
        let gradient = self.beside.gradient(judged.gradient, &of_steps, moment.as_ref());
        Ok(Outer { loss: judged.loss, gradient, metrics })
    }
}
