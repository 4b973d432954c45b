//! Options of the family.

use std::path::PathBuf;

use faer::MatRef;
use kshot::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::{Kernel, Method, median_gamma};

/// What examples are before they are aligned, and how they are classified afterwards.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct CommonConfig {
    /// A checkpoint (or the directory of a run) whose network embeds the examples first; where unset, they are taken
    /// as they are.
    pub features: Option<PathBuf>,
    /// Whether examples are scaled to unit length, before and after.
    pub unit_length: bool,
    /// What classifies the aligned queries.
    pub classifier: Classifier,
}

/// What classifies aligned queries by the aligned support.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Classifier {
    /// The class of the nearest example.
    #[default]
    Nearest,
    /// Multinomial logistic regression.
    Logistic,
}

/// What examples are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelKind {
    /// x·y, solved in the space of features (Long et al. 2013, "primal").
    Linear,
    /// exp(−γ ‖x − y‖²).
    Rbf,
    /// (γ x·y + 1)^degree.
    Polynomial,
}

/// Options of `tca`, and of those that share its solver.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct TcaConfig {
    /// Before and after.
    #[serde(flatten)]
    pub common: CommonConfig,
    /// What examples are compared by.
    pub kernel: KernelKind,
    /// γ of the kernel; where unset, the median heuristic for `rbf`, 1 / features for `polynomial`.
    pub gamma: Option<f64>,
    /// Power of `polynomial`.
    pub degree: i32,
    /// μ: how strongly components are kept short.
    pub mu: f64,
    /// How many; where unset, 100, or as many as a task has.
    pub components: Option<usize>,
    /// Of `rbf` and `polynomial`: components are combinations of this many examples, evenly spread, instead of all
    /// (Nyström); where unset, 1000 in tasks of more than 8000, all in smaller ones.
    pub landmarks: Option<usize>,
}

/// Components unless the option says otherwise.
const COMPONENTS: usize = 100;
/// The largest task whose whole kernel matrix is kept: 512 MB.
const WHOLE: usize = 8000;
/// Landmarks beyond.
const LANDMARKS: usize = 1000;

impl Default for TcaConfig {
    fn default() -> Self {
        Self {
            common: CommonConfig { unit_length: true, ..CommonConfig::default() },
            kernel: KernelKind::Linear,
            gamma: None,
            degree: 2,
            mu: 1.0,
            components: None,
            landmarks: None,
        }
    }
}

impl TcaConfig {
    pub(crate) fn check(&self) -> Result<()> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        refuse(match self {
            _ if !positive(self.mu) => "`mu` must be a positive number, as 1",
            _ if self.gamma.is_some_and(|gamma| !positive(gamma)) => "`gamma` must be a positive number",
            _ if self.degree < 1 => "`degree` must be 1 or more",
            _ if self.components == Some(0) => "`components` must be 1 or more",
            _ if self.landmarks == Some(0) => "`landmarks` must be 1 or more",
            _ => return Ok(()),
        })
    }

    /// The kernel for these examples.
    pub(crate) fn kernel(&self, x: MatRef<'_, f64>) -> Kernel {
        match self.kernel {
            KernelKind::Linear => Kernel::Linear,
            KernelKind::Rbf => Kernel::Rbf { gamma: self.gamma.unwrap_or_else(|| median_gamma(x)) },
            KernelKind::Polynomial => Kernel::Polynomial {
                gamma: self.gamma.unwrap_or(1.0 / x.ncols() as f64),
                degree: self.degree,
            },
        }
    }

    /// How many components to look for among `n` examples.
    pub(crate) fn count(&self, n: usize) -> usize {
        self.components.unwrap_or(COMPONENTS).min(n)
    }

    /// How many of `n` examples components combine.
    pub(crate) fn landmarks(&self, n: usize) -> usize {
        self.landmarks.unwrap_or(if n > WHOLE { LANDMARKS } else { n }).min(n)
    }
}

/// Options of `jda`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct JdaConfig {
    /// As of `tca`.
    #[serde(flatten)]
    pub tca: TcaConfig,
    /// How often the queries' classes are guessed anew (T of algorithm 1).
    pub iterations: usize,
}

impl Default for JdaConfig {
    fn default() -> Self {
        Self { tca: TcaConfig::default(), iterations: 10 }
    }
}

/// Options of `sstca`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct SstcaConfig {
    /// As of `tca`.
    #[serde(flatten)]
    pub tca: TcaConfig,
    /// γ of equation 15, 0–1: how much components shall depend on the labels, as against vary at all.
    pub dependence: f64,
    /// λ of equation 17: how strongly neighbours are kept together.
    pub locality: f64,
    /// Neighbours of each example.
    pub neighbours: usize,
}

impl Default for SstcaConfig {
    fn default() -> Self {
        Self { tca: TcaConfig::default(), dependence: 0.5, locality: 1.0, neighbours: 10 }
    }
}

/// Options of `pca`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct PcaConfig {
    /// Before and after.
    #[serde(flatten)]
    pub common: CommonConfig,
    /// How many; where unset, 100, or as many as a task has.
    pub components: Option<usize>,
}

impl Default for PcaConfig {
    fn default() -> Self {
        Self { common: TcaConfig::default().common, components: None }
    }
}

/// Options of `coral`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct CoralConfig {
    /// Before and after.
    #[serde(flatten)]
    pub common: CommonConfig,
    /// Added to the covariances' diagonals, λ of algorithm 1.
    pub ridge: f64,
}

impl Default for CoralConfig {
    fn default() -> Self {
        Self { common: CommonConfig::default(), ridge: 1.0 }
    }
}

/// From an option type to the method it is of.
pub(crate) trait Options {
    /// # Errors
    /// When an option makes no sense.
    fn method(self) -> Result<(Method, CommonConfig)>;
}

impl Options for TcaConfig {
    fn method(self) -> Result<(Method, CommonConfig)> {
        self.check()?;
        let common = self.common.clone();
        Ok((Method::Tca(self), common))
    }
}

impl Options for JdaConfig {
    fn method(self) -> Result<(Method, CommonConfig)> {
        self.tca.check()?;
        if self.iterations == 0 {
            refuse("`iterations` must be 1 or more")?;
        }
        let common = self.tca.common.clone();
        Ok((Method::Jda(self), common))
    }
}

impl Options for SstcaConfig {
    fn method(self) -> Result<(Method, CommonConfig)> {
        self.tca.check()?;
        match &self {
            _ if !(0.0..=1.0).contains(&self.dependence) => refuse("`dependence` must be 0 to 1")?,
            _ if !(self.locality.is_finite() && self.locality >= 0.0) => {
                refuse("`locality` must be 0 or more")?
            }
            _ if self.neighbours == 0 => refuse("`neighbours` must be 1 or more")?,
            _ => {}
        }
        let common = self.tca.common.clone();
        Ok((Method::Sstca(self), common))
    }
}

impl Options for PcaConfig {
    fn method(self) -> Result<(Method, CommonConfig)> {
        if self.components == Some(0) {
            refuse("`components` must be 1 or more")?;
        }
        let config = TcaConfig { components: self.components, ..TcaConfig::default() };
        Ok((Method::Pca(config), self.common))
    }
}

impl Options for CoralConfig {
    fn method(self) -> Result<(Method, CommonConfig)> {
        if !(self.ridge.is_finite() && self.ridge > 0.0) {
            refuse("`ridge` must be a positive number, as 1")?;
        }
        Ok((Method::Coral { ridge: self.ridge }, self.common))
    }
}

impl Options for CommonConfig {
    fn method(self) -> Result<(Method, CommonConfig)> {
        Ok((Method::Nothing, self))
    }
}

fn refuse<T>(wrong: &str) -> Result<T> {
    Err(Error::invalid(wrong))
}
