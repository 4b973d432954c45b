//! Depthwise convolution: every channel has a filter of its own, and sees no other.

use super::arena::{Arena, Buffer};
use super::image::Image;
use super::simd::{Isa, Simd, dispatch};
use crate::architecture::Conv;

pub(super) struct Depthwise {
    input: Image,
    output: Image,
    taps: usize,
    /// Offsets of an output, of its tap's filters, and of the input it is multiplied with.
    triples: Vec<[u32; 3]>,
}

impl Depthwise {
    pub(super) fn new(conv: &Conv) -> Self {
        let (input, output) = (Image::new(conv.input), Image::new(conv.output));
        let mut triples = Vec::new();
        for y in 0..output.height {
            for x in 0..output.width {
                for tap in 0..conv.taps() {
                    let place = |at: usize, axis: usize, tap: usize| {
                        (at * conv.stride[axis] + tap) as isize - conv.padding[axis] as isize
                    };
                    let from =
                        input.offset(place(y, 0, tap / conv.kernel[1]), place(x, 1, tap % conv.kernel[1]));
                    if from as usize != input.pixels() * input.channels {
                        let to = output.offset(y as isize, x as isize);
                        triples.push([to, (tap * input.channels) as u32, from]);
                    }
                }
            }
        }
        Self { input, output, taps: conv.taps(), triples }
    }

    /// Floats of the filters, or their gradient, `[taps, channels]`.
    pub(super) fn filters_len(&self) -> usize {
        self.taps * self.input.channels
    }

    /// Filters `[channels, 1, height, width]` as `[taps, channels]`.
    pub(super) fn filters(&self, arena: &Arena, weight: &[f32]) -> Buffer {
        let mut filters = arena.zeros(self.filters_len());
        for (channel, weight) in weight.chunks_exact(self.taps).enumerate() {
            for (tap, w) in weight.iter().enumerate() {
                filters[tap * self.input.channels + channel] = *w;
            }
        }
        filters
    }

    /// Sums partial gradients in order into `[channels, 1, height, width]`.
    pub(super) fn sum_gradients(&self, partials: &[f32], weight: &mut [f32]) {
        for (channel, weight) in weight.chunks_exact_mut(self.taps).enumerate() {
            for (tap, w) in weight.iter_mut().enumerate() {
                let parts = partials.chunks_exact(self.filters_len());
                *w = parts.map(|part| part[tap * self.input.channels + channel]).sum();
            }
        }
    }

    /// `y (+)= x · filters` of `count` images.
    pub(super) fn convolve(
        &self,
        isa: Isa,
        count: usize,
        [x, filters]: [&[f32]; 2],
        y: &mut [f32],
        accumulate: bool,
    ) {
        let images = x.chunks_exact(self.input.len()).zip(y.chunks_exact_mut(self.output.len()));
        for (x, y) in images.take(count) {
            clear(y, accumulate);
            products::<Y>(isa, self, [x, filters], y);
        }
    }

    /// `dx (+)= dy · filters`, the transpose.
    pub(super) fn convolve_transposed(
        &self,
        isa: Isa,
        count: usize,
        [dy, filters]: [&[f32]; 2],
        dx: &mut [f32],
        accumulate: bool,
    ) {
        let images = dy.chunks_exact(self.output.len()).zip(dx.chunks_exact_mut(self.input.len()));
        for (dy, dx) in images.take(count) {
            clear(dx, accumulate);
            products::<X>(isa, self, [dy, filters], dx);
        }
    }

    /// The gradient of the filters, `[taps, channels]`.
    pub(super) fn filter_gradient(
        &self,
        isa: Isa,
        count: usize,
        [x, dy]: [&[f32]; 2],
        gradient: &mut [f32],
        accumulate: bool,
    ) {
        clear(gradient, accumulate);
        for (x, dy) in x.chunks_exact(self.input.len()).zip(dy.chunks_exact(self.output.len())).take(count) {
            products::<FILTERS>(isa, self, [x, dy], gradient);
        }
    }
}

fn clear(values: &mut [f32], accumulate: bool) {
    if !accumulate {
        values.fill(0.0);
    }
}

/// What [`products`] adds to: outputs (of inputs and filters), inputs (of outputs and filters), or filters (of inputs and
/// outputs).
const Y: usize = 0;
const FILTERS: usize = 1;
const X: usize = 2;

dispatch! {
    /// Adds the product of two of output, filter and input to the third, for all of their triples.
    fn products<const TO: usize>(of: &Depthwise, from: [&[f32]; 2], to: &mut [f32]) = products_kernel::<_, TO>
}

#[inline(always)]
fn products_kernel<S: Simd, const TO: usize>(simd: S, of: &Depthwise, [a, b]: [&[f32]; 2], to: &mut [f32]) {
    let lens = [of.output.len(), of.filters_len(), of.input.len()];
    let [first, second] = match TO {
        Y => [X, FILTERS],
        X => [Y, FILTERS],
        _ => [X, Y],
    };
    assert!(a.len() >= lens[first] && b.len() >= lens[second] && to.len() >= lens[TO]);
    assert!(of.input.channels.is_multiple_of(S::LANES) && of.input.channels == of.output.channels);
    for triple in &of.triples {
        let at = triple.map(|offset| offset as usize);
        for channel in (0..of.input.channels).step_by(S::LANES) {
            // SAFETY: triples are offsets of pixels and taps inside the three, of at least the lengths above.
            unsafe {
                let to = to.as_mut_ptr().add(at[TO] + channel);
                let a = simd.load(a.as_ptr().add(at[first] + channel));
                let b = simd.load(b.as_ptr().add(at[second] + channel));
                simd.store(to, simd.fma(a, b, simd.load(to)));
            }
        }
    }
}
