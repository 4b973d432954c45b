//! The convolution of one block: which form it takes, and its linear maps in that form.
//!
//! Every form is *lower* (images to rows), one matrix product per plane with the transformed filters, *raise* (rows to
//! images). Derivatives use the transposes, *spread* of raise and *gather* of lower:
//!
//! ```text
//! y  = raise(lower(x) · U)        dU = lower(x)ᵀ · spread(dy)        dx = gather(spread(dy) · Uᵀ)
//! ```

use std::sync::Arc;

use super::arena::{Arena, Buffer, LINE};
use super::gemm::{Panels, Sizes, Strided, Target, multiply};
use super::simd::Isa;
use super::{patches, winograd};
use crate::nn::ConvBlock;

/// Outputs whose filters are transposed at once: as many rows of 64 inputs stay in the L1 cache.
const ROWS: usize = 8;

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
    fn offset(self, y: isize, x: isize) -> u32 {
        let inside = (0..self.height as isize).contains(&y) && (0..self.width as isize).contains(&x);
        let pixel = if inside { y as usize * self.width + x as usize } else { self.pixels() };
        (pixel * self.channels) as u32
    }
}

/// A form of convolution, with the places it reads and writes.
enum Form {
    Winograd(Vec<winograd::Tile>),
    Patches(Vec<patches::Patch>),
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
        let form = if block.stride == 1 && height.max(width) >= 4 {
            let step = winograd::TILE;
            let corners =
                (0..height).step_by(step).flat_map(|y| (0..width).step_by(step).map(move |x| (y, x)));
            let tile = |(y, x): (usize, usize)| {
                let at = |i: usize, size: usize| ((y + i / size) as isize, (x + i % size) as isize);
                winograd::Tile {
                    inputs: std::array::from_fn(|i| {
                        let (y, x) = at(i, 6);
                        input.offset(y - 1, x - 1)
                    }),
                    outputs: std::array::from_fn(|i| {
                        let (y, x) = at(i, step);
                        output.offset(y, x)
                    }),
                }
            };
            Form::Winograd(corners.map(tile).collect())
        } else {
            let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (y as isize, x as isize)));
            let stride = block.stride as isize;
            let patch = |(y, x): (isize, isize)| patches::Patch {
                inputs: std::array::from_fn(|tap| {
                    input.offset(y * stride + tap as isize / 3 - 1, x * stride + tap as isize % 3 - 1)
                }),
                output: output.offset(y, x),
            };
            Form::Patches(pixels.map(patch).collect())
        };
        Self { input, output, inputs: block.input[0], outputs: block.output[0], form }
    }

    fn planes(&self) -> usize {
        match self.form {
            Form::Winograd(_) => winograd::PLANES,
            Form::Patches(_) => 1,
        }
    }

    /// Rows of the products for one image.
    pub(super) fn rows(&self) -> usize {
        match &self.form {
            Form::Winograd(tiles) => tiles.len(),
            Form::Patches(patches) => patches.len(),
        }
    }

    /// Inner dimension of the forward product.
    fn depth(&self) -> usize {
        match self.form {
            Form::Winograd(_) => self.input.channels,
            Form::Patches(_) => 9 * self.input.channels,
        }
    }

    /// Length of a plane of `count` lowered images. The line added keeps the planes from falling on the same sets
    /// of the cache.
    fn lowered_plane(&self, count: usize) -> usize {
        count * self.rows() * self.depth() + LINE
    }

    /// Length of a plane of `count` images before raising.
    fn raised_plane(&self, count: usize) -> usize {
        count * self.rows() * self.output.channels + LINE
    }

    /// Floats that `count` lowered images take.
    pub(super) fn lowered_len(&self, count: usize) -> usize {
        self.planes() * self.lowered_plane(count)
    }

    /// Floats that `count` images take before raising.
    pub(super) fn raised_len(&self, count: usize) -> usize {
        self.planes() * self.raised_plane(count)
    }

    /// Length of a plane of transformed filters.
    fn filters_plane(&self) -> usize {
        self.depth() * self.output.channels + LINE
    }

    /// Floats of transformed filters.
    pub(super) fn filters_len(&self) -> usize {
        self.planes() * self.filters_plane()
    }

    /// Length of a tap's part of filters `[9, inputs, outputs]`, with a line added for the same reason.
    fn plain_plane(&self) -> usize {
        let size = self.input.channels * self.output.channels;
        match self.form {
            Form::Winograd(_) => size + LINE,
            Form::Patches(_) => size,
        }
    }

    /// Floats of filters `[9, inputs, outputs]`.
    pub(super) fn plain_len(&self) -> usize {
        9 * self.plain_plane()
    }

    /// The right factor of [`Self::multiply`] for `weight`, `[outputs, inputs, 3, 3]`.
    pub(super) fn filters(&self, isa: Isa, arena: &Arc<Arena>, weight: &[f32]) -> Buffer {
        let (inputs, outputs, plane) = (self.input.channels, self.output.channels, self.plain_plane());
        let mut plain = self.plain(arena);
        for (part, weight) in weight.chunks(ROWS * 9 * self.inputs).enumerate() {
            for tap in 0..9 {
                for input in 0..self.inputs {
                    let column = weight[input * 9 + tap..].iter().step_by(9 * self.inputs);
                    let at = tap * plane + input * outputs + part * ROWS;
                    let to = &mut plain[at..][..ROWS];
                    to.iter_mut().zip(column).for_each(|(to, w)| *to = *w);
                }
            }
        }
        let mut filters = arena.take(self.filters_len());
        match self.form {
            Form::Winograd(_) => {
                winograd::filters(isa, [inputs, outputs], [plane, self.filters_plane()], &plain, &mut filters)
            }
            Form::Patches(_) => patches::filters(inputs, outputs, &plain, &mut filters),
        }
        filters
    }

    /// The right factor of [`Self::multiply_transposed`] for `weight`, `[outputs, inputs, 3, 3]`.
    pub(super) fn transposed_filters(&self, isa: Isa, arena: &Arc<Arena>, weight: &[f32]) -> Buffer {
        let (inputs, outputs, plane) = (self.input.channels, self.output.channels, self.plain_plane());
        let mut plain = self.plain(arena);
        for (output, weight) in weight.chunks_exact(9 * self.inputs).enumerate() {
            for tap in 0..9 {
                let to = &mut plain[tap * plane + output * inputs..][..self.inputs];
                to.iter_mut().zip(weight[tap..].iter().step_by(9)).for_each(|(to, w)| *to = *w);
            }
        }
        let mut filters = arena.take(self.filters_len());
        match self.form {
            Form::Winograd(_) => {
                winograd::filters(isa, [outputs, inputs], [plane, self.filters_plane()], &plain, &mut filters)
            }
            Form::Patches(_) => patches::transposed_filters(inputs, outputs, &plain, &mut filters),
        }
        filters
    }

    /// Room for filters by tap, zero where there is padding.
    fn plain(&self, arena: &Arc<Arena>) -> Buffer {
        let full = self.inputs == self.input.channels && self.outputs == self.output.channels;
        if full { arena.take(self.plain_len()) } else { arena.zeros(self.plain_len()) }
    }

    fn shape<'a>(
        &self,
        tiles: &'a [winograd::Tile],
        count: usize,
        image: Image,
        plane: usize,
    ) -> winograd::Shape<'a> {
        winograd::Shape { tiles, count, image: image.len(), plane, channels: image.channels }
    }

    /// Lowers `count` images, whose spare pixels are zero.
    pub(super) fn lower(&self, isa: Isa, count: usize, x: &[f32], lowered: &mut [f32]) {
        let plane = self.lowered_plane(count);
        match &self.form {
            Form::Winograd(tiles) => {
                winograd::lower(isa, self.shape(tiles, count, self.input, plane), x, lowered)
            }
            Form::Patches(patches) => {
                let images = x.chunks_exact(self.input.len()).take(count);
                for (x, rows) in images.zip(lowered.chunks_exact_mut(self.rows() * self.depth())) {
                    patches::lower(patches, self.input.channels, x, rows);
                }
            }
        }
    }

    /// Raises products to `count` images.
    pub(super) fn raise(&self, isa: Isa, count: usize, products: &[f32], y: &mut [f32]) {
        let plane = self.raised_plane(count);
        match &self.form {
            Form::Winograd(tiles) => {
                winograd::raise(isa, self.shape(tiles, count, self.output, plane), products, y)
            }
            Form::Patches(patches) => {
                let images = y.chunks_exact_mut(self.output.len()).take(count);
                for (y, rows) in images.zip(products.chunks_exact(self.rows() * self.output.channels)) {
                    patches::raise(patches, self.output.channels, rows, y);
                }
            }
        }
    }

    /// Spreads the gradients of `count` images, whose spare pixels are zero.
    pub(super) fn spread(&self, isa: Isa, count: usize, dy: &[f32], rows: &mut [f32]) {
        let plane = self.raised_plane(count);
        match &self.form {
            Form::Winograd(tiles) => {
                winograd::spread(isa, self.shape(tiles, count, self.output, plane), dy, rows)
            }
            Form::Patches(patches) => {
                let images = dy.chunks_exact(self.output.len()).take(count);
                for (dy, rows) in images.zip(rows.chunks_exact_mut(self.rows() * self.output.channels)) {
                    patches::spread(patches, self.output.channels, dy, rows);
                }
            }
        }
    }

    /// Adds gathered rows to the gradients of `count` images.
    pub(super) fn gather(&self, isa: Isa, count: usize, rows: &[f32], dx: &mut [f32]) {
        let plane = self.lowered_plane(count);
        match &self.form {
            Form::Winograd(tiles) => {
                winograd::gather(isa, self.shape(tiles, count, self.input, plane), rows, dx)
            }
            Form::Patches(patches) => {
                let images = dx.chunks_exact_mut(self.input.len()).take(count);
                for (dx, rows) in images.zip(rows.chunks_exact(self.rows() * self.depth())) {
                    patches::gather(patches, self.input.channels, rows, dx);
                }
            }
        }
    }

    /// `products (+)= lowered · filters`.
    pub(super) fn multiply(
        &self,
        isa: Isa,
        count: usize,
        lowered: &[f32],
        filters: &[f32],
        products: &mut [f32],
        accumulate: bool,
    ) {
        let (depth, columns) = (self.depth(), self.output.channels);
        let sizes = Sizes { planes: self.planes(), rows: count * self.rows(), columns, depth };
        let a = Strided { values: lowered, plane: self.lowered_plane(count), row: depth, column: 1 };
        let b = Panels { values: filters, plane: self.filters_plane(), panel: depth * LINE, depth: LINE };
        let plane = self.raised_plane(count);
        multiply(isa, sizes, a, b, Target { values: products, plane, row: columns, accumulate });
    }

    /// `rows (+)= spread · filtersᵀ`.
    pub(super) fn multiply_transposed(
        &self,
        isa: Isa,
        count: usize,
        spread: &[f32],
        filters: &[f32],
        rows: &mut [f32],
        accumulate: bool,
    ) {
        let (depth, columns) = (self.output.channels, self.depth());
        let sizes = Sizes { planes: self.planes(), rows: count * self.rows(), columns, depth };
        let a = Strided { values: spread, plane: self.raised_plane(count), row: depth, column: 1 };
        let b = Panels { values: filters, plane: self.filters_plane(), panel: depth * LINE, depth: LINE };
        let plane = self.lowered_plane(count);
        multiply(isa, sizes, a, b, Target { values: rows, plane, row: columns, accumulate });
    }

    /// `gradient (+)= loweredᵀ · spread`, the gradient of transformed filters.
    pub(super) fn multiply_gradient(
        &self,
        isa: Isa,
        count: usize,
        lowered: &[f32],
        spread: &[f32],
        gradient: &mut [f32],
        accumulate: bool,
    ) {
        let (rows, columns) = (self.depth(), self.output.channels);
        let sizes = Sizes { planes: self.planes(), rows, columns, depth: count * self.rows() };
        let a = Strided { values: lowered, plane: self.lowered_plane(count), row: 1, column: rows };
        let b = Panels { values: spread, plane: self.raised_plane(count), panel: LINE, depth: columns };
        multiply(
            isa,
            sizes,
            a,
            b,
            Target { values: gradient, plane: self.filters_plane(), row: columns, accumulate },
        );
    }

    /// The gradient of filters `[9, inputs, outputs]` from that of transformed ones.
    pub(super) fn plain_gradient(&self, isa: Isa, transformed: &[f32], plain: &mut [f32]) {
        let size = self.input.channels * self.output.channels;
        match self.form {
            Form::Winograd(_) => {
                let planes = [self.filters_plane(), self.plain_plane()];
                winograd::filter_gradient(isa, size, planes, transformed, plain);
            }
            Form::Patches(_) => plain[..9 * size].copy_from_slice(&transformed[..9 * size]),
        }
    }

    /// Sums partial gradients `[9, inputs, outputs]` in order into `[outputs, inputs, 3, 3]`.
    pub(super) fn sum_gradients(&self, partials: &mut [f32], weight: &mut [f32]) {
        let (outputs, plane) = (self.output.channels, self.plain_plane());
        let (sum, rest) = partials.split_at_mut(self.plain_len());
        for partial in rest.chunks_exact(self.plain_len()) {
            for (sum, partial) in sum.iter_mut().zip(partial) {
                *sum += partial;
            }
        }
        for (part, weight) in weight.chunks_mut(ROWS * 9 * self.inputs).enumerate() {
            for tap in 0..9 {
                for input in 0..self.inputs {
                    let column = weight[input * 9 + tap..].iter_mut().step_by(9 * self.inputs);
                    let from = &sum[tap * plane + input * outputs + part * ROWS..][..ROWS];
                    from.iter().zip(column).for_each(|(from, w)| *w = *from);
                }
            }
        }
    }
}
