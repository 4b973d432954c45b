//! The tangent backward pass: how the gradient changes along a direction in θ, the Hessian times that direction.
//!
//! Every gradient is carried together with its change; only the changes of gradients in θ are kept.

use ndarray::Array2;
use rayon::prelude::*;

use super::arena::Buffer;
use super::conv::{Convolution, Products};
use super::first::First;
use super::first_kernels::Weights;
use super::forward::Saved;
use super::groups::{BlockGradients, Group, Wanted, group_size, kept_or_own, totals};
use super::network::{Blocks, Form};
use super::norm::Images;
use super::norm_tangent as norm;
use super::statistics::{Through, coefficients};
use super::tangent_forward::Tangent;

/// The pass, and what it reads.
pub(super) struct TangentBackward<'a> {
    pub(super) network: &'a Blocks,
    pub(super) theta: &'a [f32],
    pub(super) direction: &'a [f32],
    pub(super) saved: &'a Saved,
    pub(super) tangent: &'a Tangent,
}

/// A gradient and its change.
type Pair = [Buffer; 2];

impl TangentBackward<'_> {
    /// Fills `product`, which is 0, with the change of the gradient in θ, from the gradient in the outputs and its change.
    pub(super) fn run(&self, d_output: [&Array2<f32>; 2], product: &mut [f32]) {
        let Self { network, theta, direction, saved, tangent } = *self;
        let images = !network.blocks.is_empty();
        let values = [&saved.tail, &tangent.tail];
        let rows = network.tail.tangent_backward([theta, direction], values, d_output, images, product);
        let (Some(last), Some(rows)) = (network.blocks.last(), rows) else { return };

        let group = group_size(saved.count);
        let (length, features) = (last.shape.output.len(), network.joint.features());
        let sums_len = 2 * last.sums_len(group);
        let mut dz = rows.each_ref().map(|_| network.arena.take(saved.count * length));
        let mut sums = network.arena.take(sums_len * saved.count.div_ceil(group));
        {
            let [dz, dz_tangent] = &mut dz;
            dz.par_chunks_mut(group * length)
                .zip(dz_tangent.par_chunks_mut(group * length))
                .zip(sums.par_chunks_mut(sums_len))
                .enumerate()
                .for_each(|(part, ((dz, dz_tangent), sums))| {
                    let images = part * group * features..(part * group + dz.len() / length) * features;
                    network.joint.part(&rows[0][images.clone()], dz);
                    network.joint.part(&rows[1][images], dz_tangent);
                    last.clear(sums);
                    self.absorb(network.blocks.len() - 1, part * group, [dz, dz_tangent], sums);
                });
        }
        for index in (0..network.blocks.len()).rev() {
            match &network.blocks[index].form {
                Form::First(first) => self.first(index, first, &sums, product),
                Form::General(convolution) => {
                    let through = self.through(index, &sums, product);
                    (dz, sums) = self.block(index, convolution, &through, &dz, product);
                }
            }
        }
    }

    /// What block `index` sums over the gradients of its outputs and their changes, images from `start` on.
    fn absorb(&self, index: usize, start: usize, [dz, dz_tangent]: [&[f32]; 2], sums: &mut [f32]) {
        let network = self.network;
        let (block, kept) = (&network.blocks[index], &self.saved.blocks[index]);
        let length = block.shape.output.len();
        let images = dz.chunks_exact(length).zip(dz_tangent.chunks_exact(length)).enumerate();
        match &block.form {
            Form::First(first) => {
                let filters = network.filters(block, self.theta);
                let weights = Weights { filters: &filters, affine: kept.norm.affine() };
                let mut bordered = network.arena.take(first.padded_len());
                let mut routed = network.arena.take(first.routed_len());
                let (sums, changes) = sums.split_at_mut((first.taps() + 1) * block.channels());
                for (i, (dz, dz_tangent)) in images {
                    let x = &self.saved.x[(start + i) * first.input_len()..][..first.input_len()];
                    first.pad(x, &mut bordered);
                    first.backward(weights, &bordered, dz, &mut routed, sums);
                    first.backward(weights, &bordered, dz_tangent, &mut routed, changes);
                }
            }
            Form::General(_) => {
                let kernel =
                    if block.shape.pool { norm::gradient_sums::<2> } else { norm::gradient_sums::<1> };
                let means: [&[f32]; 2] = [&kept.norm.mean, &self.tangent.blocks[index].norm.mean];
                for ((i, (dz, dz_tangent)), sums) in images.zip(sums.chunks_exact_mut(4 * block.channels())) {
                    let images = self.images(index, start + i, [dz, dz_tangent]);
                    kernel(network.isa, block.shape, kept.norm.affine(), means, images, sums);
                }
            }
        }
    }

    /// Convolution outputs of image `at` of block `index` with the gradient in its outputs, and their changes.
    fn images<'a>(&'a self, index: usize, at: usize, [dz, dz_tangent]: [&'a [f32]; 2]) -> [Images<'a>; 2] {
        let block = &self.network.blocks[index];
        let (kept, tangent) = (&self.saved.blocks[index], &self.tangent.blocks[index]);
        let [y, y_tangent] = [&kept.images, &tangent.images].map(|images| images.output(block, at));
        [Images { y, dz }, Images { y: y_tangent, dz: dz_tangent }]
    }

    /// Changes of the gradients of a block's norm, and the gradient through the statistics with its change.
    fn through(&self, index: usize, sums: &[f32], product: &mut [f32]) -> [Through; 2] {
        let block = &self.network.blocks[index];
        let (norm, tangent) = (&self.saved.blocks[index].norm, &self.tangent.blocks[index].norm);
        let positions = self.saved.count * block.shape.convolved.pixels();
        // The last group may have fewer images than the rest, and leaves the end as it was.
        let totals = totals(sums, 4 * block.channels(), self.saved.count);
        tangent.through(self.theta, (&block.norm, norm), &totals, positions, product)
    }

    /// The change of the gradient of a block's filters; gradients of its inputs and their changes, with what the block
    /// before sums over them.
    fn block(
        &self,
        index: usize,
        convolution: &Convolution,
        through: &[Through; 2],
        dz: &Pair,
        product: &mut [f32],
    ) -> (Pair, Buffer) {
        let Self { network, saved, .. } = *self;
        let range = network.blocks[index].conv.weight.clone();
        let before = index.checked_sub(1).map(|before| &network.blocks[before]);
        let filters = before.map(|_| {
            [self.theta, self.direction]
                .map(|values| convolution.transposed_filters(&network.arena, &values[range.clone()]))
        });
        let wanted = Wanted {
            d_input: before.is_some_and(|before| matches!(before.form, Form::General(_))),
            sums_len: before.map_or(0, |before| 2 * before.sums_len(group_size(saved.count))),
        };
        let parts = BlockGradients::compute(&network.arena, convolution, saved.count, &wanted, |group| {
            self.group(index, convolution, through, filters.as_ref(), dz, group);
        });
        convolution.sum_gradients(&parts.filters, &mut product[range]);
        (parts.d_input, parts.sums)
    }

    fn group(
        &self,
        index: usize,
        convolution: &Convolution,
        through: &[Through; 2],
        filters: Option<&Pair>,
        [dz, dz_tangent]: &Pair,
        mut group: Group<'_, 2>,
    ) {
        let (isa, arena) = (self.network.isa, &self.network.arena);
        let (block, kept, tangent) =
            (&self.network.blocks[index], &self.saved.blocks[index], &self.tangent.blocks[index]);
        let before = index.checked_sub(1).map(|before| &self.network.blocks[before]);
        let (input, output, length) = (convolution.input, convolution.output, block.shape.output.len());
        let chunk = convolution.chunk(group.count);
        let [mut dy, mut dy_tangent] = [(); 2].map(|()| arena.take(chunk * output.len()));
        let [mut spread, mut spread_tangent] = [(); 2].map(|()| arena.take(convolution.raised_len(chunk)));
        let mut lowered = arena.take(convolution.lowered_len(chunk));
        let mut d_filters = arena.take(convolution.transformed_len());
        let kept_elsewhere = !group.d_input[0].is_empty();
        let mut own = [(); 2].map(|()| arena.take(if kept_elsewhere { 0 } else { chunk * input.len() }));
        if let Some(before) = before {
            before.clear(group.sums);
        }
        let coefficients = coefficients([kept.norm.affine(), tangent.norm.affine()], through);
        let kernel =
            if block.shape.pool { norm::convolved_gradient::<2> } else { norm::convolved_gradient::<1> };
        for first in (0..group.count).step_by(chunk) {
            let count = chunk.min(group.count - first);
            let start = group.start + first;
            let images = dy.chunks_exact_mut(output.len()).zip(dy_tangent.chunks_exact_mut(output.len()));
            for (i, (dy, dy_tangent)) in images.take(count).enumerate() {
                let at = (start + i) * length..(start + i + 1) * length;
                let images = self.images(index, start + i, [&dz[at.clone()], &dz_tangent[at]]);
                kernel(isa, block.shape, coefficients, images, [dy, dy_tangent]);
            }
            let spread = convolution.spread(count, &dy, &mut spread);
            let spread_tangent = convolution.spread(count, &dy_tangent, &mut spread_tangent);
            let mut add = |z: &[f32], spread: &[f32], accumulate: bool| {
                let z = convolution.lower(count, &z[start * input.len()..], &mut lowered);
                let to = Products { planes: &mut d_filters, result: group.filters, accumulate };
                convolution.multiply_gradient(count, z, spread, to);
            };
            add(&kept.images.z, spread_tangent, first > 0);
            let (Some(before), Some([filters, filters_tangent])) = (before, filters) else { continue };
            add(&tangent.images.z, spread, true);
            let (at, len) = (first * input.len(), count * input.len());
            let ([d, d_tangent], [own, own_tangent]) = (&mut group.d_input, &mut own);
            let d_input = kept_or_own(d, own, at, len);
            let d_input_tangent = kept_or_own(d_tangent, own_tangent, at, len);
            // The lowered input has done its work; its place takes the gradients.
            let to = Products { planes: &mut lowered, result: d_input, accumulate: false };
            convolution.convolve_transposed(count, spread, filters, to);
            convolution.gather(count, &lowered, d_input);
            let to = Products { planes: &mut lowered, result: d_input_tangent, accumulate: false };
            convolution.convolve_transposed(count, spread, filters_tangent, to);
            let to = Products { planes: &mut lowered, result: d_input_tangent, accumulate: true };
            convolution.convolve_transposed(count, spread_tangent, filters, to);
            convolution.gather(count, &lowered, d_input_tangent);
            let sums = &mut group.sums[2 * before.sums_start(first)..];
            self.absorb(index - 1, start, [d_input, d_input_tangent], sums);
        }
        convolution.plain_gradient(&d_filters, group.filters);
    }

    /// Changes of the gradients of the first block, from the groups' G, Σg and their changes.
    fn first(&self, index: usize, first: &First, sums: &[f32], product: &mut [f32]) {
        let block = &self.network.blocks[index];
        let (norm, tangent) = (&self.saved.blocks[index].norm, &self.tangent.blocks[index].norm);
        let Some(moments) = &self.saved.blocks[index].moments else { return };
        let (taps, channels) = (first.taps(), block.channels());
        let length = (taps + 1) * channels;
        let totals = totals(sums, 2 * length, self.saved.count);
        let slots = &block.norm;
        let [weights, directions] =
            [self.theta, self.direction].map(|values| values[block.conv.weight.clone()].chunks_exact(taps));
        for (channel, (w, v)) in weights.zip(directions).enumerate() {
            let dot = |a: &[f64], b: &[f32]| a.iter().zip(b).map(|(a, &b)| a * f64::from(b)).sum::<f64>();
            let column = |from: usize| {
                (0..taps).map(|tap| totals[from + tap * channels + channel]).collect::<Vec<f64>>()
            };
            let (g, g_tangent) = (column(0), column(length));
            let (sum, sum_tangent) =
                (totals[taps * channels + channel], totals[length + taps * channels + channel]);
            let mean = &moments.mean;
            let product_of_y = dot(&g, w) - dot(mean, w) * sum;
            let product_tangent =
                dot(&g, v) + dot(&g_tangent, w) - dot(mean, v) * sum - dot(mean, w) * sum_tangent;
            let (inverse, inverse_tangent) = (f64::from(norm.inverse[channel]), tangent.inverse[channel]);
            let gamma = f64::from(self.theta[slots.weight.start + channel]);
            let (scale, scale_tangent) = (gamma * inverse, f64::from(tangent.scale[channel]));
            product[slots.weight.start + channel] =
                (inverse_tangent * product_of_y + inverse * product_tangent) as f32;
            product[slots.bias.start + channel] = sum_tangent as f32;
            // The factor of C w in the gradient, and its change.
            let factor = inverse * inverse * product_of_y;
            let factor_tangent =
                2.0 * inverse * inverse_tangent * product_of_y + inverse * inverse * product_tangent;
            for tap in 0..taps {
                let row = &moments.covariance[tap * taps..][..taps];
                let (spread, spread_tangent) = (dot(row, w), dot(row, v));
                let d = g[tap] - mean[tap] * sum - spread * factor;
                let d_tangent = g_tangent[tap]
                    - mean[tap] * sum_tangent
                    - spread * factor_tangent
                    - spread_tangent * factor;
                product[block.conv.weight.start + channel * taps + tap] =
                    (scale_tangent * d + scale * d_tangent) as f32;
            }
        }
    }
}
