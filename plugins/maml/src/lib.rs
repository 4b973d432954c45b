//! Learning what gradient descent starts from: MAML and its kin, six learners around one recursion.
//!
//! All adapt by gradient descent on the support loss, θ_{k+1} = θ_k − α ∇L_S(θ_k), and differ in the outer gradient
//! (`kshot::inner_loop` has the formulas):
//!
//! | learner | outer gradient | paper |
//! | --- | --- | --- |
//! | `maml` | ∇_θ L_Q(θ_K), exact | Finn, Abbeel & Levine 2017, algorithm 2 |
//! | `fomaml` | ∇L_Q at θ_K, the Hessians left out | the same, section 5.2 |
//! | `anil` | that of `maml`, with only the head adapting | Raghu, Raghu, Bengio & Vinyals 2020 |
//! | `reptile` | θ − θ_K, from minibatches of the support | Nichol, Achiam & Schulman 2018, algorithm 1 |
//! | `meta-sgd` | that of `maml`, and the one in a learning rate for each weight | Li, Zhou, Chen & Li 2017, algorithm 1 |
//! | `imaml` | (I + H_S/λ)⁻¹ ∇L_Q at the proximal optimum, damped as in the authors' code | Rajeswaran, Finn, Kakade & Levine 2019, algorithm 2 |
//!
//! Batch norm uses the statistics of the batch given, as MAML was published, so all six are transductive by default
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

mod config;
mod register;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use kshot::episode::{Count, Episode, Labelled, TaskSpec, Unlabelled};
use kshot::inner_loop::{
    ConjugateGradients, InnerLoop, InnerOptimizer, MetaGradient, Objective, Proximal, minibatches, rates,
};
use kshot::learner::{Adapted, Learned, Learner, Outer, Prediction, Trainable, accuracy};
use kshot::nn::{Loss, Network, Norm, network};
use kshot::params::{Layout, Params, Role};
use kshot::registry::{Problem, Setup};
use kshot::rng::stream;
use kshot::{Error, Result};
use ndarray::{Array2, Axis};

pub use config::{ImamlOptions, InnerOptions, MamlOptions, ReptileOptions};

/// The outer gradient, with what only it needs.
#[derive(Clone, Debug)]
pub enum Method {
    /// Exact, through all steps.
    Maml,
    /// Without second derivatives.
    Fomaml,
    /// As MAML, with only the head (`head.*`) adapting.
    Anil,
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
    inner: InnerOptions,
    step_weights: Option<Vec<f32>>,
    network: Arc<dyn Network>,
    /// The network's weights; for Meta-SGD the learning rates after them, under `alpha/…`, in units of `inner-rate`: an
    /// update of Adam then changes a rate by a small share of it, whatever `inner-rate` is.
    learned: Learned,
    /// α where it is not learned.
    fixed_rate: Params,
    problem: Problem,
    seed: u64,
}

impl Maml {
    /// A learner with fresh weights.
    ///
    /// # Errors
    /// When the backbone does not fit the input.
    pub fn new(setup: &Setup, method: Method, options: MamlOptions) -> Result<Self> {
        let problem = setup.problem;
        let MamlOptions { inner, train_queries, step_weights } = options;
        let head = if problem == Problem::Regression { 1 } else { setup.ways };
        let network = network(setup.backbone.architecture()?.with_head(head)?)?;
        let initial = network.init(&mut stream(setup.seed, "init", 0));
        let adapts = |name: &str| !matches!(method, Method::Anil) || name.starts_with("head.");
        let fixed_rate = rates(network.layout(), inner.rate(problem), adapts);
        let theta = match method {
            Method::MetaSgd => with_rates(&initial, &rates(network.layout(), 1.0, |_| true)),
            _ => initial,
        };
        let (shots, queries) = match method {
            Method::Reptile { shots, .. } => (Count::fixed(shots), 0),
            _ => (setup.shots, train_queries.unwrap_or(setup.queries)),
        };
        let task = match problem {
            Problem::Regression => TaskSpec::Regression { shots: shots.max(), queries },
            Problem::Classification => TaskSpec::FewShot { ways: Count::fixed(setup.ways), shots, queries },
        };
        let learned = Learned { theta, task };
        Ok(Self { method, inner, step_weights, network, learned, fixed_rate, problem, seed: setup.seed })
    }

    /// The network's weights, and α.
    fn parts(&self) -> Result<(Cow<'_, Params>, Cow<'_, Params>)> {
        match self.method {
            Method::MetaSgd => {
                let (weights, mut rate) = without_rates(&self.learned.theta, self.network.layout())?;
                rate.scale(self.inner.rate(self.problem));
                Ok((Cow::Owned(weights), Cow::Owned(rate)))
            }
            _ => Ok((Cow::Borrowed(&self.learned.theta), Cow::Borrowed(&self.fixed_rate))),
        }
    }

    /// What each of Reptile's training steps is taken on: minibatches, or the support as it is where those hold all of it.
    fn batches<'a>(&self, support: &'a Labelled, episode: u64) -> Vec<Cow<'a, Labelled>> {
        let (n, steps) = (support.len(), self.inner.train_steps);
        match self.method {
            Method::Reptile { batch, .. } if batch < n => {
                let draws = minibatches(n, batch, stream(self.seed, "reptile/minibatches", episode));
                draws.take(steps).map(|examples| Cow::Owned(support.select(&examples))).collect()
            }
            _ => vec![Cow::Borrowed(support); steps],
        }
    }

    fn inner_loop<'a>(&'a self, rate: &'a Params, steps: usize) -> InnerLoop<'a> {
        let proximal = match self.method {
            Method::Imaml { lambda, .. } => Some(Proximal { lambda }),
            _ => None,
        };
        InnerLoop { network: self.network.as_ref(), rate, steps, step_weights: None, proximal }
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
        let (theta, rate) = self.parts()?;
        let heads = self.network.features();
        if ways > heads {
            return Err(Error::invalid(format!(
                "the task has {ways} classes, but the head was trained for {heads}"
            )));
        }
        let loss = support.targets.loss();
        let inner = self.inner_loop(&rate, self.inner.test_steps);
        let objective = Objective { x: support.inputs(), loss: &loss };
        let weights = match self.method {
            Method::Reptile { optimizer, .. } => inner.adapt_by(optimizer, &theta, objective),
            _ => inner.adapt(&theta, objective),
        };
        let weights = weights.map_err(|error| error.context("adapting to the support set"))?;
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
        let (theta, rate) = self.parts()?;
        let (support_loss, query_loss) = (episode.support.targets.loss(), episode.query.targets.loss());
        let support = Objective { x: episode.support.inputs(), loss: &support_loss };
        let query = Objective { x: episode.query.inputs(), loss: &query_loss };
        let inner = InnerLoop {
            step_weights: self.step_weights.as_deref(),
            ..self.inner_loop(&rate, self.inner.train_steps)
        };
        let mut judged_on = query_loss.clone();
        let judged = match self.method {
            Method::Maml | Method::Anil => inner.maml(&theta, support, query)?,
            Method::Fomaml => inner.fomaml(&theta, support, query)?,
            Method::Reptile { optimizer, .. } => {
                let batches = self.batches(&episode.support, episode.index);
                let losses: Vec<Loss> = batches.iter().map(|batch| batch.targets.loss()).collect();
                let objectives = batches.iter().zip(&losses);
                let objectives = objectives.map(|(batch, loss)| Objective { x: batch.inputs(), loss });
                let judged = inner.reptile_on(&theta, objectives, optimizer)?;
                judged_on = losses.into_iter().last().unwrap_or(judged_on);
                judged
            }
            Method::Imaml { solver, .. } => inner.imaml(&theta, support, query, solver)?,
            Method::MetaSgd => {
                let (judged, mut d_rate) = inner.meta_sgd(&theta, support, query)?;
                d_rate.scale(self.inner.rate(self.problem));
                let gradient = with_rates(&judged.gradient, &d_rate);
                MetaGradient { gradient, ..judged }
            }
        };
        let mut metrics = match judged_on {
            Loss::CrossEntropy { labels } => vec![("accuracy", accuracy(judged.outputs, &labels))],
            Loss::SoftCrossEntropy { .. } | Loss::Mse { .. } => Vec::new(),
        };
        metrics.extend(judged.cg_iterations.map(|taken| ("cg_iterations", taken as f32)));
        Ok(Outer { loss: judged.loss, gradient: judged.gradient, metrics })
    }
}

/// Weights, and after them a rate (or its gradient) for each, as tensors `alpha/NAME`.
fn with_rates(weights: &Params, rates: &Params) -> Params {
    let weighted = || weights.layout().entries().iter().filter(|entry| entry.role == Role::Weight);
    let mut layout = Layout::new();
    for entry in weighted() {
        layout.push(format!("alpha/{}", entry.name), &entry.shape, Role::Weight);
    }
    let mut learned = Params::zeros(&Arc::new(layout));
    let mut rest = learned.values_mut();
    for entry in weighted() {
        let (own, behind) = rest.split_at_mut(entry.range.len());
        own.copy_from_slice(&rates.values()[entry.range.clone()]);
        rest = behind;
    }
    weights.followed_by(&learned)
}

/// The inverse of [`with_rates`].
fn without_rates(joined: &Params, layout: &Arc<Layout>) -> Result<(Params, Params)> {
    let (weights, learned) = joined.split_at(layout)?;
    let mut rates = Params::zeros(layout);
    let mut rest = learned.values();
    for range in layout.ranges(Role::Weight) {
        let (own, behind) = rest.split_at(range.len());
        rates.values_mut()[range].copy_from_slice(own);
        rest = behind;
    }
    Ok((weights, rates))
}
