//! Images in buffers: their sizes, and where their pixels lie.

use super::arena::LINE;

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
