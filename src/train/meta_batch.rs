//! What the episodes of a meta-batch tell the weights.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::episode::Tasks;
use crate::learner::{Outer, Trainable};
use crate::nn::parallel::map_in_order;
use crate::params::{Layout, Params, Role};
use crate::ranks::{Floats, Ranks};
use crate::{Error, Result};

/// The outcomes of training episodes `numbers`, in parallel, shared by ranks, and in order; a finite collection of tasks starts over at
/// its end.
///
/// # Errors
/// The first episode's that fails, named; [`Error::NotFinite`] for a loss or gradient that is not a finite number.
pub(super) fn outcomes(
    learner: &dyn Trainable,
    tasks: &dyn Tasks,
    numbers: Range<u64>,
    layout: &Arc<Layout>,
    ranks: &Ranks,
) -> Result<Vec<Outer>> {
    let outcome = |number| {
        let number = tasks.limit().map_or(number, |len| number % len.max(1));
        tasks
            .episode(number)
            .and_then(|episode| learner.outer_gradient(&episode))
            .and_then(check)
            .map_err(|error| error.context(format!("training episode {number}")))
    };
    if ranks.size() == 1 {
        return map_in_order(numbers, outcome);
    }
    let all = ranks.map(numbers, |number| outcome(number).map(Sent::from))?;
    all.into_iter().map(|sent| sent.into_outer(layout)).collect()
}

/// An outcome on its way to the other ranks.
#[derive(Serialize, Deserialize)]
struct Sent {
    loss: f32,
    gradient: Floats,
    metrics: Vec<(String, f32)>,
}

impl From<Outer> for Sent {
    fn from(outer: Outer) -> Self {
        let metrics = outer.metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { loss: outer.loss, gradient: Floats(outer.gradient.values().to_vec()), metrics }
    }
}

impl Sent {
    fn into_outer(self, layout: &Arc<Layout>) -> Result<Outer> {
        let metrics = self.metrics.into_iter().map(|(name, value)| (known(name), value)).collect();
        Ok(Outer { loss: self.loss, gradient: Params::from_values(layout, self.gradient.0)?, metrics })
    }
}

/// The name of a metric, which lives as long as the program; there are few.
fn known(name: String) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    match names.get(name.as_str()) {
        Some(name) => name,
        None => {
            let name: &'static str = Box::leak(name.into_boxed_str());
            names.insert(name);
            name
        }
    }
}

fn check(outer: Outer) -> Result<Outer> {
    if !outer.loss.is_finite() {
        return Err(Error::NotFinite(format!("the loss is {}", outer.loss)));
    }
    match not_finite(&outer.gradient) {
        Some(tensor) => Err(Error::NotFinite(format!("the gradient of `{tensor}` is not finite"))),
        None => Ok(outer),
    }
}

/// The first tensor with a value that is not a finite number.
pub(super) fn not_finite(params: &Params) -> Option<&str> {
    // A whole chunk at a time, which is vectorised as a search that ends at the first is not.
    let finite = |chunk: &[f32]| chunk.iter().fold(true, |all, value| all & value.is_finite());
    if params.values().chunks(1024).all(finite) {
        return None;
    }
    let bad = params.values().iter().position(|value| !value.is_finite())?;
    params.layout().entries().iter().find(|entry| entry.range.contains(&bad)).map(|entry| entry.name.as_str())
}

/// The mean gradient, summed in order of the episodes.
pub(super) fn mean_gradient(outcomes: &[Outer], theta: &Params) -> Result<Params> {
    let mut mean = Params::zeros(theta.layout());
    for outer in outcomes {
        mean.add_scaled(1.0, &outer.gradient)
            .map_err(|error| error.context("the outer gradient of the learner"))?;
    }
    mean.scale(1.0 / outcomes.len() as f32);
    Ok(mean)
}

/// Scales the gradient of the weights down to the Euclidean norm `longest` where it is longer (never if that is 0),
/// and gives the norm it had (Pascanu et al. 2013, algorithm 1).
pub(super) fn clip(gradient: &mut Params, longest: f32) -> f32 {
    let layout = gradient.layout().clone();
    let squares: f64 =
        layout.ranges(Role::Weight).map(|range| sum_of_squares(&gradient.values()[range])).sum();
    let norm = squares.sqrt();
    if longest > 0.0 && norm > f64::from(longest) {
        let factor = (f64::from(longest) / norm) as f32;
        for range in layout.ranges(Role::Weight) {
            gradient.values_mut()[range].iter_mut().for_each(|value| *value *= factor);
        }
    }
    norm as f32
}

/// In eight sums, so that additions do not wait for each other.
fn sum_of_squares(values: &[f32]) -> f64 {
    let mut sums = [0.0_f64; 8];
    let (whole, rest) = values.as_chunks::<8>();
    for values in whole {
        sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += f64::from(value) * f64::from(value));
    }
    let rest = rest.iter().map(|&value| f64::from(value).powi(2));
    sums.into_iter().chain(rest).sum()
}

/// The loss and the metrics, each its mean over the episodes that report it, by name in order of appearance.
pub(super) fn mean_metrics(outcomes: &[Outer]) -> Vec<(&'static str, f32)> {
    let mut sums: Vec<(&'static str, f32, f32)> = Vec::new();
    for outer in outcomes {
        for (name, value) in std::iter::once(("loss", outer.loss)).chain(outer.metrics.iter().copied()) {
            match sums.iter_mut().find(|(known, ..)| *known == name) {
                Some((_, sum, count)) => (*sum, *count) = (*sum + value, *count + 1.0),
                None => sums.push((name, value, 1.0)),
            }
        }
    }
    sums.into_iter().map(|(name, sum, count)| (name, sum / count)).collect()
}
