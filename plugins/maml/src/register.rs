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
    differs: "nothing in the method. Trained for 240,000 tasks of 5 queries a class instead of 1.9 million, \
        Omniglot, 5-way 1-shot: 99.08 ± 0.30 % with one query a class, as published, where the paper has \
        98.7 %, and 97.63 ± 0.22 % with 15.",
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
    differs: "nothing in the method. Trained as `maml`, Omniglot, 5-way 1-shot: 98.24 ± 0.41 % with one query a \
        class, as published, where Nichol et al. 2018 have 98.3 %, and 96.85 ± 0.25 % with 15.",
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
    differs: "nothing in the method. Trained as `maml`, Omniglot, 5-way 1-shot: 98.22 ± 0.39 % with one query a \
        class, 97.19 ± 0.24 % with 15.",
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
    differs: "nothing in the method. Not measured on the paper's data.",
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
    differs: "rates are learned in units of `inner-rate` and start there all alike. Learned as they are, they run \
        away on the sinusoid: trained for one step, several diverged.",
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
    differs: "for a short run α is 0.005 and a test takes 10 steps, where the paper has 0.001 and 50 for 100,000 \
        iterations: after 1,500, on Omniglot, 86.58 ± 0.91 % against 84.55 ± 0.96 % with those. After 20,000, 5-way \
        1-shot: 96.40 ± 0.55 % with one query a class, published 97.68 % (as quoted by Rajeswaran et al. 2019, table 2), \
        and 94.87 ± 0.33 % with 15. Tasks of a meta-batch all start from the second moment that the last one left, \
        where the authors' take turns.",
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
    differs: "for a short run λ is 0.2, α 0.4 and a task takes 5 steps, where the paper has 2, 0.1 and 16: after \
        40 updates, on `glyphs`, 69.33 ± 1.00 % against 53.37 ± 1.29 % with those. Omniglot, 5-way 1-shot, \
        32,000 tasks: 95.60 ± 0.64 % with one query a class, published 99.16 % (table 2), and 93.60 ± 0.36 % \
        with 15.",
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
