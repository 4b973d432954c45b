//! Options of `finetune`.

use std::fmt;

use kshot::options::Options;
use kshot::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Options of `finetune`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct FinetuneOptions {
    /// Kind of the classifier on top, in pre-training and on each task.
    pub head: HeadKind,
    /// What stays as pre-trained on a task: `all`, or `all-but-last-K` blocks.
    #[schemars(with = "String")]
    pub freeze: Freeze,
    /// Examples of a pre-training step.
    #[schemars(range(min = 1))]
    pub batch: usize,
    /// Share of a label that is spread over all base classes in pre-training (Szegedy et al. 2016).
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub label_smoothing: f32,
    /// α of mixup in pre-training: each example is mixed with another by a share from Beta(α, α) (Zhang et al. 2018, who take
    /// 0.2 for ImageNet and 1 for CIFAR-10); 0 mixes none.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub mixup: f32,
    /// Passes of gradient descent over a task's support set, at most: a step each where `inner-batch` holds all of it.
    pub test_steps: u64,
    /// Support examples of a step; where unset, 4 for a head alone, as published, and all for a regression or tuned blocks,
    /// whose batch norm sees the batch.
    #[schemars(range(min = 1))]
    pub inner_batch: Option<usize>,
    /// Support loss of a pass at which it ends early; 0 never does.
    #[schemars(range(min = 0.0))]
    pub stop_loss: f32,
    /// Learning rate of the steps.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub inner_rate: f32,
    /// Momentum of the steps.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub inner_momentum: f32,
    /// Dampening of that momentum; where unset, 0.9 for a head alone, as published, and 0 for a regression or tuned blocks.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub inner_dampening: Option<f32>,
    /// Weight decay of the steps.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1))]
    pub inner_weight_decay: f32,
}

impl Default for FinetuneOptions {
    fn default() -> Self {
        Self {
            head: HeadKind::Linear,
            freeze: Freeze { tuned: 0 },
            batch: 64,
            label_smoothing: 0.0,
            mixup: 0.0,
            test_steps: 100,
            inner_batch: None,
            stop_loss: 0.0,
            inner_rate: 0.01,
            inner_momentum: 0.9,
            inner_dampening: None,
            inner_weight_decay: 1e-3,
        }
    }
}

impl Options for FinetuneOptions {}

/// Kind of classifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// Affine (*Baseline*).
    #[default]
    Linear,
    /// Scaled cosine similarity to a vector for each class, times a learned norm (*Baseline++*).
    Cosine,
}

/// What stays as pre-trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Freeze {
    /// How many blocks, counted from the last, are tuned; 0 freezes all.
    pub tuned: usize,
}

impl TryFrom<String> for Freeze {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        match text.strip_prefix("all-but-last-").map(str::parse) {
            None if text == "all" => Ok(Self { tuned: 0 }),
            Some(Ok(tuned)) => Ok(Self { tuned }),
            _ => Err(Error::invalid(format!(
                "`freeze` is `{text}`: write `all`, or `all-but-last-1` and so on"
            ))),
        }
    }
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tuned {
            0 => f.write_str("all"),
            tuned => write!(f, "all-but-last-{tuned}"),
        }
    }
}

impl From<Freeze> for String {
    fn from(freeze: Freeze) -> Self {
        freeze.to_string()
    }
}
