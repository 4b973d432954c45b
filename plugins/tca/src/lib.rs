//! Transfer of features: source and target are projected so that they look alike, then a query is classified by the
//! source.
//!
//! | learner | how | paper |
//! | --- | --- | --- |
//! | `no-adaptation` | not at all | the floor |
//! | `pca` | principal components of both together | Pearson 1901 |
//! | `coral` | the source is given the target's covariance | Sun, Feng & Saenko 2016, algorithm 1 |
//! | `tca` | components in which both have the same mean | Pan, Tsang, Kwok & Yang 2011 |
//! | `sstca` | and which depend on the labels, and keep neighbours together | the same, section IV |
//! | `jda` | components in which both, and each class of both, have the same mean | Long et al. 2013, algorithm 1 |
//!
//! The support is the labelled source (its last examples may be labelled ones of the target,
//! [`Labelled::in_target`]), the queries are the target, all of which are seen together: transductive, except
//! `no-adaptation`. There is nothing to train across tasks.

mod align;
mod classifier;
mod components;
mod config;
mod embedding;
mod kernel;
mod mmd;
mod sstca;
#[cfg(test)]
mod tests;

use faer::{Mat, MatRef};
use kshot::episode::{Episode, Labelled, TaskSpec, Unlabelled};
use kshot::learner::{Family, Learner, Outer, Prediction};
use kshot::params::Params;
use kshot::registry::{LearnerEntry, Problem, Setup, defaults, options};
use kshot::train::TrainConfig;
use kshot::{Error, Result};

pub use align::{Fitted, Method, Task, tca};
pub use classifier::proxy_a_distance;
pub use components::{Components, Features, leading_components};
pub use config::{
    Classifier, CommonConfig, CoralConfig, JdaConfig, KernelKind, PcaConfig, SstcaConfig, TcaConfig,
};
pub use kernel::{Kernel, median_gamma};
pub use mmd::{mmd2, mmd2_of_kernels, mmd2_unbiased};

use config::Options;
use embedding::Embedding;

/// A learner of the family.
pub struct FeatureTransfer {
    name: &'static str,
    params: Params,
    method: Method,
    common: CommonConfig,
    embedding: Option<Embedding>,
}

impl FeatureTransfer {
    /// Nothing to train.
    ///
    /// # Errors
    /// When the checkpoint of `features` cannot be read, or does not fit the input.
    pub fn new(name: &'static str, method: Method, common: CommonConfig, input: [usize; 3]) -> Result<Self> {
        let embedding = common.features.as_ref().map(|path| Embedding::read(path, input)).transpose()?;
        Ok(Self { name, params: Params::empty(), method, common, embedding })
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
        let task = Task { x: x.as_ref(), labels: support.classes()?, sources, ways: support.ways()? };
        let mut z = self.method.align(&task, self.common.unit_length)?;
        if self.common.unit_length {
            to_unit_length(&mut z);
        }
        Ok((x, z))
    }

    fn named(&self, error: Error) -> Error {
        error.context(format!("`{}`", self.name))
    }
}

/// At most 2000 rows, evenly spread.
fn thinned(rows: MatRef<'_, f64>) -> Mat<f64> {
    let step = rows.nrows().div_ceil(2000).max(1);
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

/// Scales rows to unit length; rows of zeros stay.
pub(crate) fn to_unit_length(rows: &mut Mat<f64>) {
    for row in rows.row_iter_mut() {
        let length = row.norm_l2();
        if length > 0.0 {
            row.iter_mut().for_each(|value| *value /= length);
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

impl Learner for FeatureTransfer {
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
        !matches!(self.method, Method::Nothing)
    }

    fn outer_gradient(&self, _: &Episode) -> Result<Outer> {
        Err(self.named(Error::invalid("it learns on each task alone: it cannot be trained")))
    }

    fn predict(&self, support: &Labelled, query: &Unlabelled) -> Result<Prediction> {
        let labels = support.classes()?;
        let (_, z) = self.aligned(support, query).map_err(|error| self.named(error))?;
        let classify = match self.common.classifier {
            Classifier::Nearest => classifier::nearest,
            Classifier::Logistic => classifier::logistic,
        };
        Ok(Prediction::Scores(classify(z.as_ref(), labels, support.ways()?)))
    }

    /// MMD² with an RBF kernel of median width, and the proxy A-distance, of source and target (of at most 2000 rows
    /// each, evenly spread), before and after.
    fn task_measures(&self, support: &Labelled, query: &Unlabelled) -> Result<Vec<(&'static str, f64)>> {
        let (x, z) = self.aligned(support, query).map_err(|error| self.named(error))?;
        let sources = support.len() - support.in_target;
        let split = |rows: &Mat<f64>, measure: &dyn Fn(MatRef<'_, f64>, MatRef<'_, f64>) -> f64| {
            let source = thinned(rows.subrows(0, sources));
            measure(source.as_ref(), thinned(rows.subrows(sources, rows.nrows() - sources)).as_ref())
        };
        let mmd = |rows: &Mat<f64>| {
            let kernel = Kernel::Rbf { gamma: median_gamma(rows.as_ref()) };
            split(rows, &|source, target| mmd2(kernel, source, target))
        };
        Ok(vec![
            ("mmd2_before", mmd(&x)),
            ("mmd2_after", mmd(&z)),
            ("a_distance_before", split(&x, &proxy_a_distance)),
            ("a_distance_after", split(&z, &proxy_a_distance)),
        ])
    }
}

fn build<T>(name: &'static str, setup: &Setup, table: &toml::Table) -> Result<Box<dyn Learner>>
where
    T: Options + Default + serde::Serialize + serde::de::DeserializeOwned,
{
    let built = options::<T>(name, table)?
        .method()
        .and_then(|(method, common)| FeatureTransfer::new(name, method, common, setup.input));
    Ok(Box::new(built.map_err(|error| error.context(format!("`{name}`")))?))
}

macro_rules! register {
    ($name:literal, $config:ty, $summary:literal, $paper:literal) => {
        inventory::submit! {
            LearnerEntry {
                name: $name,
                family: Family::FeatureTransfer,
                summary: $summary,
                paper: $paper,
                solves: &[Problem::Classification],
                train: |_| TrainConfig::default(),
                options: defaults::<$config>,
                build: |setup, table| build::<$config>($name, setup, table),
            }
        }
    };
}

register!(
    "no-adaptation",
    CommonConfig,
    "the nearest source example, without adaptation: the floor",
    "the literature's NN"
);
register!(
    "pca",
    PcaConfig,
    "principal components of source and target, then the nearest neighbour",
    "Pearson, On Lines and Planes of Closest Fit to Systems of Points in Space, Philosophical Magazine 1901"
);
register!(
    "coral",
    CoralConfig,
    "the source with the target's covariance, then the nearest neighbour",
    "Sun, Feng, Saenko, Return of Frustratingly Easy Domain Adaptation, AAAI 2016"
);
register!(
    "tca",
    TcaConfig,
    "components in which source and target look alike, then the nearest neighbour",
    "Pan, Tsang, Kwok, Yang, Domain Adaptation via Transfer Component Analysis, IEEE Trans. Neural Netw. 2011"
);
register!(
    "sstca",
    SstcaConfig,
    "tca with components that depend on the labels and keep neighbours together",
    "Pan, Tsang, Kwok, Yang, Domain Adaptation via Transfer Component Analysis, IEEE Trans. Neural Netw. 2011, section IV"
);
register!(
    "jda",
    JdaConfig,
    "tca that also aligns each class, by guesses of the queries' classes",
    "Long, Wang, Ding, Sun, Yu, Transfer Feature Learning with Joint Distribution Adaptation, ICCV 2013"
);
