//! Outer optimizers on flat vectors: what they remember is plain data, so a run resumes bit for bit.

use std::sync::Arc;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::params::{Layout, Params, Role};

/// Decay of Adam's first moment.
pub const BETA1: f32 = 0.9;
/// Decay of Adam's second moment.
pub const BETA2: f32 = 0.999;
/// Added to the root of Adam's second moment.
pub const EPSILON: f32 = 1e-8;

/// Weights that one thread updates at a time.
const CHUNK: usize = 8192;

/// Which optimizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    Sgd { momentum: f32, dampening: f32, velocity: Params },
}

impl Optimizer {
    /// Starts with nothing remembered, for weights of this layout. `momentum` (μ) is that of [`OptimizerKind::Sgd`].
    pub fn new(kind: OptimizerKind, momentum: f32, weight_decay: f32, layout: &Arc<Layout>) -> Self {
        let zeros = Params::zeros(layout);
        let rule = match kind {
            OptimizerKind::Sgd => Rule::Sgd { momentum, dampening: 0.0, velocity: zeros },
            OptimizerKind::Adam | OptimizerKind::Adamw => {
                Rule::Adam { decoupled: kind == OptimizerKind::Adamw, first: zeros.clone(), second: zeros }
            }
        };
        Self { weight_decay, rule }
    }

    /// The same with a dampening d of the momentum of [`OptimizerKind::Sgd`], as PyTorch has it: v ← μ·v + (1 − d)·g,
    /// but v ← g in the first update.
    pub fn with_dampening(mut self, d: f32) -> Self {
        if let Rule::Sgd { dampening, .. } = &mut self.rule {
            *dampening = d;
        }
        self
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
        let layout = theta.layout().clone();
        for range in layout.ranges(Role::Weight) {
            let theta = theta.values_mut()[range.clone()].par_chunks_mut(CHUNK);
            let gradient = gradient.values()[range.clone()].par_chunks(CHUNK);
            let decay = self.weight_decay;
            match &mut self.rule {
                Rule::Sgd { momentum, dampening, velocity } => {
                    let fresh = if step == 1 { 1.0 } else { 1.0 - *dampening };
                    let velocity = velocity.values_mut()[range].par_chunks_mut(CHUNK);
                    theta.zip(gradient).zip(velocity).for_each(|((theta, gradient), velocity)| {
                        for ((theta, g), v) in theta.iter_mut().zip(gradient).zip(velocity) {
                            *v = *momentum * *v + fresh * g + fresh * decay * *theta;
                            *theta -= learning_rate * *v;
                        }
                    });
                }
                Rule::Adam { decoupled, first, second } => {
                    let (shrink, coupled) =
                        if *decoupled { (1.0 - learning_rate * decay, 0.0) } else { (1.0, decay) };
                    // In double precision: 1 − β₂ᵗ of the first steps loses its digits in single precision.
                    let unbias = |beta: f32| (1.0 - f64::from(beta).powf(step as f64)) as f32;
                    let (unbias1, unbias2) = (unbias(BETA1), unbias(BETA2));
                    let first = first.values_mut()[range.clone()].par_chunks_mut(CHUNK);
                    let moments = first.zip(second.values_mut()[range].par_chunks_mut(CHUNK));
                    theta.zip(gradient).zip(moments).for_each(|((theta, gradient), (first, second))| {
                        let moments = first.iter_mut().zip(second);
                        for ((theta, g), (m, v)) in theta.iter_mut().zip(gradient).zip(moments) {
                            let g = g + coupled * *theta;
                            *m = BETA1 * *m + (1.0 - BETA1) * g;
                            *v = BETA2 * *v + (1.0 - BETA2) * g * g;
                            *theta = shrink * *theta
                                - learning_rate * (*m / unbias1) / ((*v / unbias2).sqrt() + EPSILON);
                        }
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights after each of three updates of θ = 1 with gradients 0.5, −0.2, 0.1 and learning rate 0.1.
    fn path(kind: OptimizerKind, momentum: f32, weight_decay: f32) -> Vec<f32> {
        path_of(|layout| Optimizer::new(kind, momentum, weight_decay, layout))
    }

    fn path_of(optimizer: impl FnOnce(&Arc<Layout>) -> Optimizer) -> Vec<f32> {
        let mut layout = Layout::new();
        layout.push("running", &[1], Role::Statistic);
        layout.push("weight", &[1], Role::Weight);
        let layout = Arc::new(layout);
        let mut theta = Params::from_values(&layout, vec![7.0, 1.0]).unwrap();
        let mut optimizer = optimizer(&layout);
        let path = [0.5, -0.2, 0.1]
            .into_iter()
            .zip(1..)
            .map(|(gradient, step)| {
                let gradient = Params::from_values(&layout, vec![9.0, gradient]).unwrap();
                optimizer.update(&mut theta, &gradient, 0.1, step);
                theta.values()[1]
            })
            .collect();
        assert_eq!(theta.values()[0], 7.0, "no gradient touches a statistic");
        path
    }

    fn close(path: &[f32], wanted: [f64; 3]) {
        for (value, wanted) in path.iter().zip(wanted) {
            assert!((f64::from(*value) - wanted).abs() < 2e-7, "{path:?} {wanted:?}");
        }
    }

    #[test]
    fn sgd_by_hand() {
        close(&path(OptimizerKind::Sgd, 0.0, 0.0), [0.95, 0.97, 0.96]);
        // v: 0.5, 0.25, 0.325 with momentum 0.9.
        close(&path(OptimizerKind::Sgd, 0.9, 0.0), [0.95, 0.925, 0.8925]);
        // Decay 0.1: gradients 0.6, −0.2 + 0.094, 0.1 + 0.09506.
        close(&path(OptimizerKind::Sgd, 0.0, 0.1), [0.94, 0.9506, 0.931_094]);
    }

    #[test]
    fn dampened_momentum_by_hand() {
        // v with momentum and dampening 0.9: 0.5, 0.45 − 0.02, 0.387 + 0.01. With decay 0.1 as well: 0.6, 0.54 − 0.0106,
        // 0.47646 + 0.0188706.
        let sgd = |decay| {
            path_of(|layout| Optimizer::new(OptimizerKind::Sgd, 0.9, decay, layout).with_dampening(0.9))
        };
        close(&sgd(0.0), [0.95, 0.907, 0.8673]);
        close(&sgd(0.1), [0.94, 0.887_06, 0.837_526_94]);
    }

    /// Algorithm 1 of Kingma & Ba (2015) in double precision; algorithm 2 of Loshchilov & Hutter (2019) if `decoupled`.
    fn adam(weight_decay: f64, decoupled: bool) -> [f64; 3] {
        let (mut theta, mut m, mut v) = (1.0f64, 0.0f64, 0.0f64);
        let mut t = 0;
        [0.5, -0.2, 0.1].map(|gradient| {
            t += 1;
            let g = if decoupled { gradient } else { gradient + weight_decay * theta };
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let (m_hat, v_hat) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.999f64.powi(t)));
            let shrink = if decoupled { 0.1 * weight_decay * theta } else { 0.0 };
            theta -= 0.1 * m_hat / (v_hat.sqrt() + 1e-8) + shrink;
            theta
        })
    }

    #[test]
    fn adam_by_hand() {
        // First step: m̂ = g, v̂ = g², so θ falls by the learning rate.
        // Second: m = 0.9·0.05 − 0.02 = 0.025, m̂ = 0.025/0.19; v = 0.999·0.00025 + 0.00004, v̂ = v/0.001999;
        // θ = 0.9 − 0.1·0.1315789/0.3807197 = 0.8654394.
        close(&path(OptimizerKind::Adam, 0.0, 0.0)[..2], [0.9, 0.865_439_4, 0.0]);
        close(&path(OptimizerKind::Adam, 0.0, 0.0), adam(0.0, false));
        close(&path(OptimizerKind::Adam, 0.0, 0.3), adam(0.3, false));
        close(&path(OptimizerKind::Adamw, 0.0, 0.3), adam(0.3, true));
    }
}
