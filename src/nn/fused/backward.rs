//! The backward pass.

use ndarray::Array2;
use rayon::prelude::*;

use super::arena::Buffer;
use super::conv::Convolution;
use super::first::First;
use super::forward::{Saved, SavedBlock};
use super::norm::{self, Affine};
use super::{Block, Form, Fused, Joint, group_size};
use crate::Result;
use crate::params::Params;

/// What one group of images works on: its part of every buffer.
struct Group<'a> {
    start: usize,
    count: usize,
    /// Gradients of the images that go into the block; none kept for the first block.
    dz: Option<&'a mut [f32]>,
    /// Sums for the block before.
    sums: Option<&'a mut [f32]>,
    /// Gradient of the filters, `[9, inputs, outputs]`.
    filters: &'a mut [f32],
}

/// Gradient through the statistics of a batch, `scale·y + shift`.
struct Through {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Block {
    /// Floats of sums for one group: per image Σg and Σg(y − mean), or G and Σg of all images of the group.
    fn sums_len(&self, images: usize) -> usize {
        match &self.form {
            Form::First(first) => (first.taps() + 1) * self.channels(),
            Form::General(_) => images * 2 * self.channels(),
        }
    }
}

impl Fused {
    /// Gradient in θ from the gradient in the outputs.
    pub(super) fn run_backward(
        &self,
        theta: &Params,
        saved: &Saved,
        d_output: Array2<f32>,
    ) -> Result<Params> {
        let mut gradient = Params::zeros(theta.layout());
        let values = gradient.values_mut();
        let theta = theta.values();
        let images = !self.blocks.is_empty();
        let d_matrix = self.tail.backward(theta, &saved.tail, &d_output, images, values);
        let (Some(last), Some(d_matrix)) = (self.blocks.last(), d_matrix) else { return Ok(gradient) };

        let count = saved.count;
        let group = group_size(count);
        let mut dz = self.arena.take(count * last.shape.output.len());
        let mut sums = self.arena.take(last.sums_len(group) * count.div_ceil(group));
        let features = self.features;
        dz.par_chunks_mut(group * last.shape.output.len())
            .zip(sums.par_chunks_mut(last.sums_len(group)))
            .zip(d_matrix.par_chunks(group * features))
            .enumerate()
            .for_each(|(index, ((dz, sums), rows))| {
                self.part(rows, dz);
                if let Form::First(_) = last.form {
                    sums.fill(0.0);
                }
                self.absorb(theta, self.blocks.len() - 1, saved, index * group, dz, sums);
            });
        for index in (0..self.blocks.len()).rev() {
            let (block, kept) = (&self.blocks[index], &saved.blocks[index]);
            match &block.form {
                Form::First(first) => self.first_backward(theta, block, first, kept, count, &sums, values),
                Form::General(convolution) => {
                    let through = norm_backward(theta, block, kept, count, &sums, values);
                    (dz, sums) = self.block_backward(theta, index, convolution, &through, saved, &dz, values);
                }
            }
        }
        Ok(gradient)
    }

    /// Gradients of images from those of the rows that they became.
    pub(super) fn part(&self, rows: &[f32], dz: &mut [f32]) {
        let (Joint::Flatten(image) | Joint::Mean(image)) = self.joint;
        let channels = self.channels;
        for (row, dz) in rows.chunks_exact(self.features).zip(dz.chunks_exact_mut(image.len())) {
            dz.fill(0.0);
            for (at, pixel) in dz.chunks_exact_mut(image.channels).take(image.pixels()).enumerate() {
                for (channel, d) in pixel[..channels].iter_mut().enumerate() {
                    *d = match self.joint {
                        Joint::Flatten(_) => row[channel * image.pixels() + at],
                        Joint::Mean(_) => row[channel] / image.pixels() as f32,
                    };
                }
            }
        }
    }

    /// What block `index` sums over the gradients `dz` of its outputs, images from `start` on.
    fn absorb(&self, theta: &[f32], index: usize, saved: &Saved, start: usize, dz: &[f32], sums: &mut [f32]) {
        let (block, kept) = (&self.blocks[index], &saved.blocks[index]);
        let images = dz.chunks_exact(block.shape.output.len()).enumerate();
        match &block.form {
            Form::First(first) => {
                let mut filters = self.arena.take(first.filters_len());
                first.filters(&theta[block.layer.weight.clone()], &mut filters);
                let mut bordered = self.arena.take(first.padded_len());
                let mut routed = self.arena.take(first.routed_len());
                for (i, dz) in images {
                    first
                        .pad(&saved.x[(start + i) * first.input_len()..][..first.input_len()], &mut bordered);
                    first.backward(self.isa, &filters, kept.norm.affine(), &bordered, dz, &mut routed, sums);
                }
            }
            Form::General(_) => {
                let length = block.shape.convolved.len();
                for ((i, dz), sums) in images.zip(sums.chunks_exact_mut(2 * block.channels())) {
                    let y = &kept.y[(start + i) * length..][..length];
                    let norm = &kept.norm;
                    norm::gradient_sums(self.isa, block.shape, norm.affine(), &norm.mean, y, dz, sums);
                }
            }
        }
    }

    /// The gradient of a block's filters, and of its inputs with what the block before sums over them.
    #[allow(clippy::too_many_arguments)]
    fn block_backward(
        &self,
        theta: &[f32],
        index: usize,
        convolution: &Convolution,
        through: &Through,
        saved: &Saved,
        dz: &[f32],
        gradient: &mut [f32],
    ) -> (Buffer, Buffer) {
        let block = &self.blocks[index];
        let weight = &theta[block.layer.weight.clone()];
        let count = saved.count;
        let group = group_size(count);
        let groups = count.div_ceil(group);
        let before = index.checked_sub(1).map(|before| &self.blocks[before]);
        let filters = before.map(|_| convolution.transposed_filters(self.isa, &self.arena, weight));
        let keep = before.is_some_and(|before| matches!(before.form, Form::General(_)));
        let mut d_input = self.arena.take(if keep { count * convolution.input.len() } else { 0 });
        let sums_len = before.map_or(0, |before| before.sums_len(group));
        let mut sums = self.arena.take(groups * sums_len);
        let mut partials = self.arena.take(groups * convolution.plain_len());
        {
            let mut d_inputs = d_input.chunks_mut(group * convolution.input.len());
            let mut all_sums = sums.chunks_mut(sums_len.max(1));
            let work: Vec<Group<'_>> = partials
                .chunks_mut(convolution.plain_len())
                .enumerate()
                .map(|(index, filters)| Group {
                    start: index * group,
                    count: group.min(count - index * group),
                    dz: d_inputs.next(),
                    sums: all_sums.next(),
                    filters,
                })
                .collect();
            work.into_par_iter().for_each(|work| {
                self.group_backward(theta, index, convolution, through, filters.as_deref(), saved, dz, work);
            });
        }
        convolution.sum_gradients(self.isa, &partials, &mut gradient[block.layer.weight.clone()]);
        (d_input, sums)
    }

    #[allow(clippy::too_many_arguments)]
    fn group_backward(
        &self,
        theta: &[f32],
        index: usize,
        convolution: &Convolution,
        through: &Through,
        filters: Option<&[f32]>,
        saved: &Saved,
        dz: &[f32],
        mut work: Group<'_>,
    ) {
        let (block, kept) = (&self.blocks[index], &saved.blocks[index]);
        let (input, output) = (convolution.input, convolution.output);
        let chunk = convolution.chunk(self.isa, work.count);
        let mut dy = self.arena.take(chunk * output.len());
        let mut spread = self.arena.take(convolution.raised_len(chunk));
        let mut lowered = self.arena.take(convolution.lowered_len(chunk));
        let mut d_filters = self.arena.take(convolution.transformed_len());
        let mut own = self.arena.take(if work.dz.is_none() { chunk * input.len() } else { 0 });
        if let (Some(before), Some(sums)) = (index.checked_sub(1), &mut work.sums)
            && let Form::First(_) = self.blocks[before].form
        {
            sums.fill(0.0);
        }
        for first in (0..work.count).step_by(chunk) {
            let count = chunk.min(work.count - first);
            let start = work.start + first;
            for (i, dy) in dy.chunks_exact_mut(output.len()).take(count).enumerate() {
                let y = &kept.y[(start + i) * output.len()..][..output.len()];
                let dz = &dz[(start + i) * block.shape.output.len()..][..block.shape.output.len()];
                let through = Affine { scale: &through.scale, shift: &through.shift };
                norm::convolved_gradient(self.isa, block.shape, kept.norm.affine(), through, y, dz, dy);
            }
            let spread = convolution.spread(self.isa, count, &dy, &mut spread);
            let z = convolution.lower(self.isa, count, &kept.z[start * input.len()..], &mut lowered);
            let accumulate = first > 0;
            convolution.multiply_gradient(
                self.isa,
                count,
                z,
                spread,
                &mut d_filters,
                work.filters,
                accumulate,
            );
            let Some(filters) = filters else { continue };
            let d_input = match &mut work.dz {
                Some(dz) => &mut dz[first * input.len()..][..count * input.len()],
                None => &mut own[..count * input.len()],
            };
            // The lowered input has done its work; its place takes the gradient.
            convolution.convolve_transposed(self.isa, count, spread, filters, &mut lowered, d_input, false);
            convolution.gather(self.isa, count, &lowered, d_input);
            if let (Some(before), Some(sums)) = (index.checked_sub(1), &mut work.sums) {
                let at = match self.blocks[before].form {
                    Form::First(_) => 0,
                    Form::General(_) => self.blocks[before].sums_len(first),
                };
                self.absorb(theta, before, saved, start, d_input, &mut sums[at..]);
            }
        }
        convolution.plain_gradient(self.isa, &d_filters, work.filters);
    }

    /// Gradients of the first block, from the groups' G and Σg.
    #[allow(clippy::too_many_arguments)]
    fn first_backward(
        &self,
        theta: &[f32],
        block: &Block,
        first: &First,
        kept: &SavedBlock,
        count: usize,
        sums: &[f32],
        gradient: &mut [f32],
    ) {
        let Some(moments) = &kept.moments else { return };
        let (taps, channels) = (first.taps(), block.channels());
        let mut totals = vec![0.0_f64; (taps + 1) * channels];
        for sums in sums.chunks_exact((taps + 1) * channels) {
            totals.iter_mut().zip(sums).for_each(|(total, &sum)| *total += f64::from(sum));
        }
        let slots = &block.layer.norm;
        let weight = theta[block.layer.weight.clone()].chunks_exact(taps);
        for (channel, (w, gamma)) in weight.zip(&theta[slots.weight.clone()]).enumerate() {
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
                gradient[block.layer.weight.start + channel * taps + tap] =
                    (f64::from(*gamma) * inverse * d) as f32;
            }
        }
        statistics_of_batch(theta, block, kept, count * first.positions(), gradient);
    }
}

/// Gradients of a block's norm from the images' sums, and the gradient through the statistics.
fn norm_backward(
    theta: &[f32],
    block: &Block,
    kept: &SavedBlock,
    count: usize,
    sums: &[f32],
    gradient: &mut [f32],
) -> Through {
    let (channels, slots) = (block.channels(), &block.layer.norm);
    let positions = count * block.shape.convolved.pixels();
    let mut totals = vec![0.0_f64; 2 * channels];
    // The last group may have fewer images than the rest, and leaves the end as it was.
    for sums in sums.chunks_exact(2 * channels).take(count) {
        totals.iter_mut().zip(sums).for_each(|(total, &sum)| *total += f64::from(sum));
    }
    let (sum, product) = totals.split_at(channels);
    let mut through = Through { scale: vec![0.0; channels], shift: vec![0.0; channels] };
    for (channel, gamma) in theta[slots.weight.clone()].iter().enumerate() {
        let inverse = f64::from(kept.norm.inverse[channel]);
        gradient[slots.weight.start + channel] = (product[channel] * inverse) as f32;
        gradient[slots.bias.start + channel] = sum[channel] as f32;
        let scale = f64::from(*gamma) * inverse / positions as f64;
        let slope = -scale * product[channel] * inverse * inverse;
        through.scale[channel] = slope as f32;
        through.shift[channel] = (-scale * sum[channel] - slope * f64::from(kept.norm.mean[channel])) as f32;
    }
    statistics_of_batch(theta, block, kept, positions, gradient);
    through
}

/// Fills the slots of running statistics with those of the batch (variance unbiased).
fn statistics_of_batch(
    theta: &[f32],
    block: &Block,
    kept: &SavedBlock,
    positions: usize,
    gradient: &mut [f32],
) {
    let Some((means, variances)) = &block.layer.norm.running else { return };
    let bias = &theta[block.layer.bias.clone()];
    let unbiased = positions as f64 / (positions.max(2) - 1) as f64;
    for (channel, bias) in bias.iter().enumerate() {
        gradient[means.start + channel] = kept.norm.mean[channel] + bias;
        gradient[variances.start + channel] = (kept.norm.variance[channel] * unbiased) as f32;
    }
}
