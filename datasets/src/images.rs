//! How image files become inputs `[channels, height, width]`: the one place for datasets and for new files alike.

use std::path::{Path, PathBuf};

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder as _};
use kshot::dataset::{Background, Preparation, Resample};
use kshot::{Error, Result};
use ndarray::{Array4, Axis};
use rayon::prelude::*;

use crate::area_average::AreaAverage;

/// Prepares images in one way.
#[derive(Clone, Copy, Debug)]
pub struct ImageReader {
    channels: usize,
    height: usize,
    width: usize,
    resample: Resample,
    invert: bool,
    background: Background,
    /// Whether the middle is cut out, instead of stretching the whole.
    crop: bool,
    /// Mean and deviation of each channel.
    normalise: Option<[[f32; 3]; 2]>,
}

/// Means and deviations of ImageNet's channels, of values of 0–1, as torchvision's encoders were trained with.
pub const IMAGENET: [[f32; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

impl ImageReader {
    /// Prepares as `preparation` says, to inputs `[channels, height, width]`.
    ///
    /// # Errors
    /// When that is no preparation of images, or of neither one nor three channels.
    pub fn new(preparation: Preparation, [channels, height, width]: [usize; 3]) -> Result<Self> {
        match preparation {
            Preparation::Images { resample, invert, background } if [1, 3].contains(&channels) => Ok(Self {
                channels,
                height,
                width,
                resample,
                invert,
                background,
                crop: false,
                normalise: None,
            }),
            Preparation::Images { .. } | Preparation::Generated if [1, 3].contains(&channels) => Ok(Self {
                channels,
                height,
                width,
                resample: Resample::Triangle,
                invert: false,
                background: Background::White,
                crop: false,
                normalise: None,
            }),
            _ => Err(Error::invalid(format!(
                "inputs of {:?} (channels, height, width) are not made of images",
                [channels, height, width]
            ))),
        }
    }

    /// Cuts the middle out of images brought to 8/7 of the size by their shorter side, as torchvision does, instead of
    /// stretching them.
    pub fn cropped(self) -> Self {
        Self { crop: true, ..self }
    }

    /// Subtracts from inputs, of values of 0–1, the means of the channels and divides by their deviations.
    pub fn normalised(self, by: [[f32; 3]; 2]) -> Self {
        Self { normalise: Some(by), ..self }
    }

    /// Reads images in parallel to bytes `[files, channels, height, width]`; says how many are blank, where most of those
    /// with transparency are of one colour on the background: their ink has that colour too.
    ///
    /// # Errors
    /// For a file that is no image.
    pub fn read(&self, files: &[PathBuf]) -> Result<(Vec<u8>, Option<String>)> {
        let size = self.channels * self.height * self.width;
        let mut pixels = vec![0; files.len() * size];
        let vanished = pixels
            .par_chunks_exact_mut(size)
            .zip(files)
            .map(|(out, file)| {
                let (image, transparent) = open(file, self.level()).map_err(|error| {
                    Error::invalid(format!(
                        "{} cannot be read as an image: {}; correct or remove it",
                        file.display(),
                        error.to_string().trim_end().trim_end_matches('.')
                    ))
                })?;
                self.prepare(image, out);
                let blank = out.iter().all(|value| *value == self.level());
                if self.invert {
                    out.iter_mut().for_each(|value| *value = u8::MAX - *value);
                }
                Ok([usize::from(transparent), usize::from(transparent && blank)])
            })
            .try_reduce(|| [0; 2], |a, b| Ok::<_, Error>([a[0] + b[0], a[1] + b[1]]))?;
        let [transparent, blank] = vanished;
        let blank = (2 * blank > transparent).then(|| {
            format!(
                "{blank} of the {transparent} images with transparency have nothing to see on a {} background, as \
                 what is drawn has its colour",
                match self.background {
                    Background::White => "white",
                    Background::Black => "black",
                }
            )
        });
        Ok((pixels, blank))
    }

    /// The same as inputs, values of 0–1.
    ///
    /// # Errors
    /// As [`ImageReader::read`].
    pub fn inputs(&self, files: &[PathBuf]) -> Result<Array4<f32>> {
        const SCALE: f32 = 1.0 / 255.0;
        let (pixels, _) = self.read(files)?;
        let shape = (files.len(), self.channels, self.height, self.width);
        let values = pixels.into_iter().map(|value| f32::from(value) * SCALE).collect();
        let mut inputs =
            Array4::from_shape_vec(shape, values).map_err(|error| Error::invalid(error.to_string()))?;
        if let Some([mean, deviation]) = self.normalise {
            for (channel, mut plane) in inputs.axis_iter_mut(Axis(1)).enumerate() {
                plane.mapv_inplace(|value| (value - mean[channel]) / deviation[channel]);
            }
        }
        Ok(inputs)
    }

    fn level(&self) -> u8 {
        match self.background {
            Background::White => u8::MAX,
            Background::Black => 0,
        }
    }

    /// Brings an image to size and colour, one plane for each channel.
    fn prepare(&self, image: DynamicImage, out: &mut [u8]) {
        let (width, height) = (self.width as u32, self.height as u32);
        let image = match self.resample {
            _ if self.crop => {
                let (whole_width, whole_height) = (width * 8 / 7, height * 8 / 7);
                let scaled = image.resize_to_fill(whole_width, whole_height, FilterType::Triangle);
                scaled.crop_imm((whole_width - width) / 2, (whole_height - height) / 2, width, height)
            }
            Resample::Triangle if (image.width(), image.height()) != (width, height) => {
                image.resize_exact(width, height, FilterType::Triangle)
            }
            _ => image,
        };
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
}

/// Decodes a file by its content, whatever its name ends in, turns it as the camera was held, and lays what is transparent
/// on a background of that level; says whether something was.
fn open(file: &Path, level: u8) -> Result<(DynamicImage, bool), image::ImageError> {
    let mut decoder = image::ImageReader::open(file)?.with_guessed_format()?.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    if !image.color().has_alpha() {
        return Ok((image, false));
    }
    let mut image = image.into_rgba8();
    let mut transparent = false;
    for pixel in image.pixels_mut() {
        let [.., alpha] = pixel.0;
        transparent |= alpha != u8::MAX;
        for value in &mut pixel.0[..3] {
            let (ink, paper) = (u32::from(*value), u32::from(level));
            *value = ((ink * u32::from(alpha) + paper * u32::from(u8::MAX - alpha) + 127) / 255) as u8;
        }
        pixel.0[3] = u8::MAX;
    }
    Ok((DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(image).into_rgb8()), transparent))
}
