//! Options of `finetune`.

use std::fmt;

use kshot::{Error, Result};
use serde::{Deserialize, Serialize};

/// Options of `finetune`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct FinetuneConfig {
    /// Kind of the classifier on top, in pre-training and on each task.
    pub head: HeadKind,
    /// What stays as pre-trained on a task: `all`, or `all-but-last-K` blocks.
    pub freeze: Freeze,
    /// Examples of a pre-training step.
    pub batch: usize,
    /// Steps of gradient descent on a task's support set, at most.
    pub test_steps: u64,
    /// Support loss at which they stop early; 0 never does.
    pub stop_loss: f32,
    /// Their learning rate.
    pub inner_rate: f32,
    /// Their momentum.
    pub inner_momentum: f32,
    /// Their weight decay.
    pub inner_weight_decay: f32,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        Self {
            head: HeadKind::Linear,
            freeze: Freeze { tuned: 0 },
            batch: 64,
            test_steps: 100,
            stop_loss: 0.0,
            inner_rate: 0.01,
            inner_momentum: 0.9,
            inner_weight_decay: 1e-3,
        }
    }
}

impl FinetuneConfig {
    /// Refuses what cannot be meant.
    pub(crate) fn check(&self) -> Result<()> {
        let positive = |value: f32| value.is_finite() && value > 0.0;
        let share = |value: f32| (0.0..1.0).contains(&value);
        let wrong = match self {
            _ if self.batch == 0 => "`batch` is 0: a pre-training step needs an example",
            _ if !positive(self.inner_rate) => "`inner-rate` must be a positive number, as 0.01",
            _ if !(self.stop_loss.is_finite() && self.stop_loss >= 0.0) => {
                "`stop-loss` must be 0 (never) or positive"
            }
            _ if !share(self.inner_momentum) => "`inner-momentum` must be 0 or more and below 1",
            _ if !share(self.inner_weight_decay) => "`inner-weight-decay` must be 0 or more and below 1",
            _ => return Ok(()),
        };
        Err(Error::invalid(format!("options of `finetune`: {wrong}")))
    }
}

/// Kind of classifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// Affine (*Baseline*).
    #[default]
    Linear,
    /// Scaled cosine similarity to a vector for each class (*Baseline++*).
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
