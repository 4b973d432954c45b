//! Outer optimizers on flat vectors: what they remember is plain data, so a run resumes bit for bit.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::params::{Layout, Params, Role};

/// Decay of Adam's first moment.
pub const BETA1: f32 = 0.9;
/// Decay of Adam's second moment.
pub const BETA2: f32 = 0.999;
/// Added to the root of Adam's second moment.
pub const EPSILON: f32 = 1e-8;

/// Which optimizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam (Kingma & Ba 2015, algorithm 1); weight decay is added to the gradient.
    #[default]
    Adam,
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2): θ ← θ − η·λ·θ beside the update.
    Adamw,
    /// Gradient descent with heavy-ball momentum, v ← μ·v + g, θ ← θ − η·v; weight decay is added to the gradient.
    Sgd,
}

/// An optimizer with what it remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    weight_decay: f32,
    rule: Rule,
}

/// The update rule and its moments.
#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Adam { decoupled: bool, first: Params, second: Params },
    Sgd { momentum: f32, velocity: Params },
}

impl Optimizer {
    /// Starts with nothing remembered, for weights of this layout. `momentum` (μ) is that of [`OptimizerKind::Sgd`].
    pub fn new(kind: OptimizerKind, momentum: f32, weight_decay: f32, layout: &Arc<Layout>) -> Self {
        let zeros = Params::zeros(layout);
        let rule = match kind {
            OptimizerKind::Sgd => Rule::Sgd { momentum, velocity: zeros },
            OptimizerKind::Adam | OptimizerKind::Adamw => {
                Rule::Adam { decoupled: kind == OptimizerKind::Adamw, first: zeros.clone(), second: zeros }
            }
        };
        Self { weight_decay, rule }
    }

    /// What it remembers, by name: `velocity`, or `first_moment` and `second_moment`.
    pub fn moments(&self) -> Vec<(&'static str, &Params)> {
        match &self.rule {
            Rule::Sgd { velocity, .. } => vec![("velocity", velocity)],
            Rule::Adam { first, second, .. } => vec![("first_moment", first), ("second_moment", second)],
        }
    }

    /// The same, to restore from a checkpoint.
    pub fn moments_mut(&mut self) -> Vec<(&'static str, &mut Params)> {
        match &mut self.rule {
            Rule::Sgd { velocity, .. } => vec![("velocity", velocity)],
            Rule::Adam { first, second, .. } => vec![("first_moment", first), ("second_moment", second)],
        }
    }

    /// Update number `step`, counted from 1, of the weights; statistics stay as they are.
    pub fn update(&mut self, theta: &mut Params, gradient: &Params, learning_rate: f32, step: u64) {
        let decay = self.weight_decay;
        let layout = theta.layout().clone();
        for range in layout.ranges(Role::Weight) {
            let theta = &mut theta.values_mut()[range.clone()];
            let gradient = &gradient.values()[range.clone()];
            match &mut self.rule {
                Rule::Sgd { momentum, velocity } => {
                    let velocity = &mut velocity.values_mut()[range];
                    for ((theta, g), v) in theta.iter_mut().zip(gradient).zip(velocity) {
                        *v = *momentum * *v + g + decay * *theta;
                        *theta -= learning_rate * *v;
                    }
                }
                Rule::Adam { decoupled, first, second } => {
                    let (shrink, coupled) =
                        if *decoupled { (1.0 - learning_rate * decay, 0.0) } else { (1.0, decay) };
                    // In double precision: 1 − β₂ᵗ of the first steps loses its digits in single precision.
                    let unbias = |beta: f32| (1.0 - f64::from(beta).powf(step as f64)) as f32;
                    let (unbias1, unbias2) = (unbias(BETA1), unbias(BETA2));
                    let first = first.values_mut()[range.clone()].iter_mut();
                    let moments = first.zip(&mut second.values_mut()[range]);
                    for ((theta, g), (m, v)) in theta.iter_mut().zip(gradient).zip(moments) {
                        let g = g + coupled * *theta;
                        *m = BETA1 * *m + (1.0 - BETA1) * g;
                        *v = BETA2 * *v + (1.0 - BETA2) * g * g;
                        *theta = shrink * *theta
                            - learning_rate * (*m / unbias1) / ((*v / unbias2).sqrt() + EPSILON);
                    }
                }
            }
        }
    }
}
