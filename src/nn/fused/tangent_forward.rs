//! The tangent forward pass: how everything the forward pass computed changes along a direction in θ.

use ndarray::Array2;
use rayon::prelude::*;

use super::arena::Buffer;
use super::conv::Convolution;
use super::first::{First, Moments};
use super::forward::{Normed, Saved};
use super::norm::{self, Affine};
use super::tail::Values;
use super::{Block, Form, Fused, group_size, norm_tangent};
use crate::nn::architecture::NormSlots;
use crate::{Error, Result};

/// What the tangent forward pass keeps: the changes of what the forward pass keeps.
pub(crate) struct Tangent {
    pub(super) blocks: Vec<TangentBlock>,
    pub(super) tail: Values,
}

/// The changes of one block.
pub(super) struct TangentBlock {
    /// Of its input images; empty for the first block.
    pub(super) z: Buffer,
    /// Of its convolution's outputs; empty for the first block in its own form.
    pub(super) y: Buffer,
    pub(super) norm: NormTangent,
}

/// The change of a [`Normed`].
pub(super) struct NormTangent {
    pub(super) mean: Vec<f32>,
    /// Of 1/σ.
    pub(super) inverse: Vec<f64>,
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
}

impl NormTangent {
    /// From the change of the mean and the covariance of y and ẏ.
    fn new(
        theta: &[f32],
        direction: &[f32],
        slots: &NormSlots,
        norm: &Normed,
        mean: &[f64],
        covariance: &[f64],
    ) -> Self {
        let channels = mean.len();
        let mut tangent = Self {
            mean: mean.iter().map(|&mean| mean as f32).collect(),
            inverse: vec![0.0; channels],
            scale: vec![0.0; channels],
            shift: vec![0.0; channels],
        };
        for (channel, gamma) in theta[slots.weight.clone()].iter().enumerate() {
            let gamma_tangent = f64::from(direction[slots.weight.start + channel]);
            let beta_tangent = f64::from(direction[slots.bias.start + channel]);
            let (gamma, inverse) = (f64::from(*gamma), f64::from(norm.inverse[channel]));
            // 1/σ = (v + ε)^(−1/2) and v̇ = 2 cov(y, ẏ).
            let inverse_tangent = -inverse.powi(3) * covariance[channel];
            let scale = gamma_tangent * inverse + gamma * inverse_tangent;
            tangent.inverse[channel] = inverse_tangent;
            tangent.scale[channel] = scale as f32;
            tangent.shift[channel] = (beta_tangent
                - gamma * inverse * mean[channel]
                - scale * f64::from(norm.mean[channel])) as f32;
        }
        tangent
    }

    pub(super) fn affine(&self) -> Affine<'_> {
        Affine { scale: &self.scale, shift: &self.shift }
    }
}

/// Where the change of a block's input images comes from.
enum Source<'a> {
    /// Nowhere: inputs of the network do not change.
    Constant,
    First {
        first: &'a First,
        x: &'a [f32],
        filters: [Buffer; 2],
        norm: &'a Normed,
        tangent: &'a NormTangent,
    },
    Convolved {
        shape: norm::Shape,
        y: &'a [f32],
        norm: &'a Normed,
        tangent: &'a TangentBlock,
    },
}

impl Fused {
    /// Outputs' change per change of θ along `direction`.
    pub(super) fn run_tangent_forward(
        &self,
        theta: &[f32],
        direction: &[f32],
        saved: &Saved,
    ) -> Result<(Array2<f32>, Tangent)> {
        let count = saved.count;
        let group = group_size(count);
        let mut blocks: Vec<TangentBlock> = Vec::with_capacity(self.blocks.len());
        for (index, block) in self.blocks.iter().enumerate() {
            let kept = &saved.blocks[index];
            let slots = &block.layer.norm;
            let tangent = match (&block.form, &kept.moments) {
                (Form::First(first), Some(moments)) => {
                    let weights = [theta, direction].map(|values| &values[block.layer.weight.clone()]);
                    let (mean, covariance) = first_statistics(first, moments, weights, block.channels());
                    let norm = NormTangent::new(theta, direction, slots, &kept.norm, &mean, &covariance);
                    TangentBlock { z: self.arena.take(0), y: self.arena.take(0), norm }
                }
                (Form::First(_), None) => return Err(Error::invalid("a forward pass of another network")),
                (Form::General(convolution), _) => {
                    let source = self.tangent_source(theta, direction, index, saved, &blocks);
                    let filters = [theta, direction].map(|values| {
                        convolution.filters(self.isa, &self.arena, &values[block.layer.weight.clone()])
                    });
                    let (input, output) = (convolution.input, convolution.output);
                    let mut z = self.arena.take(count * input.len());
                    let mut y = self.arena.take(count * output.len());
                    let mut sums = self.arena.take(count * 2 * output.channels);
                    z.par_chunks_mut(group * input.len())
                        .zip(y.par_chunks_mut(group * output.len()))
                        .zip(sums.par_chunks_mut(group * 2 * output.channels))
                        .enumerate()
                        .for_each(|(part, ((z, y), sums))| {
                            let work = Work { start: part * group, z, y, sums };
                            self.convolve_tangent(convolution, &filters, &source, saved, index, work);
                        });
                    drop(source);
                    let positions = (count * output.pixels()) as f64;
                    let mut totals = vec![0.0_f64; 2 * output.channels];
                    for sums in sums.chunks_exact(2 * output.channels) {
                        totals
                            .iter_mut()
                            .zip(sums)
                            .for_each(|(total, &sum)| *total += f64::from(sum) / positions);
                    }
                    let (mean, covariance) = totals.split_at(output.channels);
                    let norm = NormTangent::new(theta, direction, slots, &kept.norm, mean, covariance);
                    TangentBlock { z, y, norm }
                }
            };
            blocks.push(tangent);
        }
        let features = self.features;
        let mut matrix = self.arena.take(count * features);
        let source = self.tangent_source(theta, direction, self.blocks.len(), saved, &blocks);
        let changes = !matches!(source, Source::Constant);
        if changes {
            matrix.par_chunks_mut(group * features).enumerate().for_each(|(part, rows)| {
                let mut scratch = self.arena.take(scratch_len(&source));
                self.join(rows, |i, _, z| self.tangent_image(&source, part * group + i, &mut scratch, z));
            });
        }
        drop(source);
        let matrix = changes.then_some(&matrix[..]);
        let tail = self.tail.tangent_forward([theta, direction], &saved.tail, matrix);
        Ok((self.tail.output(&tail), Tangent { blocks, tail }))
    }

    fn tangent_source<'a>(
        &'a self,
        theta: &[f32],
        direction: &[f32],
        index: usize,
        saved: &'a Saved,
        tangents: &'a [TangentBlock],
    ) -> Source<'a> {
        let Some(before) = index.checked_sub(1) else { return Source::Constant };
        let (block, kept, tangent) = (&self.blocks[before], &saved.blocks[before], &tangents[before]);
        match &block.form {
            Form::First(first) => {
                let filters = [theta, direction].map(|values| {
                    let mut filters = self.arena.take(first.filters_len());
                    first.filters(&values[block.layer.weight.clone()], &mut filters);
                    filters
                });
                Source::First { first, x: &saved.x, filters, norm: &kept.norm, tangent: &tangent.norm }
            }
            Form::General(_) => {
                Source::Convolved { shape: block.shape, y: &kept.y, norm: &kept.norm, tangent }
            }
        }
    }

    /// Computes the change of image `index`.
    fn tangent_image(&self, source: &Source<'_>, index: usize, scratch: &mut [f32], z: &mut [f32]) {
        match source {
            Source::Constant => z.fill(0.0),
            Source::First { first, x, filters: [filters, filters_tangent], norm, tangent } => {
                first.pad(&x[index * first.input_len()..][..first.input_len()], scratch);
                let affines = [norm.affine(), tangent.affine()];
                first.activate_tangent(self.isa, [filters, filters_tangent], affines, scratch, z);
            }
            Source::Convolved { shape, y, norm, tangent } => {
                let image = index * shape.convolved.len()..(index + 1) * shape.convolved.len();
                let (y, y_tangent) = (&y[image.clone()], &tangent.y[image]);
                norm_tangent::activate(
                    self.isa,
                    *shape,
                    norm.affine(),
                    tangent.norm.affine(),
                    y,
                    y_tangent,
                    z,
                );
            }
        }
    }

    /// The change of a convolution's outputs, `raise(lower(ż) · U + lower(z) · U̇)`, and its sums per image.
    fn convolve_tangent(
        &self,
        convolution: &Convolution,
        [filters, filters_tangent]: &[Buffer; 2],
        source: &Source<'_>,
        saved: &Saved,
        index: usize,
        work: Work<'_>,
    ) {
        let kept = &saved.blocks[index];
        let (input, output) = (convolution.input, convolution.output);
        let count = work.z.len() / input.len();
        let chunk = convolution.chunk(self.isa, count);
        let mut lowered = self.arena.take(convolution.lowered_len(chunk));
        let mut products = self.arena.take(convolution.raised_len(chunk));
        let mut scratch = self.arena.take(scratch_len(source));
        let chunks = work.z.chunks_mut(chunk * input.len()).zip(work.y.chunks_mut(chunk * output.len()));
        let sums = work.sums.chunks_mut(chunk * 2 * output.channels);
        for (part, ((z_tangent, y_tangent), sums)) in chunks.zip(sums).enumerate() {
            let start = work.start + part * chunk;
            for (i, z) in z_tangent.chunks_exact_mut(input.len()).enumerate() {
                self.tangent_image(source, start + i, &mut scratch, z);
            }
            let count = z_tangent.len() / input.len();
            let z = &kept.z[start * input.len()..];
            let lower = convolution.lower(self.isa, count, z, &mut lowered);
            convolution.convolve(self.isa, count, lower, filters_tangent, &mut products, y_tangent, false);
            if !matches!(source, Source::Constant) {
                let lower = convolution.lower(self.isa, count, z_tangent, &mut lowered);
                convolution.convolve(self.isa, count, lower, filters, &mut products, y_tangent, true);
            }
            convolution.raise(self.isa, count, &products, y_tangent);
            let images = kept.y[start * output.len()..].chunks_exact(output.len());
            let images = images.zip(y_tangent.chunks_exact(output.len()));
            for ((y, y_tangent), sums) in images.zip(sums.chunks_exact_mut(2 * output.channels)) {
                norm_tangent::statistics(self.isa, output, &kept.norm.mean, y, y_tangent, sums);
            }
        }
    }
}

/// What one group of images works on.
struct Work<'a> {
    start: usize,
    z: &'a mut [f32],
    y: &'a mut [f32],
    sums: &'a mut [f32],
}

fn scratch_len(source: &Source<'_>) -> usize {
    match source {
        Source::First { first, .. } => first.padded_len(),
        _ => 0,
    }
}

/// The change of the mean, and the covariance of y and ẏ, of the first block: ẇᵀm and wᵀCẇ.
fn first_statistics(
    first: &First,
    moments: &Moments,
    [weight, direction]: [&[f32]; 2],
    channels: usize,
) -> (Vec<f64>, Vec<f64>) {
    let taps = first.taps();
    let (mut means, mut covariances) = (vec![0.0; channels], vec![0.0; channels]);
    for (channel, (w, v)) in weight.chunks_exact(taps).zip(direction.chunks_exact(taps)).enumerate() {
        let dot = |a: &[f64], b: &[f32]| a.iter().zip(b).map(|(a, &b)| a * f64::from(b)).sum::<f64>();
        means[channel] = dot(&moments.mean, v);
        let rows = moments.covariance.chunks_exact(taps).zip(w);
        covariances[channel] = rows.map(|(row, &w)| dot(row, v) * f64::from(w)).sum();
    }
    (means, covariances)
}

impl Block {
    /// Floats of the four sums of the tangent backward pass for one group, or of G, Σg and their changes.
    pub(super) fn tangent_sums_len(&self, images: usize) -> usize {
        match &self.form {
            Form::First(first) => 2 * (first.taps() + 1) * self.channels(),
            Form::General(_) => images * 4 * self.channels(),
        }
    }
}
