//! The forward pass, in training and in evaluation.

use ndarray::{Array2, ArrayView4};
use rayon::prelude::*;

use super::arena::{Arena, Buffer};
use super::conv::{Convolution, Products};
use super::first::{First, Moments, statistics};
use super::first_kernels::Weights;
use super::groups::group_size;
use super::image::Image;
use super::network::{Block, Blocks, Form};
use super::norm::{self, BlockShape};
use super::simd::Isa;
use super::statistics::Normed;
use super::tail::Values;

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
    pub(super) images: BlockImages,
    pub(super) norm: Normed,
    /// Moments of the patches of the first block.
    pub(super) moments: Option<Moments>,
}

/// Where a block's input images come from.
pub(super) enum Source<'a> {
    /// The network's inputs, `[n, c, h, w]`.
    Inputs { x: &'a [f32], channels: usize },
    /// The first block.
    First { first: &'a First, x: &'a [f32], filters: Buffer, norm: &'a Normed },
    /// The convolution outputs of another block.
    Convolved { shape: BlockShape, y: &'a [f32], norm: &'a Normed },
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
                first.activate(Weights { filters, affine: norm.affine() }, scratch, z);
            }
            Self::Convolved { shape, y, norm } => {
                let y = &y[index * shape.convolved.len()..][..shape.convolved.len()];
                let kernel = if shape.pool { norm::activate::<2> } else { norm::activate::<1> };
                kernel(isa, *shape, norm.affine(), y, z);
            }
        }
    }
}

/// Images on both sides of a block's convolution, or changes of them. Both empty for a first block, which stores nothing.
pub(super) struct BlockImages {
    /// Inputs.
    pub(super) z: Buffer,
    /// Outputs, without bias.
    pub(super) y: Buffer,
}

impl BlockImages {
    pub(super) fn none(arena: &Arena) -> Self {
        Self { z: arena.take(0), y: arena.take(0) }
    }

    /// The outputs for image `at` of `block`.
    pub(super) fn output(&self, block: &Block, at: usize) -> &[f32] {
        let length = block.shape.convolved.len();
        &self.y[at * length..][..length]
    }
}

/// What one group of images works on in the forward pass of a block: its part of every buffer.
pub(super) struct ForwardGroup<'a> {
    pub(super) start: usize,
    /// Inputs of the convolution.
    pub(super) z: &'a mut [f32],
    /// Its outputs.
    pub(super) y: &'a mut [f32],
    /// Two sums a channel for each image; empty where they are not wanted.
    pub(super) sums: &'a mut [f32],
}

impl Blocks {
    /// The batch as one slice, row-major.
    fn inputs(&self, x: ArrayView4<'_, f32>) -> Buffer {
        let mut buffer = self.arena.take(x.len());
        match x.as_slice() {
            Some(x) => buffer.copy_from_slice(x),
            None => buffer.iter_mut().zip(x.iter()).for_each(|(to, x)| *to = *x),
        }
        buffer
    }

    /// Images and sums of a convolution of `count` images: `work` computes each group's, in parallel.
    pub(super) fn in_groups(
        &self,
        convolution: &Convolution,
        count: usize,
        work: impl Fn(ForwardGroup<'_>) + Send + Sync,
    ) -> (BlockImages, Buffer) {
        let group = group_size(count);
        let lens = [convolution.input.len(), convolution.output.len(), 2 * convolution.output.channels];
        let [mut z, mut y, mut sums] = lens.map(|len| self.arena.take(count * len));
        z.par_chunks_mut(group * lens[0])
            .zip(y.par_chunks_mut(group * lens[1]))
            .zip(sums.par_chunks_mut(group * lens[2]))
            .enumerate()
            .for_each(|(index, ((z, y), sums))| work(ForwardGroup { start: index * group, z, y, sums }));
        (BlockImages { z, y }, sums)
    }

    /// The matrix of `count` images, `[n, features]`: `rows` computes the rows of a group, given its first image.
    pub(super) fn matrix(&self, count: usize, rows: impl Fn(usize, &mut [f32]) + Send + Sync) -> Buffer {
        let (group, features) = (group_size(count), self.joint.features());
        let mut matrix = self.arena.take(count * features);
        let groups = matrix.par_chunks_mut(group * features).enumerate();
        groups.for_each(|(index, part)| rows(index * group, part));
        matrix
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
            Form::First(first) => Source::First { first, x, filters: self.filters(block, theta), norm },
            Form::General(_) => Source::Convolved { shape: block.shape, y, norm },
        }
    }

    /// Images of `source` and their convolutions; where sums are wanted, per image the channels' means and squared
    /// deviations.
    fn convolve(
        &self,
        convolution: &Convolution,
        filters: &[f32],
        source: &Source<'_>,
        group: ForwardGroup<'_>,
    ) {
        let (input, output) = (convolution.input, convolution.output);
        let count = group.z.len() / input.len();
        let chunk = convolution.chunk(count);
        let mut lowered = self.arena.take(convolution.lowered_len(chunk));
        let mut products = self.arena.take(convolution.raised_len(chunk));
        let mut scratch = self.arena.take(source.scratch_len());
        let mut sums = group.sums.chunks_exact_mut(2 * output.channels);
        let chunks = group.z.chunks_mut(chunk * input.len()).zip(group.y.chunks_mut(chunk * output.len()));
        for (index, (z, y)) in chunks.enumerate() {
            for (i, z) in z.chunks_exact_mut(input.len()).enumerate() {
                source.image(self.isa, group.start + index * chunk + i, &mut scratch, input, z);
            }
            let count = z.len() / input.len();
            let lowered = convolution.lower(count, z, &mut lowered);
            let to = Products { planes: &mut products, result: y, accumulate: false };
            convolution.convolve(count, lowered, filters, to);
            convolution.raise(count, &products, y);
            for (y, sums) in y.chunks_exact(output.len()).zip(&mut sums) {
                let (means, squares) = sums.split_at_mut(output.channels);
                norm::statistics(self.isa, output, y, means, squares);
            }
        }
    }

    /// Rows of the matrix that the images of `source` from `start` on become.
    fn join_images(&self, source: &Source<'_>, start: usize, rows: &mut [f32]) {
        let mut scratch = self.arena.take(source.scratch_len());
        let image = self.joint.image;
        self.joint.join(&self.arena, rows, |i, z| source.image(self.isa, start + i, &mut scratch, image, z));
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
                first.add_moments(&centre, &bordered, &mut elements, &mut sums);
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
    pub(super) fn run_forward(&self, theta: &[f32], x: ArrayView4<'_, f32>) -> (Array2<f32>, Saved) {
        let count = x.dim().0;
        let x = self.inputs(x);
        let mut blocks: Vec<SavedBlock> = Vec::with_capacity(self.blocks.len());
        for (index, block) in self.blocks.iter().enumerate() {
            let slots = &block.norm;
            let saved = match &block.form {
                Form::First(first) => {
                    let moments = self.moments(first, &x, count);
                    let (mean, variance) = statistics(&moments, &theta[block.conv.weight.clone()]);
                    let norm = Normed::new(theta, slots, &mean, variance);
                    SavedBlock { images: BlockImages::none(&self.arena), norm, moments: Some(moments) }
                }
                Form::General(convolution) => {
                    let source = self.source_of(theta, index, &x, &blocks);
                    let filters = self.filters(block, theta);
                    let work = |group: ForwardGroup<'_>| {
                        self.convolve(convolution, &filters, &source, group);
                    };
                    let (images, sums) = self.in_groups(convolution, count, work);
                    drop(source);
                    let (mean, variance) = norm::combine(convolution.output, count, &sums);
                    let norm = Normed::new(theta, slots, &mean, variance);
                    SavedBlock { images, norm, moments: None }
                }
            };
            blocks.push(saved);
        }
        let source = self.source_of(theta, self.blocks.len(), &x, &blocks);
        let matrix = self.matrix(count, |start, rows| self.join_images(&source, start, rows));
        drop(source);
        let tail = self.tail.forward(theta, (count, None), &matrix);
        (self.tail.output(&tail), Saved { count, x, blocks, tail })
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
            None => Source::Inputs { x, channels: self.input[0] },
            Some(previous) => {
                let saved = &saved[previous];
                self.source(theta, &self.blocks[previous], x, &saved.images.y, &saved.norm)
            }
        }
    }

    /// Evaluation on running statistics: nothing joins the images, so each group runs through all blocks at once.
    pub(super) fn evaluate_running(&self, theta: &[f32], x: ArrayView4<'_, f32>) -> Array2<f32> {
        let count = x.dim().0;
        let x = self.inputs(x);
        let norms: Vec<Normed> = {
            let running = |block: &Block| {
                Normed::running(theta, &block.norm, Some(&theta[block.bias.clone()]), block.channels())
            };
            self.blocks.iter().map(running).collect()
        };
        let filters = |block: &Block| match &block.form {
            Form::First(_) => self.arena.take(0),
            Form::General(_) => self.filters(block, theta),
        };
        let filters: Vec<Buffer> = self.blocks.iter().map(filters).collect();
        let (features, channels) = (self.joint.features(), self.input[0]);
        let input_len: usize = self.input.iter().product();
        let matrix = self.matrix(count, |start, rows| {
            let count = rows.len() / features;
            let x = &x[start * input_len..][..count * input_len];
            let mut y = self.arena.take(0);
            for (at, block) in self.blocks.iter().enumerate() {
                let Form::General(convolution) = &block.form else { continue };
                let source = match at.checked_sub(1) {
                    None => Source::Inputs { x, channels },
                    Some(previous) => self.source(theta, &self.blocks[previous], x, &y, &norms[previous]),
                };
                let mut z = self.arena.take(count * convolution.input.len());
                let mut next = self.arena.take(count * convolution.output.len());
                let group = ForwardGroup { start: 0, z: &mut z, y: &mut next, sums: &mut [] };
                self.convolve(convolution, &filters[at], &source, group);
                drop(source);
                y = next;
            }
            let source = match (self.blocks.last(), norms.last()) {
                (Some(block), Some(norm)) => self.source(theta, block, x, &y, norm),
                _ => Source::Inputs { x, channels },
            };
            self.join_images(&source, 0, rows);
        });
        self.tail.output(&self.tail.forward(theta, (count, None), &matrix))
    }
}
