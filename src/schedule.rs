//! Learning-rate schedules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the learning rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// It stays.
    #[default]
    Constant,
    /// It halves every so many steps (Snell et al. 2017: every 2000 episodes).
    Step,
    /// It falls to zero along half a cosine (Loshchilov & Hutter 2017, eq. 5, without restarts).
    Cosine,
}

/// The learning rate as a function of the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRate {
    /// The highest.
    pub base: f32,
    /// What follows the warm-up.
    pub schedule: Schedule,
    /// Steps between two halvings, for [`Schedule::Step`].
    pub halve_every: u64,
    /// Steps of linear rise to `base`; 0 starts there.
    pub warmup: u64,
    /// Steps of the whole training.
    pub steps: u64,
}

impl LearningRate {
    /// The rate of update number `step`, counted from 0.
    pub fn at(&self, step: u64) -> f32 {
        if step < self.warmup {
            return (f64::from(self.base) * (step + 1) as f64 / self.warmup as f64) as f32;
        }
        let step = step - self.warmup;
        let factor = match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Step => 0.5f64.powf((step / self.halve_every.max(1)) as f64),
            Schedule::Cosine => {
                let length = self.steps.saturating_sub(self.warmup).max(1) as f64;
                0.5 * (1.0 + (std::f64::consts::PI * (step as f64 / length).min(1.0)).cos())
            }
        };
        (f64::from(self.base) * factor) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: Schedule, warmup: u64, steps: &[u64]) -> Vec<f32> {
        let rate = LearningRate { base: 0.8, schedule, halve_every: 10, warmup, steps: 100 };
        steps.iter().map(|&step| rate.at(step)).collect()
    }

    #[test]
    fn values_of_each_schedule() {
        assert_eq!(rates(Schedule::Constant, 0, &[0, 50, 99]), [0.8, 0.8, 0.8]);
        assert_eq!(rates(Schedule::Step, 0, &[0, 9, 10, 19, 20, 30]), [0.8, 0.8, 0.4, 0.4, 0.2, 0.1]);
        // Half a cosine over 100 steps: all, (1 + cos 45°)/2, half, almost nothing.
        let cosine = rates(Schedule::Cosine, 0, &[0, 25, 50, 100]);
        for (rate, wanted) in cosine.iter().zip([0.8, 0.682_842_7, 0.4, 0.0]) {
            assert!((rate - wanted).abs() < 1e-7, "{rate} {wanted}");
        }
    }

    #[test]
    fn the_warm_up_rises_linearly_to_the_base_and_the_schedule_counts_from_its_end() {
        assert_eq!(rates(Schedule::Step, 4, &[0, 1, 2, 3, 4, 13, 14]), [0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.4]);
        let cosine = rates(Schedule::Cosine, 20, &[19, 20, 60, 100]);
        for (rate, wanted) in cosine.iter().zip([0.8, 0.8, 0.4, 0.0]) {
            assert!((rate - wanted).abs() < 1e-7, "{rate} {wanted}");
        }
    }
}
