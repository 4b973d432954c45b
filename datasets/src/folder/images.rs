//! Finding and reading the images of a directory.

use std::fs;
use std::path::{Path, PathBuf};

use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder as _, ImageReader};
use kshot::{Error, Result};
use rayon::prelude::*;

use super::Colour;

/// What an image's name ends in.
const EXTENSIONS: [&str; 7] = ["png", "jpg", "jpeg", "pgm", "ppm", "pbm", "pnm"];

/// Names of the classes: the directories in `root`, sorted.
pub(super) fn classes(root: &Path) -> Result<Vec<String>> {
    if !root.is_dir() {
        return Err(Error::invalid(format!(
            "{} is not a directory; the option `path` of `folder` names the directory that has one sub-directory of \
             images for each class",
            root.display()
        )));
    }
    let names: Vec<String> =
        entries(root)?.into_iter().filter(|path| path.is_dir()).map(|path| file_name(&path)).collect();
    if names.is_empty() {
        return Err(Error::invalid(format!(
            "the directory {} has no classes; each class is a sub-directory with its images",
            root.display()
        )));
    }
    Ok(names)
}

/// The images of a class: the files in its directory that are named as images, sorted.
pub(super) fn files(class: &Path) -> Result<Vec<PathBuf>> {
    let named_as_image = |path: &PathBuf| {
        path.extension().is_some_and(|end| EXTENSIONS.iter().any(|known| end.eq_ignore_ascii_case(known)))
    };
    let files: Vec<PathBuf> = entries(class)?.into_iter().filter(named_as_image).collect();
    if files.is_empty() {
        return Err(Error::invalid(format!(
            "the class {} is empty: it has no file that ends in .{}; add images or remove the directory",
            class.display(),
            EXTENSIONS.join(", .")
        )));
    }
    Ok(files)
}

/// What a directory holds, hidden files left out, sorted.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Error::io("listing the directory", directory, error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !file_name(&path).starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The last part of a path.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Reads images in parallel to `[files, channels, size, size]`.
pub(super) fn read(files: &[PathBuf], size: usize, colour: Colour) -> Result<Vec<u8>> {
    let area = size * size;
    let mut pixels = vec![0; files.len() * colour.channels() * area];
    pixels.par_chunks_exact_mut(colour.channels() * area).zip(files).try_for_each(|(out, file)| {
        let image = open(file).map_err(|error| {
            Error::invalid(format!(
                "{} cannot be read as an image: {}; mend or remove it",
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
                    pixel
                        .0
                        .iter()
                        .enumerate()
                        .for_each(|(channel, &value)| out[channel * area + place] = value);
                }
            }
        }
        Ok::<_, Error>(())
    })?;
    Ok(pixels)
}

/// Decodes a file by its content, whatever its name ends in, and turns it as the camera was held.
fn open(file: &Path) -> Result<DynamicImage, image::ImageError> {
    let mut decoder = ImageReader::open(file)?.with_guessed_format()?.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}
