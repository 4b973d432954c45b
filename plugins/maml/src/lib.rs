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
//! | `reptile` | θ − θ_K, from the support alone | Nichol, Achiam & Schulman 2018, algorithm 1 |
//! | `meta-sgd` | that of `maml`, and the one in a learning rate for each weight | Li, Zhou, Chen & Li 2017, algorithm 1 |
//! | `imaml` | (I + H_S/λ)⁻¹ ∇L_Q at the proximal optimum | Rajeswaran, Finn, Kakade & Levine 2019, algorithm 2 |
//!
//! Batch norm uses the statistics of the batch given, as MAML was published, so all six are transductive by default
//! (`--set backbone.norm=running` classifies each query alone). The head has a fresh weight vector for each label, so
//! renaming a task's classes starts from another point, as in the papers.

mod config;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use kshot::episode::{Count, Episode, Labelled, TaskSpec, Unlabelled};
use kshot::inner_loop::{InnerLoop, MetaGradient, Objective, Proximal, rates};
use kshot::learner::{Family, Learner, Outer, Prediction, accuracy};
use kshot::nn::{Loss, Network, Norm};
use kshot::params::{Layout, Params, Role};
use kshot::registry::{LearnerEntry, Problem, Setup};
use kshot::rng::stream;
use kshot::{Error, Result};
use ndarray::s;

pub use config::{ImamlConfig, InnerConfig, MamlConfig, ReptileConfig};

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
    },
    /// As MAML, learning a rate for each weight as well.
    MetaSgd,
    /// Implicit, by conjugate gradients.
    Imaml {
        /// λ of the proximal term.
        lambda: f32,
        /// Iterations of conjugate gradients.
        cg_steps: usize,
    },
}

/// A learner of the family.
pub struct Maml {
    method: Method,
    inner: InnerConfig,
    step_weights: Option<Vec<f32>>,
    network: Arc<dyn Network>,
    /// The network's weights; for Meta-SGD the learning rates after them, under `alpha/…`, in units of `inner-rate`: an
    /// update of Adam then changes a rate by a small share of it, whatever `inner-rate` is.
    theta: Params,
    /// α where it is not learned.
    fixed_rate: Params,
    problem: Problem,
    task: TaskSpec,
}

impl Maml {
    /// A learner with fresh weights.
    ///
    /// # Errors
    /// When an option makes no sense, or the backbone does not fit the input.
    pub fn new(setup: &Setup, method: Method, config: MamlConfig) -> Result<Self> {
        let problem = problem(setup);
        config.check(&method)?;
        let MamlConfig { inner, step_weights } = config;
        let head = if problem == Problem::Regression { 1 } else { setup.ways };
        let network = setup.backbone.build(setup.input, Norm::Batch, Some(head))?;
        let initial = network.init(&mut stream(setup.seed, "init", 0));
        let adapts = |name: &str| !matches!(method, Method::Anil) || name.starts_with("head.");
        let fixed_rate = rates(network.layout(), inner.rate(problem), adapts);
        let theta = match method {
            Method::MetaSgd => with_rates(&initial, &rates(network.layout(), 1.0, |_| true))?,
            _ => initial,
        };
        let (shots, queries) = match method {
            Method::Reptile { shots } => (shots, 0),
            _ => (setup.shots, setup.queries),
        };
        let task = match problem {
            Problem::Regression => TaskSpec::Regression { shots, queries },
            Problem::Classification => {
                TaskSpec::FewShot { ways: Count::fixed(setup.ways), shots: Count::fixed(shots), queries }
            }
        };
        Ok(Self { method, inner, step_weights, network, theta, fixed_rate, problem, task })
    }

    /// The network's weights, and α.
    fn parts(&self) -> Result<(Cow<'_, Params>, Cow<'_, Params>)> {
        match self.method {
            Method::MetaSgd => {
                let (weights, mut rate) = without_rates(&self.theta, self.network.layout())?;
                times(&mut rate, self.inner.rate(self.problem));
                Ok((Cow::Owned(weights), Cow::Owned(rate)))
            }
            _ => Ok((Cow::Borrowed(&self.theta), Cow::Borrowed(&self.fixed_rate))),
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
    fn params(&self) -> &Params {
        &self.theta
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.theta
    }

    fn training_task(&self) -> TaskSpec {
        self.task.clone()
    }

    fn is_transductive(&self) -> bool {
        self.network.norm() == Norm::Batch
    }

    fn outer_gradient(&self, episode: &Episode) -> Result<Outer> {
        let (theta, rate) = self.parts()?;
        let (support_loss, query_loss) = (loss(&episode.support), loss(&episode.query));
        let support = Objective { x: episode.support.inputs(), loss: &support_loss };
        let query = Objective { x: episode.query.inputs(), loss: &query_loss };
        let inner = InnerLoop {
            step_weights: self.step_weights.as_deref(),
            ..self.inner_loop(&rate, self.inner.train_steps)
        };
        let judged = match self.method {
            Method::Maml | Method::Anil => inner.maml(&theta, support, query)?,
            Method::Fomaml => inner.fomaml(&theta, support, query)?,
            Method::Reptile { .. } => inner.reptile(&theta, support)?,
            Method::Imaml { cg_steps, .. } => inner.imaml(&theta, support, query, cg_steps)?,
            Method::MetaSgd => {
                let (judged, mut d_rate) = inner.meta_sgd(&theta, support, query)?;
                times(&mut d_rate, self.inner.rate(self.problem));
                let gradient = with_rates(&judged.gradient, &d_rate)?;
                MetaGradient { gradient, ..judged }
            }
        };
        let judged_on =
            if matches!(self.method, Method::Reptile { .. }) { &support_loss } else { &query_loss };
        let metrics = match judged_on {
            Loss::CrossEntropy { labels } => vec![("accuracy", accuracy(judged.outputs, labels))],
            Loss::Mse { .. } => Vec::new(),
        };
        Ok(Outer { loss: judged.loss, gradient: judged.gradient, metrics })
    }

    fn predict(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction> {
        let (theta, rate) = self.parts()?;
        let loss = loss(support);
        let adapted = self
            .inner_loop(&rate, self.inner.test_steps)
            .adapt(&theta, Objective { x: support.inputs(), loss: &loss })
            .map_err(|error| error.context("adapting to the support set"))?;
        let outputs = self.network.forward(&adapted, query.inputs.view())?;
        match self.problem {
            Problem::Regression => Ok(Prediction::Values(outputs)),
            Problem::Classification => {
                let ways = support.ways()?;
                if ways > outputs.ncols() {
                    return Err(Error::invalid(format!(
                        "the task has {ways} classes, but the head was trained for {}",
                        outputs.ncols()
                    )));
                }
                Ok(Prediction::Scores(outputs.slice_move(s![.., ..ways])))
            }
        }
    }
}

fn problem(setup: &Setup) -> Problem {
    if setup.base_classes == 0 { Problem::Regression } else { Problem::Classification }
}

fn loss(set: &Labelled) -> Loss {
    Loss::of(&set.targets)
}

/// Weights, and after them a rate (or its gradient) for each, as tensors `alpha/NAME`.
fn with_rates(weights: &Params, rates: &Params) -> Result<Params> {
    let mut layout = Layout::clone(weights.layout());
    let mut values = weights.values().to_vec();
    for entry in weights.layout().entries().iter().filter(|entry| entry.role == Role::Weight) {
        layout.push(format!("alpha/{}", entry.name), &entry.shape, Role::Weight);
        values.extend_from_slice(&rates.values()[entry.range.clone()]);
    }
    Params::from_values(&Arc::new(layout), values)
}

fn times(params: &mut Params, factor: f32) {
    params.values_mut().iter_mut().for_each(|value| *value *= factor);
}

/// The inverse of [`with_rates`].
fn without_rates(joined: &Params, layout: &Arc<Layout>) -> Result<(Params, Params)> {
    let (weights, learned) = joined.values().split_at(layout.len());
    let mut rates = Params::zeros(layout);
    let mut at = 0;
    for range in layout.ranges(Role::Weight) {
        let next = at + range.len();
        rates.values_mut()[range].copy_from_slice(&learned[at..next]);
        at = next;
    }
    Ok((Params::from_values(layout, weights.to_vec())?, rates))
}

const BOTH: &[Problem] = &[Problem::Classification, Problem::Regression];

macro_rules! register {
    ($name:literal, $config:ty, $summary:literal, $paper:literal) => {
        inventory::submit! {
            LearnerEntry {
                name: $name,
                family: Family::Optimization,
                summary: $summary,
                paper: $paper,
                solves: BOTH,
                train: <$config>::training,
                options: kshot::registry::defaults::<$config>,
                build: |setup, table| {
                    let config: $config = kshot::registry::options($name, table)?;
                    let (method, config) = config.method($name, problem(setup));
                    let built = Maml::new(setup, method, config);
                    Ok(Box::new(built.map_err(|error| error.context(concat!("`", $name, "`")))?))
                },
            }
        }
    };
}

register!(
    "maml",
    MamlConfig,
    "an initialisation for gradient descent, by its exact meta-gradient",
    "Finn, Abbeel, Levine, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks, ICML 2017"
);
register!(
    "fomaml",
    MamlConfig,
    "maml without second derivatives",
    "Finn, Abbeel, Levine, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks, ICML 2017, section 5.2"
);
register!(
    "anil",
    MamlConfig,
    "maml with only the head adapting",
    "Raghu, Raghu, Bengio, Vinyals, Rapid Learning or Feature Reuse?, ICLR 2020"
);
register!(
    "meta-sgd",
    MamlConfig,
    "maml with a learned rate for each weight",
    "Li, Zhou, Chen, Li, Meta-SGD: Learning to Learn Quickly for Few-Shot Learning, arXiv 2017"
);
register!(
    "reptile",
    ReptileConfig,
    "towards the weights that tasks adapt to",
    "Nichol, Achiam, Schulman, On First-Order Meta-Learning Algorithms, arXiv 2018"
);
register!(
    "imaml",
    ImamlConfig,
    "maml's gradient at the optimum of a proximal inner problem",
    "Rajeswaran, Finn, Kakade, Levine, Meta-Learning with Implicit Gradients, NeurIPS 2019"
);
