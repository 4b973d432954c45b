//! The seven learners.

use kshot::learner::Family;
use kshot::nn::Norm;
use kshot::registry::{Problem, Setup};

use crate::config::{ImamlOptions, MamlOptions, ReptileOptions};
use crate::{Maml, Method};

const BOTH: &[Problem] = &[Problem::Classification, Problem::Regression];

kshot::register_learner! {
    /// an initialisation for gradient descent, by its exact meta-gradient
    ///
    /// Finn, Abbeel, Levine, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks, ICML 2017
    name: "maml",
    family: Family::Optimization,
    solves: BOTH,
    norm: Norm::Batch,
    training: MamlOptions::training,
    options: MamlOptions,
    build: |setup: &Setup, options: MamlOptions| Maml::new(setup, Method::Maml, options),
}

kshot::register_learner! {
    /// maml without second derivatives
    ///
    /// Finn, Abbeel, Levine, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks, ICML 2017, section
    /// 5.2
    name: "fomaml",
    family: Family::Optimization,
    solves: BOTH,
    norm: Norm::Batch,
    training: MamlOptions::training,
    options: MamlOptions,
    build: |setup: &Setup, options: MamlOptions| Maml::new(setup, Method::Fomaml, options),
}

kshot::register_learner! {
    /// maml with only the head adapting
    ///
    /// Raghu, Raghu, Bengio, Vinyals, Rapid Learning or Feature Reuse?, ICLR 2020
    name: "anil",
    family: Family::Optimization,
    solves: BOTH,
    norm: Norm::Batch,
    training: MamlOptions::training,
    options: MamlOptions,
    build: |setup: &Setup, options: MamlOptions| Maml::new(setup, Method::Anil, options),
}

kshot::register_learner! {
    /// maml with all but the head adapting
    ///
    /// Oh, Yoo, Kim, Yun, BOIL: Towards Representation Change for Few-shot Learning, ICLR 2021
    name: "boil",
    family: Family::Optimization,
    solves: BOTH,
    norm: Norm::Batch,
    training: MamlOptions::training,
    options: MamlOptions,
    build: |setup: &Setup, options: MamlOptions| Maml::new(setup, Method::Boil, options),
}

kshot::register_learner! {
    /// maml with a learned rate for each weight
    ///
    /// Li, Zhou, Chen, Li, Meta-SGD: Learning to Learn Quickly for Few-Shot Learning, arXiv 2017
    name: "meta-sgd",
    family: Family::Optimization,
    solves: BOTH,
    norm: Norm::Batch,
    training: MamlOptions::training,
    options: MamlOptions,
    build: |setup: &Setup, options: MamlOptions| Maml::new(setup, Method::MetaSgd, options),
}

kshot::register_learner! {
    /// towards the weights that tasks adapt to
    ///
    /// Nichol, Achiam, Schulman, On First-Order Meta-Learning Algorithms, arXiv 2018
    name: "reptile",
    family: Family::Optimization,
    solves: BOTH,
    norm: Norm::Batch,
    training: ReptileOptions::training,
    options: ReptileOptions,
    build: |setup: &Setup, options: ReptileOptions| {
        let (method, options) = options.method(setup.problem);
        Maml::new(setup, method, options)
    },
}

kshot::register_learner! {
    /// maml's gradient at the optimum of a proximal inner problem
    ///
    /// Rajeswaran, Finn, Kakade, Levine, Meta-Learning with Implicit Gradients, NeurIPS 2019
    name: "imaml",
    family: Family::Optimization,
    solves: BOTH,
    norm: Norm::Batch,
    training: ImamlOptions::training,
    options: ImamlOptions,
    build: |setup: &Setup, options: ImamlOptions| {
        let (method, options) = options.method(setup.problem);
        Maml::new(setup, method, options)
    },
}
