//! The first block, on images of few channels: nothing between its input and its pooled output is ever stored.
//!
//! A convolution's output is y = wᵀp for the patch p (9 pixels of each channel), so its batch statistics follow from
//! the patches' mean m and covariance C, which the images alone determine: mean wᵀm and variance wᵀCw. One pass then
//! convolves, normalises and pools. Backward, with g the gradient in the normalised outputs and G = Σ g p,
//!
//! ```text
//! Σ g (y − mean) = wᵀG − mean Σ g                    dγ = Σ g (y − mean) / σ,   dβ = Σ g
//! dw = γ/σ · (G − m Σ g − C w Σ g (y − mean) / σ²)
//! ```
//!
//! so one pass over windows for G is all; the convolution is computed again there, which costs less than keeping it.

use super::arena::{Arena, Buffer, LINE};
use super::first_kernels::{self as kernels, Weights, Windows};
use super::image::{Image, padded};
use super::simd::Isa;
use crate::architecture::Conv;

/// Most input channels that this form is used for; the covariance of patches has (9·channels)² elements.
const MOST_CHANNELS: usize = 4;

/// The first block of a network on images of few channels.
pub(super) struct First {
    isa: Isa,
    input: [usize; 3],
    stride: usize,
    /// Height and width of the convolution's output.
    convolved: [usize; 2],
    pub(super) output: Image,
    pool: bool,
    /// For each pooling window, or output of the convolution, where its pixels start in a bordered input, and where
    /// its output lies.
    windows: Vec<[u32; 2]>,
    /// Offsets of a patch's elements from its start, channel by channel.
    taps: Vec<u32>,
}

/// Mean and covariance of all patches of a batch.
pub(super) struct Moments {
    /// `[taps]`
    pub(super) mean: Vec<f64>,
    /// `[taps, taps]`
    pub(super) covariance: Vec<f64>,
}

impl First {
    /// The first block in this form, if its input has few enough channels.
    pub(super) fn new(isa: Isa, conv: &Conv, output: [usize; 3], pool: bool) -> Option<Self> {
        let (stride, [channels, height, width]) = (conv.stride[0], conv.input);
        // Pixels of a pooling window are expected side by side.
        if channels > MOST_CHANNELS || (pool && stride > 1) {
            return None;
        }
        let output = Image::new(output);
        let convolved = [conv.output[1], conv.output[2]];
        let step = if pool { 2 } else { stride };
        let pixels = (0..output.height).flat_map(|y| (0..output.width).map(move |x| (y, x)));
        let window = |(y, x): (usize, usize)| {
            let (start, at) = (y * step * (width + 2) + x * step, (y * output.width + x) * output.channels);
            [start as u32, at as u32]
        };
        let windows = pixels.map(window).collect();
        let tap = |i: usize| i / 9 * (height + 2) * (width + 2) + i % 9 / 3 * (width + 2) + i % 3;
        let taps = (0..9 * channels).map(|i| tap(i) as u32).collect();
        Some(Self { isa, input: conv.input, stride, convolved, output, pool, windows, taps })
    }

    /// Elements of a patch.
    pub(super) fn taps(&self) -> usize {
        self.taps.len()
    }

    /// Convolution outputs of one image.
    pub(super) fn positions(&self) -> usize {
        self.convolved[0] * self.convolved[1]
    }

    /// Floats of an input image with a border of zeros.
    pub(super) fn padded_len(&self) -> usize {
        self.input[0] * (self.input[1] + 2) * (self.input[2] + 2)
    }

    /// Floats of an input image.
    pub(super) fn input_len(&self) -> usize {
        self.input.iter().product()
    }

    /// Per input channel, the mean of an image.
    pub(super) fn centre(&self, x: &[f32]) -> Vec<f32> {
        let pixels = self.input[1] * self.input[2];
        x.chunks_exact(pixels).map(|x| x.iter().sum::<f32>() / pixels as f32).collect()
    }

    /// Floats of the elements of all patches of an image, and 1.
    pub(super) fn elements_len(&self) -> usize {
        (self.taps() + 1) * padded(self.positions())
    }

    /// Copies an image into a border of zeros.
    pub(super) fn pad(&self, x: &[f32], bordered: &mut [f32]) {
        let [_, height, width] = self.input;
        bordered.fill(0.0);
        for (x, to) in
            x.chunks_exact(height * width).zip(bordered.chunks_exact_mut((height + 2) * (width + 2)))
        {
            for (x, to) in x.chunks_exact(width).zip(to.chunks_exact_mut(width + 2).skip(1)) {
                to[1..=width].copy_from_slice(x);
            }
        }
    }

    /// Filters `[outputs, taps]` as `[taps, padded outputs]`.
    pub(super) fn filters(&self, arena: &Arena, weight: &[f32]) -> Buffer {
        let mut filters = arena.zeros(self.taps() * self.output.channels);
        for (output, weight) in weight.chunks_exact(self.taps()).enumerate() {
            for (tap, &w) in weight.iter().enumerate() {
                filters[tap * self.output.channels + output] = w;
            }
        }
        filters
    }

    /// Length of the sums that `add_moments` adds to.
    pub(super) fn moments_len(&self) -> usize {
        (self.taps() + 1) * (self.taps() + 2) / 2
    }

    /// Adds the products of all pairs of (patch − centre, 1) over the positions of a bordered image.
    pub(super) fn add_moments(
        &self,
        centre: &[f32],
        bordered: &[f32],
        elements: &mut [f32],
        sums: &mut [f64],
    ) {
        let length = padded(self.positions());
        let [height, width] = self.convolved;
        for (at, (&tap, element)) in self.taps.iter().zip(elements.chunks_exact_mut(length)).enumerate() {
            for (y, element) in element.chunks_exact_mut(width).take(height).enumerate() {
                let from = &bordered[tap as usize + y * self.stride * (self.input[2] + 2)..];
                for (to, from) in element.iter_mut().zip(from.iter().step_by(self.stride)) {
                    *to = from - centre[at / 9];
                }
            }
            element[self.positions()..].fill(0.0);
        }
        let ones = &mut elements[self.taps() * length..][..length];
        ones[..self.positions()].fill(1.0);
        ones[self.positions()..].fill(0.0);
        kernels::products(self.isa, length, elements, sums);
    }

    /// Mean and covariance of patches from the sums of `count` images.
    pub(super) fn moments(&self, centre: &[f32], sums: &[f64], count: usize) -> Moments {
        let taps = self.taps();
        let positions = (count * self.positions()) as f64;
        let at = |i: usize, j: usize| sums[i.max(j) * (i.max(j) + 1) / 2 + i.min(j)] / positions;
        let element = |k: usize| {
            let (i, j) = (k / taps, k % taps);
            at(i, j) - at(taps, i) * at(taps, j)
        };
        let covariance = (0..taps * taps).map(element).collect();
        Moments { mean: (0..taps).map(|i| at(taps, i) + f64::from(centre[i / 9])).collect(), covariance }
    }

    fn windows(&self) -> Windows<'_> {
        let [inputs, height, width] = self.input;
        let (pitch, plane) = (width + 2, (height + 2) * (width + 2));
        Windows { places: &self.windows, pitch, plane, inputs, output: self.output }
    }

    /// The outputs of the block for one bordered image.
    pub(super) fn activate(&self, weights: Weights<'_>, bordered: &[f32], z: &mut [f32]) {
        let kernel = if self.pool { kernels::activate::<2> } else { kernels::activate::<1> };
        kernel(self.isa, self.windows(), weights, bordered, z);
        z[self.output.pixels() * self.output.channels..].fill(0.0);
    }

    /// The changes of the block's outputs for one bordered image, given the weights and their change.
    pub(super) fn activate_tangent(&self, weights: [Weights<'_>; 2], bordered: &[f32], z: &mut [f32]) {
        let kernel = if self.pool { kernels::tangent::<2> } else { kernels::tangent::<1> };
        kernel(self.isa, self.windows(), weights, bordered, z);
        z[self.output.pixels() * self.output.channels..].fill(0.0);
    }

    /// Floats that `backward` wants as scratch.
    pub(super) fn routed_len(&self) -> usize {
        self.windows.len() * 4 * LINE
    }

    /// Adds G (`[taps, channels]`) and Σ g (`[channels]`) of one bordered image to `sums`.
    pub(super) fn backward(
        &self,
        weights: Weights<'_>,
        bordered: &[f32],
        dz: &[f32],
        routed: &mut [f32],
        sums: &mut [f32],
    ) {
        let kernel = if self.pool { kernels::backward::<2> } else { kernels::backward::<1> };
        kernel(self.isa, self.windows(), weights, bordered, dz, routed, sums);
    }
}

/// Per-channel mean and variance of wᵀp, from the patches' moments; the padding's are 0.
pub(super) fn statistics(moments: &Moments, weight: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let taps = moments.mean.len();
    let channels = padded(weight.len() / taps);
    let (mut means, mut variances) = (vec![0.0; channels], vec![0.0; channels]);
    for (output, w) in weight.chunks_exact(taps).enumerate() {
        let dot = |v: &[f64]| v.iter().zip(w).map(|(v, &w)| v * f64::from(w)).sum::<f64>();
        means[output] = dot(&moments.mean);
        let image: f64 =
            moments.covariance.chunks_exact(taps).zip(w).map(|(row, &w)| dot(row) * f64::from(w)).sum();
        // Rounding can leave a constant channel below zero.
        variances[output] = image.max(0.0);
    }
    (means, variances)
}
