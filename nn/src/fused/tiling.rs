//! The tiles of Winograd's convolution, and the matrix products over them, one for each point of the transform.
//!
//! A tile of fewer than four outputs has fewer points, and takes no part in the products of the others: 7×7 outputs are
//! tiles of 4 + 3, of 11² instead of 12² products, and 14×14 are 4 + 4 + 4 + 2, of 22² instead of 24².

use rayon::prelude::*;

use super::arena::LINE;
use super::gemm::{Left, ONE, Panels, Sizes, Target, multiply};
use super::image::Image;
use super::simd::Isa;
use super::taps::FilterMatrices;

/// Points of the transform in one dimension, and in both.
const POINTS: usize = 6;
pub(super) const PLANES: usize = POINTS * POINTS;

/// Floats of a panel of 16 columns of transformed filters: `[36, rows + 1, 16]`.
pub(super) fn panel_len(rows: usize) -> usize {
    PLANES * (rows + 1) * LINE
}

/// Multiply-adds that are worth the attention of several threads. Every product is one chain of them whoever computes it.
const MUCH: usize = 1 << 20;

/// The points of F(M, 3), M = 2, 3, 4, among the six of F(4, 3).
const OWN: [&[usize]; 3] = [&[0, 1, 2, 5], &[0, 1, 2, 3, 5], &[0, 1, 2, 3, 4, 5]];

/// A tile: its size, and offsets, in floats from the start of an image, of its inputs and outputs. What falls outside goes
/// to the image's spare pixel.
#[derive(Clone, Debug)]
pub(super) struct Tile {
    /// Height and width, 2 to 4 each.
    pub(super) size: [usize; 2],
    pub(super) inputs: [u32; PLANES],
    pub(super) outputs: [u32; 16],
    /// For each of its points, the plane, and its row among those of all planes.
    pub(super) rows: Vec<[u32; 2]>,
}

/// The tiles of an image, and where they lie in the planes.
///
/// The planes of `count` images of `channels` follow each other, with a line after each, which keeps them from falling on
/// the same sets of the cache. A plane has a row for each of its tiles and each image, `[tile, image, channel]`.
pub(super) struct Tiling {
    pub(super) tiles: Vec<Tile>,
    /// Rows of each plane for one image, and of those before it.
    rows: [usize; PLANES],
    before: [usize; PLANES],
    total: usize,
}

/// Sizes of the tiles that cover `length` outputs: fours and at most one three or two, or both.
fn cover(length: usize) -> Vec<usize> {
    let (fours, rest) = (length / 4, length % 4);
    let (fours, last): (usize, &[usize]) = match rest {
        0 => (fours, &[]),
        1 if fours > 0 => (fours - 1, &[3, 2]),
        1 | 2 => (fours, &[2]),
        _ => (fours, &[3]),
    };
    std::iter::repeat_n(4, fours).chain(last.iter().copied()).collect()
}

/// Products of two channels that the convolution of an image takes.
pub(super) fn count(output: Image) -> usize {
    let along = |length| cover(length).into_iter().map(|size| size + 2).sum::<usize>();
    along(output.height) * along(output.width)
}

/// As many of `values` as there are, and zeros.
fn array<const N: usize>(values: impl Iterator<Item = u32>) -> [u32; N] {
    let mut array = [0; N];
    array.iter_mut().zip(values).for_each(|(to, value)| *to = value);
    array
}

impl Tiling {
    /// Of a convolution of images `input` to images `output`, of the same size.
    pub(super) fn new(input: Image, output: Image) -> Self {
        let mut rows = [0; PLANES];
        let mut tiles = Vec::new();
        let mut y = 0;
        for height in cover(output.height) {
            let mut x = 0;
            for width in cover(output.width) {
                let grid = |rows: usize, columns: usize| {
                    (0..rows).flat_map(move |i| (0..columns).map(move |j| (i as isize, j as isize)))
                };
                let (top, left) = (y as isize, x as isize);
                let points =
                    OWN[height - 2].iter().flat_map(|i| OWN[width - 2].iter().map(move |j| i * POINTS + j));
                tiles.push(Tile {
                    size: [height, width],
                    inputs: array(
                        grid(height + 2, width + 2).map(|(i, j)| input.offset(top + i - 1, left + j - 1)),
                    ),
                    outputs: array(grid(height, width).map(|(i, j)| output.offset(top + i, left + j))),
                    rows: points
                        .map(|plane| {
                            rows[plane] += 1;
                            [plane as u32, rows[plane] as u32 - 1]
                        })
                        .collect(),
                });
                x += width;
            }
            y += height;
        }
        let mut before = [0; PLANES];
        for plane in 1..PLANES {
            before[plane] = before[plane - 1] + rows[plane - 1];
        }
        tiles
            .iter_mut()
            .flat_map(|tile| &mut tile.rows)
            .for_each(|[plane, row]| *row += before[*plane as usize] as u32);
        Self { tiles, rows, before, total: rows.iter().sum() }
    }

    /// Floats of the planes of `count` images of `channels`.
    pub(super) fn len(&self, count: usize, channels: usize) -> usize {
        self.total * count * channels + PLANES * LINE
    }

    /// Where a plane starts, and its rows.
    fn plane(&self, plane: usize, count: usize, channels: usize) -> (usize, usize) {
        (self.before[plane] * count * channels + plane * LINE, self.rows[plane] * count)
    }

    /// `to (+)= from · filters` in each plane; filters, `matrices`, are panels of [`panel_len`].
    pub(super) fn multiply(
        &self,
        isa: Isa,
        count: usize,
        matrices: FilterMatrices,
        from: &[f32],
        filters: &[f32],
        to: Target<'_>,
    ) {
        let FilterMatrices { rows: depth, columns } = matrices;
        let mut rest = to.values;
        let planes = std::array::from_fn(|plane| {
            let length = self.rows[plane] * count * columns + LINE;
            let (part, behind) = std::mem::take(&mut rest).split_at_mut(length);
            rest = behind;
            part
        });
        self.each(count, matrices, planes, |point, values| {
            let filters = &filters[point * (depth + 1) * LINE..];
            let (start, rows) = self.plane(point, count, depth);
            let a = Left { values: &from[start..], row: depth, column: 1 };
            let b = Panels { values: filters, panel: panel_len(depth), depth: LINE };
            let c = Target { values, row: to.row, accumulate: to.accumulate };
            multiply(isa, ONE, Sizes { rows, columns, depth }, a, b, c);
        });
    }

    /// Calls `compute(plane, where its products go)` for all planes: by several threads, if that is worth it.
    fn each(
        &self,
        count: usize,
        matrices: FilterMatrices,
        mut planes: [&mut [f32]; PLANES],
        compute: impl Fn(usize, &mut [f32]) + Send + Sync,
    ) {
        if self.total * count * matrices.len() < MUCH {
            planes.iter_mut().enumerate().for_each(|(point, values)| compute(point, values));
        } else {
            planes.par_iter_mut().enumerate().for_each(|(point, values)| compute(point, values));
        }
    }

    /// `gradient (+)= loweredᵀ · spread` in each plane, one of the gradient's `matrices`.
    pub(super) fn multiply_gradient(
        &self,
        isa: Isa,
        count: usize,
        matrices: FilterMatrices,
        [lowered, spread]: [&[f32]; 2],
        gradient: Target<'_>,
    ) {
        let FilterMatrices { rows, columns } = matrices;
        let mut planes = gradient.values.chunks_exact_mut(matrices.stride());
        let planes = std::array::from_fn(|_| planes.next().unwrap_or_default());
        self.each(count, matrices, planes, |point, values| {
            let (start, depth) = self.plane(point, count, rows);
            let (spread_start, _) = self.plane(point, count, columns);
            if depth == 0 {
                values.fill(0.0);
                return;
            }
            let a = Left { values: &lowered[start..], row: 1, column: rows };
            let b = Panels { values: &spread[spread_start..], panel: LINE, depth: columns };
            let sizes = Sizes { rows, columns, depth };
            let c = Target { values, row: gradient.row, accumulate: gradient.accumulate };
            multiply(isa, ONE, sizes, a, b, c);
        });
    }
}
