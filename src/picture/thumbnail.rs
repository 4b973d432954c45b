//! One example as a small picture, be it an image, a signal or a vector of features.

use ndarray::{ArrayView3, ArrayView4, Axis};

use super::{BLACK, Colour, Picture, WHITE, colour};

/// The values that are drawn black and white: of all examples of one picture, so that they can be compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    low: f32,
    high: f32,
}

impl Range {
    /// From the lowest to the highest finite value of examples `[n, channels, height, width]`.
    pub fn of<'a>(all: impl IntoIterator<Item = ArrayView4<'a, f32>>) -> Self {
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for examples in all {
            for &value in examples.iter().filter(|value| value.is_finite()) {
                (low, high) = (low.min(value), high.max(value));
            }
        }
        if low < high { Self { low, high } } else { Self { low: low.min(0.0), high: high.max(1.0) } }
    }

    /// 0–1 within the range.
    fn share(self, value: f32) -> f32 {
        // Halved first, as a difference of two large values may be too large.
        let share = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }
}

/// How examples of one shape are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    shape: [usize; 3],
    size: [usize; 2],
}

impl Thumbnail {
    /// For examples `[channels, height, width]`, on at most `side` pixels a side: images in proportion, small ones in whole
    /// multiples; signals and features as curves, twice as wide as high.
    pub fn new(shape: [usize; 3], side: usize) -> Self {
        let [_, height, width] = shape;
        let side = side.max(2);
        let size = if !is_image(shape) {
            [side, side / 2]
        } else if width.max(height) <= side {
            let times = side / width.max(height);
            [times * width, times * height]
        } else {
            [width, height].map(|length| (length * side / width.max(height)).max(1))
        };
        Self { shape, size }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Draws one example `[channels, height, width]`: three channels as red, green and blue, any other number as grey.
    pub fn draw(&self, example: ArrayView3<'_, f32>, range: Range) -> Picture {
        if is_image(self.shape) { self.image(example, range) } else { self.curves(example, range) }
    }

    fn image(&self, example: ArrayView3<'_, f32>, range: Range) -> Picture {
        let ([channels, height, width], [columns, rows]) = (self.shape, self.size);
        // The source pixels under a pixel: their mean where the image shrinks, one of them where it grows.
        let under = |at: usize, of: usize, all: usize| {
            let from = at * all / of;
            from..((at + 1) * all / of).max(from + 1)
        };
        let mut picture = Picture::filled(columns, rows, BLACK);
        for y in 0..rows {
            for x in 0..columns {
                let mean = |channel: usize| {
                    let (mut sum, mut count) = (0.0, 0.0);
                    for row in under(y, rows, height) {
                        for column in under(x, columns, width) {
                            sum += range.share(example[[channel, row, column]]);
                            count += 1.0;
                        }
                    }
                    sum / count
                };
                let byte = |share: f32| (255.0 * share).round() as u8;
                let colour = match channels {
                    3 => [0, 1, 2].map(|channel| byte(mean(channel))),
                    _ => [byte((0..channels).map(mean).sum::<f32>() / channels as f32); 3],
                };
                picture.set(x, y, colour);
            }
        }
        picture
    }

    /// A curve a channel, or one over all values where each channel has one.
    fn curves(&self, example: ArrayView3<'_, f32>, range: Range) -> Picture {
        let [columns, rows] = self.size;
        let mut picture = Picture::filled(columns, rows, WHITE);
        let mut draw = |values: Vec<f32>, colour: Colour| {
            let y = |value: f32| ((1.0 - range.share(value)) * (rows - 1) as f32).round() as usize;
            for x in 0..columns {
                // From the lowest to the highest under this column and the first under the next: no gaps.
                let (from, to) = (x * values.len() / columns, (x + 1) * values.len() / columns);
                let under = &values[from..(to + 1).min(values.len()).max(from + 1)];
                let (top, bottom) = under
                    .iter()
                    .fold((rows - 1, 0), |(top, bottom), &value| (top.min(y(value)), bottom.max(y(value))));
                picture.rectangle([x, top], [1, bottom - top + 1], colour);
            }
        };
        match self.shape {
            [_, 1, 1] => draw(example.iter().copied().collect(), colour(0)),
            _ => {
                for (channel, values) in example.axis_iter(Axis(0)).enumerate() {
                    draw(values.iter().copied().collect(), colour(channel));
                }
            }
        }
        picture
    }
}

/// Whether examples of this shape have both height and width.
fn is_image([_, height, width]: [usize; 3]) -> bool {
    height > 1 && width > 1
}

#[cfg(test)]
mod tests {
    use ndarray::Array4;

    use super::*;

    #[test]
    fn images_keep_their_proportions_and_their_pixels() {
        let x = Array4::from_shape_fn((1, 1, 2, 4), |(_, _, row, column)| (4 * row + column) as f32);
        let thumbnail = Thumbnail::new([1, 2, 4], 9);
        let picture = thumbnail.draw(x.index_axis(Axis(0), 0), Range::of([x.view()]));
        assert_eq!(picture.size(), [8, 4]);
        assert_eq!((picture.pixel(0, 0), picture.pixel(7, 3), picture.pixel(2, 1)), (BLACK, WHITE, [36; 3]));
        // Half as wide: each pixel is the mean of four.
        let picture = Thumbnail::new([1, 2, 4], 2).draw(x.index_axis(Axis(0), 0), Range::of([x.view()]));
        let mean = |values: [f32; 4]| [(255.0 * values.iter().sum::<f32>() / 28.0).round() as u8; 3];
        assert_eq!((picture.size(), picture.pixel(1, 0)), ([2, 1], mean([2.0, 3.0, 6.0, 7.0])));
    }

    #[test]
    fn three_channels_are_colours_and_signals_are_curves() {
        let x = Array4::from_shape_fn((1, 3, 2, 2), |(_, channel, ..)| channel as f32);
        let picture = Thumbnail::new([3, 2, 2], 2).draw(x.index_axis(Axis(0), 0), Range::of([x.view()]));
        assert_eq!(picture.pixel(1, 1), [0, 128, 255]);
        let rising = Array4::from_shape_fn((1, 1, 1, 100), |(.., at)| at as f32);
        let thumbnail = Thumbnail::new([1, 1, 100], 20);
        let picture = thumbnail.draw(rising.index_axis(Axis(0), 0), Range::of([rising.view()]));
        assert_eq!(
            (picture.size(), picture.pixel(0, 9), picture.pixel(19, 0)),
            ([20, 10], colour(0), colour(0))
        );
        assert_eq!((picture.pixel(0, 0), picture.pixel(19, 9)), (WHITE, WHITE));
    }

    #[test]
    fn values_without_a_range_and_without_a_number_are_drawn_all_the_same() {
        for value in [0.5, 7.0, f32::NAN, f32::INFINITY] {
            let x = Array4::from_elem((1, 1, 3, 3), value);
            let picture = Thumbnail::new([1, 3, 3], 3).draw(x.index_axis(Axis(0), 0), Range::of([x.view()]));
            assert_eq!(picture.size(), [3, 3]);
        }
        let all = Array4::from_shape_vec((1, 1, 1, 2), vec![f32::MIN, f32::MAX]).unwrap();
        let range = Range::of([all.view()]);
        assert_eq!((range.share(f32::MIN), range.share(f32::MAX)), (0.0, 1.0));
    }
}
