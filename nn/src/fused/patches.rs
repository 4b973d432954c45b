//! Convolution of any filter as one matrix product with the patches that its filters see.
//!
//! A lowered image is a matrix with a row for each output pixel, and one of zeros for the spare pixel: the inputs of its
//! patch, tap by tap. Of a 1×1 filter with stride 1 that is the image itself, and nothing is copied. Images of few channels
//! are lowered without the channels that pad them.

use super::arena::{Arena, Buffer, LINE};
use super::conv::Products;
use super::gemm::{Left, ONE, Panels, Sizes, Target, multiply};
use super::image::{Image, padded};
use super::simd::{Isa, Simd, dispatch};
use crate::architecture::Conv;

/// Inputs of fewer channels are lowered without padding.
const FEW: usize = 8;

pub(super) struct Patches {
    input: Image,
    output: Image,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    /// Channels of a patch, with padding unless they are few, and without any.
    channels: usize,
    inputs: usize,
    outputs: usize,
    /// Whether a lowered image is the image.
    identity: bool,
}

impl Patches {
    pub(super) fn new(conv: &Conv) -> Self {
        let (input, output, inputs) = (Image::new(conv.input), Image::new(conv.output), conv.input[0]);
        let channels = if inputs < FEW { inputs } else { input.channels };
        Self {
            input,
            output,
            kernel: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
            channels,
            inputs,
            outputs: conv.output[0],
            identity: conv.kernel == [1, 1]
                && conv.stride == [1, 1]
                && conv.padding == [0, 0]
                && channels == input.channels,
        }
    }

    /// Columns of a lowered image, the last of them padding.
    fn depth(&self) -> usize {
        padded(self.kernel[0] * self.kernel[1] * self.channels)
    }

    /// Rows of `count` lowered images.
    fn rows(&self, count: usize) -> usize {
        count * (self.output.pixels() + 1)
    }

    /// Floats of `count` lowered images, beside the images.
    pub(super) fn lowered_len(&self, count: usize) -> usize {
        if self.identity { 0 } else { self.rows(count) * self.depth() }
    }

    /// Images to convolve at once: their patches stay near the core.
    pub(super) fn chunk(&self) -> usize {
        (1 << 17) / (self.rows(1) * (self.depth() + self.output.channels))
    }

    /// Floats of the gradient of filters, `[depth, outputs]`.
    pub(super) fn gradient_len(&self) -> usize {
        self.depth() * self.output.channels
    }

    /// Filters `[outputs, inputs, height, width]` as panels of 16 outputs, `[depth, 16]` each.
    pub(super) fn filters(&self, arena: &Arena, weight: &[f32]) -> Buffer {
        let mut panels = arena.zeros(self.gradient_len());
        let panel = self.depth() * LINE;
        self.each(|element, output, at| {
            panels[output / LINE * panel + element * LINE + output % LINE] = weight[at]
        });
        panels
    }

    /// Their transpose: panels of 16 columns of a lowered image, `[padded outputs, 16]` each.
    pub(super) fn transposed_filters(&self, arena: &Arena, weight: &[f32]) -> Buffer {
        let mut panels = arena.zeros(self.gradient_len());
        let panel = self.output.channels * LINE;
        self.each(|element, output, at| {
            panels[element / LINE * panel + output * LINE + element % LINE] = weight[at]
        });
        panels
    }

    /// Calls `visit(column of a lowered image, output, place in the filters)` for every weight.
    fn each(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let taps = self.kernel[0] * self.kernel[1];
        for output in 0..self.outputs {
            for input in 0..self.inputs {
                for tap in 0..taps {
                    visit(tap * self.channels + input, output, (output * self.inputs + input) * taps + tap);
                }
            }
        }
    }

    /// Sums partial gradients in order into `[outputs, inputs, height, width]`.
    pub(super) fn sum_gradients(&self, partials: &[f32], weight: &mut [f32]) {
        self.each(|element, output, at| {
            let parts = partials.chunks_exact(self.gradient_len());
            weight[at] = parts.map(|part| part[element * self.output.channels + output]).sum();
        });
    }

    /// For each output pixel and row of its filter, the row of a lowered image, the offset there, that of the first
    /// input, and how many inputs lie in the image.
    fn segments(&self, mut visit: impl FnMut(usize, usize, usize, usize)) {
        let [kernel_height, kernel_width] = self.kernel;
        for y in 0..self.output.height {
            for ky in 0..kernel_height {
                let Some(row) = (y * self.stride[0] + ky).checked_sub(self.padding[0]) else { continue };
                if row >= self.input.height {
                    continue;
                }
                for x in 0..self.output.width {
                    let start = x * self.stride[1];
                    let skipped = self.padding[1].saturating_sub(start);
                    let end = (start + kernel_width).min(self.input.width + self.padding[1]);
                    let Some(count) = end.checked_sub(start + skipped).filter(|&count| count > 0) else {
                        continue;
                    };
                    let to = (ky * kernel_width + skipped) * self.channels;
                    visit(
                        y * self.output.width + x,
                        to,
                        row * self.input.width + start + skipped - self.padding[1],
                        count,
                    );
                }
            }
        }
    }

    /// `count` lowered images, in `planes` or where they are.
    pub(super) fn lower<'a>(&self, count: usize, x: &'a [f32], planes: &'a mut [f32]) -> &'a [f32] {
        if self.identity {
            return x;
        }
        let (depth, step, channels) = (self.depth(), self.input.channels, self.channels);
        let image = self.rows(1) * depth;
        planes[..count * image].fill(0.0);
        for (x, planes) in x.chunks_exact(self.input.len()).zip(planes.chunks_exact_mut(image)).take(count) {
            self.segments(|row, to, pixel, pixels| {
                let to = &mut planes[row * depth + to..][..pixels * channels];
                let from = &x[pixel * step..][..pixels * step];
                if channels == step {
                    to.copy_from_slice(from);
                } else {
                    for (to, from) in to.chunks_exact_mut(channels).zip(from.chunks_exact(step)) {
                        to.copy_from_slice(&from[..channels]);
                    }
                }
            });
        }
        planes
    }

    /// `lowered · filters`.
    pub(super) fn convolve(&self, isa: Isa, count: usize, [lowered, filters]: [&[f32]; 2], to: Target<'_>) {
        let (depth, columns) = (self.depth(), self.output.channels);
        let sizes = Sizes { rows: self.rows(count), columns, depth };
        let a = Left { values: lowered, row: depth, column: 1 };
        let b = Panels { values: filters, panel: depth * LINE, depth: LINE };
        multiply(isa, ONE, sizes, a, b, to);
    }

    /// `dy · filtersᵀ`: the gradients of lowered images.
    pub(super) fn convolve_transposed(
        &self,
        isa: Isa,
        count: usize,
        [dy, filters]: [&[f32]; 2],
        to: Products<'_>,
    ) {
        let (depth, columns) = (self.output.channels, self.depth());
        let sizes = Sizes { rows: self.rows(count), columns, depth };
        let a = Left { values: dy, row: depth, column: 1 };
        let b = Panels { values: filters, panel: depth * LINE, depth: LINE };
        let values = if self.identity { to.result } else { to.planes };
        multiply(isa, ONE, sizes, a, b, Target { values, row: columns, accumulate: to.accumulate });
    }

    /// Adds the gradients of patches up to those of images.
    pub(super) fn gather(&self, isa: Isa, count: usize, planes: &[f32], dx: &mut [f32]) {
        if self.identity {
            return;
        }
        let (depth, step, channels) = (self.depth(), self.input.channels, self.channels);
        let image = self.rows(1) * depth;
        dx.fill(0.0);
        for (dx, planes) in dx.chunks_exact_mut(self.input.len()).zip(planes.chunks_exact(image)).take(count)
        {
            self.segments(|row, from, pixel, pixels| {
                let from = &planes[row * depth + from..][..pixels * channels];
                let to = &mut dx[pixel * step..][..pixels * step];
                if channels == step {
                    add(isa, from, to);
                } else {
                    for (to, from) in to.chunks_exact_mut(step).zip(from.chunks_exact(channels)) {
                        to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                    }
                }
            });
        }
    }

    /// `loweredᵀ · dy`, `[depth, outputs]`.
    pub(super) fn filter_gradient(&self, isa: Isa, count: usize, [lowered, dy]: [&[f32]; 2], to: Target<'_>) {
        let sizes = Sizes { rows: self.depth(), columns: self.output.channels, depth: self.rows(count) };
        let a = Left { values: lowered, row: 1, column: self.depth() };
        let b = Panels { values: dy, panel: LINE, depth: self.output.channels };
        multiply(isa, ONE, sizes, a, b, to);
    }
}

dispatch! {
    /// `to += from`, of whole vectors.
    pub(super) fn add(from: &[f32], to: &mut [f32]) = add_kernel
}

#[inline(always)]
fn add_kernel<S: Simd>(simd: S, from: &[f32], to: &mut [f32]) {
    assert!(from.len() == to.len() && from.len().is_multiple_of(S::LANES));
    for at in (0..from.len()).step_by(S::LANES) {
        // SAFETY: both have whole vectors.
        unsafe {
            let to = to.as_mut_ptr().add(at);
            simd.store(to, simd.add(simd.load(to), simd.load(from.as_ptr().add(at))));
        }
    }
}
