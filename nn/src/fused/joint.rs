//! The joint between images and matrices: how the last block's images become rows, and back.

use super::arena::Arena;
use super::image::Image;
use crate::architecture::Layer;

/// How images become a matrix `[n, features]`.
#[derive(Clone, Copy)]
enum Reduction {
    /// Channel by channel.
    Flatten,
    /// The mean over pixels.
    Mean,
}

/// Images that become the rows of a matrix.
pub(super) struct ImagesToRows {
    reduction: Reduction,
    pub(super) image: Image,
    /// Channels without padding.
    channels: usize,
}

impl ImagesToRows {
    /// What `layer` makes of images, if that is a matrix.
    pub(super) fn of(layer: &Layer) -> Option<Self> {
        match *layer {
            Layer::Flatten(shape) => Some(Self::flatten(shape)),
            Layer::SpatialMean(shape) => Some(Self::mean(shape)),
            _ => None,
        }
    }

    /// Images `[channels, height, width]` channel by channel.
    fn flatten(shape: [usize; 3]) -> Self {
        Self { reduction: Reduction::Flatten, image: Image::new(shape), channels: shape[0] }
    }

    /// The mean of images `[channels, height, width]` over their pixels.
    fn mean(shape: [usize; 3]) -> Self {
        Self { reduction: Reduction::Mean, image: Image::new(shape), channels: shape[0] }
    }

    /// Width of the matrix.
    pub(super) fn features(&self) -> usize {
        match self.reduction {
            Reduction::Flatten => self.channels * self.image.pixels(),
            Reduction::Mean => self.channels,
        }
    }

    /// Rows of the matrix that images become; `image` computes one.
    pub(super) fn join(&self, arena: &Arena, rows: &mut [f32], mut image: impl FnMut(usize, &mut [f32])) {
        let (shape, channels) = (self.image, self.channels);
        let mut z = arena.take(shape.len());
        for (i, row) in rows.chunks_exact_mut(self.features()).enumerate() {
            image(i, &mut z);
            let pixels = z.chunks_exact(shape.channels).take(shape.pixels());
            match self.reduction {
                Reduction::Flatten => {
                    for (at, pixel) in pixels.enumerate() {
                        let places = row[at..].iter_mut().step_by(shape.pixels());
                        pixel[..channels].iter().zip(places).for_each(|(value, to)| *to = *value);
                    }
                }
                Reduction::Mean => {
                    row.fill(0.0);
                    for pixel in pixels {
                        row.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
                    }
                    row.iter_mut().for_each(|sum| *sum /= shape.pixels() as f32);
                }
            }
        }
    }

    /// Gradients of images from those of the rows that they became.
    pub(super) fn part(&self, rows: &[f32], dz: &mut [f32]) {
        let (image, channels) = (self.image, self.channels);
        for (row, dz) in rows.chunks_exact(self.features()).zip(dz.chunks_exact_mut(image.len())) {
            dz.fill(0.0);
            for (at, pixel) in dz.chunks_exact_mut(image.channels).take(image.pixels()).enumerate() {
                for (channel, d) in pixel[..channels].iter_mut().enumerate() {
                    *d = match self.reduction {
                        Reduction::Flatten => row[channel * image.pixels() + at],
                        Reduction::Mean => row[channel] / image.pixels() as f32,
                    };
                }
            }
        }
    }
}
