//! Pictures drawn into pixels: an episode with its predictions, a map of points. Made for logs, not for print.
//!
//! ```
//! use kshot::picture::{Picture, WHITE};
//!
//! let mut picture = Picture::filled(4, 2, WHITE);
//! picture.rectangle([1, 0], [2, 2], [255, 0, 0]);
//! assert_eq!((picture.size(), picture.pixel(1, 1)), ([4, 2], [255, 0, 0]));
//! assert!(picture.png()?.starts_with(b"\x89PNG"));
//! # Ok::<(), kshot::Error>(())
//! ```

mod episode;
mod scatter;
mod thumbnail;

use crate::{Error, Result};

pub use episode::episode;
pub use scatter::{Mark, Scale, scatter};
pub use thumbnail::{Range, Thumbnail};

/// Red, green, blue.
pub type Colour = [u8; 3];

/// Paper.
pub const WHITE: Colour = [255; 3];
/// Ink.
pub const BLACK: Colour = [0; 3];

/// Colours that are told apart, one a class; further ones repeat (Tableau's ten).
const CLASSES: [Colour; 10] = [
    [31, 119, 180],
    [255, 127, 14],
    [44, 160, 44],
    [214, 39, 40],
    [148, 103, 189],
    [140, 86, 75],
    [227, 119, 194],
    [127, 127, 127],
    [188, 189, 34],
    [23, 190, 207],
];

/// The colour of a class; every tenth has the same.
pub fn colour(class: usize) -> Colour {
    CLASSES[class % CLASSES.len()]
}

/// Digits of 3×5 pixels, a row each three bits.
const DIGITS: [[u8; 5]; 10] = [
    [7, 5, 5, 5, 7],
    [2, 6, 2, 2, 7],
    [7, 1, 7, 4, 7],
    [7, 1, 7, 1, 7],
    [5, 5, 7, 1, 1],
    [7, 4, 7, 1, 7],
    [7, 4, 7, 5, 7],
    [7, 1, 2, 2, 2],
    [7, 5, 7, 5, 7],
    [7, 5, 7, 1, 7],
];
/// How many pixels wide and high a digit's pixel is drawn.
const DIGIT_SCALE: usize = 2;
/// Height of a number, in pixels.
const NUMBER_HEIGHT: usize = 5 * DIGIT_SCALE;

/// Pixels of three bytes, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Picture {
    /// A picture of one colour, of at least one pixel.
    pub fn filled(width: usize, height: usize, colour: Colour) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        Self { width, height, pixels: colour.repeat(width * height) }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> [usize; 2] {
        [self.width, self.height]
    }

    /// The colour at a place from the top left.
    ///
    /// # Panics
    /// When it is outside.
    pub fn pixel(&self, x: usize, y: usize) -> Colour {
        assert!(x < self.width, "column {x} of {}", self.width);
        let at = 3 * (y * self.width + x);
        [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]]
    }

    /// Colours one pixel; outside, nothing happens.
    pub fn set(&mut self, x: usize, y: usize, colour: Colour) {
        if x < self.width && y < self.height {
            let at = 3 * (y * self.width + x);
            self.pixels[at..at + 3].copy_from_slice(&colour);
        }
    }

    /// Fills a rectangle from its top left corner; what is outside is cut off.
    pub fn rectangle(&mut self, [x, y]: [usize; 2], [width, height]: [usize; 2], colour: Colour) {
        for y in y..y + height {
            (x..x + width).for_each(|x| self.set(x, y, colour));
        }
    }

    /// Lays another picture over this one.
    pub fn put(&mut self, [x, y]: [usize; 2], other: &Self) {
        for row in 0..other.height {
            (0..other.width).for_each(|column| self.set(x + column, y + row, other.pixel(column, row)));
        }
    }

    /// Writes a number, 10 pixels high, from its top left corner.
    pub fn number(&mut self, [x, y]: [usize; 2], number: usize, colour: Colour) {
        for (place, digit) in number.to_string().bytes().enumerate() {
            let left = x + 4 * DIGIT_SCALE * place;
            for (row, bits) in DIGITS[usize::from(digit - b'0')].iter().enumerate() {
                for column in (0..3).filter(|column| bits >> (2 - column) & 1 == 1) {
                    let corner = [left + DIGIT_SCALE * column, y + DIGIT_SCALE * row];
                    self.rectangle(corner, [DIGIT_SCALE; 2], colour);
                }
            }
        }
    }

    /// As a PNG file.
    ///
    /// # Errors
    /// When it is larger than a PNG can be.
    pub fn png(&self) -> Result<Vec<u8>> {
        let side = |pixels: usize| {
            u32::try_from(pixels)
                .map_err(|_| Error::invalid("a picture of more than 2³² pixels a side is no PNG"))
        };
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, side(self.width)?, side(self.height)?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&self.pixels))
            .map_err(|error| Error::invalid(format!("writing a PNG: {error}")))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a PNG back.
    fn decoded(bytes: &[u8]) -> Picture {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        Picture { width: info.width as usize, height: info.height as usize, pixels }
    }

    #[test]
    fn a_png_holds_the_pixels() {
        let mut picture = Picture::filled(30, 12, WHITE);
        picture.number([1, 1], 407, BLACK);
        picture.rectangle([25, 0], [100, 3], colour(3));
        assert_eq!(decoded(&picture.png().unwrap()), picture);
        // The 4: its left stroke ends in the middle, its right one goes through.
        assert_eq!((picture.pixel(1, 10), picture.pixel(1, 2), picture.pixel(5, 10)), (WHITE, BLACK, BLACK));
        assert_eq!(picture.pixel(29, 2), colour(13));
    }
}
