//! The six learners.

use kshot::Result;
use kshot::learner::Family;
use kshot::registry::{Problem, Setup};

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
        let options = TcaOptions { components: self.components, ..TcaOptions::default() };
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
    name: "no-adaptation",
    family: Family::FeatureTransfer,
    summary: "the nearest source example, without adaptation: the floor",
    paper: "the literature's NN",
    solves: &[Problem::Classification],
    options: CommonOptions,
    build: |setup: &Setup, options: CommonOptions| build(setup, options),
}

kshot::register_learner! {
    name: "pca",
    family: Family::FeatureTransfer,
    summary: "principal components of source and target, then the nearest neighbour",
    paper: "Pearson, On Lines and Planes of Closest Fit to Systems of Points in Space, Philosophical Magazine 1901",
    solves: &[Problem::Classification],
    options: PcaOptions,
    build: |setup: &Setup, options: PcaOptions| build(setup, options),
}

kshot::register_learner! {
    name: "coral",
    family: Family::FeatureTransfer,
    summary: "the source with the target's covariance, then the nearest neighbour",
    paper: "Sun, Feng, Saenko, Return of Frustratingly Easy Domain Adaptation, AAAI 2016",
    solves: &[Problem::Classification],
    options: CoralOptions,
    build: |setup: &Setup, options: CoralOptions| build(setup, options),
}

kshot::register_learner! {
    name: "tca",
    family: Family::FeatureTransfer,
    summary: "components in which source and target look alike, then the nearest neighbour",
    paper: "Pan, Tsang, Kwok, Yang, Domain Adaptation via Transfer Component Analysis, IEEE Trans. Neural Netw. 2011",
    solves: &[Problem::Classification],
    options: TcaOptions,
    build: |setup: &Setup, options: TcaOptions| build(setup, options),
}

kshot::register_learner! {
    name: "sstca",
    family: Family::FeatureTransfer,
    summary: "tca with components that depend on the labels and keep neighbours together",
    paper: "Pan, Tsang, Kwok, Yang, Domain Adaptation via Transfer Component Analysis, IEEE Trans. Neural Netw. 2011, section IV",
    solves: &[Problem::Classification],
    options: SstcaOptions,
    build: |setup: &Setup, options: SstcaOptions| build(setup, options),
}

kshot::register_learner! {
    name: "jda",
    family: Family::FeatureTransfer,
    summary: "tca that also aligns each class, by guesses of the queries' classes",
    paper: "Long, Wang, Ding, Sun, Yu, Transfer Feature Learning with Joint Distribution Adaptation, ICCV 2013",
    solves: &[Problem::Classification],
    options: JdaOptions,
    build: |setup: &Setup, options: JdaOptions| build(setup, options),
}
