//! The convolution of one block: which algorithm computes it, and its linear maps in that algorithm.
//!
//! Winograd's is *lower* (images to planes), one matrix product per plane with the transformed filters, *raise*
//! (planes to images). Derivatives use the transposes, *spread* of raise and *gather* of lower:
//!
//! ```text
//! y  = raise(lower(x) · U)        dU = lower(x)ᵀ · spread(dy)        dx = gather(spread(dy) · Uᵀ)
//! ```
//!
//! The direct algorithm is one sum of products from images to images: there, lowered and spread images are the images.

use std::sync::Arc;

use rayon::prelude::*;

use super::arena::{Arena, Buffer, LINE};
use super::direct::{self, Direct};
use super::gemm::Target;
use super::image::Image;
use super::simd::Isa;
use super::taps::{self, FilterMatrices, Taps};
use super::tiling::{self, Tiling};
use super::winograd::{self, TiledImages};
use crate::architecture::ConvBlock;

/// An algorithm of convolution, with the places it reads and writes.
enum Algorithm {
    Winograd(Box<Tiling>),
    Direct(Box<Direct>),
}

/// Where the products of a convolution go. Each algorithm uses one of the two.
pub(super) struct Products<'a> {
    /// The planes of Winograd's algorithm.
    pub(super) planes: &'a mut [f32],
    /// What the direct algorithm computes at once: images, or the gradient of filters.
    pub(super) result: &'a mut [f32],
    /// Whether the products are added to what is there.
    pub(super) accumulate: bool,
}

/// A 3×3 convolution with padding 1 of images `input` to images `output`, without bias.
pub(super) struct Convolution {
    isa: Isa,
    pub(super) input: Image,
    pub(super) output: Image,
    /// Channels without padding.
    inputs: usize,
    outputs: usize,
    algorithm: Algorithm,
}

impl Convolution {
    pub(super) fn new(isa: Isa, block: &ConvBlock) -> Self {
        let [height, width] = block.convolved();
        let input = Image::new(block.input);
        let output = Image::new([block.output[0], height, width]);
        // The transforms of a tile cost about half as much as its products.
        let winograd = tiling::count(output) * 3 / 2;
        let algorithm = if block.stride == 1 && winograd < direct::count(input, output, block.stride) {
            Algorithm::Winograd(Box::new(Tiling::new(input, output)))
        } else {
            Algorithm::Direct(Box::new(Direct::new(input, output, block.stride)))
        };
        Self { isa, input, output, inputs: block.input[0], outputs: block.output[0], algorithm }
    }

    /// Images to convolve at once, of a group of `group`. For Winograd about 48 rows fill the register blocks of the
    /// products while the planes stay near the core. (From 16 to 100 it makes 3 % of difference.)
    pub(super) fn chunk(&self, group: usize) -> usize {
        let chunks = match &self.algorithm {
            Algorithm::Winograd(tiling) => (group * tiling.tiles.len()).div_ceil(48),
            Algorithm::Direct(_) => group.div_ceil(direct::images_at_once(self.isa)),
        };
        group.div_ceil(chunks.clamp(1, group))
    }

    /// Floats that `count` images of `channels` take, lowered or spread, beside the images.
    fn planes_len(&self, count: usize, channels: usize) -> usize {
        match &self.algorithm {
            Algorithm::Winograd(tiling) => tiling.len(count, channels),
            Algorithm::Direct(_) => 0,
        }
    }

    /// Floats that `count` lowered images take, beside the images.
    pub(super) fn lowered_len(&self, count: usize) -> usize {
        self.planes_len(count, self.input.channels)
    }

    /// Floats that `count` images before raising, or spread images, take beside the images.
    pub(super) fn raised_len(&self, count: usize) -> usize {
        self.planes_len(count, self.output.channels)
    }

    /// The matrices of the filters, and of their gradient: inputs by outputs.
    fn matrices(&self) -> FilterMatrices {
        FilterMatrices { rows: self.input.channels, columns: self.output.channels }
    }

    /// Floats that the gradient of transformed filters takes, beside the filters.
    pub(super) fn transformed_len(&self) -> usize {
        match self.algorithm {
            Algorithm::Winograd(_) => tiling::PLANES * self.matrices().stride(),
            Algorithm::Direct(_) => 0,
        }
    }

    /// Floats of the gradient of filters, `[9, inputs, outputs]`, with a line more a tap.
    pub(super) fn plain_len(&self) -> usize {
        9 * self.matrices().stride()
    }

    /// What [`Self::convolve`] takes for `weight`, `[outputs, inputs, 3, 3]`.
    pub(super) fn filters(&self, arena: &Arc<Arena>, weight: &[f32]) -> Buffer {
        let from = Taps { weight, rows: self.inputs, row: 9, columns: self.outputs, column: 9 * self.inputs };
        self.right_factor(arena, from, self.matrices())
    }

    /// What [`Self::convolve_transposed`] takes for `weight`, `[outputs, inputs, 3, 3]`.
    pub(super) fn transposed_filters(&self, arena: &Arc<Arena>, weight: &[f32]) -> Buffer {
        let from = Taps { weight, rows: self.outputs, row: 9 * self.inputs, columns: self.inputs, column: 9 };
        self.right_factor(arena, from, self.matrices().transposed())
    }

    /// Filters as panels, and transformed if the algorithm wants that.
    fn right_factor(&self, arena: &Arc<Arena>, from: Taps<'_>, matrices: FilterMatrices) -> Buffer {
        let panel = direct::panel_len(matrices.rows);
        let mut panels = arena.take(matrices.columns / LINE * panel);
        panels
            .par_chunks_mut(panel)
            .enumerate()
            .for_each(|(index, to)| taps::panel(self.isa, from, index, matrices.rows, to));
        let Algorithm::Winograd(_) = self.algorithm else { return panels };
        let mut filters = arena.take(self.transformed_len());
        winograd::filters(self.isa, matrices, &panels, &mut filters);
        filters
    }

    /// `count` lowered images, in `planes` or where they are; their spare pixels are zero.
    pub(super) fn lower<'a>(&self, count: usize, x: &'a [f32], planes: &'a mut [f32]) -> &'a [f32] {
        let Algorithm::Winograd(tiling) = &self.algorithm else { return x };
        winograd::lower(self.isa, TiledImages { tiling, count, image: self.input }, x, planes);
        planes
    }

    /// The spread gradients of `count` images, in `planes` or where they are; their spare pixels are zero.
    pub(super) fn spread<'a>(&self, count: usize, dy: &'a [f32], planes: &'a mut [f32]) -> &'a [f32] {
        let Algorithm::Winograd(tiling) = &self.algorithm else { return dy };
        winograd::spread(self.isa, TiledImages { tiling, count, image: self.output }, dy, planes);
        planes
    }

    /// `lowered · filters`: planes, which [`Self::raise`] turns into images, or images at once.
    pub(super) fn convolve(&self, count: usize, lowered: &[f32], filters: &[f32], to: Products<'_>) {
        match &self.algorithm {
            Algorithm::Winograd(tiling) => {
                let to = Target { values: to.planes, row: self.output.channels, accumulate: to.accumulate };
                tiling.multiply(self.isa, count, self.matrices(), lowered, filters, to);
            }
            Algorithm::Direct(direct) => {
                direct.forward.apply(self.isa, count, [lowered, filters], to.result, to.accumulate);
            }
        }
    }

    /// Raises products to `count` images.
    pub(super) fn raise(&self, count: usize, products: &[f32], y: &mut [f32]) {
        if let Algorithm::Winograd(tiling) = &self.algorithm {
            winograd::raise(self.isa, TiledImages { tiling, count, image: self.output }, products, y);
        }
    }

    /// The transpose of [`Self::convolve`], `spread · filtersᵀ`: planes, which [`Self::gather`] turns into the gradients
    /// of images, or those at once.
    pub(super) fn convolve_transposed(
        &self,
        count: usize,
        spread: &[f32],
        filters: &[f32],
        to: Products<'_>,
    ) {
        match &self.algorithm {
            Algorithm::Winograd(tiling) => {
                let to = Target { values: to.planes, row: self.input.channels, accumulate: to.accumulate };
                tiling.multiply(self.isa, count, self.matrices().transposed(), spread, filters, to);
            }
            Algorithm::Direct(direct) => {
                direct.transposed.apply(self.isa, count, [spread, filters], to.result, to.accumulate);
            }
        }
    }

    /// Gathers products to the gradients of `count` images, and clears their spare pixels.
    pub(super) fn gather(&self, count: usize, products: &[f32], dx: &mut [f32]) {
        if let Algorithm::Winograd(tiling) = &self.algorithm {
            dx.fill(0.0);
            winograd::gather(self.isa, TiledImages { tiling, count, image: self.input }, products, dx);
        }
        self.input.clear_spare(dx);
    }

    /// `loweredᵀ · spread`: the gradient of transformed filters, which [`Self::plain_gradient`] turns into that of
    /// filters, or that at once.
    pub(super) fn multiply_gradient(&self, count: usize, lowered: &[f32], spread: &[f32], to: Products<'_>) {
        let row = self.output.channels;
        match &self.algorithm {
            Algorithm::Winograd(tiling) => {
                let to = Target { values: to.planes, row, accumulate: to.accumulate };
                tiling.multiply_gradient(self.isa, count, self.matrices(), [lowered, spread], to);
            }
            Algorithm::Direct(direct) => {
                let to = Target { values: to.result, row, accumulate: to.accumulate };
                direct.filter_gradient(self.isa, count, [lowered, spread], to);
            }
        }
    }

    /// The gradient of filters, `[9, inputs, outputs]`, from that of transformed ones.
    pub(super) fn plain_gradient(&self, transformed: &[f32], plain: &mut [f32]) {
        if let Algorithm::Winograd(_) = self.algorithm {
            winograd::filter_gradient(self.isa, self.matrices(), transformed, plain);
        }
    }

    /// Sums partial gradients `[9, inputs, outputs]` in order into `[outputs, inputs, 3, 3]`.
    pub(super) fn sum_gradients(&self, partials: &[f32], weight: &mut [f32]) {
        let partials: Vec<&[f32]> = partials.chunks_exact(self.plain_len()).collect();
        weight.par_chunks_mut(LINE * 9 * self.inputs).enumerate().for_each(|(panel, weight)| {
            taps::sum(self.isa, &partials, self.matrices(), panel, self.inputs, weight);
        });
    }
}
