//! The tangent forward pass: how everything the forward pass computed changes along a direction in θ.

use ndarray::Array2;

use super::arena::Buffer;
use super::conv::{Convolution, Products};
use super::first::{First, Moments};
use super::first_kernels::Weights;
use super::forward::{BlockImages, ForwardGroup, Saved};
use super::network::{Blocks, Form};
use super::norm::BlockShape;
use super::norm_tangent as norm;
use super::statistics::{NormTangent, Normed};
use super::tail::Values;
use crate::{Error, Result};

/// What the tangent forward pass keeps: the changes of what the forward pass keeps.
pub(crate) struct Tangent {
    pub(super) blocks: Vec<TangentBlock>,
    pub(super) tail: Values,
}

/// The changes of one block.
pub(super) struct TangentBlock {
    pub(super) images: BlockImages,
    pub(super) norm: NormTangent,
}

/// The pass, and what it reads.
pub(super) struct TangentForward<'a> {
    pub(super) network: &'a Blocks,
    pub(super) theta: &'a [f32],
    pub(super) direction: &'a [f32],
    pub(super) saved: &'a Saved,
}

/// Where the change of a block's input images comes from.
enum ChangeSource<'a> {
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
        shape: BlockShape,
        y: &'a [f32],
        norm: &'a Normed,
        tangent: &'a TangentBlock,
    },
}

impl ChangeSource<'_> {
    /// Floats that an image wants as scratch.
    fn scratch_len(&self) -> usize {
        match self {
            Self::First { first, .. } => first.padded_len(),
            _ => 0,
        }
    }
}

impl<'a> TangentForward<'a> {
    /// Outputs' change per change of θ along the direction.
    ///
    /// # Errors
    /// When what was saved is another network's.
    pub(super) fn run(&self) -> Result<(Array2<f32>, Tangent)> {
        let Self { network, theta, direction, saved } = *self;
        let mut blocks: Vec<TangentBlock> = Vec::with_capacity(network.blocks.len());
        for (index, block) in network.blocks.iter().enumerate() {
            let kept = &saved.blocks[index];
            let tangent = match (&block.form, &kept.moments) {
                (Form::First(first), Some(moments)) => {
                    let weights = [theta, direction].map(|values| &values[block.conv.weight.clone()]);
                    let (mean, covariance) = first_statistics(first, moments, weights, block.channels());
                    let norm =
                        NormTangent::new([theta, direction], &block.norm, &kept.norm, &mean, &covariance);
                    TangentBlock { images: BlockImages::none(&network.arena), norm }
                }
                (Form::First(_), None) => return Err(Error::invalid("a forward pass of another network")),
                (Form::General(convolution), _) => {
                    let source = self.source(index, &blocks);
                    let filters = [theta, direction].map(|values| network.filters(block, values));
                    let work = |group: ForwardGroup<'_>| {
                        self.convolve(convolution, &filters, &source, index, group);
                    };
                    let (images, sums) = network.in_groups(convolution, saved.count, work);
                    drop(source);
                    let output = convolution.output;
                    let positions = (saved.count * output.pixels()) as f64;
                    let mut totals = vec![0.0_f64; 2 * output.channels];
                    for sums in sums.chunks_exact(2 * output.channels) {
                        let pairs = totals.iter_mut().zip(sums);
                        pairs.for_each(|(total, &sum)| *total += f64::from(sum) / positions);
                    }
                    let (mean, covariance) = totals.split_at(output.channels);
                    let norm =
                        NormTangent::new([theta, direction], &block.norm, &kept.norm, mean, covariance);
                    TangentBlock { images, norm }
                }
            };
            blocks.push(tangent);
        }
        let source = self.source(network.blocks.len(), &blocks);
        let changes = !matches!(source, ChangeSource::Constant);
        let matrix = changes.then(|| {
            network.matrix(saved.count, |start, rows| {
                let mut scratch = network.arena.take(source.scratch_len());
                let image = |i, z: &mut [f32]| self.image(&source, start + i, &mut scratch, z);
                network.joint.join(&network.arena, rows, image);
            })
        });
        drop(source);
        let tail = network.tail.tangent_forward([theta, direction], &saved.tail, matrix.as_deref());
        Ok((network.tail.output(&tail), Tangent { blocks, tail }))
    }

    fn source<'b>(&'b self, index: usize, tangents: &'b [TangentBlock]) -> ChangeSource<'b> {
        let Some(before) = index.checked_sub(1) else { return ChangeSource::Constant };
        let (block, kept) = (&self.network.blocks[before], &self.saved.blocks[before]);
        let (norm, tangent) = (&kept.norm, &tangents[before]);
        match &block.form {
            Form::First(first) => {
                let filters = [self.theta, self.direction].map(|values| self.network.filters(block, values));
                ChangeSource::First { first, x: &self.saved.x, filters, norm, tangent: &tangent.norm }
            }
            Form::General(_) => {
                ChangeSource::Convolved { shape: block.shape, y: &kept.images.y, norm, tangent }
            }
        }
    }

    /// Computes the change of image `index`.
    fn image(&self, source: &ChangeSource<'_>, index: usize, scratch: &mut [f32], z: &mut [f32]) {
        match source {
            ChangeSource::Constant => z.fill(0.0),
            ChangeSource::First { first, x, filters, norm, tangent } => {
                first.pad(&x[index * first.input_len()..][..first.input_len()], scratch);
                let [filters, filters_tangent] = filters;
                let weights = Weights { filters, affine: norm.affine() };
                let change = Weights { filters: filters_tangent, affine: tangent.affine() };
                first.activate_tangent([weights, change], scratch, z);
            }
            ChangeSource::Convolved { shape, y, norm, tangent } => {
                let image = index * shape.convolved.len()..(index + 1) * shape.convolved.len();
                let affine = [norm.affine(), tangent.norm.affine()];
                let kernel = if shape.pool { norm::activate::<2> } else { norm::activate::<1> };
                kernel(self.network.isa, *shape, affine, [&y[image.clone()], &tangent.images.y[image]], z);
            }
        }
    }

    /// The change of a convolution's outputs, `raise(lower(ż) · U + lower(z) · U̇)`, and its sums per image.
    fn convolve(
        &self,
        convolution: &Convolution,
        [filters, filters_tangent]: &[Buffer; 2],
        source: &ChangeSource<'_>,
        index: usize,
        group: ForwardGroup<'_>,
    ) {
        let (isa, arena, kept) = (self.network.isa, &self.network.arena, &self.saved.blocks[index]);
        let (input, output) = (convolution.input, convolution.output);
        let chunk = convolution.chunk(group.z.len() / input.len());
        let mut lowered = arena.take(convolution.lowered_len(chunk));
        let mut products = arena.take(convolution.raised_len(chunk));
        let mut scratch = arena.take(source.scratch_len());
        let chunks = group.z.chunks_mut(chunk * input.len()).zip(group.y.chunks_mut(chunk * output.len()));
        let sums = group.sums.chunks_mut(chunk * 2 * output.channels);
        for (part, ((z_tangent, y_tangent), sums)) in chunks.zip(sums).enumerate() {
            let start = group.start + part * chunk;
            for (i, z) in z_tangent.chunks_exact_mut(input.len()).enumerate() {
                self.image(source, start + i, &mut scratch, z);
            }
            let count = z_tangent.len() / input.len();
            let mut add = |z: &[f32], filters: &[f32], accumulate: bool| {
                let lowered = convolution.lower(count, z, &mut lowered);
                let to = Products { planes: &mut products, result: y_tangent, accumulate };
                convolution.convolve(count, lowered, filters, to);
            };
            add(&kept.images.z[start * input.len()..], filters_tangent, false);
            if !matches!(source, ChangeSource::Constant) {
                add(z_tangent, filters, true);
            }
            convolution.raise(count, &products, y_tangent);
            let images = kept.images.y[start * output.len()..].chunks_exact(output.len());
            let images = images.zip(y_tangent.chunks_exact(output.len()));
            for ((y, y_tangent), sums) in images.zip(sums.chunks_exact_mut(2 * output.channels)) {
                norm::statistics(isa, output, &kept.norm.mean, [y, y_tangent], sums);
            }
        }
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
