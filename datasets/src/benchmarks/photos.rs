//! Photographs, a directory for each class: mini-ImageNet, tieredImageNet, Tiny-ImageNet and CUB.
//!
//! | name | papers | images | in memory |
//! | --- | --- | --- | --- |
//! | `mini-imagenet` | Vinyals et al., NeurIPS 2016; classes by Ravi & Larochelle, ICLR 2017 | 60,000 at 84×84 | 1.3 GB |
//! | `tiered-imagenet` | Ren et al., ICLR 2018 | 779,165 at 84×84 | 16.5 GB |
//! | `tiny-imagenet` | Stanford's CS231n, 2015; classes divided here, as no paper does | 100,000 at 64×64 | 1.2 GB |
//! | `cub` | Wah et al., Caltech-UCSD Birds 200, 2011; classes by Chen et al., ICLR 2019 | 11,788 at 84×84 | 0.25 GB |
//!
//! A zip or tar is unpacked once, into the cache; what does not fit into memory is prepared once (`kshot data prepare`), and read
//! from disk. Images are scaled as `folder` scales them (`resize`), or shown to an encoder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use image::DynamicImage;
use kshot::dataset::{ClassSet, Dataset, DatasetContext, Images, Normalise, Preparation, Resize, Values};
use kshot::options::Options;
use kshot::registry::Prepared;
use kshot::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Facts;
use super::boxes::Boxes;
use crate::class_splits::ClassSplits;
use crate::folder::entries::{directories, file_name};
use crate::folder::layout::split_named;
use crate::folder::list::listed;
use crate::folder::unpacked::{Unpacked, is_archive};
use crate::folder::{ClassFiles, Colour, Files, FolderOptions, classes_in, inputs, prepare_files};
use crate::images::{ImageReader, Vanished};
use crate::place::first_there;
use crate::stores::{self, Origin, Source};

kshot::register_dataset! {
    /// 100 classes of ImageNet, 600 images of each, 84×84 in colour
    ///
    /// Vinyals et al., NeurIPS 2016; split of Ravi, Larochelle, ICLR 2017; not to be had without ImageNet's terms
    name: "mini-imagenet",
    options: PhotoOptions,
    open: |context: &DatasetContext, options| MINI_IMAGENET.open(context, options),
    locate: |context| MINI_IMAGENET.locate(context),
    prepare: |context: &DatasetContext, options, stop: &AtomicBool| MINI_IMAGENET.prepare(context, &options, stop),
}

kshot::register_dataset! {
    /// 608 classes of ImageNet in 34 categories, 84×84 in colour
    ///
    /// Ren et al., ICLR 2018; not to be had without ImageNet's terms
    name: "tiered-imagenet",
    options: PhotoOptions,
    open: |context: &DatasetContext, options| TIERED_IMAGENET.open(context, options),
    locate: |context| TIERED_IMAGENET.locate(context),
    prepare: |context: &DatasetContext, options, stop: &AtomicBool| TIERED_IMAGENET.prepare(context, &options, stop),
}

kshot::register_dataset! {
    /// 200 classes of ImageNet, 500 images of each, 64×64 in colour
    ///
    /// Stanford CS231n, 2015; split drawn for kshot, as no paper has one
    name: "tiny-imagenet",
    options: PhotoOptions,
    open: |context: &DatasetContext, options| TINY_IMAGENET.open(context, options),
    locate: |context| TINY_IMAGENET.locate(context),
    prepare: |context: &DatasetContext, options, stop: &AtomicBool| TINY_IMAGENET.prepare(context, &options, stop),
}

kshot::register_dataset! {
    /// 200 kinds of birds, 11,788 images, 84×84 in colour
    ///
    /// Wah et al., Caltech 2011; split of Chen et al., ICLR 2019
    name: "cub",
    options: CubOptions,
    open: open_cub,
    locate: |context| CUB.locate(context),
    prepare: prepare_cub,
}

/// Options of benchmarks of photographs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct PhotoOptions {
    /// Height and width the images are brought to, in pixels [default: that of the papers, 84, or 64 of Tiny-ImageNet; 224 for
    /// an encoder].
    #[schemars(range(min = 1, max = 1024))]
    pub image_size: Option<usize>,
    /// One channel or three [default: rgb].
    pub colour: Option<Colour>,
    /// What becomes of images that are not square.
    pub resize: Resize,
    /// What is subtracted from the channels, and divided by: `imagenet`, `none`, or `0.5,0.5,0.5/0.2,0.2,0.2` [default: none;
    /// imagenet for an encoder].
    pub normalise: Option<Normalise>,
    /// An encoder, whose features take the place of the images: an `.onnx` file, or the directory of a run. They are kept in
    /// the cache.
    pub encoder: Option<PathBuf>,
}

impl Default for PhotoOptions {
    fn default() -> Self {
        Self { image_size: None, colour: None, resize: Resize::Stretch, normalise: None, encoder: None }
    }
}

impl Options for PhotoOptions {}

/// Options of `cub`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct CubOptions {
    /// How images are prepared.
    #[serde(flatten)]
    pub photos: PhotoOptions,
    /// Whether an image is cut to the bird's bounding box, as `bounding_boxes.txt` has it. New files of `kshot predict` are not.
    pub bounding_box: bool,
}

impl Options for CubOptions {
    fn check(&self) -> Result<()> {
        match self.bounding_box && self.photos.encoder.is_some() {
            true => Err(Error::invalid("an `encoder` is shown whole images: leave out `bounding-box`")),
            false => Ok(()),
        }
    }
}

/// What is known of a benchmark of photographs.
pub(super) struct Photos {
    pub(super) facts: Facts,
    /// Archives and directories it may lie in, below its own directory or the data directory.
    pub(super) names: &'static [&'static str],
    /// The directory in these that has the classes, where there are others beside it.
    within: &'static str,
    /// Side of the images in papers.
    size: usize,
}

pub(super) const MINI_IMAGENET: Photos = Photos {
    facts: Facts {
        name: "mini-imagenet",
        split: include_str!("splits/mini-imagenet.toml"),
        images: 60_000,
        source: "its images are ImageNet's, to be had for non-commercial research by those who accept the terms of \
             https://image-net.org/download: cut it out of ILSVRC 2012 with the lists of https://github.com/twitter-research/\
             meta-learning-lstm (data/miniImagenet). What is read is either the lists train.csv, val.csv and test.csv \
             (`filename,label`) beside a directory `images`, or a directory of images for each class, named by its WordNet \
             number, as n01532829; perhaps within train, val and test",
    },
    names: &["mini-imagenet.zip", "mini-imagenet.tar", "mini-imagenet.tar.gz", "mini-imagenet.tgz"],
    within: "",
    size: 84,
};

pub(super) const TIERED_IMAGENET: Photos = Photos {
    facts: Facts {
        name: "tiered-imagenet",
        split: include_str!("splits/tiered-imagenet.toml"),
        images: 779_165,
        source: "its images are ImageNet's, to be had for non-commercial research by those who accept the terms of \
             https://image-net.org/download: it is 608 classes of the training images of ILSVRC 2012 (ILSVRC2012_img_train). What \
             is read is a directory of images for each class, named by its WordNet number, as n01530575; perhaps within train, \
             val and test; other classes may lie beside them",
    },
    names: &["tiered-imagenet.zip", "tiered-imagenet.tar", "tiered-imagenet.tar.gz", "tiered-imagenet.tgz"],
    within: "",
    size: 84,
};

pub(super) const TINY_IMAGENET: Photos = Photos {
    facts: Facts {
        name: "tiny-imagenet",
        split: include_str!("splits/tiny-imagenet.toml"),
        images: 100_000,
        source: "get it with `kshot data get tiny-imagenet`, 248 MB, or from http://cs231n.stanford.edu/tiny-imagenet-200.zip. What is \
             read are its training images: train/n01443537/images/*.JPEG",
    },
    names: &["tiny-imagenet-200.zip", "tiny-imagenet-200"],
    within: "train",
    size: 64,
};

pub(super) const CUB: Photos = Photos {
    facts: Facts {
        name: "cub",
        split: include_str!("splits/cub.toml"),
        images: 11_788,
        source: "get it with `kshot data get cub`, 1.2 GB, or from https://data.caltech.edu/records/65de6-vp158. What is read is \
             images/001.Black_footed_Albatross/*.jpg and, to cut by them, images.txt and bounding_boxes.txt",
    },
    names: &["CUB_200_2011.tgz", "CUB_200_2011"],
    within: "images",
    size: 84,
};

impl Photos {
    /// Where it lies: its own directory where none of the names is there.
    fn locate(&self, context: &DatasetContext) -> Result<PathBuf> {
        let Self { facts: Facts { name, source, .. }, names, .. } = self;
        first_there(&context.data_dir, &[name, ""], names)
            .or_else(|| first_there(&context.data_dir, &[""], &[name]))
            .ok_or_else(|| {
                Error::invalid(format!(
                    "there is no directory {} (nor {} in the data directory); {source}",
                    context.data_dir.join(name).display(),
                    names.join(", ")
                ))
            })
    }

    fn open(&self, context: &DatasetContext, options: PhotoOptions) -> Result<Box<dyn Dataset>> {
        let mut found = self.found(context)?;
        let Found { source, files, notes, .. } = &mut found;
        let inputs = inputs(self.facts.name, files, source, &self.as_folder(&options), context, notes)?;
        self.dataset(found, inputs)
    }

    fn prepare(
        &self,
        context: &DatasetContext,
        options: &PhotoOptions,
        stop: &AtomicBool,
    ) -> Result<Prepared> {
        let Found { source, files, .. } = self.found(context)?;
        prepare_files(self.facts.name, &files.paths, &source, &self.as_folder(options), context, stop)
    }

    /// The images that are its own, by class.
    fn found(&self, context: &DatasetContext) -> Result<Found> {
        let place = self.locate(context)?;
        let unpacked =
            is_archive(&place).then(|| Unpacked::of(&place, context.cache_dir.as_deref())).transpose()?;
        let root = unpacked.as_ref().map_or(&place, |unpacked| &unpacked.root).clone();
        let mut notes = Vec::new();
        let classes = classes_below(&root, self.within)
            .map_err(|error| error.context(format!("`{}` ({})", self.facts.name, self.facts.source)))?;
        let classes = classes.into_iter().map(|class| (class.name, class.images));
        let divided = self.facts.divided(classes, &place, &mut notes)?;
        let mut classes = divided
            .map(|classes| classes.into_iter().map(|(name, images)| ClassFiles { name, images }).collect());
        let source = Source::of(&place, unpacked.is_some(), &mut classes)?;
        let mut files = Files::default();
        let classes = classes.map(|classes| files.add(classes));
        Ok(Found { root, source, files, classes, notes, _unpacked: unpacked })
    }

    /// The same options for `folder`, with the defaults of the papers.
    fn as_folder(&self, options: &PhotoOptions) -> FolderOptions {
        let PhotoOptions { image_size, colour, resize, normalise, encoder } = options.clone();
        let images = encoder.is_none();
        FolderOptions {
            image_size: image_size.or(images.then_some(self.size)),
            colour: colour.or(images.then_some(Colour::Rgb)),
            resize,
            normalise,
            encoder,
            ..FolderOptions::default()
        }
    }

    fn dataset(
        &self,
        found: Found,
        (preparation, shape, values): (Preparation, [usize; 3], Values),
    ) -> Result<Box<dyn Dataset>> {
        let mut whole = ClassSet::new(shape, values, Arc::new(found.files.names), Vec::new())?;
        if let Preparation::Images(images) = &preparation {
            whole = whole.normalised(images.normalise);
        }
        let splits = ClassSplits::new(self.facts.name, preparation, &whole, found.classes)?;
        Ok(Box::new(splits.with_notes(found.notes)))
    }
}

/// A benchmark's images on disk.
struct Found {
    root: PathBuf,
    source: Source,
    files: Files,
    classes: [Vec<kshot::dataset::Class>; 3],
    notes: Vec<String>,
    /// Gone with what was unpacked, where that is not kept.
    _unpacked: Option<Unpacked>,
}

/// The lists that divide mini-ImageNet.
const LISTS: [&str; 3] = ["train.csv", "val.csv", "test.csv"];

/// The classes below a directory: those of its lists, or a directory each, in `within` or in train, val and test if it has such.
///
/// # Errors
/// When there is none, a list names a file that is not there, or a class lies in two places.
fn classes_below(root: &Path, within: &str) -> Result<Vec<ClassFiles>> {
    if LISTS.iter().any(|list| root.join(list).is_file()) {
        let images = root.join("images");
        let splits = LISTS.map(|list| listed(&root.join(list), &images));
        let splits = splits.into_iter().collect::<Result<Vec<_>>>()?;
        return apart(
            root,
            splits.into_iter().flat_map(|(splits, _)| splits.into_iter().flatten()).collect(),
        );
    }
    if root.join(within).is_dir() && !within.is_empty() {
        return classes_in(&root.join(within));
    }
    let mut parts = directories(root)?;
    parts.retain(|part| {
        split_named(&file_name(part)).is_some() && directories(part).is_ok_and(|classes| !classes.is_empty())
    });
    match parts.as_slice() {
        [] => classes_in(root),
        parts => {
            let classes = parts.iter().map(|part| classes_in(part)).collect::<Result<Vec<_>>>()?;
            apart(root, classes.into_iter().flatten().collect())
        }
    }
}

/// Refuses a class that is there twice.
fn apart(root: &Path, mut classes: Vec<ClassFiles>) -> Result<Vec<ClassFiles>> {
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    let mut pairs = classes.iter().zip(classes.iter().skip(1));
    match pairs.find(|(a, b)| a.name == b.name) {
        Some((twice, _)) => Err(Error::invalid(format!(
            "the class `{}` is in two of the splits of {}: leave there only the one it belongs to (of ImageNet as it comes: the \
             training images)",
            twice.name,
            root.display()
        ))),
        None => Ok(classes),
    }
}

fn open_cub(context: &DatasetContext, options: CubOptions) -> Result<Box<dyn Dataset>> {
    if !options.bounding_box {
        return CUB.open(context, options.photos);
    }
    let mut cut = Cut::of(context, &options.photos)?;
    let (reader, images) = (cut.reader, cut.found.files.paths.len());
    let mut notes = std::mem::take(&mut cut.found.notes);
    let values = stores::values(&cut.origin(), &cut.found.files.numbers, context, &mut notes, || {
        reader.read_each(images, |number| cut.image(number))
    })?;
    cut.found.notes = notes;
    CUB.dataset(cut.found, (Preparation::Images(reader.images()), reader.shape(), values))
}

fn prepare_cub(context: &DatasetContext, options: CubOptions, stop: &AtomicBool) -> Result<Prepared> {
    if !options.bounding_box {
        return CUB.prepare(context, &options.photos, stop);
    }
    let cut = Cut::of(context, &options.photos)?;
    stores::prepare(&cut.origin(), context, stop, &|numbers, pixels| {
        cut.reader.read_each_into(numbers, pixels, |number| cut.image(number))?;
        Ok(Vanished::default())
    })
}

/// CUB's images, each to be cut to its bird.
struct Cut {
    found: Found,
    boxes: Boxes,
    reader: ImageReader,
}

impl Cut {
    fn of(context: &DatasetContext, options: &PhotoOptions) -> Result<Self> {
        let mut found = CUB.found(context)?;
        let boxes = Boxes::read(&found.root)?;
        found.source = found.source.and(boxes.state());
        let folder = CUB.as_folder(options);
        let normalise = folder.normalise.unwrap_or_default();
        let images = Images { resize: folder.resize, normalise, ..Images::default() };
        let side = folder.image_size.unwrap_or(CUB.size);
        let reader = ImageReader::new(images, [folder.colour.map_or(3, Colour::channels), side, side])?;
        Ok(Self { found, boxes, reader })
    }

    fn origin(&self) -> Origin<'_> {
        Origin {
            dataset: CUB.facts.name,
            source: &self.found.source,
            reader: self.reader,
            before: "cut to bounding boxes",
        }
    }

    #[expect(clippy::indexing_slicing, reason = "numbers are those of the paths")]
    fn image(&self, number: usize) -> Result<DynamicImage> {
        let file = &self.found.files.paths[number];
        self.boxes.cut(file, &self.reader.open(file)?.0)
    }
}
