//! Settings of the outer loop.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::init::Names;
use crate::optimizer::OptimizerKind;
use crate::options::Options;
use crate::schedule::{LearningRate, Schedule};
use crate::{Error, Result};

/// Settings of the outer loop: the keys of `[train]` in an experiment file, each also a flag. A learner's own defaults go
/// before these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, expecting = "a table, [train]", rename_all = "kebab-case")]
pub struct TrainConfig {
    /// Updates of the weights.
    #[schemars(range(min = 0))]
    pub steps: u64,
    /// Episodes whose mean gradient makes one update.
    #[schemars(range(min = 1))]
    pub meta_batch: u64,
    /// What turns gradients into updates.
    pub optimizer: OptimizerKind,
    /// Learning rate, the highest where it follows a schedule.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub learning_rate: f32,
    /// Momentum μ of `sgd`; Adam has moments of its own.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub momentum: f32,
    /// Weight decay λ.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f32,
    /// How the learning rate goes on.
    pub schedule: Schedule,
    /// Steps between two halvings of the learning rate, for the schedule `step`.
    #[schemars(range(min = 1))]
    pub halve_every: u64,
    /// Steps of linear rise to the learning rate.
    #[schemars(range(min = 0))]
    pub warmup: u64,
    /// The largest global (Euclidean) norm of the gradient, longer ones are scaled down to it; 0 never clips.
    #[schemars(range(min = 0.0))]
    pub clip: f32,
    /// Steps between two validations, each of which also saves the run.
    #[schemars(range(min = 1))]
    pub validate_every: u64,
    /// Episodes of a validation, always the same; 0 where there is none.
    #[schemars(range(min = 0))]
    pub validation_episodes: u64,
    /// Weights to start from, by name: a safetensors file with PyTorch's names (`resnet18` has torchvision's, `resnet12`
    /// FEAT's, `wrn28-10` S2M2's), or the directory of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// How the names in that file become those of the learner, as `{strip = "encoder."}`.
    #[serde(skip_serializing_if = "is_default")]
    pub names: Names,
    /// Whether the weights of that file stay as they are.
    #[serde(skip_serializing_if = "is_default")]
    pub frozen: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 1000,
            meta_batch: 1,
            optimizer: OptimizerKind::default(),
            learning_rate: 1e-3,
            momentum: 0.0,
            weight_decay: 0.0,
            schedule: Schedule::default(),
            halve_every: 2000,
            warmup: 0,
            clip: 0.0,
            validate_every: 200,
            validation_episodes: 200,
            init: None,
            names: Names::default(),
            frozen: false,
        }
    }
}

impl Options for TrainConfig {
    fn check(&self) -> Result<()> {
        if self.momentum > 0.0 && self.optimizer != OptimizerKind::Sgd {
            return Err(Error::invalid(
                "`momentum` is a setting of `optimizer = \"sgd\"`: Adam has moments of its own; leave it out",
            ));
        }
        if self.init.is_none() && (self.frozen || self.names != Names::default()) {
            let key = if self.frozen { "frozen" } else { "names" };
            return Err(Error::invalid(format!(
                "`{key}` is of the weights that `init` names, and there are none"
            )));
        }
        if self.warmup > self.steps {
            return Err(Error::invalid(format!(
                "`warmup` is {} steps of {}: the learning rate would never reach its value; lower it",
                self.warmup, self.steps
            )));
        }
        if self.validation_episodes == 1 {
            return Err(Error::invalid(
                "`validation-episodes` is 1: an interval needs at least two episodes (0 trains without validation)",
            ));
        }
        Ok(())
    }
}

impl TrainConfig {
    /// The learning rate as a function of the step.
    pub fn learning_rate(&self) -> LearningRate {
        LearningRate {
            base: self.learning_rate,
            schedule: self.schedule,
            halve_every: self.halve_every,
            warmup: self.warmup,
            steps: self.steps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::check;

    #[test]
    fn the_default_passes_and_nonsense_is_refused_by_name() {
        check(&TrainConfig::default()).unwrap();
        for (toml, key) in [
            ("meta-batch = 0", "meta-batch"),
            ("learning-rate = -0.1", "learning-rate"),
            ("learning-rate = nan", "learning-rate"),
            ("clip = -1.0", "clip"),
            ("optimizer = 'sgd'\nmomentum = 1.0", "momentum"),
            ("momentum = 0.9", "momentum"),
            ("weight-decay = inf", "weight-decay"),
            ("warmup = 2000", "warmup"),
            ("validate-every = 0", "validate-every"),
            ("validation-episodes = 1", "validation-episodes"),
            ("frozen = true", "frozen"),
            ("halve-every = 0", "halve-every"),
        ] {
            let config: TrainConfig = toml::from_str(toml).unwrap();
            let error = check(&config).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{key}`")), "{toml}: {error}");
        }
        assert!(toml::from_str::<TrainConfig>("learning_rate = 0.1").is_err(), "keys are in kebab-case");
    }
}
