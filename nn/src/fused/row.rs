//! Convolution along signals of one row, with nothing copied.
//!
//! The samples that a filter sees lie side by side, so the patches of a signal are a matrix already: its rows are a sample
//! apart and overlap. Samples near an end, whose filters look beyond it, have products of their own, with the taps that meet
//! the signal. Where signals have many channels and filters three taps, there are fewer products at Winograd's points
//! ([`row_winograd`]); the gradient of filters is always such a product.

use super::arena::{Arena, Buffer, LINE};
use super::conv::Products;
use super::gemm::{Left, ONE, Panels, Sizes, Target, multiply};
use super::image::Image;
use super::row_winograd;
use super::simd::Isa;
use crate::architecture::Conv;

/// A convolution of stride 1 whose outputs are as many as its inputs.
pub(super) struct Row {
    input: Image,
    output: Image,
    inputs: usize,
    outputs: usize,
    taps: usize,
    winograd: bool,
}

/// Samples that filters look at from the same side: from `start` on `count` of them, which see taps `from..to`.
struct Part {
    start: usize,
    count: usize,
    from: usize,
    to: usize,
}

/// Floats of signals and filters that stay near the core.
const NEAR: usize = 1 << 17;

impl Row {
    /// None where the filters are others.
    pub(super) fn of(conv: &Conv) -> Option<Self> {
        let [height, taps] = conv.kernel;
        let (input, output) = (Image::new(conv.input), Image::new(conv.output));
        let same = conv.padding == [0, taps / 2] && taps % 2 == 1 && conv.stride == [1, 1];
        (input.height == 1 && height == 1 && same && taps > 1 && taps <= input.width).then_some(Self {
            input,
            output,
            inputs: conv.input[0],
            outputs: conv.output[0],
            taps,
            winograd: row_winograd::fits(taps, input, output),
        })
    }

    /// Signals to convolve at once.
    pub(super) fn chunk(&self) -> usize {
        (NEAR / (self.input.len() + self.output.len())).max(1)
    }

    /// Floats of the gradient of filters, `[taps · inputs, outputs]`.
    pub(super) fn gradient_len(&self) -> usize {
        self.taps * self.input.channels * self.output.channels
    }

    /// All but those near an end, then these.
    fn parts(&self) -> impl Iterator<Item = Part> {
        let (reach, width, taps) = (self.taps / 2, self.input.width, self.taps);
        let inner = Part { start: reach, count: width - 2 * reach, from: 0, to: taps };
        let first = (0..reach).map(move |at| Part { start: at, count: 1, from: reach - at, to: taps });
        let last = (0..reach).map(move |at| Part {
            start: width - reach + at,
            count: 1,
            from: 0,
            to: taps - 1 - at,
        });
        std::iter::once(inner).chain(first).chain(last)
    }

    /// Filters `[outputs, inputs, 1, taps]` as panels of 16 outputs, `[taps · inputs, 16]` each; or these at the points.
    pub(super) fn filters(&self, isa: Isa, arena: &Arena, weight: &[f32]) -> Buffer {
        let mut panels = arena.zeros(self.gradient_len());
        let panel = self.taps * self.input.channels * LINE;
        self.each(|[tap, input, output], at| {
            let row = tap * self.input.channels + input;
            panels[output / LINE * panel + row * LINE + output % LINE] = weight[at];
        });
        self.at_points(isa, arena, self.input.channels, panels)
    }

    /// The same the other way: panels of 16 inputs, `[taps · outputs, 16]` each, the last tap first.
    pub(super) fn transposed_filters(&self, isa: Isa, arena: &Arena, weight: &[f32]) -> Buffer {
        let mut panels = arena.zeros(self.gradient_len());
        let panel = self.taps * self.output.channels * LINE;
        self.each(|[tap, input, output], at| {
            let row = (self.taps - 1 - tap) * self.output.channels + output;
            panels[input / LINE * panel + row * LINE + input % LINE] = weight[at];
        });
        self.at_points(isa, arena, self.output.channels, panels)
    }

    fn at_points(&self, isa: Isa, arena: &Arena, channels: usize, panels: Buffer) -> Buffer {
        if !self.winograd {
            return panels;
        }
        let mut points = arena.take(row_winograd::filters_len([self.input.channels, self.output.channels]));
        row_winograd::filters(isa, channels, &panels, &mut points);
        points
    }

    /// Calls `visit([tap, input, output], place in the filters)` for every weight.
    fn each(&self, mut visit: impl FnMut([usize; 3], usize)) {
        for output in 0..self.outputs {
            for input in 0..self.inputs {
                for tap in 0..self.taps {
                    visit([tap, input, output], (output * self.inputs + input) * self.taps + tap);
                }
            }
        }
    }

    /// Sums partial gradients in order into `[outputs, inputs, 1, taps]`.
    pub(super) fn sum_gradients(&self, partials: &[f32], weight: &mut [f32]) {
        self.each(|[tap, input, output], at| {
            let parts = partials.chunks_exact(self.gradient_len());
            let place = (tap * self.input.channels + input) * self.output.channels + output;
            weight[at] = parts.map(|part| part[place]).sum();
        });
    }

    /// Signals convolved.
    pub(super) fn convolve(&self, isa: Isa, [x, filters]: [&[f32]; 2], y: &mut [f32], accumulate: bool) {
        self.map(isa, [self.input, self.output], [x, filters], y, accumulate);
    }

    /// The gradients of signals.
    pub(super) fn convolve_transposed(
        &self,
        isa: Isa,
        [dy, filters]: [&[f32]; 2],
        dx: &mut [f32],
        accumulate: bool,
    ) {
        self.map(isa, [self.output, self.input], [dy, filters], dx, accumulate);
    }

    fn map(
        &self,
        isa: Isa,
        [from, to]: [Image; 2],
        [x, filters]: [&[f32]; 2],
        y: &mut [f32],
        accumulate: bool,
    ) {
        let reach = self.taps / 2;
        for (x, y) in x.chunks_exact(from.len()).zip(y.chunks_exact_mut(to.len())) {
            if self.winograd {
                row_winograd::convolve(isa, [from, to], [x, filters], y, accumulate);
                y[to.width * to.channels..].fill(0.0);
                continue;
            }
            for part in self.parts() {
                let depth = (part.to - part.from) * from.channels;
                let sizes = Sizes { rows: part.count, columns: to.channels, depth };
                let sample = part.start + part.from - reach;
                let a = Left { values: &x[sample * from.channels..], row: from.channels, column: 1 };
                let b = Panels {
                    values: &filters[part.from * from.channels * LINE..],
                    panel: self.taps * from.channels * LINE,
                    depth: LINE,
                };
                let values = &mut y[part.start * to.channels..];
                multiply(isa, ONE, sizes, a, b, Target { values, row: to.channels, accumulate });
            }
            y[to.width * to.channels..].fill(0.0);
        }
    }

    /// The gradient of the filters, `[taps · inputs, outputs]`.
    pub(super) fn filter_gradient(&self, isa: Isa, count: usize, [x, dy]: [&[f32]; 2], to: Products<'_>) {
        let (input, output, reach) = (self.input, self.output, self.taps / 2);
        let signals = x.chunks_exact(input.len()).zip(dy.chunks_exact(output.len())).take(count);
        let mut accumulate = to.accumulate;
        for (x, dy) in signals {
            for part in self.parts() {
                let rows = (part.to - part.from) * input.channels;
                let sizes = Sizes { rows, columns: output.channels, depth: part.count };
                let sample = part.start + part.from - reach;
                let a = Left { values: &x[sample * input.channels..], row: 1, column: input.channels };
                let values = &dy[part.start * output.channels..];
                let b = Panels { values, panel: LINE, depth: output.channels };
                let values = &mut to.result[part.from * input.channels * output.channels..];
                multiply(isa, ONE, sizes, a, b, Target { values, row: output.channels, accumulate });
                accumulate = true;
            }
        }
    }
}
