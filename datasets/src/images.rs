//! How image files become inputs `[channels, height, width]`: the one place for datasets and for new files alike.

use std::fs::File;
use std::io::BufReader;
use std::ops::{AddAssign, Range};
use std::path::{Path, PathBuf};

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder as _, Pixel as _, Rgb, RgbImage};
use kshot::dataset::{Background, Images, Normalise, Resample, Resize};
use kshot::{Error, Result, file};
use ndarray::{Array4, Axis};
use rayon::prelude::*;

use crate::area_average::AreaAverage;

/// Pixels of a side: those of a JPEG.
const LONGEST_SIDE: u32 = 65_535;
/// Of an image in memory, as it is decoded: 178 million pixels of three channels.
const MOST_BYTES: u64 = 512 << 20;
/// How often the shorter side goes into the longer at most, where an image is scaled until it covers the input: what is beyond is
/// cut off before.
const NARROWEST: u32 = 16;

/// Prepares images in one way.
#[derive(Clone, Copy, Debug)]
pub struct ImageReader {
    channels: usize,
    height: usize,
    width: usize,
    images: Images,
}

impl ImageReader {
    /// Prepares so, to inputs `[channels, height, width]`.
    ///
    /// # Errors
    /// For neither one nor three channels.
    pub fn new(images: Images, shape: [usize; 3]) -> Result<Self> {
        let [channels, height, width] = shape;
        if ![1, 3].contains(&channels) {
            return Err(Error::invalid(format!(
                "inputs of {shape:?} (channels, height, width) are not made of images"
            )));
        }
        Ok(Self { channels, height, width, images })
    }

    /// Shape of an input, `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// How it prepares them.
    pub fn images(&self) -> Images {
        self.images
    }

    /// Reads images in parallel to bytes `[files, channels, height, width]`; says what of them is not to be seen.
    ///
    /// # Errors
    /// For a file that is no image.
    pub(crate) fn read(&self, files: &[PathBuf]) -> Result<(Vec<u8>, Vanished)> {
        let mut pixels = vec![0; files.len() * self.size()];
        let vanished = self.read_into(files, &mut pixels)?;
        Ok((pixels, vanished))
    }

    /// The same into `pixels`, as many as the files have.
    ///
    /// # Errors
    /// As [`ImageReader::read`].
    pub(crate) fn read_into(&self, files: &[PathBuf], pixels: &mut [u8]) -> Result<Vanished> {
        pixels
            .par_chunks_exact_mut(self.size())
            .zip(files)
            .map(|(out, file)| {
                let (image, transparent) = self.open(file)?;
                self.prepare(image, out);
                let planes = out.chunks_exact(self.height * self.width).zip(self.levels());
                let blank =
                    transparent && planes.into_iter().all(|(plane, level)| plane.iter().all(|&v| v == level));
                if self.images.invert {
                    out.iter_mut().for_each(|value| *value = u8::MAX - *value);
                }
                Ok(Vanished { transparent: usize::from(transparent), blank: usize::from(blank) })
            })
            .try_reduce(Vanished::default, |mut a, b| {
                a += b;
                Ok::<_, Error>(a)
            })
    }

    /// The same of `count` images that `image` gives: of memory, or of a part of a file.
    ///
    /// # Errors
    /// Those of `image`.
    pub(crate) fn read_each(
        &self,
        count: usize,
        image: impl Fn(usize) -> Result<DynamicImage> + Sync,
    ) -> Result<Vec<u8>> {
        let mut pixels = vec![0; count * self.size()];
        self.read_each_into(0..count, &mut pixels, image)?;
        Ok(pixels)
    }

    /// The same of images of these numbers into `pixels`.
    ///
    /// # Errors
    /// Those of `image`.
    pub(crate) fn read_each_into(
        &self,
        numbers: Range<usize>,
        pixels: &mut [u8],
        image: impl Fn(usize) -> Result<DynamicImage> + Sync,
    ) -> Result<()> {
        pixels.par_chunks_exact_mut(self.size()).zip(numbers).try_for_each(|(out, number)| {
            self.prepare(image(number)?, out);
            Ok::<_, Error>(())
        })
    }

    /// Values of one input.
    fn size(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Decodes a file; says whether something in it was transparent.
    pub(crate) fn open(&self, file: &Path) -> Result<(DynamicImage, bool)> {
        let source = file::open(file, "reading the image")?;
        decoded(source, self.images.background.0).map_err(|error| {
            Error::invalid(format!(
                "{} cannot be read as an image: {}; correct or remove it",
                file.display(),
                error.trim_end().trim_end_matches('.')
            ))
        })
    }

    /// The same as inputs, values of 0–1.
    ///
    /// # Errors
    /// For a file that is no image.
    pub fn inputs(&self, files: &[PathBuf]) -> Result<Array4<f32>> {
        const SCALE: f32 = 1.0 / 255.0;
        let (pixels, _) = self.read(files)?;
        let shape = (files.len(), self.channels, self.height, self.width);
        let values = pixels.into_iter().map(|value| f32::from(value) * SCALE).collect();
        let mut inputs =
            Array4::from_shape_vec(shape, values).map_err(|error| Error::invalid(error.to_string()))?;
        if self.images.normalise != Normalise::NONE {
            for (channel, mut plane) in inputs.axis_iter_mut(Axis(1)).enumerate() {
                plane.mapv_inplace(|value| self.images.normalise.apply(channel, value));
            }
        }
        Ok(inputs)
    }

    /// The background in each channel.
    fn levels(&self) -> Vec<u8> {
        let colour = Rgb(self.images.background.0);
        if self.channels == 1 { colour.to_luma().0.to_vec() } else { colour.0.to_vec() }
    }

    /// Brings an image to size and colour, one plane for each channel.
    fn prepare(&self, image: DynamicImage, out: &mut [u8]) {
        let image = self.resized(image);
        let from = [image.height() as usize, image.width() as usize];
        let interleaved = match self.channels {
            1 => image.into_luma8().into_raw(),
            _ => image.into_rgb8().into_raw(),
        };
        for (channel, out) in out.chunks_exact_mut(self.height * self.width).enumerate() {
            let plane: Vec<u8> = interleaved.iter().skip(channel).step_by(self.channels).copied().collect();
            match from == [self.height, self.width] {
                true => out.copy_from_slice(&plane),
                false => AreaAverage::new(from, [self.height, self.width]).resample(&plane, out),
            }
        }
    }

    /// The image in the size of the inputs; as it is where it is to be averaged.
    fn resized(&self, image: DynamicImage) -> DynamicImage {
        let (width, height) = (self.width as u32, self.height as u32);
        let Images { resample, resize, background, .. } = self.images;
        let filter = FilterType::Triangle;
        if resample == Resample::Area || (image.width(), image.height()) == (width, height) {
            return image;
        }
        match resize {
            Resize::Stretch => image.resize_exact(width, height, filter),
            Resize::Fit => {
                let scaled = image.resize(width, height, filter).into_rgb8();
                let mut whole = RgbImage::from_pixel(width, height, Rgb(background.0));
                let at = |whole: u32, part: u32| i64::from((whole - part) / 2);
                let (x, y) = (at(width, scaled.width()), at(height, scaled.height()));
                imageops::replace(&mut whole, &scaled, x, y);
                whole.into()
            }
            Resize::Crop => not_too_narrow(image).resize_to_fill(width, height, filter),
            Resize::Imagenet => {
                let (wide, high) = (width * 8 / 7, height * 8 / 7);
                let scaled = not_too_narrow(image).resize_to_fill(wide, high, filter);
                scaled.crop_imm((wide - width) / 2, (high - height) / 2, width, height)
            }
        }
    }
}

/// What of images is not to be seen, as their ink has the colour of the background.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Vanished {
    /// Images with transparency.
    transparent: usize,
    /// Of these, those of one colour on the background.
    blank: usize,
}

impl AddAssign for Vanished {
    fn add_assign(&mut self, other: Self) {
        self.transparent += other.transparent;
        self.blank += other.blank;
    }
}

impl Vanished {
    /// Refuses a background on which most of what is transparent vanishes.
    pub(crate) fn check(self, dataset: &str, background: Background) -> Result<()> {
        let Self { transparent, blank } = self;
        match 2 * blank > transparent {
            true => Err(Error::invalid(format!(
                "{blank} of the {transparent} images with transparency have nothing to see on the background `{background}`, as what \
                 is drawn has its colour: set another `background` of `{dataset}`"
            ))),
            false => Ok(()),
        }
    }
}

/// An image without what is far off its middle, that does not fit into memory once the image is scaled.
fn not_too_narrow(image: DynamicImage) -> DynamicImage {
    let (width, height) = (image.width(), image.height());
    let (wide, high) =
        (width.min(height.saturating_mul(NARROWEST)), height.min(width.saturating_mul(NARROWEST)));
    match (wide, high) == (width, height) {
        true => image,
        false => image.crop_imm((width - wide) / 2, (height - high) / 2, wide, high),
    }
}

/// Decodes a file by its content, whatever its name ends in, turns it as the camera was held, and lays what is transparent
/// on a background of that colour; says whether something was.
fn decoded(file: File, background: [u8; 3]) -> Result<(DynamicImage, bool), String> {
    let text = |error: image::ImageError| error.to_string();
    let reader = image::ImageReader::new(BufReader::new(file)).with_guessed_format();
    let mut decoder = reader.map_err(|error| error.to_string())?.into_decoder().map_err(text)?;
    // Believed before anything is made room for.
    let (width, height) = decoder.dimensions();
    let bytes = decoder.total_bytes();
    if width.max(height) > LONGEST_SIDE || bytes > MOST_BYTES {
        return Err(format!(
            "it says that it is {width}×{height} pixels, {bytes} bytes; at most {LONGEST_SIDE} a side and {MOST_BYTES} bytes \
             are read"
        ));
    }
    let orientation = decoder.orientation().map_err(text)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(text)?;
    image.apply_orientation(orientation);
    if !image.color().has_alpha() {
        return Ok((image, false));
    }
    let mut image = image.into_rgba8();
    let mut transparent = false;
    for pixel in image.pixels_mut() {
        let [.., alpha] = pixel.0;
        transparent |= alpha != u8::MAX;
        for (value, paper) in pixel.0[..3].iter_mut().zip(background) {
            let (ink, paper) = (u32::from(*value), u32::from(paper));
            *value = ((ink * u32::from(alpha) + paper * u32::from(u8::MAX - alpha) + 127) / 255) as u8;
        }
        pixel.0[3] = u8::MAX;
    }
    Ok((DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(image).into_rgb8()), transparent))
}
