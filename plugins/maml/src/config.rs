//! Options of the family.

use kshot::optimizer::OptimizerKind;
use kshot::registry::Problem;
use kshot::schedule::Schedule;
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::Method;

/// Options that all six have. Unknown keys are refused by `kshot::registry::options`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct InnerConfig {
    /// α of the inner steps; where unset, 0.4 for classification and 0.01 for regression, as MAML was published.
    pub inner_rate: Option<f32>,
    /// Inner steps in training.
    pub train_steps: usize,
    /// Inner steps on a task that is evaluated.
    pub test_steps: usize,
}

impl Default for InnerConfig {
    /// MAML's for 5-way Omniglot: 1 step in training, 3 in evaluation (Finn et al. 2017, appendix A.1).
    fn default() -> Self {
        Self { inner_rate: None, train_steps: 1, test_steps: 3 }
    }
}

impl InnerConfig {
    /// α.
    pub(crate) fn rate(&self, problem: Problem) -> f32 {
        self.inner_rate.unwrap_or(match problem {
            Problem::Classification => 0.4,
            Problem::Regression => 0.01,
        })
    }

    fn check(&self) -> Result<()> {
        match self.inner_rate {
            Some(rate) if !(rate.is_finite() && rate > 0.0) => {
                Err(Error::invalid(format!("`inner-rate` is {rate}: it must be a positive number, as 0.4")))
            }
            _ => Ok(()),
        }
    }
}

/// Options of `maml`, `fomaml`, `anil` and `meta-sgd`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct MamlConfig {
    /// The inner loop.
    #[serde(flatten)]
    pub inner: InnerConfig,
    /// Weights of the query losses after step 1, 2, … in the outer loss (MAML++'s multi-step loss, Antoniou et al.
    /// 2019, section 4); where unset, only the last step counts.
    pub step_weights: Option<Vec<f32>>,
}

impl MamlConfig {
    /// The method called `name`, with the options.
    pub(crate) fn method(self, name: &str, _: Problem) -> (Method, Self) {
        let method = match name {
            "fomaml" => Method::Fomaml,
            "anil" => Method::Anil,
            "meta-sgd" => Method::MetaSgd,
            _ => Method::Maml,
        };
        (method, self)
    }

    pub(crate) fn check(&self, method: &Method) -> Result<()> {
        self.inner.check()?;
        if let Some(weights) = &self.step_weights {
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
        }
        match *method {
            Method::Reptile { shots: 0 } => {
                Err(Error::invalid("`train-shots` is 0: Reptile learns from the support set alone"))
            }
            Method::Reptile { .. } | Method::Imaml { .. } if self.inner.train_steps == 0 => Err(
                Error::invalid("`train-steps` is 0: without an inner step there is nothing to learn from"),
            ),
            Method::Imaml { lambda, .. } if !(lambda.is_finite() && lambda > 0.0) => {
                Err(Error::invalid(format!("`lambda` is {lambda}: it must be a positive number, as 2")))
            }
            _ => Ok(()),
        }
    }

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

/// Options of `reptile`: more inner steps than MAML's, as their first-order difference is all there is to learn from.
///
/// Where unset, `inner-rate`, `train-steps` and `train-shots` are 0.1, 3 and 5 for classification, 0.02, 10 and 20 for
/// regression.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ReptileConfig {
    /// α of the inner steps.
    pub inner_rate: Option<f32>,
    /// Inner steps in training.
    pub train_steps: Option<usize>,
    /// Inner steps on a task that is evaluated.
    pub test_steps: usize,
    /// Support examples of each class (points of each function) in training.
    pub train_shots: Option<usize>,
}

impl Default for ReptileConfig {
    fn default() -> Self {
        Self { inner_rate: None, train_steps: None, test_steps: 5, train_shots: None }
    }
}

impl ReptileConfig {
    pub(crate) fn method(self, _: &str, problem: Problem) -> (Method, MamlConfig) {
        let (rate, steps, shots) = match problem {
            Problem::Classification => (0.1, 3, 5),
            Problem::Regression => (0.02, 10, 20),
        };
        let inner = InnerConfig {
            inner_rate: Some(self.inner_rate.unwrap_or(rate)),
            train_steps: self.train_steps.unwrap_or(steps),
            test_steps: self.test_steps,
        };
        let method = Method::Reptile { shots: self.train_shots.unwrap_or(shots) };
        (method, MamlConfig { inner, step_weights: None })
    }

    /// Moves by the whole mean of θ_K − θ at first and less and less (Nichol et al. 2018, appendix A).
    pub(crate) fn training(problem: Problem) -> TrainConfig {
        let base = match problem {
            Problem::Classification => TrainConfig { steps: 80, meta_batch: 4, ..classification(0) },
            Problem::Regression => TrainConfig { steps: 6000, ..regression() },
        };
        TrainConfig { optimizer: OptimizerKind::Sgd, learning_rate: 1.0, schedule: Schedule::Cosine, ..base }
    }
}

/// Options of `imaml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ImamlConfig {
    /// The inner loop: enough steps to come near the optimum of the proximal problem.
    #[serde(flatten)]
    pub inner: InnerConfig,
    /// λ: how strongly the adapted weights are held near the initial ones.
    pub lambda: f32,
    /// Iterations of conjugate gradients.
    pub cg_steps: usize,
}

impl Default for ImamlConfig {
    /// Fewer steps and a looser λ than published for Omniglot (16 steps, λ = 2: Rajeswaran et al. 2019, appendix), which
    /// learn little in a short run.
    fn default() -> Self {
        let inner = InnerConfig { inner_rate: Some(0.3), train_steps: 8, test_steps: 5 };
        Self { inner, lambda: 0.2, cg_steps: 5 }
    }
}

impl ImamlConfig {
    pub(crate) fn method(self, _: &str, _: Problem) -> (Method, MamlConfig) {
        let method = Method::Imaml { lambda: self.lambda, cg_steps: self.cg_steps };
        (method, MamlConfig { inner: self.inner, step_weights: None })
    }

    pub(crate) fn training(problem: Problem) -> TrainConfig {
        match problem {
            Problem::Classification => TrainConfig { steps: 40, meta_batch: 4, ..classification(0) },
            Problem::Regression => MamlConfig::training(problem),
        }
    }
}
