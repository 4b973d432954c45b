//! The tangent forward pass: how everything the forward pass computed changes along a direction in θ.

use ndarray::Array2;
use rayon::prelude::*;

use super::super::arena::Buffer;
use super::super::conv::Products;
use super::super::groups::at_once;
use super::super::norm_tangent;
use super::super::statistics::NormTangent;
use super::super::tail::Values;
use super::super::window;
use super::Tree;
use super::forward::{Reading, Saved, parts, with_join};
use super::join::{self, Change};
use super::plan::{Affine, ConvStep, JoinStep, Step};
use super::view;

/// What the tangent forward pass keeps: the changes of what the forward pass keeps.
pub(crate) struct Tangent {
    /// Empty where images do not change.
    pub(super) raws: Vec<Buffer>,
    /// For each view, the change of what it adds or normalises by.
    pub(super) norms: Vec<Option<NormTangent>>,
    pub(super) tail: Values,
}

/// The pass, and what it reads.
pub(super) struct TangentForward<'a> {
    pub(super) tree: &'a Tree,
    pub(super) theta: &'a [f32],
    pub(super) direction: &'a [f32],
    pub(super) saved: &'a Saved,
}

/// How images of a view change.
#[derive(Clone, Copy)]
pub(super) struct ReadingChange<'a> {
    pub(super) affine: window::Affine<'a>,
    /// Empty where the images do not change.
    pub(super) y: &'a [f32],
}

impl Tree {
    /// The change of how `view` reads images that change by `y`.
    pub(super) fn reading_change<'a>(
        &'a self,
        view: usize,
        y: &'a [f32],
        norms: &'a [Option<NormTangent>],
    ) -> ReadingChange<'a> {
        let zeros = &self.zeros[..self.plan.raws[self.plan.views[view].raw].channels];
        let affine =
            norms[view].as_ref().map_or(window::Affine { scale: zeros, shift: zeros }, NormTangent::affine);
        ReadingChange { affine, y }
    }

    /// The changes of `count` images from `start` on as they are read.
    pub(super) fn read_change<'a>(
        &self,
        reading: &Reading<'_>,
        change: &ReadingChange<'a>,
        start: usize,
        count: usize,
        scratch: &'a mut [f32],
    ) -> &'a [f32] {
        let len = reading.look.image.len();
        let y_tangent = &change.y[start * len..][..count * len];
        if reading.is_raw {
            return y_tangent;
        }
        for (i, (y_tangent, z)) in y_tangent.chunks_exact(len).zip(scratch.chunks_exact_mut(len)).enumerate()
        {
            let y = [reading.image(start + i), y_tangent];
            view::activate_tangent(self.isa, reading.look, change.affine, y, z);
        }
        &scratch[..count * len]
    }
}

impl TangentForward<'_> {
    pub(super) fn run(&self) -> (Array2<f32>, Tangent) {
        let Self { tree, theta, direction, saved } = *self;
        let (plan, count, group) = (&tree.plan, saved.count, at_once(saved.count));
        let known = |view: usize| match &plan.views[view].affine {
            Affine::Bias(bias) => {
                Some(NormTangent::shifted(&direction[bias.clone()], plan.raws[plan.views[view].raw].channels))
            }
            _ => None,
        };
        let mut norms: Vec<_> = (0..plan.views.len()).map(known).collect();
        let mut raws = vec![tree.arena.take(0)];
        for (step, of) in plan.steps.iter().enumerate() {
            let (raw, image) = (step + 1, plan.raws[step + 1]);
            let y = |view: usize| plan.views[view].raw;
            let readings: Vec<_> = of
                .from()
                .iter()
                .map(|&view| tree.reading(view, &saved.raws[y(view)], &saved.norms))
                .collect();
            let changes: Vec<_> =
                of.from().iter().map(|&view| tree.reading_change(view, &raws[y(view)], &norms)).collect();
            let filters = [theta, direction].map(|values| tree.filters(of, values));
            // A norm of images that several views read is the same for all of them.
            let normed = plan.views_of(raw).find_map(|view| match &plan.views[view].affine {
                Affine::Norm { .. } => saved.norms[view].as_ref(),
                _ => None,
            });
            let wanted = if normed.is_some() { 2 * image.channels } else { 0 };
            let group = match of {
                Step::Conv(conv) => conv.convolution.group(count),
                Step::Join(_) => group,
            };
            let mut images = tree.arena.take(count * image.len());
            let mut sums = tree.arena.take(count * wanted);
            let parts = parts(&mut sums, group * wanted);
            images.par_chunks_mut(group * image.len()).zip(parts).enumerate().for_each(
                |(index, (images, sums))| {
                    let start = index * group;
                    match of {
                        Step::Conv(conv) => {
                            self.convolve(conv, &filters, (&readings[0], &changes[0]), start, images)
                        }
                        Step::Join(join) => self.join(join, &readings, &changes, start, images),
                    }
                    let Some(normed) = normed else { return };
                    let all = images.chunks_exact(image.len()).zip(sums.chunks_exact_mut(wanted)).enumerate();
                    for (i, (y_tangent, sums)) in all {
                        let y = &saved.raws[raw][(start + i) * image.len()..][..image.len()];
                        norm_tangent::statistics(tree.isa, image, &normed.mean, [y, y_tangent], sums);
                    }
                },
            );
            drop(changes);
            let positions = (count * image.pixels()) as f64;
            let mut totals = vec![0.0_f64; wanted];
            for sums in sums.chunks_exact(wanted.max(1)) {
                totals.iter_mut().zip(sums).for_each(|(total, &sum)| *total += f64::from(sum) / positions);
            }
            let (mean, covariance) = totals.split_at(wanted / 2);
            for view in plan.views_of(raw) {
                if let (Affine::Norm { norm, .. }, Some(normed)) =
                    (&plan.views[view].affine, &saved.norms[view])
                {
                    norms[view] = Some(NormTangent::new([theta, direction], norm, normed, mean, covariance));
                }
            }
            raws.push(images);
        }
        let end = plan.views[plan.end].raw;
        let reading = tree.reading(plan.end, &saved.raws[end], &saved.norms);
        let change = tree.reading_change(plan.end, &raws[end], &norms);
        let matrix = (end > 0).then(|| {
            tree.matrix(count, at_once(count), |start, rows| {
                plan.joint.join(&tree.arena, rows, |i, z| {
                    let len = reading.look.image.len();
                    let y = [reading.image(start + i), &change.y[(start + i) * len..][..len]];
                    view::activate_tangent(tree.isa, reading.look, change.affine, y, z);
                });
            })
        });
        let tail = tree.tail.tangent_forward([theta, direction], &saved.tail, matrix.as_deref());
        (tree.tail.output(&tail), Tangent { raws, norms, tail })
    }

    /// The change of a convolution's outputs, `raise(lower(ż) · U + lower(z) · U̇)`.
    fn convolve(
        &self,
        step: &ConvStep,
        [filters, filters_tangent]: &[Buffer; 2],
        (reading, change): (&Reading<'_>, &ReadingChange<'_>),
        start: usize,
        y_tangent: &mut [f32],
    ) {
        let (tree, convolution) = (self.tree, &step.convolution);
        let (input, output) = (convolution.input, convolution.output);
        let chunk = convolution.chunk(y_tangent.len() / output.len());
        let mut scratch = tree.arena.take(if reading.is_raw { 0 } else { chunk * input.len() });
        let mut lowered = tree.arena.take(convolution.lowered_len(chunk));
        let mut products = tree.arena.take(convolution.raised_len(chunk));
        for (part, y_tangent) in y_tangent.chunks_mut(chunk * output.len()).enumerate() {
            let (start, count) = (start + part * chunk, y_tangent.len() / output.len());
            let mut add = |z: &[f32], filters: &[f32], accumulate: bool| {
                let lowered = convolution.lower(count, z, &mut lowered);
                let to = Products { planes: &mut products, result: y_tangent, accumulate };
                convolution.convolve(count, lowered, filters, to);
            };
            add(tree.read(reading, start, count, &mut scratch), filters_tangent, false);
            if !change.y.is_empty() {
                add(tree.read_change(reading, change, start, count, &mut scratch), filters, true);
            }
            convolution.raise(count, &products, y_tangent);
            output.clear_spare(y_tangent);
        }
    }

    fn join(
        &self,
        step: &JoinStep,
        readings: &[Reading<'_>],
        changes: &[ReadingChange<'_>],
        start: usize,
        z_tangent: &mut [f32],
    ) {
        let len = step.windows.input.len();
        // The inputs of the network do not change.
        let constant =
            self.tree.arena.zeros(if changes.iter().any(|change| change.y.is_empty()) { len } else { 0 });
        for (i, z_tangent) in z_tangent.chunks_exact_mut(step.windows.output.len()).enumerate() {
            let of = changes.iter().map(|&ReadingChange { affine, y }| Change {
                y: if y.is_empty() { &constant } else { &y[(start + i) * len..][..len] },
                affine,
            });
            let changes: Vec<Change<'_>> = of.collect();
            with_join(step, readings, start + i, |of| {
                join::join_tangent(self.tree.isa, of, &changes, z_tangent)
            });
            step.drop(self.saved.noise, start + i, z_tangent);
        }
    }
}
