//! The forward pass, in training and in evaluation.

use ndarray::{Array2, ArrayView4};
use rayon::prelude::*;

use super::arena::Buffer;
use super::conv::{Convolution, Image};
use super::first::{First, Moments, statistics};
use super::norm::{self, Affine};
use super::simd::Isa;
use super::tail::Values;
use super::{Block, Form, Fused, Joint, group_size};
use crate::Result;
use crate::nn::architecture::{NORM_EPSILON, NormSlots};
use crate::params::Params;

/// What the training forward pass keeps: each block's input and convolution output, none for the first block.
pub(crate) struct Saved {
    pub(super) count: usize,
    /// The batch, `[n, c, h, w]`.
    pub(super) x: Buffer,
    pub(super) blocks: Vec<SavedBlock>,
    pub(super) tail: Values,
}

/// What is kept of one block.
pub(super) struct SavedBlock {
    /// Its input images; empty for the first block.
    pub(super) z: Buffer,
    /// Outputs of its convolution, without bias; empty for the first block.
    pub(super) y: Buffer,
    pub(super) norm: Normed,
    /// Moments of the patches of the first block.
    pub(super) moments: Option<Moments>,
}

/// Batch norm of one block, per padded channel, of convolution outputs without bias (which it would subtract again).
pub(super) struct Normed {
    pub(super) mean: Vec<f32>,
    /// Biased.
    pub(super) variance: Vec<f64>,
    /// 1/√(variance + ε).
    pub(super) inverse: Vec<f32>,
    /// γ·inverse.
    pub(super) scale: Vec<f32>,
    /// β − mean·scale.
    pub(super) shift: Vec<f32>,
}

impl Normed {
    pub(super) fn new(theta: &[f32], slots: &NormSlots, mean: &[f64], variance: Vec<f64>) -> Self {
        let (gamma, beta) = (&theta[slots.weight.clone()], &theta[slots.bias.clone()]);
        let channels = mean.len();
        let mut normed = Self {
            mean: mean.iter().map(|&m| m as f32).collect(),
            inverse: variance.iter().map(|v| (1.0 / (v + f64::from(NORM_EPSILON)).sqrt()) as f32).collect(),
            variance,
            scale: vec![0.0; channels],
            shift: vec![0.0; channels],
        };
        for (channel, (gamma, beta)) in gamma.iter().zip(beta).enumerate() {
            let scale = gamma * normed.inverse[channel];
            normed.scale[channel] = scale;
            normed.shift[channel] = beta - normed.mean[channel] * scale;
        }
        normed
    }

    pub(super) fn affine(&self) -> Affine<'_> {
        Affine { scale: &self.scale, shift: &self.shift }
    }
}

/// Where a block's input images come from.
pub(super) enum Source<'a> {
    /// The network's inputs, `[n, c, h, w]`.
    Inputs { x: &'a [f32], channels: usize },
    /// The first block.
    First { first: &'a First, x: &'a [f32], filters: Buffer, norm: &'a Normed },
    /// The convolution outputs of another block.
    Convolved { shape: norm::Shape, y: &'a [f32], norm: &'a Normed },
}

impl Source<'_> {
    /// Floats that `image` wants as scratch.
    fn scratch_len(&self) -> usize {
        match self {
            Self::First { first, .. } => first.padded_len(),
            _ => 0,
        }
    }

    /// Computes image `index`.
    fn image(&self, isa: Isa, index: usize, scratch: &mut [f32], image: Image, z: &mut [f32]) {
        match self {
            Self::Inputs { x, channels } => {
                let pixels = image.pixels();
                let x = &x[index * channels * pixels..][..channels * pixels];
                z.fill(0.0);
                for (channel, x) in x.chunks_exact(pixels).enumerate() {
                    for (x, z) in x.iter().zip(z[channel..].iter_mut().step_by(image.channels)) {
                        *z = *x;
                    }
                }
            }
            Self::First { first, x, filters, norm } => {
                first.pad(&x[index * first.input_len()..][..first.input_len()], scratch);
                first.activate(isa, filters, norm.affine(), scratch, z);
            }
            Self::Convolved { shape, y, norm } => {
                let y = &y[index * shape.convolved.len()..][..shape.convolved.len()];
                norm::activate(isa, *shape, norm.affine(), y, z);
            }
        }
    }
}

impl Fused {
    /// The batch as one slice, row-major.
    fn inputs(&self, x: ArrayView4<'_, f32>) -> Buffer {
        let mut buffer = self.arena.take(x.len());
        match x.as_slice() {
            Some(x) => buffer.copy_from_slice(x),
            None => buffer.iter_mut().zip(x.iter()).for_each(|(to, x)| *to = *x),
        }
        buffer
    }

    /// The images that come out of `block`.
    fn source<'a>(
        &self,
        theta: &[f32],
        block: &'a Block,
        x: &'a [f32],
        y: &'a [f32],
        norm: &'a Normed,
    ) -> Source<'a> {
        match &block.form {
            Form::First(first) => {
                let mut filters = self.arena.take(first.filters_len());
                first.filters(&theta[block.layer.weight.clone()], &mut filters);
                Source::First { first, x, filters, norm }
            }
            Form::General(_) => Source::Convolved { shape: block.shape, y, norm },
        }
    }

    /// Images of `source` from `start` on, into `z`, and their convolutions into `y`; if asked, also per image the
    /// channels' means and squared deviations into `sums`.
    #[allow(clippy::too_many_arguments)]
    fn convolve(
        &self,
        convolution: &Convolution,
        filters: &[f32],
        source: &Source<'_>,
        start: usize,
        z: &mut [f32],
        y: &mut [f32],
        mut sums: Option<&mut [f32]>,
    ) {
        let (input, output) = (convolution.input, convolution.output);
        let count = z.len() / input.len();
        let chunk = convolution.chunk(self.isa, count);
        let mut lowered = self.arena.take(convolution.lowered_len(chunk));
        let mut products = self.arena.take(convolution.raised_len(chunk));
        let mut scratch = self.arena.take(source.scratch_len());
        let chunks = z.chunks_mut(chunk * input.len()).zip(y.chunks_mut(chunk * output.len()));
        for (index, (z, y)) in chunks.enumerate() {
            let first = index * chunk;
            for (i, z) in z.chunks_exact_mut(input.len()).enumerate() {
                source.image(self.isa, start + first + i, &mut scratch, input, z);
            }
            let count = z.len() / input.len();
            let lowered = convolution.lower(self.isa, count, z, &mut lowered);
            convolution.convolve(self.isa, count, lowered, filters, &mut products, y, false);
            convolution.raise(self.isa, count, &products, y);
            if let Some(sums) = &mut sums {
                let sums = sums[2 * first * output.channels..].chunks_exact_mut(2 * output.channels);
                for (y, sums) in y.chunks_exact(output.len()).zip(sums) {
                    let (means, squares) = sums.split_at_mut(output.channels);
                    norm::statistics(self.isa, output, y, means, squares);
                }
            }
        }
    }

    /// Rows of the matrix that images become; `image` computes one.
    pub(super) fn join(&self, rows: &mut [f32], mut image: impl FnMut(usize, Image, &mut [f32])) {
        let (Joint::Flatten(shape) | Joint::Mean(shape)) = self.joint;
        let channels = self.channels;
        let mut z = self.arena.take(shape.len());
        for (i, row) in rows.chunks_exact_mut(self.features).enumerate() {
            image(i, shape, &mut z);
            let pixels = z.chunks_exact(shape.channels).take(shape.pixels());
            match self.joint {
                Joint::Flatten(_) => {
                    for (at, pixel) in pixels.enumerate() {
                        let places = row[at..].iter_mut().step_by(shape.pixels());
                        pixel[..channels].iter().zip(places).for_each(|(value, to)| *to = *value);
                    }
                }
                Joint::Mean(_) => {
                    row.fill(0.0);
                    for pixel in pixels {
                        row.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
                    }
                    row.iter_mut().for_each(|sum| *sum /= shape.pixels() as f32);
                }
            }
        }
    }

    /// Rows of the matrix that the images of `source` from `start` on become.
    fn join_images(&self, source: &Source<'_>, start: usize, rows: &mut [f32]) {
        let mut scratch = self.arena.take(source.scratch_len());
        self.join(rows, |i, shape, z| source.image(self.isa, start + i, &mut scratch, shape, z));
    }

    /// Mean and variance of each channel from the means and squared deviations of `count` images.
    fn combine(image: Image, count: usize, sums: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let (pixels, channels) = (image.pixels() as f64, image.channels);
        let (mut means, mut variances) = (vec![0.0; channels], vec![0.0; channels]);
        let images = || sums.chunks_exact(2 * channels).take(count);
        for sums in images() {
            means.iter_mut().zip(sums).for_each(|(mean, &m)| *mean += f64::from(m));
        }
        means.iter_mut().for_each(|mean| *mean /= count as f64);
        for sums in images() {
            let (m, squares) = sums.split_at(channels);
            for channel in 0..channels {
                let d = f64::from(m[channel]) - means[channel];
                variances[channel] += f64::from(squares[channel]) + pixels * d * d;
            }
        }
        variances.iter_mut().for_each(|variance| *variance /= pixels * count as f64);
        (means, variances)
    }

    /// The moments of all patches of a batch, summed in order of the groups.
    fn moments(&self, first: &First, x: &[f32], count: usize) -> Moments {
        let group = group_size(count);
        // Sums of deviations from about the mean lose nothing when they are squared.
        let centre = first.centre(&x[..first.input_len()]);
        let partial = |x: &[f32]| {
            let mut sums = vec![0.0; first.moments_len()];
            let mut bordered = self.arena.take(first.padded_len());
            let mut elements = self.arena.take(first.elements_len());
            for x in x.chunks_exact(first.input_len()) {
                first.pad(x, &mut bordered);
                first.add_moments(self.isa, &centre, &bordered, &mut elements, &mut sums);
            }
            sums
        };
        let partials: Vec<Vec<f64>> = x.par_chunks(group * first.input_len()).map(partial).collect();
        let mut sums = vec![0.0; first.moments_len()];
        for partial in partials {
            sums.iter_mut().zip(partial).for_each(|(sum, partial)| *sum += partial);
        }
        first.moments(&centre, &sums, count)
    }

    /// Training: the statistics are the batch's.
    pub(super) fn run_forward(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<(Array2<f32>, Saved)> {
        let theta = theta.values();
        let count = x.dim().0;
        let group = group_size(count);
        let x = self.inputs(x);
        let mut blocks: Vec<SavedBlock> = Vec::with_capacity(self.blocks.len());
        for (index, block) in self.blocks.iter().enumerate() {
            let weight = &theta[block.layer.weight.clone()];
            let saved = match &block.form {
                Form::First(first) => {
                    let moments = self.moments(first, &x, count);
                    let (mean, variance) = statistics(&moments, weight);
                    let norm = Normed::new(theta, &block.layer.norm, &mean, variance);
                    SavedBlock { z: self.arena.take(0), y: self.arena.take(0), norm, moments: Some(moments) }
                }
                Form::General(convolution) => {
                    let source = self.source_of(theta, index, &x, &blocks);
                    let filters = convolution.filters(self.isa, &self.arena, weight);
                    let (input, output) = (convolution.input, convolution.output);
                    let mut z = self.arena.take(count * input.len());
                    let mut y = self.arena.take(count * output.len());
                    let mut sums = self.arena.take(count * 2 * output.channels);
                    z.par_chunks_mut(group * input.len())
                        .zip(y.par_chunks_mut(group * output.len()))
                        .zip(sums.par_chunks_mut(group * 2 * output.channels))
                        .enumerate()
                        .for_each(|(index, ((z, y), sums))| {
                            self.convolve(convolution, &filters, &source, index * group, z, y, Some(sums));
                        });
                    let (mean, variance) = Self::combine(output, count, &sums);
                    let norm = Normed::new(theta, &block.layer.norm, &mean, variance);
                    drop(source);
                    SavedBlock { z, y, norm, moments: None }
                }
            };
            blocks.push(saved);
        }
        let features = self.features;
        let mut matrix = self.arena.take(count * features);
        let source = self.source_of(theta, self.blocks.len(), &x, &blocks);
        matrix
            .par_chunks_mut(group * features)
            .enumerate()
            .for_each(|(index, rows)| self.join_images(&source, index * group, rows));
        drop(source);
        let tail = self.tail.forward(theta, count, &matrix);
        Ok((self.tail.output(&tail), Saved { count, x, blocks, tail }))
    }

    /// The images that block `index` reads.
    fn source_of<'a>(
        &'a self,
        theta: &[f32],
        index: usize,
        x: &'a [f32],
        saved: &'a [SavedBlock],
    ) -> Source<'a> {
        match index.checked_sub(1) {
            None => Source::Inputs { x, channels: self.architecture.input[0] },
            Some(previous) => {
                let saved = &saved[previous];
                self.source(theta, &self.blocks[previous], x, &saved.y, &saved.norm)
            }
        }
    }

    /// Evaluation on running statistics: nothing joins the images, so each group runs through all blocks at once.
    pub(super) fn evaluate_running(&self, theta: &Params, x: ArrayView4<'_, f32>) -> Result<Array2<f32>> {
        let theta = theta.values();
        let count = x.dim().0;
        let group = group_size(count);
        let x = self.inputs(x);
        let norms: Vec<Normed> = self.blocks.iter().map(|block| running(theta, block)).collect();
        let filters = |block: &Block| match &block.form {
            Form::First(_) => self.arena.take(0),
            Form::General(convolution) => {
                convolution.filters(self.isa, &self.arena, &theta[block.layer.weight.clone()])
            }
        };
        let filters: Vec<Buffer> = self.blocks.iter().map(filters).collect();
        let features = self.features;
        let input_len: usize = self.architecture.input.iter().product();
        let mut matrix = self.arena.take(count * features);
        matrix.par_chunks_mut(group * features).enumerate().for_each(|(index, rows)| {
            let count = rows.len() / features;
            let x = &x[index * group * input_len..][..count * input_len];
            let mut y = self.arena.take(0);
            for (at, block) in self.blocks.iter().enumerate() {
                let Form::General(convolution) = &block.form else { continue };
                let source = match at.checked_sub(1) {
                    None => Source::Inputs { x, channels: self.architecture.input[0] },
                    Some(previous) => self.source(theta, &self.blocks[previous], x, &y, &norms[previous]),
                };
                let mut z = self.arena.take(count * convolution.input.len());
                let mut next = self.arena.take(count * convolution.output.len());
                self.convolve(convolution, &filters[at], &source, 0, &mut z, &mut next, None);
                drop(source);
                y = next;
            }
            let source = match (self.blocks.last(), norms.last()) {
                (Some(block), Some(norm)) => self.source(theta, block, x, &y, norm),
                _ => Source::Inputs { x, channels: self.architecture.input[0] },
            };
            self.join_images(&source, 0, rows);
        });
        Ok(self.tail.output(&self.tail.forward(theta, count, &matrix)))
    }
}

/// The norm of a block with its running statistics.
fn running(theta: &[f32], block: &Block) -> Normed {
    let channels = block.channels();
    let (mut mean, mut variance) = (vec![0.0; channels], vec![1.0; channels]);
    if let Some((means, variances)) = &block.layer.norm.running {
        let bias = &theta[block.layer.bias.clone()];
        for (channel, (m, v)) in theta[means.clone()].iter().zip(&theta[variances.clone()]).enumerate() {
            mean[channel] = f64::from(*m) - f64::from(bias[channel]);
            variance[channel] = f64::from(*v);
        }
    }
    Normed::new(theta, &block.layer.norm, &mean, variance)
}
