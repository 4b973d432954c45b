//! Transfer of features: source and target are projected so that they look alike, then a query is classified by the
//! source.
//!
//! | learner | how | paper |
//! | --- | --- | --- |
//! | `no-adaptation` | not at all | the floor |
//! | `pca` | principal components of both together | Pearson 1901 |
//! | `coral` | both are centred, and the source is given the target's covariance | Sun, Feng & Saenko 2016, algorithm 1 |
//! | `tca` | components in which both have the same mean | Pan, Tsang, Kwok & Yang 2011 |
//! | `sstca` | and which depend on the labels, and keep neighbours together | the same, section IV |
//! | `jda` | components in which both, and each class of both, have the same mean | Long et al. 2013, algorithm 1 |
//!
//! The support is the labelled source (its last examples may be labelled ones of the target,
//! [`Labelled::in_target`]), the queries are the target, all of which are seen together: transductive, except
//! `no-adaptation` (unless `features` are those of a network that sees them together). There is nothing to train across tasks.
//!
//! ```
//! use kshot_tca as _; // Registers the six.
//! use ndarray::Array4;
//! # use kshot::episode::{Count, Labelled, Targets, Unlabelled};
//! # use kshot::learner::Learner;
//! # use kshot::nn::Norm;
//! # use kshot::registry::{self, Problem, Setup};
//! use kshot::backbone::Backbone;
//!
//! // Two classes told apart by their first value; the target lies elsewhere, and stretched.
//! let points = |factor: f32, shift: f32| {
//!     Array4::from_shape_fn((20, 2, 1, 1), |(n, value, ..)| {
//!         let own = if value == 0 { (n % 2) as f32 } else { 0.1 * (n / 2) as f32 };
//!         factor * own + shift
//!     })
//! };
//! let source = Labelled::new(points(1.0, 0.0), Targets::Classes((0..20).map(|n| n % 2).collect()));
//! let backbone = Backbone::of(&Default::default(), [2, 1, 1], Norm::Running)?;
//! let problem = Problem::Classification;
//! let setup = Setup { problem, backbone, base_classes: 0, ways: 2, shots: Count::fixed(10), queries: 10, seed: 0 };
//! let coral = (registry::learner("coral")?.build)(&setup, &Default::default())?;
//! let answers = coral.answer(&source, &Unlabelled { inputs: points(1.5, 0.2) })?.classes();
//! assert_eq!(answers.len(), 20);
//! # Ok::<(), kshot::Error>(())
//! ```

#![forbid(unsafe_code)]

mod align;
mod basis;
mod classifier;
mod components;
mod config;
mod kernel;
mod mmd;
mod neighbours;
mod register;
mod search;
mod sstca;
#[cfg(test)]
mod tests;

use faer::{Mat, MatRef};
use kshot::embedding::Embedding;
use kshot::episode::{Labelled, Unlabelled};
use kshot::learner::{Adapted, Aligner, DomainDistances, Learner, Prediction};
use kshot::{Error, Result};

pub use align::{Fitted, Method, tca};
pub use basis::{Task, domains};
pub use classifier::proxy_a_distance;
pub use components::{Components, Features, leading_components};
pub use config::{
    Classifier, CommonOptions, CoralOptions, JdaOptions, KernelKind, PcaOptions, SstcaOptions, TcaOptions,
    Width,
};
pub use kernel::{Kernel, median_gamma};
pub use mmd::{mmd2, mmd2_of_kernels, mmd2_unbiased};

use basis::to_unit_length;

/// A learner of the family.
pub struct FeatureTransfer {
    method: Method,
    common: CommonOptions,
    embedding: Option<Embedding>,
}

impl FeatureTransfer {
    /// Nothing to train.
    ///
    /// # Errors
    /// When the checkpoint of `features` cannot be read, or does not fit the input.
    pub fn new(method: Method, common: CommonOptions, input: [usize; 3]) -> Result<Self> {
        let embedding = common.features.as_ref().map(|path| Embedding::read(path, input)).transpose()?;
        Ok(Self { method, common, embedding })
    }

    /// Support, then queries, `[n, features]`, embedded and scaled as the options say.
    fn rows(&self, support: &Labelled, query: &Unlabelled) -> Result<Mat<f64>> {
        let (known, n) = (support.len(), support.len() + query.len());
        let (source, target) = (support.inputs(), query.inputs.view());
        let features = source.len() / known.max(1);
        if target.len() != features * query.len() {
            return Err(Error::invalid(format!(
                "source examples have {features} features, target examples {}: domains must have the same",
                target.len() / query.len().max(1)
            )));
        }
        let joined = |source: &[f32], target: &[f32]| {
            let d = source.len() / known.max(1);
            Mat::from_fn(n, d, |i, j| {
                f64::from(if i < known { source[i * d + j] } else { target[(i - known) * d + j] })
            })
        };
        let (source, target) = (source.as_standard_layout(), target.as_standard_layout());
        let mut x = match &self.embedding {
            None => joined(source.as_slice().unwrap_or(&[]), target.as_slice().unwrap_or(&[])),
            Some(embedding) => {
                let (source, target) = (embedding.of(source.view())?, embedding.of(target.view())?);
                joined(
                    source.as_standard_layout().as_slice().unwrap_or(&[]),
                    target.as_standard_layout().as_slice().unwrap_or(&[]),
                )
            }
        };
        check(x.as_ref(), known)?;
        if self.common.unit_length {
            to_unit_length(&mut x);
        }
        Ok(x)
    }

    /// The rows before and after they are aligned.
    fn aligned(&self, support: &Labelled, query: &Unlabelled) -> Result<(Mat<f64>, Mat<f64>)> {
        let x = self.rows(support, query)?;
        let sources = support.len() - support.in_target;
        if sources == 0 || sources == x.nrows() {
            return Err(Error::invalid(format!(
                "there must be examples of source and target, but there are {sources} and {}",
                x.nrows() - sources
            )));
        }
        let labels = labels(support, x.nrows())?;
        let task = Task { x: x.as_ref(), labels: &labels, sources, ways: support.ways()? };
        let mut z = search::chosen(&self.method, &task, &self.common)?.align(&task, &self.common)?;
        if self.common.unit_length {
            to_unit_length(&mut z);
        }
        Ok((x, z))
    }
}

/// The labels of the support, then none for the queries.
fn labels(support: &Labelled, n: usize) -> Result<Vec<Option<usize>>> {
    let known = support.classes()?;
    Ok((0..n).map(|row| known.get(row).copied()).collect())
}

/// Rows of a domain that distances are measured with, at most.
const THINNED: usize = 2000;

/// At most [`THINNED`] rows, evenly spread.
fn thinned(rows: MatRef<'_, f64>) -> Mat<f64> {
    let step = rows.nrows().div_ceil(THINNED).max(1);
    Mat::from_fn(rows.nrows().div_ceil(step), rows.ncols(), |i, j| rows[(i * step, j)])
}

/// Refuses what is no number.
fn check(x: MatRef<'_, f64>, known: usize) -> Result<()> {
    for (feature, column) in x.col_iter().enumerate() {
        if let Some(row) = column.iter().position(|value| !value.is_finite()) {
            let (set, example) = if row < known { ("support", row) } else { ("query", row - known) };
            return Err(Error::NotFinite(format!(
                "feature {feature} of {set} example {example} is {}, not a finite number",
                x[(row, feature)]
            )));
        }
    }
    Ok(())
}

/// How matrix products are spread over threads.
fn parallel() -> faer::Par {
    faer::Par::rayon(0)
}

impl Learner for FeatureTransfer {
    fn is_transductive(&self) -> bool {
        !matches!(self.method, Method::Nothing)
            || self.embedding.as_ref().is_some_and(Embedding::is_transductive)
    }

    fn adapt<'a>(&'a self, support: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
        support.classes()?;
        Ok(Box::new(Source { learner: self, support }))
    }

    fn aligner(&self) -> Option<&dyn Aligner> {
        Some(self)
    }
}

/// The labelled source, which waits for the target.
struct Source<'a> {
    learner: &'a FeatureTransfer,
    support: &'a Labelled,
}

impl Adapted for Source<'_> {
    fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
        let Self { learner, support } = self;
        let (_, z) = learner.aligned(support, query)?;
        let scores =
            learner.common.classifier.scores(z.as_ref(), &labels(support, z.nrows())?, support.ways()?);
        Ok(Prediction::Scores(scores))
    }
}

impl Aligner for FeatureTransfer {
    /// MMD² with an RBF kernel of median width, and the proxy A-distance, of at most 2000 rows each, evenly spread.
    fn domain_distances(&self, support: &Labelled, query: &Unlabelled) -> Result<DomainDistances> {
        let (x, z) = self.aligned(support, query)?;
        let sources = support.len() - support.in_target;
        let split = |rows: &Mat<f64>, measure: &dyn Fn(MatRef<'_, f64>, MatRef<'_, f64>) -> f64| {
            let source = thinned(rows.subrows(0, sources));
            measure(source.as_ref(), thinned(rows.subrows(sources, rows.nrows() - sources)).as_ref())
        };
        let mmd = |rows: &Mat<f64>| {
            let kernel = Kernel::Rbf { gamma: median_gamma(rows.as_ref()) };
            split(rows, &|source, target| mmd2(kernel, source, target))
        };
        Ok(DomainDistances {
            mmd2_before: mmd(&x),
            mmd2_after: mmd(&z),
            a_distance_before: split(&x, &proxy_a_distance),
            a_distance_after: split(&z, &proxy_a_distance),
        })
    }

    fn cost(&self, support: &Labelled, query: &Unlabelled) -> Option<String> {
        self.method.cost(support.len(), query.len(), support.inputs().len() / support.len().max(1))
    }

    fn bytes(&self, support: &Labelled, query: &Unlabelled) -> u64 {
        self.method.bytes(support.len() + query.len(), support.inputs().len() / support.len().max(1))
    }
}
