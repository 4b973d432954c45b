//! A convolution's part of the backward pass.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::super::super::arena::Buffer;
use super::super::super::conv::Products;
use super::super::plan::ConvStep;
use super::{Backward, Changes, Gradients, Incoming, ViewGradient};

/// Floats of partial gradients of filters that a batch may take: wide filters have fewer, larger groups of images.
const MOST_PARTIAL: usize = 1 << 24;

impl<const N: usize> Backward<'_, N> {
    /// The gradient of a convolution's filters, and that of its inputs.
    pub(super) fn conv(
        &self,
        index: usize,
        step: &ConvStep,
        incoming: &[Incoming<N>],
        gradients: &mut Gradients<N>,
        gradient: &mut [f32],
    ) {
        let (tree, convolution) = (self.tree, &step.convolution);
        let (count, plain) = (self.saved.count, convolution.plain_len());
        let mut group = convolution.group(count);
        while count.div_ceil(group) > 2 && count.div_ceil(group) * plain > MOST_PARTIAL {
            group *= 2;
        }
        let wanted = self.wanted(step.from);
        let whole = tree.plan.first_reader[step.from] == Some(index);
        let sums_len = if whole && wanted { self.sums_len(step.from) } else { 0 };
        let input = convolution.input.len();
        let mut d: [Buffer; N] =
            std::array::from_fn(|_| tree.arena.take(if wanted { count * input } else { 0 }));
        let mut sums = tree.arena.take(count * sums_len);
        let mut partials = tree.arena.take(count.div_ceil(group) * plain);
        let weights = [Some(self.theta), self.changes.map(|changes| changes.direction)];
        let filters = weights.map(|values| {
            let values = values.filter(|_| wanted)?;
            Some(convolution.transposed_filters(&tree.arena, &values[step.weight.clone()]))
        });
        let known = &gradients[step.from];
        let mut inputs = d.each_mut().map(|d| d.chunks_mut(group * input));
        let mut all_sums = sums.chunks_mut((group * sums_len).max(1));
        let parts: Vec<_> = partials
            .chunks_mut(plain)
            .enumerate()
            .map(|(part, partial)| {
                let d = inputs.each_mut().map(|d| d.next().unwrap_or_default());
                (part * group, d, all_sums.next().unwrap_or_default(), partial)
            })
            .collect();
        parts.into_par_iter().for_each(|(start, mut d, sums, partial)| {
            let images = group.min(count - start);
            self.conv_group(step, incoming, &filters, start..start + images, &mut d, partial);
            if wanted {
                self.finish(step.from, start, known, d, sums);
            }
        });
        convolution.sum_gradients(&partials, &mut gradient[step.weight.clone()]);
        if wanted {
            gradients[step.from] = Some(ViewGradient { d: d.map(Arc::new), sums });
        }
    }

    fn conv_group(
        &self,
        step: &ConvStep,
        incoming: &[Incoming<N>],
        filters: &[Option<Buffer>; 2],
        images: Range<usize>,
        d: &mut [&mut [f32]; N],
        partial: &mut [f32],
    ) {
        let (tree, convolution) = (self.tree, &step.convolution);
        let (input, reading) = (convolution.input, self.reading(step.from));
        let change = self.changes.map(|Changes { tangent, .. }| {
            tree.reading_change(step.from, &tangent.raws[tree.plan.views[step.from].raw], &tangent.norms)
        });
        let change = change.filter(|change| !change.y.is_empty());
        let chunk = convolution.chunk(images.len());
        let take = |len: usize| tree.arena.take(len);
        let mut scratch = self.scratch(incoming, chunk);
        let mut z = take(if reading.is_raw { 0 } else { chunk * input.len() });
        let mut lowered = take(convolution.lowered_len(chunk));
        let mut spread: [Buffer; N] = std::array::from_fn(|_| take(convolution.raised_len(chunk)));
        let mut transformed = take(convolution.transformed_len());
        for start in images.clone().step_by(chunk) {
            let count = chunk.min(images.end - start);
            let dy = self.raw_gradient(incoming, start, count, &mut scratch);
            let mut spread =
                spread.iter_mut().zip(dy).map(|(spread, dy)| convolution.spread(count, dy, spread));
            let spread: [&[f32]; N] = std::array::from_fn(|_| spread.next().unwrap_or_default());
            let mut accumulate = start > images.start;
            let mut add = |z: &[f32], spread: &[f32]| {
                let z = convolution.lower(count, z, &mut lowered);
                let to = Products { planes: &mut transformed, result: partial, accumulate };
                convolution.multiply_gradient(count, z, spread, to);
                accumulate = true;
            };
            // dW = zᵀ dy, and its change zᵀ dẏ + żᵀ dy.
            add(tree.read(&reading, start, count, &mut z), spread[N - 1]);
            if let Some(change) = &change {
                add(tree.read_change(&reading, change, start, count, &mut z), spread[0]);
            }
            let [Some(own), direction] = filters else { continue };
            // dz = dy Wᵀ, and its change dẏ Wᵀ + dy Ẇᵀ. The lowered input has done its work.
            for (k, d) in d.iter_mut().enumerate() {
                let at = (start - images.start) * input.len();
                let d = &mut d[at..][..count * input.len()];
                let mut add = |spread: &[f32], filters: &[f32], accumulate: bool| {
                    let to = Products { planes: &mut lowered, result: d, accumulate };
                    convolution.convolve_transposed(count, spread, filters, to);
                };
                add(spread[k], own, false);
                if let (1, Some(direction)) = (k, direction) {
                    add(spread[0], direction, true);
                }
                convolution.gather(count, &lowered, d);
            }
        }
        convolution.plain_gradient(&transformed, partial);
    }
}
