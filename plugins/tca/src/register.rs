//! The six learners.

use kshot::Result;
use kshot::learner::Family;
use kshot::registry::Setup;

use crate::FeatureTransfer;
use crate::align::Method;
use crate::config::{CommonOptions, CoralOptions, JdaOptions, PcaOptions, SstcaOptions, TcaOptions};

/// From options to the method they are of.
trait Configured {
    fn method(self) -> (Method, CommonOptions);
}

impl Configured for TcaOptions {
    fn method(self) -> (Method, CommonOptions) {
        let common = self.common.clone();
        (Method::Tca(self), common)
    }
}

impl Configured for JdaOptions {
    fn method(self) -> (Method, CommonOptions) {
        let common = self.tca.common.clone();
        (Method::Jda(self), common)
    }
}

impl Configured for SstcaOptions {
    fn method(self) -> (Method, CommonOptions) {
        let common = self.tca.common.clone();
        (Method::Sstca(self), common)
    }
}

impl Configured for PcaOptions {
    fn method(self) -> (Method, CommonOptions) {
        let options = TcaOptions { width: self.width, ..TcaOptions::default() };
        (Method::Pca(options), self.common)
    }
}

impl Configured for CoralOptions {
    fn method(self) -> (Method, CommonOptions) {
        (Method::Coral { ridge: self.ridge }, self.common)
    }
}

impl Configured for CommonOptions {
    fn method(self) -> (Method, CommonOptions) {
        (Method::Nothing, self)
    }
}

fn build(setup: &Setup, options: impl Configured) -> Result<FeatureTransfer> {
    let (method, common) = options.method();
    FeatureTransfer::new(method, common, setup.backbone.input)
}

kshot::register_learner! {
    /// the nearest source example, without adaptation: the floor
    ///
    /// the literature's NN
    name: "no-adaptation",
    differs: "examples have unit length. Office–Caltech, SURF, twelve pairs: 40.93 % on average, 31.37 % as they are \
        (`unit-length = false`), the literature's figure.",
    family: Family::FeatureTransfer,
    options: CommonOptions,
    build: |setup: &Setup, options: CommonOptions| build(setup, options),
}

kshot::register_learner! {
    /// principal components of source and target, then the nearest neighbour
    ///
    /// Pearson, On Lines and Planes of Closest Fit to Systems of Points in Space, Philosophical Magazine 1901
    name: "pca",
    differs: "examples have unit length, before and after. Office–Caltech, SURF, twelve pairs: 43.52 % on average.",
    family: Family::FeatureTransfer,
    options: PcaOptions,
    build: |setup: &Setup, options: PcaOptions| build(setup, options),
}

kshot::register_learner! {
    /// both centred, the source with the target's covariance, then the nearest neighbour
    ///
    /// Sun, Feng, Saenko, Return of Frustratingly Easy Domain Adaptation, AAAI 2016
    name: "coral",
    differs: "examples have unit length, and their nearest neighbour answers, where the authors train a support vector \
        machine. Office–Caltech, SURF, twelve pairs: 40.94 % on average, 48.60 % with `classifier = logistic`. On \
        bearings `unit-length = false` is better, 96.56 against 94.78 %.",
    family: Family::FeatureTransfer,
    options: CoralOptions,
    build: |setup: &Setup, options: CoralOptions| build(setup, options),
}

kshot::register_learner! {
    /// components in which source and target look alike, then the nearest neighbour
    ///
    /// Pan, Tsang, Kwok, Yang, Domain Adaptation via Transfer Component Analysis, IEEE Trans. Neural Netw. 2011
    name: "tca",
    differs: "examples have unit length, before and after. Office–Caltech, SURF, twelve pairs: 43.51 % on average, \
        published 43.61 % (Long et al. 2013, table 3).",
    family: Family::FeatureTransfer,
    options: TcaOptions,
    build: |setup: &Setup, options: TcaOptions| build(setup, options),
}

kshot::register_learner! {
    /// tca with components that depend on the labels and keep neighbours together
    ///
    /// Pan, Tsang, Kwok, Yang, Domain Adaptation via Transfer Component Analysis, IEEE Trans. Neural Netw. 2011,
    /// section IV
    name: "sstca",
    differs: "examples have unit length, before and after; a linear kernel. Office–Caltech, SURF, twelve pairs: 42.36 % on \
        average, 43.92 % with `kernel = rbf` and 30 components.",
    family: Family::FeatureTransfer,
    options: SstcaOptions,
    build: |setup: &Setup, options: SstcaOptions| build(setup, options),
}

kshot::register_learner! {
    /// tca that also aligns each class, by guesses of the queries' classes
    ///
    /// Long, Wang, Ding, Sun, Yu, Transfer Feature Learning with Joint Distribution Adaptation, ICCV 2013
    name: "jda",
    differs: "examples have unit length, before and after. Office–Caltech, SURF, twelve pairs: 43.94 % on average, \
        published 46.31 % (table 3), both with 100 components; with 20, 46.92 %.",
    family: Family::FeatureTransfer,
    options: JdaOptions,
    build: |setup: &Setup, options: JdaOptions| build(setup, options),
}
