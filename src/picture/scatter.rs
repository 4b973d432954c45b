//! Points in a square: a map of embeddings, a regression's answers.

use ndarray::ArrayView2;

use super::{BLACK, Colour, Picture, WHITE};
use crate::{Error, Result};

/// Pixels a side.
const SIDE: usize = 480;
/// Pixels that are kept free at each edge.
const MARGIN: usize = 12;

/// How a point is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A dot of seven pixels across.
    Dot(Colour),
    /// A square of eleven, with a black edge.
    Square(Colour),
    /// A dot in a frame, for what is wrong.
    Framed(Colour, Colour),
}

/// How coordinates are brought to pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Both axes alike, so that distances are true.
    Alike,
    /// Each axis fills the picture.
    Each,
}

/// Draws points `[n, 2]`, x to the right and y upwards, each with its mark; later ones lie over earlier ones.
///
/// # Errors
/// When the points are not as many as the marks, have not two coordinates, or one is not a finite number.
pub fn scatter(points: ArrayView2<'_, f64>, marks: &[Mark], scale: Scale) -> Result<Picture> {
    if points.dim() != (marks.len(), 2) {
        return Err(Error::invalid(format!(
            "points of {:?} (points, coordinates) where ({}, 2) are to be drawn",
            points.dim(),
            marks.len()
        )));
    }
    if points.iter().any(|value| !value.is_finite()) {
        return Err(Error::NotFinite("a point to be drawn is not finite".to_owned()));
    }
    let [x, y] = [0, 1].map(|axis| {
        let values = || points.column(axis).into_iter().copied();
        let (low, high) =
            (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        (low / 2.0 + high / 2.0, high - low)
    });
    let widest = x.1.max(y.1);
    let inside = (SIDE - 1 - 2 * MARGIN) as f64;
    let place = |value: f64, (middle, extent): (f64, f64)| {
        let extent = if scale == Scale::Alike { widest } else { extent };
        let share = if extent > 0.0 { (value - middle) / extent } else { 0.0 };
        ((share + 0.5) * inside).round() as usize + MARGIN
    };
    let mut picture = Picture::filled(SIDE, SIDE, WHITE);
    for (point, mark) in points.outer_iter().zip(marks) {
        mark.draw(&mut picture, [place(point[0], x), SIDE - 1 - place(point[1], y)]);
    }
    Ok(picture)
}

impl Mark {
    fn draw(self, picture: &mut Picture, [x, y]: [usize; 2]) {
        let mut square = |radius: usize, colour| {
            picture.rectangle([x - radius, y - radius], [2 * radius + 1; 2], colour);
        };
        match self {
            Self::Dot(colour) => dot(picture, [x, y], colour),
            Self::Square(colour) => {
                square(5, BLACK);
                square(4, colour);
            }
            Self::Framed(colour, frame) => {
                square(5, frame);
                square(4, WHITE);
                dot(picture, [x, y], colour);
            }
        }
    }
}

fn dot(picture: &mut Picture, [x, y]: [usize; 2], colour: Colour) {
    for (half, rows) in [(1, 3), (2, 2), (3, 1)] {
        picture.rectangle([x - half, y - rows], [2 * half + 1, 2 * rows + 1], colour);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn points_lie_where_their_coordinates_say() {
        let points = array![[0.0, 0.0], [2.0, 1.0], [2.0, 0.0]];
        let (red, green, blue) = ([255, 0, 0], [0, 255, 0], [0, 0, 255]);
        let marks = [Mark::Dot(red), Mark::Square(green), Mark::Framed(blue, red)];
        let (first, last, quarter) = (MARGIN, SIDE - 1 - MARGIN, (SIDE - 1 - 2 * MARGIN) / 4 + MARGIN);
        let picture = scatter(points.view(), &marks, Scale::Each).unwrap();
        assert_eq!((picture.pixel(first, last), picture.pixel(last, first)), (red, green));
        assert_eq!((picture.pixel(last, last), picture.pixel(last + 5, last)), (blue, red));
        let picture = scatter(points.view(), &marks, Scale::Alike).unwrap();
        assert_eq!((picture.pixel(first, SIDE - 2 - quarter), picture.pixel(last, quarter)), (red, green));
    }

    #[test]
    fn one_point_is_in_the_middle_and_no_point_is_an_empty_picture() {
        let picture = scatter(array![[3.0, -1.0]].view(), &[Mark::Dot(BLACK)], Scale::Alike).unwrap();
        assert_eq!(picture.pixel(SIDE / 2, SIDE / 2), BLACK);
        assert!(scatter(ndarray::Array2::zeros((0, 2)).view(), &[], Scale::Each).is_ok());
        assert!(scatter(array![[0.0, f64::NAN]].view(), &[Mark::Dot(BLACK)], Scale::Each).is_err());
        assert!(scatter(array![[0.0]].view(), &[Mark::Dot(BLACK)], Scale::Each).is_err());
    }
}
