//! Direct convolution as sums of matrix products, with nothing copied and nothing multiplied by the padding's zeros.
//!
//! The rows of a product are the same pixel of several images. An output pixel is the sum, over the taps of its filter
//! that meet the image, of input pixels times the tap's `[inputs, outputs]` matrix; block by block that sum stays in
//! registers. Both gradients are sums over the same pairs, in another order: an input pixel's over the outputs that
//! read it, a tap's over all pixels.

use super::arena::LINE;
use super::gemm::{Batch, Left, Panels, Sizes, Sum, Target, Term, multiply, tallest};
use super::image::Image;
use super::simd::Isa;
use super::taps::FilterMatrices;

/// Images that are convolved at once: one block of the products.
pub(super) fn images_at_once(isa: Isa) -> usize {
    tallest(isa.lanes())
}

/// Floats of a panel of filters for 16 channels: `[9, rows, 16]`, with a line more a tap, which keeps the taps from falling
/// on the same sets of the cache.
pub(super) fn panel_len(rows: usize) -> usize {
    9 * (rows + 1) * LINE
}

/// A 3×3 convolution with padding 1.
pub(super) struct Direct {
    /// From images to images: output pixels are sums over taps.
    pub(super) forward: ImageMap,
    /// From the gradients of outputs to those of inputs: input pixels are sums over outputs.
    pub(super) transposed: ImageMap,
    /// Taps' gradients, as sums over pixels.
    taps: Plan,
}

/// A linear map of images `from` to images `to`: sums of products with filters.
pub(super) struct ImageMap {
    from: Image,
    to: Image,
    plan: Plan,
}

/// A batch of sums of products that all images have alike.
#[derive(Default)]
struct Plan {
    sums: Vec<Sum>,
    terms: Vec<Term>,
}

impl Plan {
    fn push(&mut self, to: usize, terms: impl Iterator<Item = [usize; 2]>) {
        let start = self.terms.len() as u32;
        self.terms.extend(terms.map(|term| term.map(|offset| offset as u32)));
        self.sums.push(Sum { to: to as u32, terms: start..self.terms.len() as u32 });
    }

    fn batch(&self) -> Batch<'_> {
        Batch { sums: &self.sums, terms: &self.terms }
    }
}

/// The input pixels that meet taps 0, 1 and 2 of output pixel `at`, in one dimension.
fn met(at: usize, stride: usize, size: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..3)
        .filter_map(move |tap| Some((tap, (at * stride + tap).checked_sub(1)?)))
        .filter(move |&(_, x)| x < size)
}

/// Pairs of an output pixel and a tap, with the input pixel that they meet, where that is inside.
fn pairs(input: Image, output: Image, stride: usize) -> Vec<[usize; 3]> {
    let mut pairs = Vec::new();
    for pixel in 0..output.pixels() {
        for (row, y) in met(pixel / output.width, stride, input.height) {
            for (column, x) in met(pixel % output.width, stride, input.width) {
                pairs.push([pixel, row * 3 + column, y * input.width + x]);
            }
        }
    }
    pairs
}

/// How many pairs of an output pixel and a tap there are: multiplications for each pair of channels.
pub(super) fn count(input: Image, output: Image, stride: usize) -> usize {
    let along = |outputs, inputs| (0..outputs).map(|at| met(at, stride, inputs).count()).sum::<usize>();
    along(output.height, input.height) * along(output.width, input.width)
}

impl Direct {
    pub(super) fn new(input: Image, output: Image, stride: usize) -> Self {
        let pairs = pairs(input, output, stride);
        let plan = |groups: usize, length: usize, key: usize, term: &dyn Fn([usize; 3]) -> [usize; 2]| {
            let mut members = vec![Vec::new(); groups];
            pairs.iter().for_each(|pair| members[pair[key]].push(*pair));
            let mut plan = Plan::default();
            for (index, members) in members.into_iter().enumerate() {
                plan.push(index * length, members.into_iter().map(term));
            }
            plan
        };
        let (ins, outs) = (input.channels, output.channels);
        let outputs = plan(output.pixels(), outs, 0, &|[_, tap, x]| [x * ins, tap * (ins + 1) * LINE]);
        let inputs = plan(input.pixels(), ins, 2, &|[y, tap, _]| [y * outs, tap * (outs + 1) * LINE]);
        let matrices = FilterMatrices { rows: ins, columns: outs };
        Self {
            forward: ImageMap { from: input, to: output, plan: outputs },
            transposed: ImageMap { from: output, to: input, plan: inputs },
            taps: plan(9, matrices.stride(), 1, &|[y, _, x]| [x * ins, y * outs]),
        }
    }

    /// The gradient of the filters, `gradient (+)= xᵀ dy` for each tap, `[9, inputs, outputs]` with a line more a tap.
    pub(super) fn filter_gradient(&self, isa: Isa, count: usize, [x, dy]: [&[f32]; 2], gradient: Target<'_>) {
        let (input, output) = (self.forward.from, self.forward.to);
        let sizes = Sizes { rows: input.channels, columns: output.channels, depth: count };
        let a = Left { values: x, row: 1, column: input.len() };
        let b = Panels { values: dy, panel: LINE, depth: output.len() };
        multiply(isa, self.taps.batch(), sizes, a, b, gradient);
    }
}

impl ImageMap {
    /// `to (+)= from · filters` for `count` images, with panels of filters `[channels of to / 16, 9, channels of from, 16]`:
    /// one panel after another, so that each stays near the core.
    pub(super) fn apply(
        &self,
        isa: Isa,
        count: usize,
        [from, filters]: [&[f32]; 2],
        to: &mut [f32],
        accumulate: bool,
    ) {
        let depth = self.from.channels;
        let sizes = Sizes { rows: count, columns: LINE, depth };
        let a = Left { values: from, row: self.from.len(), column: 1 };
        let panels = filters.chunks_exact(panel_len(depth)).take(self.to.channels / LINE);
        for (index, filters) in panels.enumerate() {
            let b = Panels { values: filters, panel: 0, depth: LINE };
            let target = Target { values: &mut to[index * LINE..], row: self.to.len(), accumulate };
            multiply(isa, self.plan.batch(), sizes, a, b, target);
        }
    }
}
