//! Sinusoid regression: Finn, Abbeel, Levine, *Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks*,
//! ICML 2017, §5.1.
//!
//! A task is y = A sin(x − φ), its amplitude A uniform in 0.1–5 and its phase φ uniform in 0–π; support and query
//! points have x uniform in −5–5. All splits have the same distribution and different tasks.

use std::f32::consts::PI;
use std::sync::Arc;

use kshot::Result;
use kshot::dataset::{Dataset, DatasetContext, FunctionTasks, Preparation, Split, TaskSource};
use kshot::episode::{Episode, Labelled, Targets};
use kshot::options::NoOptions;
use kshot::rng::{Rng, stream};
use ndarray::{Array2, Array4};
use rand::Rng as _;

kshot::register_dataset! {
    /// regression tasks y = A sin(x − φ): amplitude 0.1–5, phase 0–π, x in −5–5
    ///
    /// Finn, Abbeel, Levine, Model-Agnostic Meta-Learning, ICML 2017, §5.1; generated
    name: "sinusoid",
    options: NoOptions,
    open: open,
}

fn open(_: &DatasetContext, _: NoOptions) -> Result<Box<dyn Dataset>> {
    Ok(Box::new(Sinusoid))
}

/// The distribution over sinusoids; inputs are `[n, 1, 1, 1]`, targets `[n, 1]`.
#[derive(Clone, Copy, Debug)]
pub struct Sinusoid;

impl Dataset for Sinusoid {
    fn split(&self, _: Split) -> Result<TaskSource> {
        Ok(TaskSource::Functions(Arc::new(*self)))
    }

    fn input(&self) -> [usize; 3] {
        [1, 1, 1]
    }

    fn preparation(&self) -> Preparation {
        Preparation::Generated
    }
}

impl FunctionTasks for Sinusoid {
    fn task(&self, seed: u64, split: Split, index: u64, support: usize, query: usize) -> Episode {
        let mut rng = stream(seed, &format!("sinusoid/{}", split.name()), index);
        let amplitude = rng.random_range(0.1..=5.0f32);
        let phase = rng.random_range(0.0..=PI);
        let mut points = |n| sample(&mut rng, amplitude, phase, n);
        Episode { index, support: points(support), query: points(query), classes: Vec::new() }
    }
}

/// `n` points of A sin(x − φ), x uniform in −5–5.
fn sample(rng: &mut Rng, amplitude: f32, phase: f32, n: usize) -> Labelled {
    let inputs = Array4::from_shape_simple_fn((n, 1, 1, 1), || rng.random_range(-5.0..=5.0f32));
    let targets = Array2::from_shape_fn((n, 1), |(i, _)| amplitude * (inputs[[i, 0, 0, 0]] - phase).sin());
    Labelled::new(inputs, Targets::Values(targets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(points: &Labelled) -> Vec<(f32, f32)> {
        let Targets::Values(targets) = &points.targets else { panic!("a regression task has values") };
        points.inputs().iter().copied().zip(targets.iter().copied()).collect()
    }

    #[test]
    fn a_task_is_a_pure_function_of_seed_split_and_index() {
        let task = |seed, split, index| Sinusoid.task(seed, split, index, 10, 10);
        assert_eq!(task(1, Split::Train, 7), task(1, Split::Train, 7));
        assert_ne!(task(1, Split::Train, 7).support, task(2, Split::Train, 7).support);
        assert_ne!(task(1, Split::Train, 7).support, task(1, Split::Test, 7).support);
        assert_ne!(task(1, Split::Train, 7).support, task(1, Split::Train, 8).support);
    }

    #[test]
    fn support_and_query_lie_on_one_sinusoid_with_amplitude_and_phase_in_the_papers_ranges() {
        for index in 0..500 {
            let task = Sinusoid.task(0, Split::Test, index, 10, 15);
            let points: Vec<_> = values(&task.support).into_iter().chain(values(&task.query)).collect();
            assert_eq!(points.len(), 25);
            assert!(points.iter().all(|(x, _)| (-5.0..=5.0).contains(x)));
            // Least squares of y = a sin x + b cos x; then A cos φ = a and −A sin φ = b.
            let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
                points.iter().map(|&(x, y)| f(f64::from(x), f64::from(y))).sum()
            };
            let (ss, cc) = (sum(&|x, _| x.sin() * x.sin()), sum(&|x, _| x.cos() * x.cos()));
            let sc = sum(&|x, _| x.sin() * x.cos());
            let (sy, cy) = (sum(&|x, y| x.sin() * y), sum(&|x, y| x.cos() * y));
            let determinant = ss * cc - sc * sc;
            let (a, b) = ((sy * cc - cy * sc) / determinant, (cy * ss - sy * sc) / determinant);
            let (amplitude, phase) = (a.hypot(b), (-b).atan2(a));
            assert!((0.0999..5.001).contains(&amplitude), "amplitude {amplitude}");
            assert!((-1e-3..3.143).contains(&phase), "phase {phase}");
            let residual = sum(&|x, y| (a * x.sin() + b * x.cos() - y).abs());
            assert!(residual < 1e-3, "task {index} is off its sinusoid by {residual}");
        }
    }

    #[test]
    fn inputs_are_images_of_one_pixel_and_targets_one_value_each() {
        let task = Sinusoid.task(0, Split::Train, 0, 5, 0);
        assert_eq!(task.support.inputs().dim(), (5, 1, 1, 1));
        assert!(task.query.is_empty());
        assert!(task.support.classes().is_err());
    }
}
