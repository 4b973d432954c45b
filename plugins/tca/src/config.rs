//! Options of the family.

use std::path::PathBuf;

use faer::MatRef;
use kshot::options::Options;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::{Kernel, median_gamma};

/// What examples are before they are aligned, and how they are classified afterwards: the same for every learner of the
/// family, so that a row differs from `no-adaptation`'s by what its method does.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct CommonOptions {
    /// A checkpoint (or the directory of a run) whose network embeds the examples first; where unset, they are taken
    /// as they are.
    pub features: Option<PathBuf>,
    /// Whether examples of two features or more are scaled to unit length, before they are aligned and after.
    pub unit_length: bool,
    /// What classifies the aligned queries (and, in `jda`, guesses their classes).
    pub classifier: Classifier,
}

impl Default for CommonOptions {
    fn default() -> Self {
        Self { features: None, unit_length: true, classifier: Classifier::default() }
    }
}

/// What classifies aligned queries by the aligned support.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Classifier {
    /// The class of the nearest example.
    #[default]
    Nearest,
    /// Multinomial logistic regression.
    Logistic,
}

/// What examples are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct TcaOptions {
    /// What examples are before they are aligned, and how they are classified afterwards.
    #[serde(flatten)]
    pub common: CommonOptions,
    /// The kernel that examples are compared by.
    pub kernel: KernelKind,
    /// γ of the kernels `rbf` and `polynomial`; where unset, the median heuristic for `rbf`, 1 / features for `polynomial`.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub gamma: Option<f64>,
    /// Power of `polynomial`.
    #[schemars(range(min = 1))]
    pub degree: i32,
    /// How strongly components are kept short (μ of equation 7).
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub mu: f64,
    /// How many components.
    #[serde(flatten)]
    pub width: Width,
    /// Of `rbf` and `polynomial`: components are combinations of this many examples, evenly spread, instead of all
    /// (Nyström); where unset, all in tasks of up to 8000, 1000 (of more than 64000, fewer) in larger ones.
    #[schemars(range(min = 1))]
    pub landmarks: Option<usize>,
}

/// How many components a task is projected to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Width {
    /// How many components; where unset, 100, or as many as a task has.
    #[schemars(range(min = 1))]
    pub components: Option<usize>,
    /// Numbers of components to choose from, for each task the one that classifies a held-out fifth of its source best.
    pub search: Vec<usize>,
}

/// Components unless the option says otherwise.
const COMPONENTS: usize = 100;
/// The largest task whose whole kernel matrix is kept: 512 MB.
const WHOLE: usize = 8000;
/// Landmarks beyond, as long as the matrix is no larger.
const LANDMARKS: usize = 1000;

impl Width {
    /// How many components to look for among `n` examples.
    pub(crate) fn count(&self, n: usize) -> usize {
        self.components.unwrap_or(COMPONENTS).min(n)
    }

    fn check(&self) -> kshot::Result<()> {
        if self.search.contains(&0) {
            return Err(kshot::Error::invalid("`search` has 0 components; ask for at least one"));
        }
        if self.components.is_some() && !self.search.is_empty() {
            return Err(kshot::Error::invalid("`components` and `search` are both set; leave one out"));
        }
        Ok(())
    }
}

impl Default for TcaOptions {
    fn default() -> Self {
        Self {
            common: CommonOptions::default(),
            kernel: KernelKind::Linear,
            gamma: None,
            degree: 2,
            mu: 1.0,
            width: Width::default(),
            landmarks: None,
        }
    }
}

impl TcaOptions {
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

    /// How many of `n` examples components combine.
    pub(crate) fn landmarks(&self, n: usize) -> usize {
        let most = if n > WHOLE { LANDMARKS.min(WHOLE * WHOLE / n).max(1) } else { n };
        self.landmarks.unwrap_or(most).min(n)
    }
}

/// Options of `jda`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct JdaOptions {
    /// The options of `tca`.
    #[serde(flatten)]
    pub tca: TcaOptions,
    /// How many times the queries' classes are guessed (T of algorithm 1).
    #[schemars(range(min = 1))]
    pub iterations: usize,
}

impl Default for JdaOptions {
    fn default() -> Self {
        Self { tca: TcaOptions::default(), iterations: 10 }
    }
}

/// Options of `sstca`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct SstcaOptions {
    /// The options of `tca`.
    #[serde(flatten)]
    pub tca: TcaOptions,
    /// γ of equation 15, 0–1: how much components depend on the labels, rather than vary at all.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dependence: f64,
    /// λ: how strongly neighbours are kept together (the paper's after it has taken up 1/n²).
    #[schemars(range(min = 0.0))]
    pub locality: f64,
    /// Neighbours of each example that are kept together.
    #[schemars(range(min = 1))]
    pub neighbours: usize,
}

impl Default for SstcaOptions {
    fn default() -> Self {
        Self { tca: TcaOptions::default(), dependence: 0.5, locality: 0.01, neighbours: 10 }
    }
}

/// Options of `pca`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct PcaOptions {
    /// What examples are before they are aligned, and how they are classified afterwards.
    #[serde(flatten)]
    pub common: CommonOptions,
    /// How many components.
    #[serde(flatten)]
    pub width: Width,
}

/// Options of `coral`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct CoralOptions {
    /// What examples are before they are aligned, and how they are classified afterwards.
    #[serde(flatten)]
    pub common: CommonOptions,
    /// Added to the diagonals of the domains' covariances, so that they can be inverted (λ of algorithm 1).
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub ridge: f64,
}

impl Default for CoralOptions {
    fn default() -> Self {
        Self { common: CommonOptions::default(), ridge: 1.0 }
    }
}

impl Options for CommonOptions {}

impl Options for TcaOptions {
    fn check(&self) -> kshot::Result<()> {
        self.width.check()
    }
}

impl Options for JdaOptions {
    fn check(&self) -> kshot::Result<()> {
        self.tca.check()
    }
}

impl Options for SstcaOptions {
    fn check(&self) -> kshot::Result<()> {
        self.tca.check()
    }
}

impl Options for PcaOptions {
    fn check(&self) -> kshot::Result<()> {
        self.width.check()
    }
}

impl Options for CoralOptions {}
