//! What lies where in a directory of images: its classes, and the division that sub-directories may already make.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use kshot::{Error, Result};
use rayon::prelude::*;
use unicode_normalization::UnicodeNormalization as _;

use super::entries::{IMAGE_ENDINGS, directories, file_name, images_in};
use crate::stamp::Stamp;

/// Names of the directories that divide classes; two of them stand for validation.
const SPLITS: [&[&str]; 3] = [&["train", "training"], &["val", "valid", "validation"], &["test", "testing"]];

/// A class, and the images in its directory and below.
#[derive(Debug)]
pub struct ClassFiles {
    /// The directory's name, in Unicode's composed form (NFC): `é` is one letter on every file system.
    pub name: String,
    /// Its images, sorted.
    pub images: Vec<ImageFile>,
}

/// An image of a class.
#[derive(Debug)]
pub struct ImageFile {
    /// Its path below the class's directory, composed too, or as the list has it.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// What it has in common with others besides the class; empty where that is not said.
    pub group: String,
    /// Its size and time.
    pub(crate) stamp: Stamp,
    /// Which of its source's images it is.
    pub(crate) number: u32,
}

impl ImageFile {
    /// An image of no group, not yet numbered.
    pub(super) fn new(name: String, path: PathBuf, stamp: Stamp) -> Self {
        Self { name, path, group: String::new(), stamp, number: 0 }
    }
}

/// What a directory holds.
pub(super) enum Layout {
    /// A class in each sub-directory.
    Classes(Vec<ClassFiles>),
    /// They are divided already.
    Divided(Parts<ClassFiles>),
}

/// How classes are divided.
pub(super) enum Parts<T> {
    /// Classes of training, of validation and of test.
    Splits([Vec<T>; 3]),
    /// The same classes on two sides: what may be learned from, and what is asked.
    Sides([Vec<T>; 2]),
}

impl Layout {
    /// All classes, in the parts they are divided into.
    pub(super) fn parts_mut(&mut self) -> Vec<&mut Vec<ClassFiles>> {
        match self {
            Self::Classes(classes) => vec![classes],
            Self::Divided(Parts::Splits(splits)) => splits.iter_mut().collect(),
            Self::Divided(Parts::Sides(sides)) => sides.iter_mut().collect(),
        }
    }

    /// All images, in the order of their numbers.
    pub(super) fn into_paths(self) -> Vec<PathBuf> {
        let parts = match self {
            Self::Classes(classes) => vec![classes],
            Self::Divided(Parts::Splits(splits)) => splits.into(),
            Self::Divided(Parts::Sides(sides)) => sides.into(),
        };
        parts.into_iter().flatten().flat_map(|class| class.images).map(|image| image.path).collect()
    }
}

impl<T> Parts<T> {
    pub(super) fn map<U>(self, each: impl FnMut(Vec<T>) -> Vec<U>) -> Parts<U> {
        match self {
            Self::Splits(splits) => Parts::Splits(splits.map(each)),
            Self::Sides(sides) => Parts::Sides(sides.map(each)),
        }
    }
}

/// Looks through `root`; what it leaves out is told in `notes`.
///
/// # Errors
/// When it is no directory, holds no class, or a class stands in two splits.
#[expect(clippy::indexing_slicing, reason = "three splits")]
pub(super) fn read(root: &Path, notes: &mut Vec<String>) -> Result<Layout> {
    if !root.is_dir() {
        return Err(Error::invalid(format!(
            "{} is not a directory; the option `path` of `folder` names the directory that has one sub-directory of \
             images for each class",
            root.display()
        )));
    }
    let directories = directories(root)?;
    let split_of = |path: &Path| split_named(&file_name(path));
    let divided = directories.len() >= 2
        && directories.iter().all(|path| split_of(path).is_some())
        && directories
            .iter()
            .map(|path| Ok(images_in(path)?.images.is_empty()))
            .collect::<Result<Vec<_>>>()?
            .iter()
            .all(|&none| none);
    if !divided {
        return Ok(Layout::Classes(classes(root, directories, notes)?));
    }
    let mut splits: [Vec<ClassFiles>; 3] = Default::default();
    for path in directories {
        let Some(split) = split_of(&path) else { continue };
        splits[split].extend(classes(&path, super::entries::directories(&path)?, notes)?);
    }
    by_splits(root, splits, notes).map(Layout::Divided)
}

/// 0 for training, 1 for validation, 2 for test, by the names that people give them.
pub(crate) fn split_named(name: &str) -> Option<usize> {
    let name = name.to_lowercase();
    SPLITS.iter().position(|names| names.contains(&name.as_str()))
}

/// What images are that someone has divided: classes of their own in each split, or the same in all.
///
/// # Errors
/// When some classes are in several splits, and others are not.
#[expect(clippy::indexing_slicing, reason = "three splits")]
pub(super) fn by_splits(
    root: &Path,
    splits: [Vec<ClassFiles>; 3],
    notes: &mut Vec<String>,
) -> Result<Parts<ClassFiles>> {
    let has = |split: usize, name: &str| splits[split].iter().any(|class| class.name == name);
    let twice = (0..3).find_map(|a| {
        let other = |class: &&ClassFiles| (a + 1..3).any(|b| has(b, &class.name));
        splits[a].iter().find(other).map(|class| (a, class.name.clone()))
    });
    let Some((a, class)) = twice else {
        let [train, validation, test] = [0, 1, 2].map(|split| splits[split].len());
        notes.push(format!(
            "{} is divided into train, validation and test, with {train} + {validation} + {test} classes; `fractions` is \
             not used",
            root.display()
        ));
        return Ok(Parts::Splits(splits));
    };
    let asked = if splits[2].is_empty() { 1 } else { 2 };
    match splits[asked].iter().find(|class| (0..asked).all(|split| !has(split, &class.name))) {
        Some(new) => Err(Error::invalid(format!(
            "the class `{class}` of {} is in {} and in another split, but `{}` is in {} only: the splits are to have either \
             the same classes, or each its own. Name one of the directories as `path`, or gather each class in one split",
            root.display(),
            SPLITS[a][0],
            new.name,
            SPLITS[asked][0],
        ))),
        None => {
            let [mut train, validation, test] = splits;
            let (more, test) = if asked == 1 { (Vec::new(), validation) } else { (validation, test) };
            if !more.is_empty() {
                notes.push(format!(
                    "the images of validation in {} are taken with those of training, as their classes are the same",
                    root.display()
                ));
            }
            for class in more {
                match train.iter_mut().find(|known| known.name == class.name) {
                    Some(known) => known.images.extend(class.images),
                    None => train.push(class),
                }
            }
            notes.push(format!(
                "{} has the same classes in training and test: support is taken from one, queries from the other",
                root.display()
            ));
            Ok(Parts::Sides([train, test]))
        }
    }
}

/// The classes in a directory: its sub-directories with images in them or below.
///
/// # Errors
/// When it is no directory, or holds no class.
pub fn classes_in(root: &Path) -> Result<Vec<ClassFiles>> {
    if !root.is_dir() {
        return Err(Error::invalid(format!(
            "{} is not a directory that has one sub-directory of images for each class",
            root.display()
        )));
    }
    classes(root, directories(root)?, &mut Vec::new())
}

/// The images in a directory and below, in the order of their paths.
///
/// # Errors
/// When a directory cannot be listed.
pub fn images_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    gather("", directory, &mut above(directory)?, &mut images)?;
    Ok(images.into_iter().map(|image| image.path).collect())
}

/// The classes in these sub-directories of `root`.
fn classes(root: &Path, directories: Vec<PathBuf>, notes: &mut Vec<String>) -> Result<Vec<ClassFiles>> {
    let mut classes: Vec<ClassFiles> = Vec::new();
    let mut empty = Vec::new();
    let mut above = above(root)?;
    above.insert(whole(root)?);
    // In parallel, as asking for the times of a million files takes long.
    let gathered: Vec<Result<Vec<ImageFile>>> = directories
        .par_iter()
        .map(|path| {
            let mut images = Vec::new();
            gather("", path, &mut above.clone(), &mut images)?;
            Ok(images)
        })
        .collect();
    let mut names = HashSet::new();
    for (path, images) in directories.iter().zip(gathered) {
        let (name, images) = (composed(&file_name(path)), images?);
        if images.is_empty() {
            empty.push(format!("`{name}`"));
            continue;
        }
        if !names.insert(name.clone()) {
            return Err(Error::invalid(format!(
                "{} has two directories whose names read `{name}`; rename one",
                root.display()
            )));
        }
        classes.push(ClassFiles { name, images });
    }
    if classes.is_empty() {
        return Err(Error::invalid(format!(
            "the directory {} has no classes; each class is a sub-directory with its images (files that end in .{})",
            root.display(),
            IMAGE_ENDINGS.join(", .")
        )));
    }
    if !empty.is_empty() {
        notes.push(format!("left out of {}, as no image is in them: {}", root.display(), empty.join(", ")));
    }
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(classes)
}

/// The directories that a directory lies in, where links to them end.
fn above(directory: &Path) -> Result<HashSet<PathBuf>> {
    let whole = whole(directory)?;
    Ok(whole.ancestors().skip(1).map(Path::to_path_buf).collect())
}

/// Where a directory really is.
fn whole(directory: &Path) -> Result<PathBuf> {
    fs::canonicalize(directory).map_err(|error| Error::io("listing the directory", directory, error))
}

/// Adds the images of a directory and those below it, their names behind `prefix`; none of a directory that was `seen`, as a
/// link may lead back up.
fn gather(
    prefix: &str,
    directory: &Path,
    seen: &mut HashSet<PathBuf>,
    images: &mut Vec<ImageFile>,
) -> Result<()> {
    if !seen.insert(whole(directory)?) {
        return Ok(());
    }
    let contents = images_in(directory)?;
    images.extend(contents.images.into_iter().map(|(path, stamp)| {
        let name = format!("{prefix}{}", composed(&file_name(&path)));
        ImageFile::new(name, path, stamp)
    }));
    for below in contents.directories {
        gather(&format!("{prefix}{}/", composed(&file_name(&below))), &below, seen, images)?;
    }
    Ok(())
}

/// A name in composed form, divided by slashes.
fn composed(name: &str) -> String {
    let name = name.replace('\\', "/");
    if name.is_ascii() { name } else { name.nfc().collect() }
}
