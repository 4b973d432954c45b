//! Which piece of an image or a signal is taken, and how it comes back to the old size.

use rand::Rng as _;

use crate::rng::Rng;

/// Height and width.
pub(super) type Size = [usize; 2];

/// A piece: where it begins, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) at: [usize; 2],
    pub(super) size: Size,
}

/// Draws of a piece that fits, before something else is taken: torchvision's number.
const TRIES: usize = 10;

impl Piece {
    /// All there is.
    fn whole(size: Size) -> Self {
        Self { at: [0, 0], size }
    }

    /// A piece of such a share and aspect ratio (width to height), both drawn uniformly, the ratio in its logarithm; `None`
    /// where ten draws do not fit, which for an erased piece (`strictly`) means to be smaller than the whole.
    fn draw(size: Size, scale: [f64; 2], ratio: [f64; 2], strictly: bool, rng: &mut Rng) -> Option<Self> {
        let [height, width] = size;
        let line = height == 1 || width == 1;
        let area = (height * width) as f64;
        for _ in 0..TRIES {
            let share = area * uniform(scale, rng);
            let wanted = if line {
                let length = share.round() as usize;
                if width == 1 { [length, 1] } else { [1, length] }
            } else {
                let ratio = uniform(ratio.map(f64::ln), rng).exp();
                [(share / ratio).sqrt().round() as usize, (share * ratio).sqrt().round() as usize]
            };
            let fits = |axis: usize| match strictly && size[axis] > 1 {
                true => wanted[axis] < size[axis],
                false => wanted[axis] <= size[axis],
            };
            if wanted.iter().all(|&length| length > 0) && fits(0) && fits(1) {
                let at = [0, 1].map(|axis| rng.random_range(0..=size[axis] - wanted[axis]));
                return Some(Self { at, size: wanted });
            }
        }
        None
    }

    /// What is cut out: as torchvision's `RandomResizedCrop` draws it, in the end the middle, in the nearest ratio.
    pub(super) fn to_keep(size: Size, scale: [f64; 2], ratio: [f64; 2], rng: &mut Rng) -> Self {
        Self::draw(size, scale, ratio, false, rng).unwrap_or_else(|| Self::middle(size, ratio))
    }

    fn middle(size: Size, [narrowest, widest]: [f64; 2]) -> Self {
        let [height, width] = size.map(|length| length as f64);
        let ratio = width / height;
        if size.contains(&1) {
            return Self::whole(size);
        }
        let wanted = if ratio < narrowest {
            [width / narrowest, width]
        } else if ratio > widest {
            [height, height * widest]
        } else {
            [height, width]
        };
        let wanted = [0, 1].map(|axis| (wanted[axis].round() as usize).clamp(1, size[axis]));
        Self { at: [0, 1].map(|axis| (size[axis] - wanted[axis]) / 2), size: wanted }
    }

    /// What is erased: as torchvision's `RandomErasing` draws it, in the end nothing. (There the ratio is height to width.)
    pub(super) fn to_erase(size: Size, scale: [f64; 2], ratio: [f64; 2], rng: &mut Rng) -> Option<Self> {
        let upright = [1.0 / ratio[1], 1.0 / ratio[0]];
        Self::draw(size, scale, upright, true, rng)
    }

    /// Sets a piece of a plane to 0.
    pub(super) fn erase(self, plane: &mut [f32], width: usize) {
        for row in plane.chunks_exact_mut(width).skip(self.at[0]).take(self.size[0]) {
            row[self.at[1]..self.at[1] + self.size[1]].fill(0.0);
        }
    }
}

/// Uniform over an interval, which may be a point.
pub(super) fn uniform([low, high]: [f64; 2], rng: &mut Rng) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// Where the values of one output row come from: two columns of the piece, and the share of the second.
pub(super) struct Taps(Vec<(usize, usize, f32)>);

impl Taps {
    /// Bilinear, pixels as areas: as torchvision and Pillow resize upwards, and a piece is never larger than the whole.
    pub(super) fn new(piece: usize, whole: usize) -> Self {
        let step = piece as f32 / whole as f32;
        let tap = |place: usize| {
            let from = ((place as f32 + 0.5) * step - 0.5).clamp(0.0, (piece - 1) as f32);
            let low = from as usize;
            (low, (low + 1).min(piece - 1), from - low as f32)
        };
        Self((0..whole).map(tap).collect())
    }
}

/// Brings a piece of a plane to the plane's size, in place. `between` is room for the piece's rows once they are as wide as
/// the plane.
pub(super) fn resize(plane: &mut [f32], piece: Piece, [rows, columns]: &[Taps; 2], between: &mut Vec<f32>) {
    let (width, [top, left]) = (columns.0.len(), piece.at);
    between.clear();
    for row in plane.chunks_exact(width).skip(top).take(piece.size[0]) {
        let row = &row[left..left + piece.size[1]];
        between.extend(columns.0.iter().map(|&(low, high, share)| row[low] + share * (row[high] - row[low])));
    }
    for (row, &(low, high, share)) in plane.chunks_exact_mut(width).zip(&rows.0) {
        let (low, high) = (&between[low * width..][..width], &between[high * width..][..width]);
        for ((value, &low), &high) in row.iter_mut().zip(low).zip(high) {
            *value = low + share * (high - low);
        }
    }
}

/// Moves a plane by whole pixels (down and to the right, where positive), in place, and fills what becomes free.
pub(super) fn slide(plane: &mut [f32], width: usize, [down, right]: [i64; 2], fill: f32) {
    let height = plane.len() / width;
    let span = |by: i64, length: usize| {
        let kept = length.saturating_sub(by.unsigned_abs() as usize);
        (if by < 0 { length - kept } else { 0 }, if by < 0 { 0 } else { length - kept }, kept)
    };
    let ((from_row, to_row, rows), (from, to, columns)) = (span(down, height), span(right, width));
    let mut one = |row: usize| {
        let (from_row, to_row) = ((from_row + row) * width, (to_row + row) * width);
        plane.copy_within(from_row + from..from_row + from + columns, to_row + to);
        plane[to_row..to_row + to].fill(fill);
        plane[to_row + to + columns..to_row + width].fill(fill);
    };
    // No row is written before it has been read.
    if down > 0 {
        (0..rows).rev().for_each(&mut one)
    } else {
        (0..rows).for_each(&mut one)
    }
    plane[..to_row * width].fill(fill);
    plane[(to_row + rows) * width..].fill(fill);
}

/// Mirrors a plane left to right.
pub(super) fn mirror(plane: &mut [f32], width: usize) {
    plane.chunks_exact_mut(width).for_each(<[f32]>::reverse);
}
