//! Options of the family.

use kshot::inner_loop::ConjugateGradients;
use kshot::optimizer::OptimizerKind;
use kshot::options::Options;
use kshot::registry::Problem;
use kshot::schedule::Schedule;
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Method;

/// Options of the inner loop.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct InnerOptions {
    /// α of the inner steps; where unset, 0.4 for classification and 0.01 for regression, as MAML was published.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub inner_rate: Option<f32>,
    /// Inner steps in training.
    pub train_steps: usize,
    /// Inner steps on a task that is evaluated.
    pub test_steps: usize,
}

impl Default for InnerOptions {
    /// MAML's for 5-way Omniglot: 1 step in training, 3 in evaluation (Finn et al. 2017, appendix A.1).
    fn default() -> Self {
        Self { inner_rate: None, train_steps: 1, test_steps: 3 }
    }
}

impl InnerOptions {
    /// α.
    pub(crate) fn rate(&self, problem: Problem) -> f32 {
        self.inner_rate.unwrap_or(match problem {
            Problem::Classification => 0.4,
            Problem::Regression => 0.01,
        })
    }
}

/// Options of `maml`, `fomaml`, `anil`, `boil` and `meta-sgd`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct MamlOptions {
    /// The inner loop.
    #[serde(flatten)]
    pub inner: InnerOptions,
    /// Queries of each class (points of each function) in training tasks; where unset, as many as in evaluation. Few make a
    /// step several times cheaper.
    #[schemars(range(min = 1))]
    pub train_queries: Option<usize>,
    /// Weights of the query losses after step 1, 2, … in the outer loss (MAML++'s multi-step loss, Antoniou et al.
    /// 2019, section 4); where unset, only the last step counts.
    pub step_weights: Option<Vec<f32>>,
    /// Training tasks over which those weights go from the same for each step to the last step's only (MAML++'s annealed
    /// multi-step loss); where unset, they do not change.
    #[schemars(range(min = 1))]
    pub msl_tasks: Option<u64>,
    /// Training tasks before second derivatives are taken into account (MAML++'s annealing of the order).
    pub first_order_tasks: u64,
    /// Whether a rate is learned for each tensor and step, in units of `inner-rate` (MAML++'s learned rates).
    pub learned_rates: bool,
    /// Whether batch norms have affine weights of their own after each step, which no step adapts (MAML++).
    pub step_norms: bool,
}

impl MamlOptions {
    /// Weights of the query losses after each step in the outer loss of this training task.
    pub(crate) fn weights(&self, task: u64) -> Option<Vec<f32>> {
        let Some(tasks) = self.msl_tasks else { return self.step_weights.clone() };
        let steps = self.inner.train_steps;
        let done = (task as f32 / tasks as f32).min(1.0);
        // Earlier steps keep a little weight, as in the authors' code.
        let earlier = ((1.0 - done) / steps as f32).max(0.03 / steps as f32);
        let mut weights = vec![earlier; steps];
        let last = weights.last_mut()?;
        *last = 1.0 - earlier * (steps - 1) as f32;
        Some(weights)
    }
}

impl Options for MamlOptions {
    fn check(&self) -> Result<()> {
        if self.step_weights.is_some() && self.msl_tasks.is_some() {
            return Err(Error::invalid(
                "`step-weights` do not change, and `msl-tasks` changes them: leave out one",
            ));
        }
        let Some(weights) = &self.step_weights else { return Ok(()) };
        if weights.len() != self.inner.train_steps {
            return Err(Error::invalid(format!(
                "`step-weights` has {} weights, but `train-steps` is {}: give one for each step",
                weights.len(),
                self.inner.train_steps
            )));
        }
        if !weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
            || weights.iter().all(|weight| *weight == 0.0)
        {
            return Err(Error::invalid("`step-weights` must be 0 or more, and not all of them 0"));
        }
        Ok(())
    }
}

impl MamlOptions {
    /// A short run with a high learning rate, two tasks a step; the sinusoid's 25 as published.
    pub(crate) fn training(problem: Problem) -> TrainConfig {
        match problem {
            Problem::Classification => classification(120),
            Problem::Regression => regression(),
        }
    }
}

fn classification(steps: u64) -> TrainConfig {
    TrainConfig {
        steps,
        meta_batch: 2,
        learning_rate: 3e-3,
        validation_episodes: 0,
        ..TrainConfig::default()
    }
}

fn regression() -> TrainConfig {
    TrainConfig { steps: 20_000, meta_batch: 25, validate_every: 2000, ..TrainConfig::default() }
}

/// What an inner step of Reptile makes of a gradient g.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InnerOptimizer {
    /// θ ← θ − α g.
    Sgd,
    /// Adam without its first moment (β₁ = 0): θ ← θ − α g/√v̂. Tasks hand its second moment on, and a task that is evaluated
    /// starts from what training has left, as in the authors' code.
    Adam,
}

/// Options of `reptile`. Where they are unset, those of Nichol et al. 2018 for classification (appendix A, 5-way Omniglot), but
/// for a short run: α = 0.005 instead of 0.001, and 10 steps on a task that is evaluated instead of 50.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct ReptileOptions {
    /// α of the inner steps; where unset, 0.005 for `adam`, and for `sgd` 0.1 for classification and 0.02 for regression.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub inner_rate: Option<f32>,
    /// What takes the inner steps; where unset, `adam` for classification and `sgd` for regression.
    pub inner_optimizer: Option<InnerOptimizer>,
    /// Support examples of an inner step in training, at most all. On a task that is evaluated, a step is on all.
    #[schemars(range(min = 1))]
    pub inner_batch: usize,
    /// Inner steps in training; where unset, 5 for classification and 10 for regression.
    #[schemars(range(min = 1))]
    pub train_steps: Option<usize>,
    /// Inner steps on a task that is evaluated; where unset, 10 for classification and 5 for regression.
    pub test_steps: Option<usize>,
    /// Support examples of each class (points of each function) in training; where unset, 10 for classification and 20 for
    /// regression.
    #[schemars(range(min = 1))]
    pub train_shots: Option<usize>,
}

impl Default for ReptileOptions {
    /// On minibatches for regression too: on all points, the inner problem of one seed in three becomes so curved that its
    /// steps diverge.
    fn default() -> Self {
        Self {
            inner_rate: None,
            inner_optimizer: None,
            inner_batch: 10,
            train_steps: None,
            test_steps: None,
            train_shots: None,
        }
    }
}

impl Options for ReptileOptions {}

impl ReptileOptions {
    /// What it is, with the options that all have.
    pub(crate) fn method(self, problem: Problem) -> (Method, MamlOptions) {
        let (optimizer, [steps, test_steps, shots]) = match problem {
            Problem::Classification => (InnerOptimizer::Adam, [5, 10, 10]),
            Problem::Regression => (InnerOptimizer::Sgd, [10, 5, 20]),
        };
        let optimizer = self.inner_optimizer.unwrap_or(optimizer);
        let rate = match (optimizer, problem) {
            (InnerOptimizer::Adam, _) => 0.005,
            (InnerOptimizer::Sgd, Problem::Classification) => 0.1,
            (InnerOptimizer::Sgd, Problem::Regression) => 0.02,
        };
        let inner = InnerOptions {
            inner_rate: Some(self.inner_rate.unwrap_or(rate)),
            train_steps: self.train_steps.unwrap_or(steps),
            test_steps: self.test_steps.unwrap_or(test_steps),
        };
        let (shots, batch) = (self.train_shots.unwrap_or(shots), self.inner_batch);
        (Method::Reptile { shots, batch, optimizer }, MamlOptions { inner, ..MamlOptions::default() })
    }

    /// Moves by the whole mean of θ_K − θ at first and less and less (Nichol et al. 2018, appendix A).
    pub(crate) fn training(problem: Problem) -> TrainConfig {
        let base = match problem {
            Problem::Classification => TrainConfig { steps: 120, meta_batch: 4, ..classification(0) },
            Problem::Regression => TrainConfig { steps: 6000, ..regression() },
        };
        TrainConfig { optimizer: OptimizerKind::Sgd, learning_rate: 1.0, schedule: Schedule::Cosine, ..base }
    }
}

/// Options of `imaml`. Published for 5-way Omniglot: λ = 2, α = 0.1 and 16 steps (Rajeswaran et al. 2019, appendix), which
/// learn little in a short run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct ImamlOptions {
    /// α of the inner steps; where unset, 0.4 for classification and 0.005 for regression.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub inner_rate: Option<f32>,
    /// Inner steps in training, to come near the optimum of the proximal problem; where unset, 5 for classification and 16
    /// for regression.
    #[schemars(range(min = 1))]
    pub train_steps: Option<usize>,
    /// Inner steps on a task that is evaluated.
    pub test_steps: usize,
    /// Queries of each class (points of each function) in training tasks; where unset, as many as in evaluation.
    #[schemars(range(min = 1))]
    pub train_queries: Option<usize>,
    /// λ: how strongly the adapted weights are held near the initial ones; where unset, 0.2 for classification and 1 for
    /// regression.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub lambda: Option<f32>,
    /// Iterations of conjugate gradients, at most; `cg_iterations` in a run's log is how many were taken before the system
    /// showed itself not to be positive.
    pub cg_steps: usize,
    /// How much the factor of the identity in their system is raised above 1; where unset, 1 for classification, as in the
    /// authors' code, and 0, the exact system, for regression.
    #[schemars(range(min = 0.0))]
    pub cg_damping: Option<f32>,
    /// How much λ is raised in their system; where unset, 10 for classification, as in the authors' code, and 0 for
    /// regression.
    #[schemars(range(min = 0.0))]
    pub lambda_damping: Option<f32>,
}

impl Default for ImamlOptions {
    fn default() -> Self {
        Self {
            inner_rate: None,
            train_steps: None,
            test_steps: 5,
            train_queries: None,
            lambda: None,
            cg_steps: ConjugateGradients::default().iterations,
            cg_damping: None,
            lambda_damping: None,
        }
    }
}

impl Options for ImamlOptions {}

impl ImamlOptions {
    /// What it is, with the options that all have.
    pub(crate) fn method(self, problem: Problem) -> (Method, MamlOptions) {
        let iterations = self.cg_steps;
        let (rate, steps, lambda, own) = match problem {
            Problem::Classification => (0.4, 5, 0.2, ConjugateGradients::default()),
            // The curvature of a squared error is mostly positive, and has to count in full: damped, it grows until the
            // inner steps diverge.
            Problem::Regression => (0.005, 16, 1.0, ConjugateGradients::from(iterations)),
        };
        let solver = ConjugateGradients {
            iterations,
            damping: self.cg_damping.unwrap_or(own.damping),
            lambda_damping: self.lambda_damping.unwrap_or(own.lambda_damping),
        };
        let inner = InnerOptions {
            inner_rate: Some(self.inner_rate.unwrap_or(rate)),
            train_steps: self.train_steps.unwrap_or(steps),
            test_steps: self.test_steps,
        };
        let method = Method::Imaml { lambda: self.lambda.unwrap_or(lambda), solver };
        (method, MamlOptions { inner, train_queries: self.train_queries, ..MamlOptions::default() })
    }

    /// On the sinusoid a short run: the curvature at the optima grows with training, until inner steps diverge.
    pub(crate) fn training(problem: Problem) -> TrainConfig {
        match problem {
            Problem::Classification => TrainConfig { steps: 40, meta_batch: 4, ..classification(0) },
            Problem::Regression => {
                TrainConfig { steps: 6000, schedule: Schedule::Cosine, ..MamlOptions::training(problem) }
            }
        }
    }
}
