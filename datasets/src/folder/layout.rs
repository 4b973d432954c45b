//! What lies where in a directory of images: its classes, and the division that sub-directories may already make.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use kshot::{Error, Result};
use unicode_normalization::UnicodeNormalization as _;

/// What an image's name ends in.
const EXTENSIONS: [&str; 11] =
    ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "pgm", "ppm", "pbm", "pnm"];

/// Names of the directories that divide classes; two of them stand for validation.
const SPLITS: [&[&str]; 3] = [&["train", "training"], &["val", "valid", "validation"], &["test", "testing"]];

/// A class, and the images in its directory and below.
#[derive(Debug)]
pub struct ClassFiles {
    /// The directory's name, in Unicode's composed form (NFC): `é` is one letter on every file system.
    pub name: String,
    /// Its images, sorted, each with its path below the class's directory.
    pub images: Vec<(String, PathBuf)>,
}

/// What a directory holds.
pub(super) enum Layout {
    /// A class in each sub-directory.
    Classes(Vec<ClassFiles>),
    /// Sub-directories `train`, `val`, `test` with the classes of each.
    Divided([Vec<ClassFiles>; 3]),
}

/// Looks through `root`; what it leaves out is told in `notes`.
///
/// # Errors
/// When it is no directory, holds no class, or a class stands in two splits.
pub(super) fn read(root: &Path, notes: &mut Vec<String>) -> Result<Layout> {
    if !root.is_dir() {
        return Err(Error::invalid(format!(
            "{} is not a directory; the option `path` of `folder` names the directory that has one sub-directory of \
             images for each class",
            root.display()
        )));
    }
    let directories = directories(root)?;
    let split_of = |path: &Path| {
        let name = file_name(path).to_lowercase();
        SPLITS.iter().position(|names| names.contains(&name.as_str()))
    };
    let divided = directories.len() >= 2
        && directories.iter().all(|path| split_of(path).is_some())
        && directories
            .iter()
            .map(|path| Ok(images_in(path)?.is_empty()))
            .collect::<Result<Vec<_>>>()?
            .iter()
            .all(|&none| none);
    if !divided {
        return Ok(Layout::Classes(classes(root, directories, notes)?));
    }
    let mut splits: [Vec<ClassFiles>; 3] = Default::default();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for path in directories {
        let Some(split) = split_of(&path) else { continue };
        for class in classes(&path, self::directories(&path)?, notes)? {
            if let Some(other) = seen.insert(class.name.clone(), split).filter(|&other| other != split) {
                return Err(Error::invalid(format!(
                    "the class `{}` is both in {} and in {} of {}: tasks are tested on classes that were not trained \
                     on. Name one of the two as `path`, or gather each class in one directory",
                    class.name,
                    SPLITS[other][0],
                    SPLITS[split][0],
                    root.display()
                )));
            }
            splits[split].push(class);
        }
    }
    notes.push(format!(
        "{} is divided into train, validation and test by its directories, with {} + {} + {} classes; `fractions` is not \
         used",
        root.display(),
        splits[0].len(),
        splits[1].len(),
        splits[2].len()
    ));
    Ok(Layout::Divided(splits))
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
    gather(directory, directory, 0, &mut images)?;
    Ok(images.into_iter().map(|(_, path)| path).collect())
}

/// The classes in these sub-directories of `root`.
fn classes(root: &Path, directories: Vec<PathBuf>, notes: &mut Vec<String>) -> Result<Vec<ClassFiles>> {
    let mut classes: Vec<ClassFiles> = Vec::new();
    let mut empty = Vec::new();
    for path in directories {
        let name: String = file_name(&path).nfc().collect();
        let mut images = Vec::new();
        gather(&path, &path, 0, &mut images)?;
        if images.is_empty() {
            empty.push(format!("`{name}`"));
            continue;
        }
        if classes.iter().any(|class| class.name == name) {
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
            EXTENSIONS.join(", .")
        )));
    }
    if !empty.is_empty() {
        notes.push(format!("left out of {}, as no image is in them: {}", root.display(), empty.join(", ")));
    }
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(classes)
}

/// Adds the images of a directory and those below it, each with its path below `class`.
fn gather(class: &Path, directory: &Path, depth: usize, images: &mut Vec<(String, PathBuf)>) -> Result<()> {
    // A link may lead back up.
    const DEEPEST: usize = 16;
    for path in images_in(directory)? {
        let name = path.strip_prefix(class).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        images.push((name, path));
    }
    if depth < DEEPEST {
        for below in directories(directory)? {
            gather(class, &below, depth + 1, images)?;
        }
    }
    Ok(())
}

/// The sub-directories, sorted, without hidden ones and those that archives of another system leave behind.
fn directories(root: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(root)?.into_iter().filter(|path| path.is_dir() && file_name(path) != "__MACOSX").collect())
}

/// The files in a directory that are named as images, sorted.
fn images_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let named_as_image = |path: &PathBuf| {
        path.extension().is_some_and(|end| EXTENSIONS.iter().any(|known| end.eq_ignore_ascii_case(known)))
    };
    Ok(entries(directory)?.into_iter().filter(|path| named_as_image(path) && path.is_file()).collect())
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
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
