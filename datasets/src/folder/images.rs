//! Reading images.

use std::path::{Path, PathBuf};

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder as _, ImageReader};
use kshot::{Error, Result};
use rayon::prelude::*;

use super::{Background, Colour};

/// Reads images in parallel to `[files, channels, size, size]`.
///
/// # Errors
/// For a file that is no image; when most of those with transparency are of one colour on this background: their ink is
/// too.
pub(super) fn read(
    files: &[PathBuf],
    size: usize,
    colour: Colour,
    background: Background,
) -> Result<Vec<u8>> {
    let area = size * size;
    let mut pixels = vec![0; files.len() * colour.channels() * area];
    let vanished = pixels
        .par_chunks_exact_mut(colour.channels() * area)
        .zip(files)
        .map(|(out, file)| {
            let (image, transparent) = open(file, background).map_err(|error| {
                Error::invalid(format!(
                    "{} cannot be read as an image: {}; correct or remove it",
                    file.display(),
                    error.to_string().trim_end().trim_end_matches('.')
                ))
            })?;
            let side = size as u32;
            let image = if (image.width(), image.height()) == (side, side) {
                image
            } else {
                image.resize_exact(side, side, FilterType::Triangle)
            };
            match colour {
                Colour::Grey => out.copy_from_slice(&image.into_luma8()),
                Colour::Rgb => {
                    // From interleaved to one plane for each channel.
                    for (place, pixel) in image.into_rgb8().pixels().enumerate() {
                        for (channel, &value) in pixel.0.iter().enumerate() {
                            out[channel * area + place] = value;
                        }
                    }
                }
            }
            let blank = out.iter().all(|value| *value == background.level());
            Ok([usize::from(transparent), usize::from(transparent && blank)])
        })
        .try_reduce(|| [0; 2], |a, b| Ok::<_, Error>([a[0] + b[0], a[1] + b[1]]))?;
    let [transparent, blank] = vanished;
    if 2 * blank > transparent {
        return Err(Error::invalid(format!(
            "{blank} of the {transparent} images with transparency have nothing to see on a {} background, as what is \
             drawn has its colour: set `background` of `folder` to \"{}\"",
            background.name(),
            background.other().name()
        )));
    }
    Ok(pixels)
}

/// Decodes a file by its content, whatever its name ends in, turns it as the camera was held, and lays what is transparent
/// on the background; says whether something was.
fn open(file: &Path, background: Background) -> Result<(DynamicImage, bool), image::ImageError> {
    let mut decoder = ImageReader::open(file)?.with_guessed_format()?.into_decoder()?;
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
            let (ink, paper) = (u32::from(*value), u32::from(background.level()));
            *value = ((ink * u32::from(alpha) + paper * u32::from(u8::MAX - alpha) + 127) / 255) as u8;
        }
        pixel.0[3] = u8::MAX;
    }
    Ok((DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(image).into_rgb8()), transparent))
}
