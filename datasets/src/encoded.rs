//! What an encoder makes of images, kept on disk.

use std::fs;
use std::path::{Path, PathBuf};

use kshot::dataset::{DatasetContext, Preparation};
use kshot::embedding::{Embedding, is_encoder};
use kshot::train::{BEST, read_run};
use kshot::{Error, Result, atomic};
use rayon::prelude::*;

use crate::digest;
use crate::images::ImageReader;

/// Images encoded and kept together: as much is lost when it is stopped.
const TOGETHER: usize = 256;

/// How images are shown to an encoder: a run's as it was trained; none for an encoder in an ONNX file.
///
/// # Errors
/// When the run was not trained on images.
pub fn shown_to(encoder: &Path) -> Result<Option<ImageReader>> {
    if is_encoder(encoder) {
        return Ok(None);
    }
    let origin = read_run(encoder)?.1.origin;
    match origin.preparation {
        Preparation::Images(images) => ImageReader::new(images, origin.setup.backbone.input).map(Some),
        Preparation::Generated => ImageReader::new(Default::default(), origin.setup.backbone.input).map(Some),
        Preparation::Features { .. } | Preparation::Numbers { .. } => Err(Error::invalid(format!(
            "the network of {} was not trained on images: it cannot encode them",
            encoder.display()
        ))),
    }
}

/// Features `[files, n]`, one file after another, and n.
///
/// # Errors
/// When the encoder cannot be read or run, what it gives of an image depends on the others, or a file is no image.
pub(crate) fn features(
    files: &[PathBuf],
    reader: &ImageReader,
    encoder: &Path,
    context: &DatasetContext,
) -> Result<(Vec<f32>, usize)> {
    let network = if encoder.is_dir() { encoder.join(BEST) } else { encoder.to_path_buf() };
    let of =
        digest::of_all([&*digest::of_file(&network)?, &format!("{reader:?}"), env!("CARGO_PKG_VERSION")]);
    let cache = context.cache_dir.as_ref().map(|cache| cache.join("features"));
    // Read when the first image is not there yet.
    let mut embedding = None;
    let (mut all, mut width) = (Vec::new(), None);
    for part in files.chunks(TOGETHER) {
        let digests: Vec<String> =
            part.par_iter().map(|file| digest::of_file(file)).collect::<Result<_>>()?;
        let name = digest::of_all(std::iter::once(&of).chain(&digests).map(String::as_str));
        let kept = cache.as_ref().map(|cache| cache.join(format!("{name}.f32")));
        let values = match kept.as_ref().and_then(|kept| numbers(&fs::read(kept).ok()?, part.len())) {
            Some(values) => values,
            None => {
                let embedding = match &mut embedding {
                    Some(embedding) => embedding,
                    none => none.insert(opened(encoder, reader)?),
                };
                let values: Vec<f32> = embedding.of(reader.inputs(part)?.view())?.into_iter().collect();
                if let Some(kept) = &kept {
                    keep(kept, &values)?;
                }
                let done = all.len() / width.unwrap_or(1) + part.len();
                (context.progress)("images encoded", done as u64, files.len() as u64);
                values
            }
        };
        let features = values.len() / part.len();
        if *width.get_or_insert(features) != features {
            return Err(Error::invalid(format!(
                "{} gives {} features of some images and {features} of others",
                encoder.display(),
                width.unwrap_or_default()
            )));
        }
        all.extend(values);
    }
    Ok((all, width.unwrap_or_default()))
}

fn opened(encoder: &Path, reader: &ImageReader) -> Result<Embedding> {
    let embedding = Embedding::read(encoder, reader.shape())?;
    if embedding.is_transductive() {
        return Err(Error::invalid(format!(
            "the network of {} normalises by the batch, so that what it gives of an image depends on the others: train one \
             with `backbone.norm = \"running\"`",
            encoder.display()
        )));
    }
    Ok(embedding)
}

fn keep(file: &Path, values: &[f32]) -> Result<()> {
    const DOING: &str = "keeping features in";
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(|error| Error::io(DOING, folder, error))?;
    }
    let bytes: Vec<u8> = values.iter().copied().flat_map(f32::to_le_bytes).collect();
    atomic::write(file, &bytes, DOING)
}

/// Numbers that were kept, if there are as many for each of the images.
fn numbers(bytes: &[u8], images: usize) -> Option<Vec<f32>> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    let whole = rest.is_empty() && !numbers.is_empty() && numbers.len().is_multiple_of(images);
    whole.then(|| numbers.iter().copied().map(f32::from_le_bytes).collect())
}
