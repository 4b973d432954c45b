//! Simple, strong heads on given features: nothing is trained across tasks, each task fits a classifier to its support; and
//! `r2d2`, whose embedding is trained through one of them.
//!
//! | learner | how | paper |
//! | --- | --- | --- |
//! | `centroid` | the nearest class mean, of features centred and of unit length | Wang et al. 2019 (SimpleShot) |
//! | `logistic` | multinomial logistic regression | Tian et al. 2020 |
//! | `ridge` | ridge regression to the labels, in closed form | Bertinetto et al. 2019 |
//! | `bd-cspn` | class means mended by the queries most like them | Liu, Song & Qin 2020 |
//! | `laplacian-shot` | neighbouring queries are labelled alike | Ziko et al. 2020 |
//! | `tim` | class means that tell most of the queries | Boudiaf et al. 2020 |
//! | `pt-map` | as many queries to each class, by optimal transport | Hu, Gripon & Pateux 2021 |
//! | `r2d2` | an embedding learned through ridge regression | Bertinetto et al. 2019 |
//!
//! `bd-cspn`, `laplacian-shot`, `tim` and `pt-map` see all queries of a task together (transductive). Features are the inputs as they are, or what the
//! network of a trained run makes of them (`features = RUN`).
//!
//! ```
//! use kshot_heads::{Centroid, Head, Support};
//! use ndarray::array;
//!
//! let support = Support { z: array![[0.0, 1.0], [2.0, 0.1], [0.2, 0.8]], labels: vec![0, 1, 0], ways: 2 };
//! let scores = Centroid::default().fit(support)?(array![[0.1, 2.0]].view())?;
//! assert!(scores[[0, 0]] > scores[[0, 1]]);
//! # Ok::<(), kshot::Error>(())
//! ```

#![forbid(unsafe_code)]

mod algebra;
mod bd_cspn;
mod centroid;
mod laplacian_shot;
mod logistic;
mod pt_map;
mod r2d2;
mod ridge;
mod tim;

use std::path::PathBuf;

use kshot::embedding::Embedding;
use kshot::episode::{Labelled, Unlabelled};
use kshot::learner::{Adapted, Family, Learner, Prediction};
use kshot::options::Options;
use kshot::registry::Setup;
use kshot::train::TrainConfig;
use kshot::{Error, Result};
use ndarray::{Array2, ArrayView2, ArrayView4};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use bd_cspn::BdCspn;
pub use centroid::{Centroid, Transform};
pub use laplacian_shot::LaplacianShot;
pub use logistic::Logistic;
pub use pt_map::PtMap;
pub use r2d2::R2d2;
pub use ridge::Ridge;
pub use tim::Tim;

/// The labelled features of a task.
pub struct Support {
    /// `[support, features]`.
    pub z: Array2<f64>,
    /// The class of each, below `ways`.
    pub labels: Vec<usize>,
    /// Number of classes, each with an example.
    pub ways: usize,
}

/// From features `[queries, features]` to scores `[queries, ways]`.
pub type Classifier = Box<dyn Fn(ArrayView2<'_, f64>) -> Result<Array2<f64>> + Send + Sync>;

/// What a paper says: a classifier of a task's support.
pub trait Head: Send + Sync {
    /// Whether the answer to a query depends on the others.
    const TRANSDUCTIVE: bool;

    /// Fits the classifier.
    ///
    /// # Errors
    /// When the support does not fit it.
    fn fit(&self, support: Support) -> Result<Classifier>;
}

/// Where features come from.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct FeatureOptions {
    /// A checkpoint (or the directory of a run) whose network embeds the examples; where unset, they are taken as they are.
    pub features: Option<PathBuf>,
}

/// The options of a head, with where its features come from.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct HeadOptions<H: Default> {
    /// Where features come from.
    #[serde(flatten)]
    pub from: FeatureOptions,
    /// The head.
    #[serde(flatten)]
    pub head: H,
}

impl<H> Options for HeadOptions<H> where
    H: Clone + Default + Serialize + serde::de::DeserializeOwned + JsonSchema
{
}

/// A head as a learner.
struct OnFeatures<H> {
    head: H,
    embedding: Option<Embedding>,
}

impl<H: Head + Default> OnFeatures<H> {
    fn new(setup: &Setup, options: HeadOptions<H>) -> Result<Self> {
        let read = |path: &PathBuf| Embedding::read(path, setup.backbone.input);
        Ok(Self { embedding: options.from.features.as_ref().map(read).transpose()?, head: options.head })
    }

    /// `[n, features]`.
    fn features(&self, x: ArrayView4<'_, f32>) -> Result<Array2<f64>> {
        let n = x.dim().0;
        let z = match &self.embedding {
            Some(embedding) => embedding.of(x)?,
            None => {
                let values: Vec<f32> = x.iter().copied().collect();
                let shape = (n, values.len() / n.max(1));
                Array2::from_shape_vec(shape, values).map_err(|error| Error::invalid(error.to_string()))?
            }
        };
        Ok(z.mapv(f64::from))
    }
}

impl<H: Head + Default> Learner for OnFeatures<H> {
    fn is_transductive(&self) -> bool {
        H::TRANSDUCTIVE || self.embedding.as_ref().is_some_and(Embedding::is_transductive)
    }

    fn adapt<'a>(&'a self, support: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
        let (labels, ways) = (support.classes()?.to_vec(), support.ways()?);
        if let Some(class) = (0..ways).find(|class| !labels.contains(class)) {
            return Err(Error::invalid(format!("class {class} has no example in the support set")));
        }
        let support = Support { z: self.features(support.inputs())?, labels, ways };
        let width = support.z.ncols();
        Ok(Box::new(Fitted { learner: self, width, classify: self.head.fit(support)? }))
    }
}

struct Fitted<'a, H> {
    learner: &'a OnFeatures<H>,
    width: usize,
    classify: Classifier,
}

impl<H: Head + Default> Adapted for Fitted<'_, H> {
    fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
        let z = self.learner.features(query.inputs.view())?;
        if z.ncols() != self.width {
            return Err(Error::invalid(format!(
                "queries have {} features, but the support has {}",
                z.ncols(),
                self.width
            )));
        }
        Ok(Prediction::Scores((self.classify)(z.view())?.mapv(|score| score as f32)))
    }
}

kshot::register_learner! {
    /// the nearest class mean, of features centred and of unit length
    ///
    /// Wang, Chao, Weinberger, van der Maaten, SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot Learning, 2019
    name: "centroid",
    differs: "`cl2n` subtracts the mean of the support, where the paper subtracts that of the base classes, which \
        a head does not see. Not measured.",
    family: Family::ModelTransfer,
    options: HeadOptions<Centroid>,
    build: OnFeatures::<Centroid>::new,
}

kshot::register_learner! {
    /// multinomial logistic regression on the support
    ///
    /// Tian, Wang, Krishnan, Tenenbaum, Isola, Rethinking Few-Shot Image Classification: A Good Embedding Is All You Need?, ECCV 2020
    name: "logistic",
    differs: "features are taken as they are, where the authors scale them to unit length (`unit-length = true`). \
        On the pixels of `glyphs`: 49.99 ± 0.80 % and 52.23 ± 0.75 %.",
    family: Family::ModelTransfer,
    options: HeadOptions<Logistic>,
    build: OnFeatures::<Logistic>::new,
}

kshot::register_learner! {
    /// ridge regression to the labels, in closed form
    ///
    /// Bertinetto, Henriques, Torr, Vedaldi, Meta-learning with Differentiable Closed-form Solvers, ICLR 2019
    name: "ridge",
    differs: "λ is given, where the paper learns it with the embedding, as `r2d2` does. Not measured.",
    family: Family::ModelTransfer,
    options: HeadOptions<Ridge>,
    build: OnFeatures::<Ridge>::new,
}

kshot::register_learner! {
    /// class means mended by the queries most like them
    ///
    /// Liu, Song, Qin, Prototype Rectification for Few-Shot Learning, ECCV 2020
    name: "bd-cspn",
    family: Family::ModelTransfer,
    options: HeadOptions<BdCspn>,
    build: OnFeatures::<BdCspn>::new,
}

kshot::register_learner! {
    /// mended class means; neighbouring queries are labelled alike
    ///
    /// Ziko, Dolz, Granger, Ben Ayed, Laplacian Regularized Few-Shot Learning, ICML 2020
    name: "laplacian-shot",
    family: Family::ModelTransfer,
    options: HeadOptions<LaplacianShot>,
    build: OnFeatures::<LaplacianShot>::new,
}

kshot::register_learner! {
    /// class means that are sure of each query and use all classes
    ///
    /// Boudiaf, Ziko, Rony, Dolz, Piantanida, Ben Ayed, Transductive Information Maximization for Few-Shot Learning, NeurIPS 2020
    name: "tim",
    family: Family::ModelTransfer,
    options: HeadOptions<Tim>,
    build: OnFeatures::<Tim>::new,
}

kshot::register_learner! {
    /// as many queries to each class, by optimal transport
    ///
    /// Hu, Gripon, Pateux, Leveraging the Feature Distribution in Transfer-Based Few-Shot Learning, ICANN 2021
    name: "pt-map",
    family: Family::ModelTransfer,
    options: HeadOptions<PtMap>,
    build: OnFeatures::<PtMap>::new,
}

kshot::register_learner! {
    /// an embedding learned through ridge regression
    ///
    /// Bertinetto, Henriques, Torr, Vedaldi, Meta-learning with Differentiable Closed-form Solvers, ICLR 2019
    name: "r2d2",
    differs: "the network is the one all learners share, Conv4 of 64 channels, where the authors' is wider. Not measured.",
    training: |_| TrainConfig { steps: 400, validation_episodes: 100, ..TrainConfig::default() },
    comparison: R2d2,
}
