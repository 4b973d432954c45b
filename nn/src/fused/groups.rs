//! The groups of images that a batch is split into, and what each works on in a backward pass.

use rayon::prelude::*;

use super::arena::{Arena, Buffer};
use super::conv::Convolution;

/// Images in each of the groups that a batch is split into: at least eight, in a power of two of groups, at most
/// sixteen. A function of the batch alone, so that sums over groups do not depend on the number of threads.
pub(super) fn group_size(count: usize) -> usize {
    let groups = (count / 8).clamp(1, 16);
    count.div_ceil(1 << groups.ilog2())
}

/// Images that a thread reads or writes at a time where nothing is summed over them.
pub(super) fn at_once(count: usize) -> usize {
    count.div_ceil(16)
}

/// What one group of images works on in the backward pass of a block: its part of every buffer. `N` is 1 for gradients
/// alone, and 2 for gradients and their changes.
pub(super) struct Group<'a, const N: usize> {
    pub(super) start: usize,
    pub(super) count: usize,
    /// Gradients of the images that go into the block; empty where they are not kept.
    pub(super) d_input: [&'a mut [f32]; N],
    /// Sums for the block before; empty for the first block.
    pub(super) sums: &'a mut [f32],
    /// Gradient of the filters, `[9, inputs, outputs]`.
    pub(super) filters: &'a mut [f32],
}

/// `len` floats for gradients of input images: from `start` on in what is `kept`, or in `own` where nothing is.
pub(super) fn kept_or_own<'a>(
    kept: &'a mut [f32],
    own: &'a mut [f32],
    start: usize,
    len: usize,
) -> &'a mut [f32] {
    if kept.is_empty() { &mut own[..len] } else { &mut kept[start..][..len] }
}

/// What the backward pass of a block gives: the parts of all groups.
pub(super) struct BlockGradients<const N: usize> {
    pub(super) d_input: [Buffer; N],
    pub(super) sums: Buffer,
    /// `[groups, 9, inputs, outputs]`
    pub(super) filters: Buffer,
}

/// Which of its gradients a block's backward pass gives beside that of its filters.
pub(super) struct Wanted {
    /// Whether gradients of the images that go into the block are kept.
    pub(super) d_input: bool,
    /// Floats of a group's sums for the block before.
    pub(super) sums_len: usize,
}

impl<const N: usize> BlockGradients<N> {
    /// Runs `work` on each group of `count` images, in parallel.
    pub(super) fn compute(
        arena: &Arena,
        convolution: &Convolution,
        count: usize,
        wanted: &Wanted,
        work: impl Fn(Group<'_, N>) + Send + Sync,
    ) -> Self {
        let group = group_size(count);
        let groups = count.div_ceil(group);
        let image = convolution.input.len();
        let mut d_input = std::array::from_fn(|_| arena.take(if wanted.d_input { count * image } else { 0 }));
        let mut sums = arena.take(groups * wanted.sums_len);
        let mut filters = arena.take(groups * convolution.plain_len());
        let mut d_inputs = d_input.each_mut().map(|d: &mut Buffer| d.chunks_mut(group * image));
        let mut all_sums = sums.chunks_mut(wanted.sums_len.max(1));
        let parts = filters.chunks_mut(convolution.plain_len()).enumerate();
        let parts = parts.map(|(part, filters)| Group {
            start: part * group,
            count: group.min(count - part * group),
            d_input: d_inputs.each_mut().map(|d| d.next().unwrap_or_default()),
            sums: all_sums.next().unwrap_or_default(),
            filters,
        });
        let parts: Vec<Group<'_, N>> = parts.collect();
        parts.into_par_iter().for_each(work);
        Self { d_input, sums, filters }
    }
}

/// Totals of the first `count` parts of `sums`, `length` floats each, in double precision and in their order.
pub(super) fn totals(sums: &[f32], length: usize, count: usize) -> Vec<f64> {
    let mut totals = vec![0.0_f64; length];
    for sums in sums.chunks_exact(length).take(count) {
        totals.iter_mut().zip(sums).for_each(|(total, &sum)| *total += f64::from(sum));
    }
    totals
}
