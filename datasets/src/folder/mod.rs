//! A directory of images, one sub-directory for each class: anyone's own dataset.
//!
//! A class's images lie in its directory and below, PNG, JPEG, WebP, TIFF, BMP or portable any-map (`.pgm`, `.ppm`, `.pbm`,
//! `.pnm`) of any size; other files, hidden ones and directories without an image are left out. They become `[channels,
//! image-size, image-size]`, resampled with a triangle filter as `resize` says, after the camera's orientation has been applied
//! and what is transparent has been laid on `background`; with an `encoder`, its features `[features, 1, 1]`.
//!
//! `path` may also be a zip or tar of such a directory, or a CSV file with the columns `path` (from where the file lies) and
//! `label`, and perhaps `split` (train, val or test) and `group`: no group is on both sides of a task.
//!
//! Classes go to splits as the directories `train`, `val` and `test`, or the column `split`, divide them. Where these have the
//! same classes, as those of defects do, they are the two sides of one domain: support is taken from `train`, queries from
//! `test`. Where nothing divides them, a TOML file, `split-file`, may name those of each split,
//!
//! ```toml
//! train = ["oak", "birch", "lime"]
//! validation = ["elm"]
//! test = ["ash", "yew"]
//! ```
//!
//! else they are divided at random by `fractions`.

pub(crate) mod entries;
mod inputs;
pub(crate) mod layout;
pub(crate) mod list;
pub(crate) mod unpacked;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kshot::dataset::{Background, Class, ClassSet, Dataset, DatasetContext, Normalise, Preparation, Resize};
use kshot::options::Options;
use kshot::registry::Prepared;
use kshot::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::class_division;
use crate::class_splits::ClassSplits;
use crate::domain_splits::DomainSplits;
use crate::groups::numbered;
use crate::place::resolve;
use crate::stores::Source;
use layout::{Layout, Parts};
use unpacked::{Unpacked, is_archive};

pub(crate) use inputs::{inputs, prepare_files};
pub use layout::{ClassFiles, ImageFile, classes_in, images_below};

kshot::register_dataset! {
    /// your own images: the directory `path`, one sub-directory for each class
    ///
    /// PNG, JPEG, WebP, TIFF, BMP or PGM files of any size; a zip, a tar or a CSV list of them
    name: "folder",
    options: FolderOptions,
    open: open,
    prepare: prepare,
}

/// Options of `folder`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct FolderOptions {
    /// The directory, a zip or tar of it, or a CSV file `path,label[,split][,group]`; where it is relative, it is looked for
    /// in the data directory and in the current one.
    pub path: Option<PathBuf>,
    /// Height and width the images are brought to, in pixels [default: 28; 224 for an encoder].
    #[schemars(range(min = 1, max = 1024))]
    pub image_size: Option<usize>,
    /// One channel or three [default: grey; rgb for an encoder].
    pub colour: Option<Colour>,
    /// What becomes of images that are not square.
    pub resize: Resize,
    /// What shows through where images are transparent: `white`, `black` or `#rrggbb`.
    pub background: Background,
    /// Whether dark is to be 1 and light 0.
    pub invert: bool,
    /// What is subtracted from the channels, and divided by: `imagenet`, `none`, or `0.5,0.5,0.5/0.2,0.2,0.2` [default: none;
    /// imagenet for an encoder].
    pub normalise: Option<Normalise>,
    /// An encoder, whose features take the place of the images: an `.onnx` file, or the directory of a run. They are kept in
    /// the cache.
    pub encoder: Option<PathBuf>,
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
            image_size: None,
            colour: None,
            resize: Resize::Stretch,
            background: Background::WHITE,
            invert: false,
            normalise: None,
            encoder: None,
            split_file: None,
            fractions: class_division::FRACTIONS,
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

/// A directory, archive or list as it lies there, nothing read of its images.
struct Found {
    source: Source,
    /// The directory, or where the archive is unpacked.
    root: PathBuf,
    layout: Layout,
    notes: Vec<String>,
    /// Gone with what was unpacked, where that is not kept.
    _unpacked: Option<Unpacked>,
}

fn found(context: &DatasetContext, options: &FolderOptions) -> Result<Found> {
    let path = options.path.as_ref().ok_or_else(|| {
        Error::invalid(
            "the dataset `folder` needs its option `path`: the directory that has one sub-directory of images for \
             each class",
        )
    })?;
    let path = resolve("folder", path, &context.data_dir)?;
    let unpacked =
        is_archive(&path).then(|| Unpacked::of(&path, context.cache_dir.as_deref())).transpose()?;
    let root = unpacked.as_ref().map_or(&path, |unpacked| &unpacked.root).clone();
    let mut notes = Vec::new();
    let mut layout = match root.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv")) {
        true => list::read(&root, &mut notes)?,
        false => layout::read(&root, &mut notes).map_err(|error| match &unpacked {
            Some(_) => error.context(path.display()),
            None => error,
        })?,
    };
    let source = Source::of(&path, unpacked.is_some(), layout.parts_mut())?;
    Ok(Found { source, root, layout, notes, _unpacked: unpacked })
}

fn open(context: &DatasetContext, options: FolderOptions) -> Result<Box<dyn Dataset>> {
    let Found { source, root, layout, mut notes, _unpacked } = found(context, &options)?;
    let parts = match layout {
        Layout::Classes(classes) => Parts::Splits(divided(classes, &options, context, &mut notes)?),
        Layout::Divided(_) if options.split_file.is_some() => {
            return Err(Error::invalid(format!(
                "{} is already divided into train, validation and test: leave out `split-file`",
                root.display()
            )));
        }
        Layout::Divided(parts) => parts,
    };
    let mut files = Files::default();
    let parts = parts.map(|classes| files.add(classes));
    let (preparation, shape, values) = inputs("folder", &files, &source, &options, context, &mut notes)?;
    let mut whole = ClassSet::new(shape, values, Arc::new(files.names), Vec::new())?;
    if let Preparation::Images(images) = &preparation {
        whole = whole.normalised(images.normalise);
    }
    if let Some(groups) = numbered(&files.groups) {
        whole = whole.grouped(Arc::new(groups))?;
    }
    Ok(match parts {
        Parts::Splits(splits) => {
            Box::new(ClassSplits::new("folder", preparation, &whole, splits)?.with_notes(notes))
        }
        Parts::Sides(sides) => {
            let name =
                source.path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            Box::new(DomainSplits::of_two_sides(name, preparation, &whole, sides)?.with_notes(notes))
        }
    })
}

fn prepare(context: &DatasetContext, options: FolderOptions, stop: &AtomicBool) -> Result<Prepared> {
    let Found { source, layout, _unpacked, .. } = found(context, &options)?;
    prepare_files("folder", &layout.into_paths(), &source, &options, context, stop)
}

/// Classes by `split-file`, else by `fractions`.
fn divided(
    classes: Vec<ClassFiles>,
    options: &FolderOptions,
    context: &DatasetContext,
    notes: &mut Vec<String>,
) -> Result<[Vec<ClassFiles>; 3]> {
    let names: Vec<String> = classes.iter().map(|class| class.name.clone()).collect();
    let division = match &options.split_file {
        Some(file) => class_division::by_file(&resolve("folder", file, &context.data_dir)?, &names)?,
        None => class_division::by_fractions_or_all(options.fractions, options.seed, &names, notes)?,
    };
    let mut classes: HashMap<String, ClassFiles> =
        classes.into_iter().map(|class| (class.name.clone(), class)).collect();
    Ok(division.map(|names| names.iter().filter_map(|name| classes.remove(name)).collect()))
}

/// The images of all classes, one after another.
#[derive(Default)]
pub(crate) struct Files {
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) names: Vec<String>,
    /// Which of its source's images each is.
    pub(crate) numbers: Vec<u32>,
    groups: Vec<String>,
}

impl Files {
    /// Appends the images of these classes.
    pub(crate) fn add(&mut self, classes: Vec<ClassFiles>) -> Vec<Class> {
        let class = |ClassFiles { name, images }: ClassFiles| {
            let first = self.paths.len() as u32;
            for image in images {
                self.names.push(image.name);
                self.paths.push(image.path);
                self.numbers.push(image.number);
                self.groups.push(image.group);
            }
            Class { name, images: (first..self.paths.len() as u32).collect(), quarter_turns: 0 }
        };
        classes.into_iter().map(class).collect()
    }
}
