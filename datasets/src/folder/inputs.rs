//! Inputs of image files, as the options of `folder` say: in memory, in a store, or features of an encoder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kshot::dataset::{DatasetContext, Images, Normalise, Preparation, Values};
use kshot::registry::Prepared;
use kshot::{Error, Result};

use super::{Colour, Files, FolderOptions};
use crate::encoded::{features, shown_to};
use crate::images::ImageReader;
use crate::place::resolve;
use crate::stores::{self, Origin, Source};

/// How options of `dataset` have images read, and the encoder they name.
fn reader(
    dataset: &str,
    options: &FolderOptions,
    context: &DatasetContext,
) -> Result<(ImageReader, Option<PathBuf>)> {
    let encoder = options.encoder.as_ref();
    let encoder = encoder.map(|encoder| resolve(dataset, encoder, &context.data_dir)).transpose()?;
    let images = Images {
        invert: options.invert,
        background: options.background,
        resize: options.resize,
        normalise: options.normalise.unwrap_or(match encoder {
            Some(_) => Normalise::IMAGENET,
            None => Normalise::NONE,
        }),
        ..Images::default()
    };
    let colour = options.colour.unwrap_or(if encoder.is_some() { Colour::Rgb } else { Colour::Grey });
    let size = options.image_size.unwrap_or(if encoder.is_some() { 224 } else { 28 });
    Ok((ImageReader::new(images, [colour.channels(), size, size])?, encoder))
}

/// Inputs of these files of a source, with how they were made, and the shape of one; options as of `dataset`.
pub(crate) fn inputs(
    dataset: &str,
    files: &Files,
    source: &Source,
    options: &FolderOptions,
    context: &DatasetContext,
    notes: &mut Vec<String>,
) -> Result<(Preparation, [usize; 3], Values)> {
    let (reader, encoder) = reader(dataset, options, context)?;
    let Some(encoder) = encoder else {
        let origin = Origin { dataset, source, reader, before: "" };
        let values = stores::values(&origin, &files.numbers, context, notes, || {
            let (pixels, vanished) = reader.read(&files.paths)?;
            vanished.check(dataset, reader.images().background).map(|()| pixels)
        })?;
        return Ok((Preparation::Images(reader.images()), reader.shape(), values));
    };
    let encoder = std::path::absolute(&encoder)
        .map_err(|error| Error::io("looking for the encoder", &encoder, error))?;
    let reader = shown(&encoder, reader, options)?;
    let (features, width) = features(&files.paths, &reader, &encoder, context)?;
    let preparation = Preparation::Features { images: reader.images(), shape: reader.shape(), encoder };
    Ok((preparation, [width, 1, 1], Arc::new(features).into()))
}

/// How images are shown to an encoder.
fn shown(encoder: &Path, reader: ImageReader, options: &FolderOptions) -> Result<ImageReader> {
    let Some(of_run) = shown_to(encoder)? else { return Ok(reader) };
    let FolderOptions { image_size, colour, normalise, .. } = options;
    match image_size.is_some() || colour.is_some() || normalise.is_some() {
        true => Err(Error::invalid(format!(
            "images are shown to the network of {} as it was trained: leave out `image-size`, `colour` and `normalise`",
            encoder.display()
        ))),
        false => Ok(of_run),
    }
}

/// Writes the store of a source, of all its files in the order of their numbers.
pub(crate) fn prepare_files(
    dataset: &str,
    files: &[PathBuf],
    source: &Source,
    options: &FolderOptions,
    context: &DatasetContext,
    stop: &AtomicBool,
) -> Result<Prepared> {
    let (reader, encoder) = reader(dataset, options, context)?;
    if encoder.is_some() {
        return Err(Error::invalid(format!(
            "`{dataset}` with an `encoder` needs no preparing: the features are kept in the cache as they are made"
        )));
    }
    let origin = Origin { dataset, source, reader, before: "" };
    stores::prepare(&origin, context, stop, &|numbers, pixels| {
        reader.read_into(files.get(numbers).unwrap_or_default(), pixels)
    })
}
