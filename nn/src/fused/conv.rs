//! The convolution of one block: which algorithm computes it, and its linear maps in that algorithm.
//!
//! Winograd's is *lower* (images to planes), one matrix product per plane with the transformed filters, *raise*
//! (planes to images). Derivatives use the transposes, *spread* of raise and *gather* of lower:
//!
//! ```text
//! y  = raise(lower(x) · U)        dU = lower(x)ᵀ · spread(dy)        dx = gather(spread(dy) · Uᵀ)
//! ```
//!
//! The direct algorithm is one sum of products from images to images: there, lowered and spread images are the images. A
//! filter of another size is multiplied with patches of the image (lower copies them, gather adds them up); one that sees
//! a single channel, with the image.

use std::sync::Arc;

use rayon::prelude::*;

use super::arena::{Arena, Buffer, LINE};
use super::depthwise::Depthwise;
use super::direct::{self, Direct};
use super::gemm::Target;
use super::groups::group_size;
use super::image::Image;
use super::patches::Patches;
use super::row::Row;
use super::simd::Isa;
use super::taps::{self, FilterMatrices, Taps};
use super::tiling::{self, Tiling};
use super::winograd::{self, TiledImages};
use crate::architecture::Conv;

/// An algorithm of convolution, with the places it reads and writes.
enum Algorithm {
    Winograd(Box<Tiling>),
    Direct(Box<Direct>),
    Patches(Box<Patches>),
    Depthwise(Box<Depthwise>),
    Row(Row),
}

/// Images of fewer channels, which padding would more than triple, are convolved by patches.
const FEW: usize = 5;

impl Algorithm {
    fn of(conv: &Conv, input: Image, output: Image) -> Self {
        if conv.groups > 1 {
            return Self::Depthwise(Box::new(Depthwise::new(conv)));
        }
        if let Some(row) = Row::of(conv).filter(|_| conv.input[0] >= FEW) {
            return Self::Row(row);
        }
        let square = conv.kernel == [3, 3] && conv.padding == [1, 1] && conv.stride[0] == conv.stride[1];
        if !square || conv.stride[0] > 2 || conv.input[0] < FEW {
            return Self::Patches(Box::new(Patches::new(conv)));
        }
        // The transforms of a tile cost about half as much as its products.
        let (stride, winograd) = (conv.stride[0], tiling::count(output) * 3 / 2);
        if stride == 1 && winograd < direct::count(input, output, stride) {
            Self::Winograd(Box::new(Tiling::new(input, output)))
        } else {
            Self::Direct(Box::new(Direct::new(input, output, stride)))
        }
    }
}

/// Floats of transformed filters that no core keeps for itself.
const FAR: usize = 1 << 20;

/// Rows of products that such filters are worth reading for: twice as many take no less time each.
const WORTHWHILE: usize = 36;

/// Groups of images that a batch is split into at least, if it has as many images.
const FEWEST_GROUPS: usize = 4;

/// Rows of products that are worth a group of their own where there are few images: less reads filters for too little.
const FEWEST_ROWS: usize = 24;

/// Groups that few images are split into at most.
const FEW_GROUPS: usize = 8;

/// Floats of the gradient of a matrix that a thread transforms at a time.
const PART: usize = 1 << 13;

/// Where the products of a convolution go. Each algorithm uses one of the two.
pub(super) struct Products<'a> {
    /// The planes of Winograd's algorithm.
    pub(super) planes: &'a mut [f32],
    /// What the direct algorithm computes at once: images, or the gradient of filters.
    pub(super) result: &'a mut [f32],
    /// Whether the products are added to what is there.
    pub(super) accumulate: bool,
}

/// A convolution of images `input` to images `output`, without bias.
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
    pub(super) fn new(isa: Isa, conv: &Conv) -> Self {
        let (input, output) = (Image::new(conv.input), Image::new(conv.output));
        let algorithm = Algorithm::of(conv, input, output);
        Self { isa, input, output, inputs: conv.input[0], outputs: conv.output[0], algorithm }
    }

    /// Rows of Winograd's products to compute at once: about 48 fill the register blocks while the planes stay near the
    /// core. (From 16 to 100 it makes 3 % of difference.) Filters that do not stay there are better read for more rows.
    fn rows(&self) -> usize {
        if self.transformed_len() > FAR { 192 } else { 48 }
    }

    /// Images in each of the groups that a batch of `count` is split into: those of [`group_size`], or more where a
    /// group would be less than wide filters are read for; fewer where few images are large. A function of network and
    /// batch alone.
    pub(super) fn group(&self, count: usize) -> usize {
        let mut group = group_size(count);
        let rows = match &self.algorithm {
            Algorithm::Winograd(tiling) => tiling.tiles.len(),
            _ => self.output.pixels(),
        };
        if self.transformed_len() > FAR {
            while group * rows < self.rows() && count.div_ceil(2 * group) >= FEWEST_GROUPS {
                group *= 2;
            }
        } else {
            while count.div_ceil(group) < FEW_GROUPS && group > 1 && group.div_ceil(2) * rows >= FEWEST_ROWS {
                group = group.div_ceil(2);
            }
        }
        group
    }

    /// Images that filters are worth reading for, where images do not depend on one another.
    pub(super) fn worthwhile(&self) -> usize {
        match &self.algorithm {
            Algorithm::Winograd(tiling) if self.transformed_len() > FAR => {
                WORTHWHILE.div_ceil(tiling.tiles.len())
            }
            Algorithm::Direct(_) => direct::images_at_once(self.isa),
            _ => 1,
        }
    }

    /// Images to convolve at once, of a group of `group`.
    pub(super) fn chunk(&self, group: usize) -> usize {
        let chunks = match &self.algorithm {
            Algorithm::Winograd(tiling) => (group * tiling.tiles.len()).div_ceil(self.rows()),
            Algorithm::Direct(_) => group.div_ceil(direct::images_at_once(self.isa)),
            Algorithm::Patches(patches) => group.div_ceil(patches.chunk().max(1)),
            Algorithm::Depthwise(_) => group,
            Algorithm::Row(row) => group.div_ceil(row.chunk()),
        };
        group.div_ceil(chunks.clamp(1, group))
    }

    /// Floats that `count` images of `channels` take, lowered or spread, beside the images.
    fn planes_len(&self, count: usize, channels: usize) -> usize {
        match &self.algorithm {
            Algorithm::Winograd(tiling) => tiling.len(count, channels),
            _ => 0,
        }
    }

    /// Floats that `count` lowered images take, beside the images.
    pub(super) fn lowered_len(&self, count: usize) -> usize {
        match &self.algorithm {
            Algorithm::Patches(patches) => patches.lowered_len(count),
            _ => self.planes_len(count, self.input.channels),
        }
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
            _ => 0,
        }
    }

    /// Floats of the gradient of filters: of 3×3 ones `[9, inputs, outputs]`, with a line more a tap.
    pub(super) fn plain_len(&self) -> usize {
        match &self.algorithm {
            Algorithm::Patches(patches) => patches.gradient_len(),
            Algorithm::Depthwise(depthwise) => depthwise.filters_len(),
            Algorithm::Row(row) => row.gradient_len(),
            _ => 9 * self.matrices().stride(),
        }
    }

    /// What [`Self::convolve`] takes for `weight`, `[outputs, inputs, height, width]`.
    pub(super) fn filters(&self, arena: &Arc<Arena>, weight: &[f32]) -> Buffer {
        match &self.algorithm {
            Algorithm::Patches(patches) => return patches.filters(arena, weight),
            Algorithm::Row(row) => return row.filters(self.isa, arena, weight),
            Algorithm::Depthwise(depthwise) => return depthwise.filters(arena, weight),
            _ => {}
        }
        let from = Taps { weight, rows: self.inputs, row: 9, columns: self.outputs, column: 9 * self.inputs };
        self.right_factor(arena, from, self.matrices())
    }

    /// What [`Self::convolve_transposed`] takes for `weight`, `[outputs, inputs, height, width]`.
    pub(super) fn transposed_filters(&self, arena: &Arc<Arena>, weight: &[f32]) -> Buffer {
        match &self.algorithm {
            Algorithm::Patches(patches) => return patches.transposed_filters(arena, weight),
            Algorithm::Row(row) => return row.transposed_filters(self.isa, arena, weight),
            Algorithm::Depthwise(depthwise) => return depthwise.filters(arena, weight),
            _ => {}
        }
        let from = Taps { weight, rows: self.outputs, row: 9 * self.inputs, columns: self.inputs, column: 9 };
        self.right_factor(arena, from, self.matrices().transposed())
    }

    /// Filters as panels, and transformed if the algorithm wants that.
    fn right_factor(&self, arena: &Arc<Arena>, from: Taps<'_>, matrices: FilterMatrices) -> Buffer {
        let (count, panel) = (matrices.columns / LINE, direct::panel_len(matrices.rows));
        let mut panels = arena.take(count * panel);
        let pack = |index: usize, to: &mut [f32]| taps::panel(self.isa, from, index, matrices.rows, to);
        let Algorithm::Winograd(_) = self.algorithm else {
            panels.par_chunks_mut(panel).enumerate().for_each(|(index, to)| pack(index, to));
            return panels;
        };
        let transformed = tiling::panel_len(matrices.rows);
        let mut filters = arena.take(count * transformed);
        let both = panels.par_chunks_mut(panel).zip(filters.par_chunks_mut(transformed));
        both.enumerate().for_each(|(index, (taps, to))| {
            pack(index, taps);
            winograd::filters(self.isa, taps, to);
        });
        filters
    }

    /// `count` lowered images, in `planes` or where they are; their spare pixels are zero.
    pub(super) fn lower<'a>(&self, count: usize, x: &'a [f32], planes: &'a mut [f32]) -> &'a [f32] {
        let tiling = match &self.algorithm {
            Algorithm::Winograd(tiling) => tiling,
            Algorithm::Patches(patches) => return patches.lower(count, x, planes),
            _ => return x,
        };
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
            Algorithm::Patches(patches) => {
                let to = Target { values: to.result, row: self.output.channels, accumulate: to.accumulate };
                patches.convolve(self.isa, count, [lowered, filters], to);
            }
            Algorithm::Depthwise(depthwise) => {
                depthwise.convolve(self.isa, count, [lowered, filters], to.result, to.accumulate);
            }
            Algorithm::Row(row) => row.convolve(self.isa, [lowered, filters], to.result, to.accumulate),
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
            Algorithm::Patches(patches) => {
                patches.convolve_transposed(self.isa, count, [spread, filters], to)
            }
            Algorithm::Depthwise(depthwise) => {
                depthwise.convolve_transposed(self.isa, count, [spread, filters], to.result, to.accumulate);
            }
            Algorithm::Row(row) => {
                row.convolve_transposed(self.isa, [spread, filters], to.result, to.accumulate);
            }
        }
    }

    /// Gathers products to the gradients of `count` images, and clears their spare pixels.
    pub(super) fn gather(&self, count: usize, products: &[f32], dx: &mut [f32]) {
        match &self.algorithm {
            Algorithm::Winograd(tiling) => {
                dx.fill(0.0);
                winograd::gather(self.isa, TiledImages { tiling, count, image: self.input }, products, dx);
            }
            Algorithm::Patches(patches) => patches.gather(self.isa, count, products, dx),
            Algorithm::Direct(_) | Algorithm::Depthwise(_) | Algorithm::Row(_) => {}
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
            Algorithm::Patches(patches) => {
                let to = Target { values: to.result, row, accumulate: to.accumulate };
                patches.filter_gradient(self.isa, count, [lowered, spread], to);
            }
            Algorithm::Depthwise(depthwise) => {
                depthwise.filter_gradient(self.isa, count, [lowered, spread], to.result, to.accumulate);
            }
            Algorithm::Row(row) => row.filter_gradient(self.isa, count, [lowered, spread], to),
        }
    }

    /// The gradient of filters, `[9, inputs, outputs]`, from that of transformed ones.
    pub(super) fn plain_gradient(&self, transformed: &[f32], plain: &mut [f32]) {
        let Algorithm::Winograd(_) = self.algorithm else { return };
        let (stride, part) = (self.matrices().stride(), self.matrices().len().min(PART));
        let mut taps = plain.chunks_exact_mut(stride);
        let mut taps: [_; 9] = std::array::from_fn(|_| {
            taps.next().map_or(<&mut [f32]>::default(), |tap| &mut tap[..stride - LINE]).chunks_mut(part)
        });
        let parts = taps[0].len();
        let mut next = || taps.each_mut().map(|tap| tap.next().unwrap_or_default());
        let of = |(index, gradient): (usize, [&mut [f32]; 9])| {
            winograd::filter_gradient(self.isa, transformed, stride, index * part, gradient);
        };
        if parts == 1 {
            of((0, next()));
        } else {
            let parts: Vec<_> = (0..parts).map(|_| next()).collect();
            parts.into_par_iter().enumerate().for_each(of);
        }
    }

    /// Sums partial gradients in order into `[outputs, inputs, height, width]`.
    pub(super) fn sum_gradients(&self, partials: &[f32], weight: &mut [f32]) {
        match &self.algorithm {
            Algorithm::Patches(patches) => return patches.sum_gradients(partials, weight),
            Algorithm::Depthwise(depthwise) => return depthwise.sum_gradients(partials, weight),
            Algorithm::Row(row) => return row.sum_gradients(partials, weight),
            _ => {}
        }
        let partials: Vec<&[f32]> = partials.chunks_exact(self.plain_len()).collect();
        weight.par_chunks_mut(LINE * 9 * self.inputs).enumerate().for_each(|(panel, weight)| {
            taps::sum(self.isa, &partials, self.matrices(), panel, self.inputs, weight);
        });
    }
}
