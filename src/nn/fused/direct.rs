//! Direct convolution as sums of matrix products, with nothing copied and nothing multiplied by the padding's zeros.
//!
//! The rows of a product are the same pixel of several images. An output pixel is the sum, over the taps of its filter
//! that meet the image, of input pixels times the tap's `[inputs, outputs]` matrix; block by block that sum stays in
//! registers. Both gradients are sums over the same pairs, in another order: an input pixel's over the outputs that
//! read it, a tap's over all pixels.

use super::arena::LINE;
use super::conv::Image;
use super::gemm::{Batch, Left, Panels, Sizes, Sum, Target, Term, multiply, tallest};
use super::simd::Isa;

/// Images that are convolved at once: one block of the products.
pub(super) fn images_at_once(isa: Isa) -> usize {
    tallest(isa.lanes())
}

/// Floats of a panel of filters for 16 channels: `[9, rows, 16]`, with a line more a tap, which keeps the taps from falling
/// on the same sets of the cache.
pub(super) fn panel_len(rows: usize) -> usize {
    9 * (rows + 1) * LINE
}

/// A 3×3 convolution with padding 1 of images `input` to images `output`.
pub(super) struct Direct {
    input: Image,
    output: Image,
    /// Output pixels, as sums over taps; their gradients, as sums over outputs; taps' gradients, as sums over pixels.
    outputs: Plan,
    inputs: Plan,
    taps: Plan,
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
        Self {
            input,
            output,
            outputs: plan(output.pixels(), outs, 0, &|[_, tap, x]| [x * ins, tap * (ins + 1) * LINE]),
            inputs: plan(input.pixels(), ins, 2, &|[y, tap, _]| [y * outs, tap * (outs + 1) * LINE]),
            taps: plan(9, ins * outs + LINE, 1, &|[y, _, x]| [x * ins, y * outs]),
        }
    }

    /// `y (+)= x ∗ filters`, with panels of filters `[outputs / 16, 9, inputs, 16]`.
    pub(super) fn convolve(
        &self,
        isa: Isa,
        count: usize,
        x: &[f32],
        filters: &[f32],
        y: &mut [f32],
        accumulate: bool,
    ) {
        by_panel(isa, &self.outputs, count, [self.input, self.output], x, filters, y, accumulate);
    }

    /// `dx (+)=` the gradient in the inputs from that in the outputs, with panels of transposed filters.
    pub(super) fn convolve_transposed(
        &self,
        isa: Isa,
        count: usize,
        dy: &[f32],
        filters: &[f32],
        dx: &mut [f32],
        accumulate: bool,
    ) {
        by_panel(isa, &self.inputs, count, [self.output, self.input], dy, filters, dx, accumulate);
    }

    /// The gradient of the filters, `gradient (+)= xᵀ dy` for each tap, `[9, inputs, outputs]` with a line more a tap.
    pub(super) fn filter_gradient(
        &self,
        isa: Isa,
        count: usize,
        x: &[f32],
        dy: &[f32],
        gradient: &mut [f32],
        accumulate: bool,
    ) {
        let (ins, outs) = (self.input.channels, self.output.channels);
        let sizes = Sizes { rows: ins, columns: outs, depth: count };
        let a = Left { values: x, row: 1, column: self.input.len() };
        let b = Panels { values: dy, panel: LINE, depth: self.output.len() };
        multiply(isa, self.taps.batch(), sizes, a, b, Target { values: gradient, row: outs, accumulate });
    }
}

/// `to (+)=` products of pixels of `from` with filters, one panel of filters after another: each stays near the core.
#[allow(clippy::too_many_arguments)]
fn by_panel(
    isa: Isa,
    plan: &Plan,
    count: usize,
    [image, to_image]: [Image; 2],
    from: &[f32],
    filters: &[f32],
    to: &mut [f32],
    accumulate: bool,
) {
    let depth = image.channels;
    let sizes = Sizes { rows: count, columns: LINE, depth };
    let a = Left { values: from, row: image.len(), column: 1 };
    for (index, filters) in filters.chunks_exact(panel_len(depth)).take(to_image.channels / LINE).enumerate()
    {
        let b = Panels { values: filters, panel: 0, depth: LINE };
        let target = Target { values: &mut to[index * LINE..], row: to_image.len(), accumulate };
        multiply(isa, plan.batch(), sizes, a, b, target);
    }
}
