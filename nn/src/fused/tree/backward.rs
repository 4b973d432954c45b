//! The backward pass, and that of changes: how the gradient changes along a direction in θ, the Hessian times it.
//!
//! Both are one pass over `N` buffers at each place: the gradient alone, or the gradient with its change. Steps run in
//! reverse, and a view's gradient is whole once the first step that reads it has added its part.

mod conv;

use std::sync::Arc;

use ndarray::Array2;
use rayon::prelude::*;

use super::super::arena::Buffer;
use super::super::groups::{at_once, totals};
use super::super::image::Image;
use super::super::patches::add;
use super::super::statistics::{Through, coefficients};
use super::Tree;
use super::forward::{Reading, Saved, images_of, with_join};
use super::join;
use super::plan::{Affine, JoinStep, Step};
use super::tangent::Tangent;
use super::view;
use crate::architecture::Norm;

/// The pass, and what it reads. `N` is 1, or 2 with changes.
pub(super) struct Backward<'a, const N: usize> {
    pub(super) tree: &'a Tree,
    pub(super) theta: &'a [f32],
    pub(super) saved: &'a Saved,
    pub(super) changes: Option<Changes<'a>>,
    /// Whether the gradient in the inputs is wanted.
    pub(super) to_inputs: bool,
}

/// Along which direction θ changes, and what changes with it.
#[derive(Clone, Copy)]
pub(super) struct Changes<'a> {
    pub(super) direction: &'a [f32],
    pub(super) tangent: &'a Tangent,
}

/// The gradient in a view, once it is whole, and what was summed over it.
struct ViewGradient<const N: usize> {
    d: [Arc<Buffer>; N],
    /// Per image, 2 or 4 sums a channel; empty where nobody wants them.
    sums: Buffer,
}

/// What the images that a step wrote get from one of their views.
struct Incoming<const N: usize> {
    view: usize,
    d: [Arc<Buffer>; N],
    /// Through the statistics, with its change.
    through: [Through; 2],
}

/// Gradients of all views, as far as they are known.
type Gradients<const N: usize> = Vec<Option<ViewGradient<N>>>;

impl<const N: usize> Backward<'_, N> {
    /// Adds the gradient in θ, or its change, to `gradient`, which is 0, from that in the outputs; gives that in the inputs,
    /// `[n, c, h, w]`, if it is wanted.
    pub(super) fn run(&self, d_output: [&Array2<f32>; N], gradient: &mut [f32]) -> Vec<f32> {
        let (tree, saved, plan) = (self.tree, self.saved, &self.tree.plan);
        let wanted = self.wanted(plan.end);
        let rows: Option<Vec<Buffer>> = match self.changes {
            None => {
                tree.tail.backward(self.theta, &saved.tail, d_output[0], wanted, gradient).map(|d| vec![d])
            }
            Some(Changes { direction, tangent }) => tree
                .tail
                .tangent_backward(
                    [self.theta, direction],
                    [&saved.tail, &tangent.tail],
                    [d_output[0], d_output[N - 1]],
                    wanted,
                    gradient,
                )
                .map(Vec::from),
        };
        let Some(rows) = rows else { return Vec::new() };
        let mut gradients: Gradients<N> = plan.views.iter().map(|_| None).collect();
        let features = plan.joint.features();
        let end = self.each_image(plan.end, plan.steps.len(), &gradients, |start, d| {
            for (rows, d) in rows.iter().zip(d) {
                let count = d.len() / plan.raws[plan.views[plan.end].raw].len();
                plan.joint.part(&rows[start * features..][..count * features], d);
            }
        });
        gradients[plan.end] = Some(end);
        for (index, step) in plan.steps.iter().enumerate().rev() {
            let incoming = self.incoming(index + 1, &mut gradients, gradient);
            if incoming.is_empty() {
                continue;
            }
            match step {
                Step::Conv(conv) => self.conv(index, conv, &incoming, &mut gradients, gradient),
                Step::Join(join) => self.join(index, join, &incoming, &mut gradients),
            }
        }
        let incoming = if self.to_inputs { self.incoming(0, &mut gradients, gradient) } else { Vec::new() };
        if incoming.is_empty() {
            return Vec::new();
        }
        let mut scratch = self.scratch(&incoming, saved.count);
        tree.batch(self.raw_gradient(&incoming, 0, saved.count, &mut scratch)[0])
    }

    /// Whether the gradient in a view leads anywhere.
    fn wanted(&self, view: usize) -> bool {
        self.to_inputs || self.tree.plan.views[view].raw > 0
    }

    /// Sums a channel that a view wants of the gradient in it.
    fn sums_len(&self, view: usize) -> usize {
        match self.tree.plan.views[view].affine {
            Affine::Identity => 0,
            _ => 2 * N * self.image(view).channels,
        }
    }

    /// Images of a view.
    fn image(&self, view: usize) -> Image {
        self.tree.plan.raws[self.tree.plan.views[view].raw]
    }

    fn reading(&self, view: usize) -> Reading<'_> {
        self.tree.reading(view, &self.saved.raws[self.tree.plan.views[view].raw], &self.saved.norms)
    }

    /// What a view sums over the gradients `d` in its images, from `start` on.
    fn absorb(&self, view: usize, start: usize, d: [&[f32]; N], sums: &mut [f32]) {
        if sums.is_empty() {
            return;
        }
        let (isa, reading, image) = (self.tree.isa, self.reading(view), self.image(view));
        let Some(normed) = &self.saved.norms[view] else { return };
        for (i, sums) in sums.chunks_exact_mut(self.sums_len(view)).enumerate() {
            let d = d.map(|d| images_of(image, d, i, 1));
            let y = reading.image(start + i);
            match self.changes.map(|changes| changes.tangent) {
                None => view::gradient_sums(isa, reading.look, &normed.mean, y, d[0], sums),
                Some(tangent) => {
                    let Some(change) = &tangent.norms[view] else { return };
                    let y =
                        [y, images_of(image, &tangent.raws[self.tree.plan.views[view].raw], start + i, 1)];
                    let mean: [&[f32]; 2] = [&normed.mean, &change.mean];
                    view::gradient_sums_tangent(isa, reading.look, mean, y, [d[0], d[N - 1]], sums);
                }
            }
        }
    }

    /// The gradient in a view: `work` gives that of images from its first argument on, to which what is known already is
    /// added; if step `index` is the first to read the view, it is whole, and summed.
    fn each_image(
        &self,
        view: usize,
        index: usize,
        known: &Gradients<N>,
        work: impl Fn(usize, &mut [&mut [f32]; N]) + Sync,
    ) -> ViewGradient<N> {
        let tree = self.tree;
        let (count, image) = (self.saved.count, self.image(view));
        let group = at_once(count);
        let whole = tree.plan.first_reader[view] == Some(index);
        let wanted = if whole { self.sums_len(view) } else { 0 };
        let mut d: [Buffer; N] = std::array::from_fn(|_| tree.arena.take(count * image.len()));
        let mut sums = tree.arena.take(count * wanted);
        self.in_groups(&mut d, &mut sums, group * image.len(), group * wanted, |part, mut d, sums| {
            let start = part * group;
            work(start, &mut d);
            self.finish(view, start, &known[view], d, sums);
        });
        ViewGradient { d: d.map(Arc::new), sums }
    }

    /// Adds what is known already of the gradient of images from `start` on, and sums it if `sums` are wanted.
    fn finish(
        &self,
        view: usize,
        start: usize,
        known: &Option<ViewGradient<N>>,
        mut d: [&mut [f32]; N],
        sums: &mut [f32],
    ) {
        if let Some(known) = known {
            for (d, known) in d.iter_mut().zip(&known.d) {
                let image = self.image(view);
                add(self.tree.isa, images_of(image, known, start, d.len() / image.len()), d);
            }
        }
        self.absorb(view, start, d.map(|d| &*d), sums);
    }

    /// Runs `work` in parallel on parts of buffers: the part's number, `length` floats of each gradient, and `sums_len`.
    fn in_groups(
        &self,
        d: &mut [Buffer; N],
        sums: &mut Buffer,
        length: usize,
        sums_len: usize,
        work: impl Fn(usize, [&mut [f32]; N], &mut [f32]) + Sync,
    ) {
        let mut d = d.each_mut().map(|d| d.chunks_mut(length));
        let mut sums = sums.chunks_mut(sums_len.max(1));
        let mut parts = Vec::new();
        while let Some(first) = d[0].next() {
            let mut first = Some(first);
            let part = std::array::from_fn(|k| match k {
                0 => first.take().unwrap_or_default(),
                _ => d[k].next().unwrap_or_default(),
            });
            parts.push((parts.len(), part, sums.next().unwrap_or_default()));
        }
        parts.into_par_iter().for_each(|(part, d, sums)| work(part, d, sums));
    }

    /// What images `raw` get from their views, which are whole; writes the gradients of what the views add or normalise by.
    fn incoming(&self, raw: usize, gradients: &mut Gradients<N>, gradient: &mut [f32]) -> Vec<Incoming<N>> {
        let plan = &self.tree.plan;
        let (image, count) = (plan.raws[raw], self.saved.count);
        let positions = count * image.pixels();
        let mut incoming = Vec::new();
        for view in plan.views_of(raw) {
            let Some(ViewGradient { d, sums }) = gradients[view].take() else { continue };
            let zeros = || [Through::zeros(image.channels), Through::zeros(image.channels)];
            let totals = |parts: usize| totals(&sums, parts * image.channels, count);
            let through = match (&plan.views[view].affine, &self.saved.norms[view], self.changes) {
                (Affine::Bias(bias), _, _) => {
                    let totals = totals(2 * N);
                    let sum = &totals[2 * (N - 1) * image.channels..];
                    gradient[bias.clone()].iter_mut().zip(sum).for_each(|(to, &sum)| *to += sum as f32);
                    zeros()
                }
                (Affine::Norm { norm, bias }, Some(normed), None) => {
                    let totals = totals(2);
                    let through = normed.through(self.theta, norm, &totals, positions, gradient);
                    if self.saved.statistics == Norm::Running {
                        for (at, place) in bias.clone().into_iter().flatten().enumerate() {
                            gradient[place] += normed.scale[at] * totals[at] as f32;
                        }
                        zeros()
                    } else {
                        let bias = bias.clone().map(|bias| &self.theta[bias]);
                        normed.statistics_of_batch(norm, bias, positions, gradient);
                        [through, Through::zeros(image.channels)]
                    }
                }
                (Affine::Norm { norm, .. }, Some(normed), Some(changes)) => {
                    match &changes.tangent.norms[view] {
                        Some(tangent) => {
                            tangent.through(self.theta, (norm, normed), &totals(4), positions, gradient)
                        }
                        None => zeros(),
                    }
                }
                _ => zeros(),
            };
            incoming.push(Incoming { view, d, through });
        }
        incoming
    }

    /// The gradient in `count` images that a step wrote, from `start` on: in `scratch`, or where it is.
    fn raw_gradient<'s>(
        &self,
        incoming: &'s [Incoming<N>],
        start: usize,
        count: usize,
        scratch: &'s mut [Buffer; N],
    ) -> [&'s [f32]; N] {
        let (tree, plan) = (self.tree, &self.tree.plan);
        let image = self.image(incoming[0].view);
        if let [Incoming { view, d, .. }] = incoming
            && plan.views[*view].is_raw()
        {
            return d.each_ref().map(|d| images_of(image, d, start, count));
        }
        for (number, Incoming { view, d, through }) in incoming.iter().enumerate() {
            let reading = self.reading(*view);
            for i in 0..count {
                let mut dy = scratch.each_mut().map(|dy| &mut dy[i * image.len()..][..image.len()]);
                let d = d.each_ref().map(|d| images_of(image, d, start + i, 1));
                let y = reading.image(start + i);
                let Some(Changes { tangent, .. }) = self.changes else {
                    let kernel = if number == 0 { view::raw_gradient::<0> } else { view::raw_gradient::<1> };
                    kernel(tree.isa, reading.look, through[0].affine(), y, d[0], dy[0]);
                    continue;
                };
                let raw = plan.views[*view].raw;
                let change = tree.reading_change(*view, &tangent.raws[raw], &tangent.norms);
                let coefficients = coefficients([reading.look.affine, change.affine], through);
                let kernel = if number == 0 {
                    view::raw_gradient_tangent::<0>
                } else {
                    view::raw_gradient_tangent::<1>
                };
                let (first, rest) = dy.split_at_mut(1);
                let y = [y, images_of(image, change.y, start + i, 1)];
                kernel(
                    tree.isa,
                    reading.look,
                    coefficients,
                    y,
                    [d[0], d[N - 1]],
                    [&mut *first[0], &mut *rest[0]],
                );
            }
        }
        scratch.each_ref().map(|dy| &dy[..count * image.len()])
    }

    /// Room for what [`Self::raw_gradient`] makes of `count` images.
    fn scratch(&self, incoming: &[Incoming<N>], count: usize) -> [Buffer; N] {
        let direct = incoming.len() == 1 && self.tree.plan.views[incoming[0].view].is_raw();
        let len = if direct { 0 } else { count * self.image(incoming[0].view).len() };
        std::array::from_fn(|_| self.tree.arena.take(len))
    }

    /// A join's gradient, which is the same in all of its views.
    fn join(&self, index: usize, step: &JoinStep, incoming: &[Incoming<N>], gradients: &mut Gradients<N>) {
        let plan = &self.tree.plan;
        let wanted = |view: &&usize| self.wanted(**view);
        let Some(&first) = step.from.iter().find(wanted) else { return };
        let readings: Vec<Reading<'_>> = step.from.iter().map(|&view| self.reading(view)).collect();
        // Without what is known of the first: the others' is not the same.
        let nothing: Gradients<N> = plan.views.iter().map(|_| None).collect();
        let alone = gradients[first].is_none();
        let known = if alone { &*gradients } else { &nothing };
        let reader = if alone { index } else { usize::MAX };
        let shared = self.each_image(first, reader, known, |start, d| {
            let input = step.windows.input.len();
            let mut scratch = self.scratch(incoming, 1);
            let drops = step.drop.is_some() && self.saved.noise.is_some();
            let mut kept = self.tree.arena.take(if drops { step.windows.output.len() } else { 0 });
            for i in 0..d[0].len() / input {
                let dz = self.raw_gradient(incoming, start + i, 1, &mut scratch);
                for (mut dz, d) in dz.into_iter().zip(&mut *d) {
                    let g = &mut d[i * input..][..input];
                    if drops {
                        kept.copy_from_slice(dz);
                        step.drop(self.saved.noise, start + i, &mut kept);
                        dz = &kept;
                    }
                    with_join(step, &readings, start + i, |of| join::part(self.tree.isa, of, dz, g));
                }
            }
        });
        let copy = |start: usize, d: &mut [&mut [f32]; N]| {
            for (d, shared) in d.iter_mut().zip(&shared.d) {
                d.copy_from_slice(&shared[start * step.windows.input.len()..][..d.len()]);
            }
        };
        for &view in step.from.iter().filter(wanted) {
            let once = step.from.iter().filter(|&&other| other == view).count() == 1;
            if view == first && alone && once {
                continue;
            }
            // Another view of the same gradient: shared as well, unless something is added to it.
            let sums_len = self.sums_len(view);
            gradients[view] = Some(if gradients[view].is_none() && sums_len == 0 {
                ViewGradient { d: shared.d.clone(), sums: self.tree.arena.take(0) }
            } else if gradients[view].is_none() {
                self.summed(view, index, &shared.d)
            } else {
                self.each_image(view, index, gradients, copy)
            });
        }
        if alone && gradients[first].is_none() {
            gradients[first] = Some(shared);
        }
    }

    /// A gradient that is there already as that of a view, summed if step `index` is the first to read it.
    fn summed(&self, view: usize, index: usize, d: &[Arc<Buffer>; N]) -> ViewGradient<N> {
        let (count, image) = (self.saved.count, self.image(view));
        let whole = self.tree.plan.first_reader[view] == Some(index);
        let wanted = if whole { self.sums_len(view) } else { 0 };
        let mut sums = self.tree.arena.take(count * wanted);
        sums.par_chunks_mut(wanted.max(1)).enumerate().for_each(|(i, sums)| {
            self.absorb(view, i, d.each_ref().map(|d| images_of(image, d, i, 1)), sums);
        });
        ViewGradient { d: d.clone(), sums }
    }
}
