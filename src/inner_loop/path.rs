//! The way of the inner loop, walked back from its end.
//!
//! The adjoint recursion reads θ_{K−1}, … θ_0. Where K is small, each is kept. Where it is large, only the starts of
//! about √K segments are, and each segment is walked again when the recursion comes to it: about 2√K copies of θ for at
//! most one more gradient a step, and the same bits (Griewank 1992, "Achieving logarithmic growth of temporal and
//! spatial complexity in reverse automatic differentiation", with one level).

use super::{InnerLoop, Objective};
use crate::Result;
use crate::params::Params;

/// The most steps of which each is kept.
const ALL: usize = 16;

/// All steps from a θ, to be taken back one by one. `T` is what is kept of a step.
pub(super) struct Path<'a, 'b, T> {
    inner: InnerLoop<'a>,
    support: Objective<'b>,
    keep: fn(Params, Params) -> T,
    /// θ at the starts of the segments that are not kept.
    starts: Vec<Params>,
    kept: Vec<T>,
    /// Steps not taken back yet.
    left: usize,
}

impl<'a, 'b, T> Path<'a, 'b, T> {
    /// Takes all steps on the support, θ ending as θ_K. `keep` makes of θ_k and ∇L_S(θ_k) what is kept of a step.
    pub(super) fn walk(
        inner: InnerLoop<'a>,
        theta: &mut Params,
        support: Objective<'b>,
        keep: fn(Params, Params) -> T,
    ) -> Result<Self> {
        let (starts, kept, left) = (Vec::new(), Vec::new(), inner.steps);
        let mut path = Self { inner, support, keep, starts, kept, left };
        let last = path.segments() - 1;
        for segment in 0..last {
            path.starts.push(theta.clone());
            for _ in path.start(segment)..path.start(segment + 1) {
                inner.step(theta, support)?;
            }
        }
        path.kept = path.segment(theta, last)?;
        Ok(path)
    }

    /// The last step not yet taken back: k, and what is kept of it.
    pub(super) fn back(&mut self) -> Result<Option<(usize, T)>> {
        if self.kept.is_empty()
            && let Some(mut theta) = self.starts.pop()
        {
            self.kept = self.segment(&mut theta, self.starts.len())?;
        }
        Ok(self.kept.pop().map(|kept| {
            self.left -= 1;
            (self.left, kept)
        }))
    }

    fn segments(&self) -> usize {
        if self.inner.steps <= ALL { 1 } else { self.inner.steps.isqrt() }
    }

    /// The first step of a segment.
    fn start(&self, segment: usize) -> usize {
        segment * self.inner.steps / self.segments()
    }

    /// Takes the steps of a segment.
    fn segment(&self, theta: &mut Params, segment: usize) -> Result<Vec<T>> {
        let step = |_| {
            let theta_k = theta.clone();
            let gradient = self.inner.step(theta, self.support)?.gradient;
            Ok((self.keep)(theta_k, gradient))
        };
        (self.start(segment)..self.start(segment + 1)).map(step).collect()
    }
}
