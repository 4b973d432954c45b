//! The convolution of one block: which form it takes, and its linear maps in that form.
//!
//! Winograd's form is *lower* (images to planes), one matrix product per plane with the transformed filters, *raise*
//! (planes to images). Derivatives use the transposes, *spread* of raise and *gather* of lower:
//!
//! ```text
//! y  = raise(lower(x) · U)        dU = lower(x)ᵀ · spread(dy)        dx = gather(spread(dy) · Uᵀ)
//! ```
//!
//! The direct form is one sum of products from images to images: there, lowered and spread images are the images.

use std::sync::Arc;

use rayon::prelude::*;

use super::arena::{Arena, Buffer, LINE};
use super::direct::{self, Direct};
use super::simd::Isa;
use super::taps::{self, Taps};
use super::tiling::{self, Tiling};
use super::winograd::{self, Shape};
use crate::nn::ConvBlock;

/// Channels rounded up to whole cache lines; those added are zero everywhere.
pub(super) fn padded(channels: usize) -> usize {
    channels.next_multiple_of(LINE)
}

/// An image in a buffer: `[height, width, channels]`, then one spare pixel. Kernels that look outside the image find
/// zeros there, and what they write outside is lost there, so none of them needs to treat edges on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) height: usize,
    pub(super) width: usize,
    /// A multiple of 16.
    pub(super) channels: usize,
}

impl Image {
    pub(super) fn new([channels, height, width]: [usize; 3]) -> Self {
        Self { height, width, channels: padded(channels) }
    }

    pub(super) fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Floats of an image, with its spare pixel.
    pub(super) fn len(self) -> usize {
        (self.pixels() + 1) * self.channels
    }

    /// Fills the spare pixels with zeros.
    pub(super) fn clear_spare(self, images: &mut [f32]) {
        for image in images.chunks_exact_mut(self.len()) {
            image[self.pixels() * self.channels..].fill(0.0);
        }
    }

    /// Offset of a pixel, or of the spare one where the coordinates are outside.
    pub(super) fn offset(self, y: isize, x: isize) -> u32 {
        let inside = (0..self.height as isize).contains(&y) && (0..self.width as isize).contains(&x);
        let pixel = if inside { y as usize * self.width + x as usize } else { self.pixels() };
        (pixel * self.channels) as u32
    }
}

/// A form of convolution, with the places it reads and writes.
enum Form {
    Winograd(Box<Tiling>),
    Direct(Direct),
}

/// A 3×3 convolution with padding 1 of images `input` to images `output`, without bias.
pub(super) struct Convolution {
    pub(super) input: Image,
    pub(super) output: Image,
    /// Channels without padding.
    inputs: usize,
    outputs: usize,
    form: Form,
}

impl Convolution {
    pub(super) fn new(block: &ConvBlock) -> Self {
        let [height, width] = block.convolved();
        let input = Image::new(block.input);
        let output = Image::new([block.output[0], height, width]);
        // The transforms of a tile cost about half as much as its products.
        let winograd = tiling::count(output) * 3 / 2;
        let form = if block.stride == 1 && winograd < direct::count(input, output, block.stride) {
            Form::Winograd(Box::new(Tiling::new(input, output)))
        } else {
            Form::Direct(Direct::new(input, output, block.stride))
        };
        Self { input, output, inputs: block.input[0], outputs: block.output[0], form }
    }

    /// Images to convolve at once, of a group of `group`. For Winograd about 48 rows fill the register blocks of the
    /// products while the planes stay near the core. (From 16 to 100 it makes 3 % of difference.)
    pub(super) fn chunk(&self, isa: Isa, group: usize) -> usize {
        let chunks = match &self.form {
            Form::Winograd(tiling) => (group * tiling.tiles.len()).div_ceil(48),
            Form::Direct(_) => group.div_ceil(direct::images_at_once(isa)),
        };
        group.div_ceil(chunks.clamp(1, group))
    }

    /// Floats that `count` images of `channels` take, lowered or spread, beside the images.
    fn planes_len(&self, count: usize, channels: usize) -> usize {
        match &self.form {
            Form::Winograd(tiling) => tiling.len(count, channels),
            Form::Direct(_) => 0,
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

    /// Length of a plane of transformed filters, or of a tap's part of a gradient. The line added keeps planes from
    /// falling on the same sets of the cache.
    fn filters_plane(&self) -> usize {
        self.input.channels * self.output.channels + LINE
    }

    /// Floats that the gradient of transformed filters takes, beside the filters.
    pub(super) fn transformed_len(&self) -> usize {
        match self.form {
            Form::Winograd(_) => winograd::filters_len(self.filters_plane()),
            Form::Direct(_) => 0,
        }
    }

    /// Floats of the gradient of filters, `[9, inputs, outputs]`, with a line more a tap.
    pub(super) fn plain_len(&self) -> usize {
        9 * self.filters_plane()
    }

    /// What [`Self::convolve`] takes for `weight`, `[outputs, inputs, 3, 3]`.
    pub(super) fn filters(&self, isa: Isa, arena: &Arc<Arena>, weight: &[f32]) -> Buffer {
        let from = Taps { weight, rows: self.inputs, row: 9, columns: self.outputs, column: 9 * self.inputs };
        self.right_factor(isa, arena, from, [self.input.channels, self.output.channels])
    }

    /// What [`Self::convolve_transposed`] takes for `weight`, `[outputs, inputs, 3, 3]`.
    pub(super) fn transposed_filters(&self, isa: Isa, arena: &Arc<Arena>, weight: &[f32]) -> Buffer {
        let from = Taps { weight, rows: self.outputs, row: 9 * self.inputs, columns: self.inputs, column: 9 };
        self.right_factor(isa, arena, from, [self.output.channels, self.input.channels])
    }

    /// Filters as panels, and transformed if the form wants that.
    fn right_factor(
        &self,
        isa: Isa,
        arena: &Arc<Arena>,
        from: Taps<'_>,
        [rows, columns]: [usize; 2],
    ) -> Buffer {
        let panel = direct::panel_len(rows);
        let mut panels = arena.take(columns / LINE * panel);
        panels
            .par_chunks_mut(panel)
            .enumerate()
            .for_each(|(index, to)| taps::panel(isa, from, index, rows, to));
        let Form::Winograd(_) = self.form else { return panels };
        let mut filters = arena.take(self.transformed_len());
        winograd::filters(isa, [rows, columns], self.filters_plane(), &panels, &mut filters);
        filters
    }

    /// `count` lowered images, in `planes` or where they are; their spare pixels are zero.
    pub(super) fn lower<'a>(&self, isa: Isa, count: usize, x: &'a [f32], planes: &'a mut [f32]) -> &'a [f32] {
        let Form::Winograd(tiling) = &self.form else { return x };
        winograd::lower(isa, Shape { tiling, count, image: self.input }, x, planes);
        planes
    }

    /// The spread gradients of `count` images, in `planes` or where they are; their spare pixels are zero.
    pub(super) fn spread<'a>(
        &self,
        isa: Isa,
        count: usize,
        dy: &'a [f32],
        planes: &'a mut [f32],
    ) -> &'a [f32] {
        let Form::Winograd(tiling) = &self.form else { return dy };
        winograd::spread(isa, Shape { tiling, count, image: self.output }, dy, planes);
        planes
    }

    /// Adds `lowered · filters` to `products` (or starts them), which [`Self::raise`] turns into images; in the direct
    /// form they are the images `y`, and `products` is not used.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn convolve(
        &self,
        isa: Isa,
        count: usize,
        lowered: &[f32],
        filters: &[f32],
        products: &mut [f32],
        y: &mut [f32],
        accumulate: bool,
    ) {
        match &self.form {
            Form::Winograd(tiling) => {
                let (sizes, plane) = ([self.input.channels, self.output.channels], self.filters_plane());
                tiling.multiply(isa, count, sizes, lowered, filters, plane, products, accumulate);
            }
            Form::Direct(direct) => direct.convolve(isa, count, lowered, filters, y, accumulate),
        }
    }

    /// Raises products to `count` images.
    pub(super) fn raise(&self, isa: Isa, count: usize, products: &[f32], y: &mut [f32]) {
        if let Form::Winograd(tiling) = &self.form {
            winograd::raise(isa, Shape { tiling, count, image: self.output }, products, y);
        }
    }

    /// The transpose of [`Self::convolve`]: adds `spread · filtersᵀ` to `products`, or in the direct form to the images'
    /// gradients `dx`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn convolve_transposed(
        &self,
        isa: Isa,
        count: usize,
        spread: &[f32],
        filters: &[f32],
        products: &mut [f32],
        dx: &mut [f32],
        accumulate: bool,
    ) {
        match &self.form {
            Form::Winograd(tiling) => {
                let (sizes, plane) = ([self.output.channels, self.input.channels], self.filters_plane());
                tiling.multiply(isa, count, sizes, spread, filters, plane, products, accumulate);
            }
            Form::Direct(direct) => direct.convolve_transposed(isa, count, spread, filters, dx, accumulate),
        }
    }

    /// Gathers products to the gradients of `count` images, and clears their spare pixels.
    pub(super) fn gather(&self, isa: Isa, count: usize, products: &[f32], dx: &mut [f32]) {
        if let Form::Winograd(tiling) = &self.form {
            dx.fill(0.0);
            winograd::gather(isa, Shape { tiling, count, image: self.input }, products, dx);
        }
        self.input.clear_spare(dx);
    }

    /// `gradient (+)= loweredᵀ · spread`, the gradient of transformed filters, which [`Self::plain_gradient`] turns into
    /// that of filters; in the direct form it is `plain` at once.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn multiply_gradient(
        &self,
        isa: Isa,
        count: usize,
        lowered: &[f32],
        spread: &[f32],
        transformed: &mut [f32],
        plain: &mut [f32],
        accumulate: bool,
    ) {
        match &self.form {
            Form::Winograd(tiling) => {
                let (sizes, plane) = ([self.input.channels, self.output.channels], self.filters_plane());
                tiling.multiply_gradient(isa, count, sizes, lowered, spread, plane, transformed, accumulate);
            }
            Form::Direct(direct) => direct.filter_gradient(isa, count, lowered, spread, plain, accumulate),
        }
    }

    /// The gradient of filters, `[9, inputs, outputs]`, from that of transformed ones.
    pub(super) fn plain_gradient(&self, isa: Isa, transformed: &[f32], plain: &mut [f32]) {
        if let Form::Winograd(_) = self.form {
            let size = self.input.channels * self.output.channels;
            winograd::filter_gradient(isa, size, self.filters_plane(), transformed, plain);
        }
    }

    /// Sums partial gradients `[9, inputs, outputs]` in order into `[outputs, inputs, 3, 3]`.
    pub(super) fn sum_gradients(&self, isa: Isa, partials: &[f32], weight: &mut [f32]) {
        let (outputs, plane) = (self.output.channels, self.filters_plane());
        let partials: Vec<&[f32]> = partials.chunks_exact(self.plain_len()).collect();
        weight.par_chunks_mut(LINE * 9 * self.inputs).enumerate().for_each(|(panel, weight)| {
            taps::sum(isa, &partials, [plane, outputs, panel * LINE], self.inputs, weight);
        });
    }
}
