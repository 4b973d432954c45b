//! The tangent backward pass: how the gradient changes along a direction in θ, the Hessian times that direction.
//!
//! Every gradient is carried together with its change; only the changes of gradients in θ are kept.

use ndarray::Array2;
use rayon::prelude::*;

use super::arena::Buffer;
use super::conv::Convolution;
use super::first::First;
use super::forward::Saved;
use super::norm::Affine;
use super::norm_tangent::{self as norm, Change, Images};
use super::tangent_forward::Tangent;
use super::{Block, Form, Fused, group_size};

/// The pass, and what it reads.
pub(super) struct Passes<'a> {
    pub(super) network: &'a Fused,
    pub(super) theta: &'a [f32],
    pub(super) direction: &'a [f32],
    pub(super) saved: &'a Saved,
    pub(super) tangent: &'a Tangent,
}

/// A gradient and its change.
type Pair = [Buffer; 2];

/// Gradient through the statistics of a batch, `scale·y + shift`, and its change.
struct Through {
    scale: Vec<f32>,
    shift: Vec<f32>,
    scale_tangent: Vec<f32>,
    shift_tangent: Vec<f32>,
}

/// What one group of images works on.
struct Group<'a> {
    start: usize,
    count: usize,
    /// Gradients of the images that go into the block and their changes; none kept for the first block.
    dz: Option<[&'a mut [f32]; 2]>,
    sums: Option<&'a mut [f32]>,
    filters: &'a mut [f32],
}

impl Passes<'_> {
    /// Fills `product` with the change of the gradient in θ.
    pub(super) fn run(&self, d_output: &Array2<f32>, dd_output: &Array2<f32>, product: &mut [f32]) {
        let network = self.network;
        let rows = network.tail.tangent_backward(
            [self.theta, self.direction],
            [&self.saved.tail, &self.tangent.tail],
            [d_output, dd_output],
            !network.blocks.is_empty(),
            product,
        );
        let (Some(last), Some(rows)) = (network.blocks.last(), rows) else { return };
        let count = self.saved.count;
        let group = group_size(count);
        let (length, features) = (last.shape.output.len(), network.features);
        let sums_len = last.tangent_sums_len(group);
        let mut dz = rows.each_ref().map(|_| network.arena.take(count * length));
        let mut sums = network.arena.take(sums_len * count.div_ceil(group));
        {
            let [dz, dz_tangent] = &mut dz;
            dz.par_chunks_mut(group * length)
                .zip(dz_tangent.par_chunks_mut(group * length))
                .zip(sums.par_chunks_mut(sums_len))
                .enumerate()
                .for_each(|(part, ((dz, dz_tangent), sums))| {
                    let images = dz.len() / length;
                    let part_of = |rows: &Buffer, dz: &mut [f32]| {
                        network.part(&rows[part * group * features..][..images * features], dz);
                    };
                    part_of(&rows[0], dz);
                    part_of(&rows[1], dz_tangent);
                    self.clear(network.blocks.len() - 1, sums);
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

    /// Sums of the first block are added to, others written.
    fn clear(&self, index: usize, sums: &mut [f32]) {
        if let Form::First(_) = self.network.blocks[index].form {
            sums.fill(0.0);
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
                let mut filters = network.arena.take(first.filters_len());
                first.filters(&self.theta[block.layer.weight.clone()], &mut filters);
                let mut bordered = network.arena.take(first.padded_len());
                let mut routed = network.arena.take(first.routed_len());
                let (sums, changes) = sums.split_at_mut((first.taps() + 1) * block.channels());
                for (i, (dz, dz_tangent)) in images {
                    let x = &self.saved.x[(start + i) * first.input_len()..][..first.input_len()];
                    first.pad(x, &mut bordered);
                    let affine = kept.norm.affine();
                    first.backward(network.isa, &filters, affine, &bordered, dz, &mut routed, sums);
                    first.backward(
                        network.isa,
                        &filters,
                        affine,
                        &bordered,
                        dz_tangent,
                        &mut routed,
                        changes,
                    );
                }
            }
            Form::General(_) => {
                let tangent = &self.tangent.blocks[index];
                for ((i, (dz, dz_tangent)), sums) in images.zip(sums.chunks_exact_mut(4 * block.channels())) {
                    let images = self.images(index, start + i, dz, dz_tangent);
                    let (norm, means) = (&kept.norm, [&kept.norm.mean, &tangent.norm.mean]);
                    norm::gradient_sums(
                        network.isa,
                        block.shape,
                        norm.affine(),
                        means[0],
                        means[1],
                        images,
                        sums,
                    );
                }
            }
        }
    }

    /// Convolution outputs of image `at` of block `index` with the gradient in its outputs.
    fn images<'a>(&'a self, index: usize, at: usize, dz: &'a [f32], dz_tangent: &'a [f32]) -> Images<'a> {
        let length = self.network.blocks[index].shape.convolved.len();
        let y = &self.saved.blocks[index].y[at * length..][..length];
        Images { y, y_tangent: &self.tangent.blocks[index].y[at * length..][..length], dz, dz_tangent }
    }

    /// Changes of the gradients of a block's norm, and the gradient through the statistics with its change.
    fn through(&self, index: usize, sums: &[f32], product: &mut [f32]) -> Through {
        let block = &self.network.blocks[index];
        let (norm, tangent) = (&self.saved.blocks[index].norm, &self.tangent.blocks[index].norm);
        let (channels, slots) = (block.channels(), &block.layer.norm);
        let positions = (self.saved.count * block.shape.convolved.pixels()) as f64;
        let mut totals = vec![0.0_f64; 4 * channels];
        // The last group may have fewer images than the rest, and leaves the end as it was.
        for sums in sums.chunks_exact(4 * channels).take(self.saved.count) {
            totals.iter_mut().zip(sums).for_each(|(total, &sum)| *total += f64::from(sum));
        }
        let zeros = || vec![0.0; channels];
        let mut through =
            Through { scale: zeros(), shift: zeros(), scale_tangent: zeros(), shift_tangent: zeros() };
        for (channel, &gamma) in self.theta[slots.weight.clone()].iter().enumerate() {
            let [sum, dot, sum_tangent, dot_tangent] = [0, 1, 2, 3].map(|k| totals[k * channels + channel]);
            let (inverse, inverse_tangent) = (f64::from(norm.inverse[channel]), tangent.inverse[channel]);
            product[slots.weight.start + channel] = (inverse_tangent * dot + inverse * dot_tangent) as f32;
            product[slots.bias.start + channel] = sum_tangent as f32;
            let (scale, scale_tangent) = (f64::from(gamma) * inverse, f64::from(tangent.scale[channel]));
            let (mean, mean_tangent) = (f64::from(norm.mean[channel]), f64::from(tangent.mean[channel]));
            let p = -scale * inverse * inverse * dot / positions;
            let p_tangent = -(scale_tangent * inverse * inverse * dot
                + 2.0 * scale * inverse * inverse_tangent * dot
                + scale * inverse * inverse * dot_tangent)
                / positions;
            through.scale[channel] = p as f32;
            through.shift[channel] = (-scale * sum / positions - p * mean) as f32;
            through.scale_tangent[channel] = p_tangent as f32;
            through.shift_tangent[channel] = (-(scale_tangent * sum + scale * sum_tangent) / positions
                - p_tangent * mean
                - p * mean_tangent) as f32;
        }
        through
    }

    /// The change of the gradient of a block's filters; gradients of its inputs and their changes.
    fn block(
        &self,
        index: usize,
        convolution: &Convolution,
        through: &Through,
        dz: &Pair,
        product: &mut [f32],
    ) -> (Pair, Buffer) {
        let (network, count) = (self.network, self.saved.count);
        let (isa, arena) = (network.isa, &network.arena);
        let range = network.blocks[index].layer.weight.clone();
        let group = group_size(count);
        let before = index.checked_sub(1).map(|before| &network.blocks[before]);
        let filters = before.map(|_| {
            [self.theta, self.direction]
                .map(|values| convolution.transposed_filters(isa, arena, &values[range.clone()]))
        });
        let keep = before.is_some_and(|before| matches!(before.form, Form::General(_)));
        let image = convolution.input.len();
        let mut d_input = [(); 2].map(|()| arena.take(if keep { count * image } else { 0 }));
        let sums_len = before.map_or(0, |before| before.tangent_sums_len(group));
        let groups = count.div_ceil(group);
        let mut sums = arena.take(groups * sums_len);
        let mut partials = arena.take(groups * convolution.plain_len());
        {
            let [d, d_tangent] = &mut d_input;
            let mut d_inputs = d.chunks_mut(group * image).zip(d_tangent.chunks_mut(group * image));
            let mut all_sums = sums.chunks_mut(sums_len.max(1));
            let work: Vec<Group<'_>> = partials
                .chunks_mut(convolution.plain_len())
                .enumerate()
                .map(|(part, filters)| Group {
                    start: part * group,
                    count: group.min(count - part * group),
                    dz: d_inputs.next().map(|(d, d_tangent)| [d, d_tangent]),
                    sums: all_sums.next(),
                    filters,
                })
                .collect();
            work.into_par_iter()
                .for_each(|work| self.group(index, convolution, through, filters.as_ref(), dz, work));
        }
        convolution.sum_gradients(isa, &partials, &mut product[range]);
        (d_input, sums)
    }

    fn group(
        &self,
        index: usize,
        convolution: &Convolution,
        through: &Through,
        filters: Option<&Pair>,
        [dz, dz_tangent]: &Pair,
        mut work: Group<'_>,
    ) {
        let (isa, arena) = (self.network.isa, &self.network.arena);
        let (block, kept, tangent) =
            (&self.network.blocks[index], &self.saved.blocks[index], &self.tangent.blocks[index]);
        let (input, output, length) = (convolution.input, convolution.output, block.shape.output.len());
        let chunk = convolution.chunk(isa, work.count);
        let [mut dy, mut dy_tangent] = [(); 2].map(|()| arena.take(chunk * output.len()));
        let [mut spread, mut spread_tangent] = [(); 2].map(|()| arena.take(convolution.raised_len(chunk)));
        let mut lowered = arena.take(convolution.lowered_len(chunk));
        let mut d_filters = arena.take(convolution.transformed_len());
        let mut own = [(); 2].map(|()| arena.take(if work.dz.is_none() { chunk * input.len() } else { 0 }));
        if let (Some(before), Some(sums)) = (index.checked_sub(1), &mut work.sums) {
            self.clear(before, sums);
        }
        let change = Change {
            affine: kept.norm.affine(),
            affine_tangent: tangent.norm.affine(),
            through: Affine { scale: &through.scale, shift: &through.shift },
            through_tangent: Affine { scale: &through.scale_tangent, shift: &through.shift_tangent },
        };
        for first in (0..work.count).step_by(chunk) {
            let count = chunk.min(work.count - first);
            let start = work.start + first;
            let images = dy.chunks_exact_mut(output.len()).zip(dy_tangent.chunks_exact_mut(output.len()));
            for (i, (dy, dy_tangent)) in images.take(count).enumerate() {
                let at = (start + i) * length..(start + i + 1) * length;
                let images = self.images(index, start + i, &dz[at.clone()], &dz_tangent[at]);
                norm::convolved_gradient(isa, block.shape, change, images, dy, dy_tangent);
            }
            let spread = convolution.spread(isa, count, &dy, &mut spread);
            let spread_tangent = convolution.spread(isa, count, &dy_tangent, &mut spread_tangent);
            let mut add = |z: &[f32], spread: &[f32], lowered: &mut [f32], accumulate: bool| {
                let z = convolution.lower(isa, count, &z[start * input.len()..], lowered);
                let filters = &mut *work.filters;
                convolution.multiply_gradient(isa, count, z, spread, &mut d_filters, filters, accumulate);
            };
            add(&kept.z, spread_tangent, &mut lowered, first > 0);
            let (Some(before), Some([filters, filters_tangent])) = (index.checked_sub(1), filters) else {
                continue;
            };
            add(&tangent.z, spread, &mut lowered, true);
            let [d_input, d_input_tangent] = match &mut work.dz {
                Some(dz) => dz.each_mut().map(|dz| &mut dz[first * input.len()..][..count * input.len()]),
                None => own.each_mut().map(|own| &mut own[..count * input.len()]),
            };
            // The lowered input has done its work; its place takes the gradients.
            convolution.convolve_transposed(isa, count, spread, filters, &mut lowered, d_input, false);
            convolution.gather(isa, count, &lowered, d_input);
            let mut add = |spread: &[f32], filters: &[f32], accumulate: bool| {
                let dx = &mut *d_input_tangent;
                convolution.convolve_transposed(isa, count, spread, filters, &mut lowered, dx, accumulate);
            };
            add(spread, filters_tangent, false);
            add(spread_tangent, filters, true);
            convolution.gather(isa, count, &lowered, d_input_tangent);
            if let Some(sums) = &mut work.sums {
                let at = match self.network.blocks[before].form {
                    Form::First(_) => 0,
                    Form::General(_) => self.network.blocks[before].tangent_sums_len(first),
                };
                self.absorb(before, start, [d_input, d_input_tangent], &mut sums[at..]);
            }
        }
        convolution.plain_gradient(isa, &d_filters, work.filters);
    }

    /// Changes of the gradients of the first block, from the groups' G, Σg and their changes.
    fn first(&self, index: usize, first: &First, sums: &[f32], product: &mut [f32]) {
        let block: &Block = &self.network.blocks[index];
        let (norm, tangent) = (&self.saved.blocks[index].norm, &self.tangent.blocks[index].norm);
        let Some(moments) = &self.saved.blocks[index].moments else { return };
        let (taps, channels) = (first.taps(), block.channels());
        let length = (taps + 1) * channels;
        let mut totals = vec![0.0_f64; 2 * length];
        for sums in sums.chunks_exact(2 * length) {
            totals.iter_mut().zip(sums).for_each(|(total, &sum)| *total += f64::from(sum));
        }
        let slots = &block.layer.norm;
        let [weights, directions] =
            [self.theta, self.direction].map(|values| values[block.layer.weight.clone()].chunks_exact(taps));
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
                product[block.layer.weight.start + channel * taps + tap] =
                    (scale_tangent * d + scale * d_tangent) as f32;
            }
        }
    }
}
