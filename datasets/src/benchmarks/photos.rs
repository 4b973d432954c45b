//! Photographs, a directory for each class: mini-ImageNet, tieredImageNet, Tiny-ImageNet and CUB.
//!
//! | name | papers | images | in memory |
//! | --- | --- | --- | --- |
//! | `mini-imagenet` | Vinyals et al., NeurIPS 2016; classes by Ravi & Larochelle, ICLR 2017 | 60,000 at 84×84 | 1.3 GB |
//! | `tiered-imagenet` | Ren et al., ICLR 2018 | 779,165 at 84×84 | 16.5 GB |
//! | `tiny-imagenet` | Stanford's CS231n, 2015; classes divided here, as no paper does | 100,000 at 64×64 | 1.2 GB |
//! | `cub` | Wah et al., Caltech-UCSD Birds 200, 2011; classes by Chen et al., ICLR 2019 | 11,788 at 84×84 | 0.25 GB |
//!
//! A zip or tar is unpacked once, into the cache. Images are scaled as `folder` scales them (`resize`), or shown to an encoder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::DynamicImage;
use kshot::dataset::{ClassSet, Dataset, DatasetContext, Images, Normalise, Preparation, Resize, Values};
use kshot::options::Options;
use kshot::{Error, Result, file};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Facts;
use crate::class_splits::ClassSplits;
use crate::folder::layout::{directories, file_name, split_named};
use crate::folder::list::listed;
use crate::folder::unpacked::{Unpacked, is_archive};
use crate::folder::{ClassFiles, Colour, Files, FolderOptions, classes_in, prepared};
use crate::images::ImageReader;
use crate::place::first_there;

kshot::register_dataset! {
    /// 100 classes of ImageNet, 600 images of each, 84×84 in colour
    ///
    /// Vinyals et al., NeurIPS 2016; split of Ravi, Larochelle, ICLR 2017; not to be had without ImageNet's terms
    name: "mini-imagenet",
    options: PhotoOptions,
    open: |context: &DatasetContext, options| MINI_IMAGENET.open(context, options),
    locate: |context| MINI_IMAGENET.locate(context),
}

kshot::register_dataset! {
    /// 608 classes of ImageNet in 34 categories, 84×84 in colour
    ///
    /// Ren et al., ICLR 2018; not to be had without ImageNet's terms
    name: "tiered-imagenet",
    options: PhotoOptions,
    open: |context: &DatasetContext, options| TIERED_IMAGENET.open(context, options),
    locate: |context| TIERED_IMAGENET.locate(context),
}

kshot::register_dataset! {
    /// 200 classes of ImageNet, 500 images of each, 64×64 in colour
    ///
    /// Stanford CS231n, 2015; split drawn for kshot, as no paper has one
    name: "tiny-imagenet",
    options: PhotoOptions,
    open: |context: &DatasetContext, options| TINY_IMAGENET.open(context, options),
    locate: |context| TINY_IMAGENET.locate(context),
}

kshot::register_dataset! {
    /// 200 kinds of birds, 11,788 images, 84×84 in colour
    ///
    /// Wah et al., Caltech 2011; split of Chen et al., ICLR 2019
    name: "cub",
    options: CubOptions,
    open: open_cub,
    locate: |context| CUB.locate(context),
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
        let found = self.found(context)?;
        let files = &found.files.paths;
        let inputs = prepared(self.facts.name, files, &self.as_folder(&options), context)?;
        self.dataset(found, inputs)
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
        let mut files = Files::default();
        let classes = divided.map(|classes| {
            files.add(classes.into_iter().map(|(name, images)| ClassFiles { name, images }).collect())
        });
        Ok(Found { root, files, classes, notes, _unpacked: unpacked })
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
    match classes.windows(2).find(|pair| pair[0].name == pair[1].name) {
        Some(pair) => Err(Error::invalid(format!(
            "the class `{}` is in two of the splits of {}: leave there only the one it belongs to (of ImageNet as it comes: the \
             training images)",
            pair[0].name,
            root.display()
        ))),
        None => Ok(classes),
    }
}

fn open_cub(context: &DatasetContext, options: CubOptions) -> Result<Box<dyn Dataset>> {
    if !options.bounding_box {
        return CUB.open(context, options.photos);
    }
    let found = CUB.found(context)?;
    let boxes = boxes(&found.root)?;
    let folder = CUB.as_folder(&options.photos);
    let normalise = folder.normalise.unwrap_or_default();
    let images = Images { resize: folder.resize, normalise, ..Images::default() };
    let side = folder.image_size.unwrap_or(CUB.size);
    let shape = [folder.colour.map_or(3, Colour::channels), side, side];
    let reader = ImageReader::new(images, shape)?;
    let files = &found.files.paths;
    let values = reader.read_each(files.len(), |number| {
        let (file, image) = (&files[number], reader.open(&files[number])?.0);
        let cut = boxes.get(&name_in_list(file)).and_then(|corners| cut(&image, *corners));
        cut.ok_or_else(|| {
            Error::invalid(format!(
                "bounding_boxes.txt has no box within {}: leave out `bounding-box`",
                file.display()
            ))
        })
    })?;
    CUB.dataset(found, (Preparation::Images(images), shape, Arc::new(values).into()))
}

/// `CLASS/FILE`, as images.txt has it.
fn name_in_list(file: &Path) -> String {
    format!("{}/{}", file.parent().map(file_name).unwrap_or_default(), file_name(file))
}

/// CUB's are of half a megabyte.
const MOST_OF_LIST: u64 = 64 << 20;

/// Left, top, width and height of each image's box.
type Boxes = HashMap<String, [f64; 4]>;

/// `NUMBER CLASS/FILE` of images.txt with `NUMBER LEFT TOP WIDTH HEIGHT` of bounding_boxes.txt.
fn boxes(root: &Path) -> Result<Boxes> {
    // One directory up, where nothing else was unpacked beside the images.
    let folders = [Some(root), root.parent()];
    let read = |name: &str| {
        let path = folders.into_iter().flatten().map(|folder| folder.join(name)).find(|path| path.is_file());
        let path = path.unwrap_or_else(|| root.join(name));
        let text = file::text(&path, MOST_OF_LIST, "reading what `bounding-box` cuts by,")?;
        Ok::<_, Error>((text, path))
    };
    let (images, _) = read("images.txt")?;
    let names: HashMap<&str, &str> = images.lines().filter_map(|line| line.trim().split_once(' ')).collect();
    let (boxes, path) = read("bounding_boxes.txt")?;
    let parsed = |line: &str| {
        let mut words = line.split_whitespace();
        let name = names.get(words.next()?)?;
        let numbers: Vec<f64> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
        Some(((*name).to_owned(), numbers.try_into().ok()?))
    };
    let lines = boxes.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            parsed(line).ok_or_else(|| {
                Error::invalid(format!(
                    "{}, line {}: `{line}` is not the number of an image and its box, left, top, width and height",
                    path.display(),
                    number + 1
                ))
            })
        })
        .collect()
}

/// The part of an image in a box; none where there is nothing of it.
fn cut(image: &DynamicImage, [left, top, width, height]: [f64; 4]) -> Option<DynamicImage> {
    let ends = |from: f64, length: f64, most: u32| {
        let (start, end) = (from.max(0.0).floor() as u32, (from + length).ceil().min(f64::from(most)) as u32);
        (start < end).then(|| (start, end - start))
    };
    let (x, width) = ends(left, width, image.width())?;
    let (y, height) = ends(top, height, image.height())?;
    Some(image.crop_imm(x, y, width, height))
}
