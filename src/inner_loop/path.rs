//! The way of the inner loop, walked back from its end.
//!
//! The adjoint recursion reads θ_{K−1}, … θ_0. Where K is small and θ no large part of memory, each is kept. Else only the
//! starts of segments are, and each segment is walked again when the recursion comes to it: about √(2K) copies of θ at any
//! time, for at most one more gradient a step, and the same bits (Griewank 1992, "Achieving logarithmic growth of temporal
//! and spatial complexity in reverse automatic differentiation", with one level).

use super::{InnerLoop, Objective};
use crate::Result;
use crate::nn::LossAt;
use crate::params::Params;

/// The most steps of which each is kept.
const ALL: usize = 16;

/// What a task takes without copies of θ, about: so many times what passes write of its examples, and so many times θ, in
/// filters packed and parts of gradients (measured: ResNet-12 of several widths, 5 + 75 images of 42×42).
const OF_IMAGES: f64 = 1.4;
const OF_WEIGHTS: f64 = 16.0;
/// The share of it that copies may add.
const SHARE: f64 = 0.1;
/// Numbers in copies of θ that are nothing to speak of: 8 MB.
const LITTLE: f64 = 2e6;

/// All steps from a θ, to be taken back one by one.
pub(super) struct Path<'a> {
    inner: InnerLoop<'a>,
    support: Objective<'a>,
    keep_gradients: bool,
    /// The first step of each segment, and the number of steps.
    bounds: Vec<usize>,
    /// θ at the starts of the segments that are not kept.
    starts: Vec<Params>,
    kept: Vec<Kept>,
    /// The support loss before the last step, whose forward pass need not be run again.
    last: Option<Box<dyn LossAt + 'a>>,
    /// Steps not taken back yet.
    left: usize,
}

/// What is kept of a step: θ_k, and ∇L_S(θ_k) if that is wanted.
struct Kept {
    theta: Params,
    gradient: Option<Params>,
}

/// A step taken back.
pub(super) struct Step<'a> {
    /// Its number, from 0.
    pub(super) k: usize,
    /// θ_k, before the step.
    pub(super) theta: Params,
    /// ∇L_S(θ_k), if it was to be kept.
    pub(super) gradient: Option<Params>,
    at: Option<Box<dyn LossAt + 'a>>,
    inner: InnerLoop<'a>,
    support: Objective<'a>,
}

impl<'a> Step<'a> {
    /// The support loss at θ_k.
    pub(super) fn at(&mut self) -> Result<Box<dyn LossAt + 'a>> {
        match self.at.take() {
            Some(at) => Ok(at),
            None => self.inner.network.at(&self.theta, self.support.x, self.support.loss),
        }
    }
}

impl<'a> Path<'a> {
    /// Takes all steps on the support, θ ending as θ_K.
    pub(super) fn walk(
        inner: InnerLoop<'a>,
        theta: &mut Params,
        support: Objective<'a>,
        queries: usize,
        keep_gradients: bool,
    ) -> Result<Self> {
        let examples = support.x.dim().0 + queries;
        let weights = theta.values().len() as f64;
        let written = inner.network.activations().map(|each| (examples * each) as f64);
        let room = written.map(|written| SHARE * (OF_IMAGES * written + OF_WEIGHTS * weights));
        let copies = inner.steps.saturating_sub(1) as f64 * weights;
        let keeps_all = inner.steps <= ALL && room.is_none_or(|room| copies <= room.max(LITTLE));
        let bounds = if keeps_all { vec![0, inner.steps] } else { bounds(inner.steps) };
        let (starts, kept, left) = (Vec::new(), Vec::new(), inner.steps);
        let mut path = Self { inner, support, keep_gradients, bounds, starts, kept, last: None, left };
        let last = path.bounds.len() - 2;
        for segment in 0..last {
            path.starts.push(theta.clone());
            for k in path.bounds[segment]..path.bounds[segment + 1] {
                inner.step_at(k, theta, support)?;
            }
        }
        path.segment(theta, last)?;
        Ok(path)
    }

    /// The last step not yet taken back.
    pub(super) fn back(&mut self) -> Result<Option<Step<'a>>> {
        if self.kept.is_empty()
            && let Some(mut theta) = self.starts.pop()
        {
            self.segment(&mut theta, self.starts.len())?;
        }
        let Some(Kept { theta, gradient }) = self.kept.pop() else { return Ok(None) };
        self.left -= 1;
        let (at, inner, support) = (self.last.take(), self.inner, self.support);
        Ok(Some(Step { k: self.left, theta, gradient, at, inner, support }))
    }

    /// Takes and keeps the steps of a segment.
    fn segment(&mut self, theta: &mut Params, segment: usize) -> Result<()> {
        let end = self.bounds[segment + 1];
        for k in self.bounds[segment]..end {
            let theta_k = theta.clone();
            let gradient = if k + 1 == self.inner.steps {
                let at = self.inner.network.at(&theta_k, self.support.x, self.support.loss)?;
                let gradient = at.gradient()?.gradient;
                self.inner.descend(k, theta, &gradient);
                self.last = Some(at);
                gradient
            } else if k + 1 == end && !self.keep_gradients {
                // Where it leads is known already.
                self.kept.push(Kept { theta: theta_k, gradient: None });
                return Ok(());
            } else {
                self.inner.step_at(k, theta, self.support)?.gradient
            };
            self.kept.push(Kept { theta: theta_k, gradient: self.keep_gradients.then_some(gradient) });
        }
        Ok(())
    }
}

/// Segments, from the end: the last step alone, whose forward pass is kept, then of 2 steps, 3, 4, …: the fewer starts are
/// left, the more steps of a segment may be kept beside them.
fn bounds(steps: usize) -> Vec<usize> {
    let (mut bounds, mut start) = (vec![steps], steps.saturating_sub(1));
    for length in 2.. {
        bounds.push(start);
        if start == 0 {
            break;
        }
        start = start.saturating_sub(length);
    }
    bounds.reverse();
    bounds
}
