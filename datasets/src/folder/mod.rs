//! A directory of images, one sub-directory for each class: anyone's own dataset.
//!
//! A class's images lie in its directory and below, PNG, JPEG, WebP, TIFF, BMP or portable any-map (`.pgm`, `.ppm`, `.pbm`, `.pnm`) of any
//! size; other files, hidden ones and directories without an image are left out. They become `[channels, image-size,
//! image-size]`, resampled with a triangle filter, without keeping their aspect ratio, after the camera's orientation has
//! been applied and what is transparent has been laid on `background`.
//!
//! Classes go to splits as the directories `train`, `val` and `test` divide them, where `path` holds these; else by a TOML
//! file, `split-file`, that names them,
//!
//! ```toml
//! train = ["oak", "birch", "lime"]
//! validation = ["elm"]
//! test = ["ash", "yew"]
//! ```
//!
//! or at random by `fractions`.

mod layout;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use kshot::dataset::{Background, Class, Dataset, DatasetContext, Preparation, Resample};
use kshot::options::Options;
use kshot::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::class_division;
use crate::class_splits::ClassSplits;
use crate::images::ImageReader;
use crate::place::resolve;
use layout::Layout;

pub use layout::{ClassFiles, classes_in, images_below};

kshot::register_dataset! {
    /// your own images: the directory `path`, one sub-directory for each class
    ///
    /// PNG, JPEG, WebP, TIFF, BMP or PGM files of any size
    name: "folder",
    options: FolderOptions,
    open: open,
}

/// Options of `folder`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct FolderOptions {
    /// The directory; where it is relative, it is looked for in the data directory, then in the current one.
    pub path: Option<PathBuf>,
    /// Height and width the images are resampled to, in pixels.
    #[schemars(range(min = 1, max = 1024))]
    pub image_size: usize,
    /// One channel or three.
    pub colour: Colour,
    /// What shows through where images are transparent.
    pub background: Background,
    /// TOML file that names the classes of each split; found as `path` is.
    pub split_file: Option<PathBuf>,
    /// Without `split-file`: the shares of the classes for training, validation and test.
    pub fractions: [f64; 3],
    /// Seed of the division by `fractions`. Not the run's: all runs see the same classes.
    pub seed: u64,
}

impl Default for FolderOptions {
    fn default() -> Self {
        Self {
            path: None,
            image_size: 28,
            colour: Colour::Grey,
            background: Background::White,
            split_file: None,
            fractions: [0.6, 0.2, 0.2],
            seed: 0,
        }
    }
}

impl Options for FolderOptions {}

/// Channels of the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Colour {
    /// One channel: luminance.
    Grey,
    /// Three channels: red, green, blue.
    Rgb,
}

impl Colour {
    /// One or three.
    pub fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

fn open(context: &DatasetContext, options: FolderOptions) -> Result<Box<dyn Dataset>> {
    let path = options.path.as_ref().ok_or_else(|| {
        Error::invalid(
            "the dataset `folder` needs its option `path`: the directory that has one sub-directory of images for \
             each class",
        )
    })?;
    let root = resolve("folder", path, &context.data_dir)?;
    let mut notes = Vec::new();
    let divided = match layout::read(&root, &mut notes)? {
        Layout::Divided(_) if options.split_file.is_some() => {
            return Err(Error::invalid(format!(
                "{} is already divided by its directories train, val and test: leave out `split-file`",
                root.display()
            )));
        }
        Layout::Divided(splits) => splits,
        Layout::Classes(classes) => {
            let names: Vec<String> = classes.iter().map(|class| class.name.clone()).collect();
            let division = match &options.split_file {
                Some(file) => class_division::by_file(&resolve("folder", file, &context.data_dir)?, &names)?,
                None => class_division::by_fractions(options.fractions, options.seed, &names)?,
            };
            let mut classes: HashMap<String, ClassFiles> =
                classes.into_iter().map(|class| (class.name.clone(), class)).collect();
            division.map(|names| names.iter().filter_map(|name| classes.remove(name)).collect::<Vec<_>>())
        }
    };

    let mut files = Vec::new();
    let mut image_names = Vec::new();
    let splits = divided.map(|split| {
        let class = |ClassFiles { name, images }: ClassFiles| {
            let first = files.len() as u32;
            for (name, file) in images {
                image_names.push(name);
                files.push(file);
            }
            Class { name, images: (first..files.len() as u32).collect(), quarter_turns: 0 }
        };
        split.into_iter().map(class).collect::<Vec<_>>()
    });
    let preparation =
        Preparation::Images { resample: Resample::Triangle, invert: false, background: options.background };
    let shape = [options.colour.channels(), options.image_size, options.image_size];
    let (pixels, blank) = ImageReader::new(preparation, shape)?.read(&files)?;
    if let Some(blank) = blank {
        let other = match options.background {
            Background::White => "black",
            Background::Black => "white",
        };
        return Err(Error::invalid(format!("{blank}: set `background` of `folder` to \"{other}\"")));
    }
    let splits = ClassSplits::new("folder", shape, preparation, Arc::new(pixels), image_names, splits)?;
    Ok(Box::new(splits.with_notes(notes)))
}
