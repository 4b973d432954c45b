//! What metric learners are trained on, as options.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::episode::{Count, TaskSpec};
use crate::registry::Setup;

/// Options of learners that train on N-way K-shot tasks, of as many shots as they are tested with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct EpisodicTraining {
    /// Ways of training episodes, at most the training split's classes; more than at test time help (Snell et al. 2017,
    /// section 2.6).
    #[schemars(range(min = 2))]
    pub train_ways: usize,
    /// Queries of each class in training episodes.
    #[schemars(range(min = 1))]
    pub train_queries: usize,
}

impl Default for EpisodicTraining {
    fn default() -> Self {
        Self { train_ways: 20, train_queries: 5 }
    }
}

impl EpisodicTraining {
    /// The training tasks.
    pub fn task(&self, setup: &Setup) -> TaskSpec {
        TaskSpec::FewShot {
            ways: Count::fixed(self.train_ways.min(setup.base_classes.max(2))),
            shots: setup.shots,
            queries: self.train_queries,
        }
    }
}

/// Options of learners that train on batches of P classes × K examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct BatchTraining {
    /// P: classes of a training batch, at most the training split's.
    #[schemars(range(min = 2))]
    pub classes: usize,
    /// K: examples of each.
    #[schemars(range(min = 2))]
    pub per_class: usize,
}

impl Default for BatchTraining {
    /// As Hermans et al. 2017 do, with fewer classes.
    fn default() -> Self {
        Self { classes: 16, per_class: 4 }
    }
}

impl BatchTraining {
    /// The training batches.
    pub fn task(&self, setup: &Setup) -> TaskSpec {
        let classes = self.classes.min(setup.base_classes.max(2));
        TaskSpec::PkBatch { classes, per_class: self.per_class }
    }
}
