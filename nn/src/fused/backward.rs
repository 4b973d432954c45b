//! The backward pass.

use ndarray::Array2;
use rayon::prelude::*;

use super::arena::Buffer;
use super::conv::{Convolution, Products};
use super::first::First;
use super::first_kernels::Weights;
use super::forward::{Saved, SavedBlock};
use super::groups::{BlockGradients, Group, Wanted, group_size, kept_or_own, totals};
use super::network::{Block, Blocks, Form};
use super::norm::{self, Coefficients, Images};
use super::statistics::Through;

/// The pass, and what it reads.
pub(super) struct Backward<'a> {
    pub(super) network: &'a Blocks,
    pub(super) theta: &'a [f32],
    pub(super) saved: &'a Saved,
}

impl Backward<'_> {
    /// Adds the gradient in θ, from the gradient in the outputs, to `gradient`, which is 0.
    pub(super) fn run(&self, d_output: &Array2<f32>, gradient: &mut [f32]) {
        let Self { network, theta, saved } = *self;
        let images = !network.blocks.is_empty();
        let d_matrix = network.tail.backward(theta, &saved.tail, d_output, images, gradient);
        let (Some(last), Some(d_matrix)) = (network.blocks.last(), d_matrix) else { return };

        let group = group_size(saved.count);
        let (length, sums_len) = (last.shape.output.len(), last.sums_len(group));
        let mut dz = network.arena.take(saved.count * length);
        let mut sums = network.arena.take(sums_len * saved.count.div_ceil(group));
        dz.par_chunks_mut(group * length)
            .zip(sums.par_chunks_mut(sums_len))
            .zip(d_matrix.par_chunks(group * network.joint.features()))
            .enumerate()
            .for_each(|(index, ((dz, sums), rows))| {
                network.joint.part(rows, dz);
                last.clear(sums);
                self.absorb(network.blocks.len() - 1, index * group, dz, sums);
            });
        for index in (0..network.blocks.len()).rev() {
            match &network.blocks[index].form {
                Form::First(first) => self.first(index, first, &sums, gradient),
                Form::General(convolution) => {
                    let through = self.norm(index, &sums, gradient);
                    (dz, sums) = self.block(index, convolution, &through, &dz, gradient);
                }
            }
        }
    }

    /// What block `index` sums over the gradients `dz` of its outputs, images from `start` on.
    fn absorb(&self, index: usize, start: usize, dz: &[f32], sums: &mut [f32]) {
        let network = self.network;
        let (block, kept) = (&network.blocks[index], &self.saved.blocks[index]);
        let images = dz.chunks_exact(block.shape.output.len()).enumerate();
        match &block.form {
            Form::First(first) => {
                let filters = network.filters(block, self.theta);
                let weights = Weights { filters: &filters, affine: kept.norm.affine() };
                let mut bordered = network.arena.take(first.padded_len());
                let mut routed = network.arena.take(first.routed_len());
                for (i, dz) in images {
                    let x = &self.saved.x[(start + i) * first.input_len()..][..first.input_len()];
                    first.pad(x, &mut bordered);
                    first.backward(weights, &bordered, dz, &mut routed, sums);
                }
            }
            Form::General(_) => {
                let kernel =
                    if block.shape.pool { norm::gradient_sums::<2> } else { norm::gradient_sums::<1> };
                for ((i, dz), sums) in images.zip(sums.chunks_exact_mut(2 * block.channels())) {
                    let images = Images { y: kept.images.output(block, start + i), dz };
                    kernel(network.isa, block.shape, kept.norm.affine(), &kept.norm.mean, images, sums);
                }
            }
        }
    }

    /// The gradient of a block's filters, and of its inputs with what the block before sums over them.
    fn block(
        &self,
        index: usize,
        convolution: &Convolution,
        through: &Through,
        dz: &[f32],
        gradient: &mut [f32],
    ) -> (Buffer, Buffer) {
        let Self { network, theta, saved } = *self;
        let range = network.blocks[index].conv.weight.clone();
        let before = index.checked_sub(1).map(|before| &network.blocks[before]);
        let filters = before.map(|_| convolution.transposed_filters(&network.arena, &theta[range.clone()]));
        let wanted = Wanted {
            d_input: before.is_some_and(|before| matches!(before.form, Form::General(_))),
            sums_len: before.map_or(0, |before| before.sums_len(group_size(saved.count))),
        };
        let parts = BlockGradients::compute(&network.arena, convolution, saved.count, &wanted, |group| {
            self.group(index, convolution, through, filters.as_deref(), dz, group);
        });
        convolution.sum_gradients(&parts.filters, &mut gradient[range]);
        let [d_input] = parts.d_input;
        (d_input, parts.sums)
    }

    fn group(
        &self,
        index: usize,
        convolution: &Convolution,
        through: &Through,
        filters: Option<&[f32]>,
        dz: &[f32],
        mut group: Group<'_, 1>,
    ) {
        let (isa, arena) = (self.network.isa, &self.network.arena);
        let (block, kept) = (&self.network.blocks[index], &self.saved.blocks[index]);
        let before = index.checked_sub(1).map(|before| &self.network.blocks[before]);
        let (input, output, length) = (convolution.input, convolution.output, block.shape.output.len());
        let chunk = convolution.chunk(group.count);
        let mut dy = arena.take(chunk * output.len());
        let mut spread = arena.take(convolution.raised_len(chunk));
        let mut lowered = arena.take(convolution.lowered_len(chunk));
        let mut d_filters = arena.take(convolution.transformed_len());
        let mut own = arena.take(if group.d_input[0].is_empty() { chunk * input.len() } else { 0 });
        if let Some(before) = before {
            before.clear(group.sums);
        }
        let coefficients = Coefficients { affine: kept.norm.affine(), through: through.affine() };
        let kernel =
            if block.shape.pool { norm::convolved_gradient::<2> } else { norm::convolved_gradient::<1> };
        for first in (0..group.count).step_by(chunk) {
            let count = chunk.min(group.count - first);
            let start = group.start + first;
            for (i, dy) in dy.chunks_exact_mut(output.len()).take(count).enumerate() {
                let images = Images {
                    y: kept.images.output(block, start + i),
                    dz: &dz[(start + i) * length..][..length],
                };
                kernel(isa, block.shape, coefficients, images, dy);
            }
            let spread = convolution.spread(count, &dy, &mut spread);
            let z = convolution.lower(count, &kept.images.z[start * input.len()..], &mut lowered);
            let to = Products { planes: &mut d_filters, result: group.filters, accumulate: first > 0 };
            convolution.multiply_gradient(count, z, spread, to);
            let (Some(before), Some(filters)) = (before, filters) else { continue };
            let [kept] = &mut group.d_input;
            let d_input = kept_or_own(kept, &mut own, first * input.len(), count * input.len());
            // The lowered input has done its work; its place takes the gradient.
            let to = Products { planes: &mut lowered, result: d_input, accumulate: false };
            convolution.convolve_transposed(count, spread, filters, to);
            convolution.gather(count, &lowered, d_input);
            self.absorb(index - 1, start, d_input, &mut group.sums[before.sums_start(first)..]);
        }
        convolution.plain_gradient(&d_filters, group.filters);
    }

    /// Gradients of the first block, from the groups' G and Σg.
    fn first(&self, index: usize, first: &First, sums: &[f32], gradient: &mut [f32]) {
        let (block, kept) = (&self.network.blocks[index], &self.saved.blocks[index]);
        let Some(moments) = &kept.moments else { return };
        let (taps, channels) = (first.taps(), block.channels());
        let totals = totals(sums, (taps + 1) * channels, self.saved.count);
        let slots = &block.norm;
        let weight = self.theta[block.conv.weight.clone()].chunks_exact(taps);
        for (channel, (w, gamma)) in weight.zip(&self.theta[slots.weight.clone()]).enumerate() {
            let dot = |v: &[f64]| v.iter().zip(w).map(|(v, &w)| v * f64::from(w)).sum::<f64>();
            let g: Vec<f64> = (0..taps).map(|tap| totals[tap * channels + channel]).collect();
            let total = totals[taps * channels + channel];
            let inverse = f64::from(kept.norm.inverse[channel]);
            let product = dot(&g) - dot(&moments.mean) * total;
            gradient[slots.weight.start + channel] = (product * inverse) as f32;
            gradient[slots.bias.start + channel] = total as f32;
            for tap in 0..taps {
                let spread = dot(&moments.covariance[tap * taps..][..taps]);
                let d = g[tap] - moments.mean[tap] * total - spread * product * inverse * inverse;
                gradient[block.conv.weight.start + channel * taps + tap] =
                    (f64::from(*gamma) * inverse * d) as f32;
            }
        }
        self.statistics_of_batch(block, kept, self.saved.count * first.positions(), gradient);
    }

    /// Gradients of a block's norm from the images' sums, and the gradient through the statistics.
    fn norm(&self, index: usize, sums: &[f32], gradient: &mut [f32]) -> Through {
        let (block, kept) = (&self.network.blocks[index], &self.saved.blocks[index]);
        let positions = self.saved.count * block.shape.convolved.pixels();
        // The last group may have fewer images than the rest, and leaves the end as it was.
        let totals = totals(sums, 2 * block.channels(), self.saved.count);
        let through = kept.norm.through(self.theta, &block.norm, &totals, positions, gradient);
        self.statistics_of_batch(block, kept, positions, gradient);
        through
    }

    /// Fills the slots of running statistics with those of the batch (variance unbiased).
    fn statistics_of_batch(&self, block: &Block, kept: &SavedBlock, positions: usize, gradient: &mut [f32]) {
        let bias = &self.theta[block.bias.clone()];
        kept.norm.statistics_of_batch(&block.norm, Some(bias), positions, gradient);
    }
}
