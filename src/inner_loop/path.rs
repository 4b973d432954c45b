//! The way of the inner loop, walked back from its end.
//!
//! The adjoint recursion reads θ_{K−1}, … θ_0. Where K is small, each is kept. Where it is large, only the starts of
//! about √K segments are, and each segment is walked again when the recursion comes to it: about 2√K copies of θ for at
//! most one more gradient a step, and the same bits (Griewank 1992, "Achieving logarithmic growth of temporal and
//! spatial complexity in reverse automatic differentiation", with one level).

use super::{InnerLoop, Objective};
use crate::Result;
use crate::nn::LossAt;
use crate::params::Params;

/// The most steps of which each is kept.
const ALL: usize = 16;

/// All steps from a θ, to be taken back one by one.
pub(super) struct Path<'a> {
    inner: InnerLoop<'a>,
    support: Objective<'a>,
    keep_gradients: bool,
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
    /// The support loss at θ_k.
    pub(super) at: Box<dyn LossAt + 'a>,
}

impl<'a> Path<'a> {
    /// Takes all steps on the support, θ ending as θ_K.
    pub(super) fn walk(
        inner: InnerLoop<'a>,
        theta: &mut Params,
        support: Objective<'a>,
        keep_gradients: bool,
    ) -> Result<Self> {
        let (starts, kept, left) = (Vec::new(), Vec::new(), inner.steps);
        let mut path = Self { inner, support, keep_gradients, starts, kept, last: None, left };
        let last = path.segments() - 1;
        for segment in 0..last {
            path.starts.push(theta.clone());
            for _ in path.start(segment)..path.start(segment + 1) {
                inner.step(theta, support)?;
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
        let at = match self.last.take() {
            Some(at) => at,
            None => self.at(&theta)?,
        };
        Ok(Some(Step { k: self.left, theta, gradient, at }))
    }

    fn at(&self, theta: &Params) -> Result<Box<dyn LossAt + 'a>> {
        self.inner.network.at(theta, self.support.x, self.support.loss)
    }

    fn segments(&self) -> usize {
        if self.inner.steps <= ALL { 1 } else { self.inner.steps.isqrt() }
    }

    /// The first step of a segment.
    fn start(&self, segment: usize) -> usize {
        segment * self.inner.steps / self.segments()
    }

    /// Takes and keeps the steps of a segment.
    fn segment(&mut self, theta: &mut Params, segment: usize) -> Result<()> {
        for k in self.start(segment)..self.start(segment + 1) {
            let theta_k = theta.clone();
            let gradient = if k + 1 == self.inner.steps {
                let at = self.at(&theta_k)?;
                let gradient = at.gradient()?.gradient;
                self.inner.descend(theta, &gradient);
                self.last = Some(at);
                gradient
            } else {
                self.inner.step(theta, self.support)?.gradient
            };
            self.kept.push(Kept { theta: theta_k, gradient: self.keep_gradients.then_some(gradient) });
        }
        Ok(())
    }
}
