//! Transfer component analysis: project source and target so that they look alike, then classify there.
//!
//! Pan, Tsang, Kwok & Yang, "Domain Adaptation via Transfer Component Analysis", IEEE Trans. Neural Networks 2011. The
//! support is the labelled source, the queries are the unlabelled target, all of which are seen together: TCA is
//! transductive. It has nothing to train across tasks. A query has the class of its nearest source example among the
//! components.

mod components;
mod kernel;
mod mmd;
#[cfg(test)]
mod tests;

use faer::{Mat, MatRef};
use kshot::episode::{Episode, Labelled, TaskSpec, Unlabelled};
use kshot::learner::{Family, Learner, Outer, Prediction};
use kshot::params::Params;
use kshot::registry::{LearnerEntry, Problem, defaults, options};
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

pub use components::{Components, Features, leading_components};
pub use kernel::{Kernel, median_gamma};
pub use mmd::{mmd2, mmd2_unbiased};

/// Options of `tca`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TcaConfig {
    /// What examples are compared by.
    pub kernel: KernelKind,
    /// γ of the kernel; where unset, the median heuristic for `rbf`, 1 / features for `polynomial`.
    pub gamma: Option<f64>,
    /// Power of `polynomial`.
    pub degree: i32,
    /// μ: how strongly components are kept short.
    pub mu: f64,
    /// How many; where unset, 30, or as many as a task has.
    pub components: Option<usize>,
}

/// What examples are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelKind {
    /// x·y.
    Linear,
    /// exp(−γ ‖x − y‖²).
    Rbf,
    /// (γ x·y + 1)^degree.
    Polynomial,
}

/// Components unless the option says otherwise.
const COMPONENTS: usize = 30;

impl Default for TcaConfig {
    fn default() -> Self {
        Self { kernel: KernelKind::Rbf, gamma: None, degree: 2, mu: 1.0, components: None }
    }
}

impl TcaConfig {
    fn check(&self) -> Result<()> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let wrong = match self {
            _ if !positive(self.mu) => "`mu` must be a positive number, as 1",
            _ if self.gamma.is_some_and(|gamma| !positive(gamma)) => "`gamma` must be a positive number",
            _ if self.degree < 1 => "`degree` must be 1 or more",
            _ if self.components == Some(0) => "`components` must be 1 or more",
            _ => return Ok(()),
        };
        Err(Error::invalid(format!("options of `tca`: {wrong}")))
    }

    fn kernel(&self, x: MatRef<'_, f64>) -> Kernel {
        match self.kernel {
            KernelKind::Linear => Kernel::Linear,
            KernelKind::Rbf => Kernel::Rbf { gamma: self.gamma.unwrap_or_else(|| median_gamma(x)) },
            KernelKind::Polynomial => Kernel::Polynomial {
                gamma: self.gamma.unwrap_or(1.0 / x.ncols() as f64),
                degree: self.degree,
            },
        }
    }
}

/// Transfer component analysis.
pub struct Tca {
    params: Params,
    config: TcaConfig,
}

impl Tca {
    /// Nothing to train.
    ///
    /// # Errors
    /// When an option makes no sense.
    pub fn new(config: TcaConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { params: Params::empty(), config })
    }

    /// Components of source and target, whose rows are the first `sources` of `x` `[n, features]` and the others.
    ///
    /// # Errors
    /// When there is no source or no target, a value is not a number, the examples do not vary, or they have fewer
    /// components than the option asks for.
    pub fn components(&self, x: MatRef<'_, f64>, sources: usize) -> Result<Components> {
        let n = x.nrows();
        if sources == 0 || sources >= n {
            return Err(Error::invalid(format!(
                "TCA needs examples of source and target, but there are {sources} and {}",
                n.saturating_sub(sources)
            )));
        }
        for (feature, column) in x.col_iter().enumerate() {
            if let Some(example) = column.iter().position(|value| !value.is_finite()) {
                let (domain, example) =
                    if example < sources { ("source", example) } else { ("target", example - sources) };
                return Err(Error::NotFinite(format!(
                    "TCA: feature {feature} of {domain} example {example} is {}, not a finite number",
                    x[(if domain == "source" { example } else { example + sources }, feature)]
                )));
            }
        }
        let asked = self.config.components;
        let k = self.config.kernel(x).gram(x);
        let count = asked.unwrap_or(COMPONENTS).min(n);
        let found = leading_components(
            Features::Gram(k.as_ref()),
            domains(sources, n).as_ref(),
            self.config.mu,
            count,
        )?;
        match asked {
            Some(asked) if found.eigenvalues.len() < asked => Err(Error::invalid(format!(
                "TCA: `components` is {asked}, but {sources} source and {} target examples vary in {} directions; ask \
                 for fewer",
                n - sources,
                found.eigenvalues.len()
            ))),
            _ => Ok(found),
        }
    }
}

/// e, `[n, 1]`: eᵀ F is the difference of the domains' means (L = e eᵀ in the paper's equation 3).
pub fn domains(sources: usize, n: usize) -> Mat<f64> {
    Mat::from_fn(n, 1, |i, _| if i < sources { 1.0 / sources as f64 } else { -1.0 / (n - sources) as f64 })
}

/// How matrix products are spread over threads.
fn parallel() -> faer::Par {
    faer::Par::rayon(0)
}

impl Learner for Tca {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn training_task(&self) -> TaskSpec {
        TaskSpec::FlatBatch { size: 1 }
    }

    fn is_transductive(&self) -> bool {
        true
    }

    fn outer_gradient(&self, _: &Episode) -> Result<Outer> {
        Err(Error::invalid("`tca` learns on each task alone: it cannot be trained"))
    }

    /// Scores of a class: minus the squared distance to its nearest source example among the components.
    fn predict(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction> {
        let labels = support.classes()?;
        let (source, target) = (support.inputs(), query.inputs.view());
        let features = source.len() / labels.len().max(1);
        if target.len() != features * query.len() {
            return Err(Error::invalid(format!(
                "TCA: source examples have {features} features, target examples {}",
                target.len() / query.len().max(1)
            )));
        }
        let values: Vec<f64> = source.iter().chain(target.iter()).map(|&value| f64::from(value)).collect();
        let x = MatRef::from_row_major_slice(&values, labels.len() + query.len(), features);
        let z = self.components(x, labels.len())?.projected;
        let mut scores = Array2::from_elem((query.len(), support.ways()?), f32::NEG_INFINITY);
        for (q, mut scores) in scores.outer_iter_mut().enumerate() {
            for (example, &label) in labels.iter().enumerate() {
                let distance = (z.row(labels.len() + q) - z.row(example)).squared_norm_l2() as f32;
                scores[label] = scores[label].max(-distance);
            }
        }
        Ok(Prediction::Scores(scores))
    }
}

inventory::submit! {
    LearnerEntry {
        name: "tca",
        family: Family::FeatureTransfer,
        summary: "components in which support and queries look alike, then the nearest neighbour",
        paper: "Pan, Tsang, Kwok, Yang, Domain Adaptation via Transfer Component Analysis, IEEE Trans. Neural Netw. 2011",
        solves: &[Problem::Classification],
        train: |_| TrainConfig::default(),
        options: defaults::<TcaConfig>,
        build: |_, table| Ok(Box::new(Tca::new(options("tca", table)?)?)),
    }
}
