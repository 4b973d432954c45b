//! CIFAR-FS and FC100: the 60,000 images of CIFAR-100, 32×32 in colour, 600 of each of 100 classes, divided in two ways.
//!
//! Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009, in its binary version: `cifar-100-binary.tar.gz`, or
//! the directory in it. Images of its training and its test are taken together.
//!
//! | name | classes of training, validation, test | paper |
//! | --- | --- | --- |
//! | `cifar-fs` | 64 + 16 + 20, at random | Bertinetto et al., ICLR 2019 |
//! | `fc100` | 60 + 20 + 20, those of 12, 4 and 4 superclasses | Oreshkin et al., NeurIPS 2018 |

use std::path::{Path, PathBuf};

use kshot::dataset::{Class, Dataset, DatasetContext};
use kshot::{Error, Result, file};

use super::Facts;
use super::pixels::{PixelOptions, Pixels};
use crate::archive;
use crate::class_splits::ClassSplits;
use crate::place::first_there;

kshot::register_dataset! {
    /// CIFAR-100's classes, 600 images of each, 32×32 in colour, divided at random
    ///
    /// Bertinetto et al., ICLR 2019; images of Krizhevsky 2009
    name: "cifar-fs",
    options: PixelOptions,
    open: |context: &DatasetContext, options| open(&CIFAR_FS, context, &options),
    locate: locate,
}

kshot::register_dataset! {
    /// CIFAR-100's classes, 600 images of each, 32×32 in colour, divided by superclass
    ///
    /// Oreshkin et al., NeurIPS 2018; images of Krizhevsky 2009
    name: "fc100",
    options: PixelOptions,
    open: |context: &DatasetContext, options| open(&FC100, context, &options),
    locate: locate,
}

pub(super) const CIFAR_FS: Facts =
    Facts { name: "cifar-fs", split: include_str!("splits/cifar-fs.toml"), images: 60_000, source: SOURCE };
pub(super) const FC100: Facts =
    Facts { name: "fc100", split: include_str!("splits/fc100.toml"), images: 60_000, source: SOURCE };

const SOURCE: &str = "get it with `kshot data get cifar-fs`, 169 MB, or from https://www.cs.toronto.edu/~kriz/cifar.html (the \
                      binary version)";
/// The archive as it is published.
pub(super) const ARCHIVE: &str = "cifar-100-binary.tar.gz";
/// The directory of the data directory that is for it.
pub(super) const FOLDER: &str = "cifar-100";
/// What is read of it.
const FILES: [&str; 3] = ["fine_label_names.txt", "train.bin", "test.bin"];
const SIDE: usize = 32;
/// Superclass, class, and the planes of red, green and blue.
const RECORD: usize = 2 + 3 * SIDE * SIDE;
/// More than this is none of its files.
const MOST_BYTES: u64 = 1 << 30;

fn locate(context: &DatasetContext) -> Result<PathBuf> {
    first_there(&context.data_dir, &[FOLDER, ""], &[ARCHIVE, "cifar-100-binary"]).ok_or_else(|| {
        Error::invalid(format!(
            "there is no {} (nor the directory cifar-100-binary in it); {SOURCE}, or say with --data-dir where it is",
            context.data_dir.join(FOLDER).join(ARCHIVE).display()
        ))
    })
}

fn open(facts: &Facts, context: &DatasetContext, options: &PixelOptions) -> Result<Box<dyn Dataset>> {
    let place = locate(context)?;
    let wrong = |why: String| {
        Error::invalid(format!(
            "{}: {why}; get it again with `kshot data get {}`",
            place.display(),
            facts.name
        ))
    };
    let [labels, train, test] = files(&place).map_err(wrong)?;
    let labels = String::from_utf8_lossy(&labels);
    let mut classes: Vec<(String, Vec<u32>)> =
        labels.split_whitespace().map(|name| (name.to_owned(), Vec::new())).collect();
    let (mut values, mut names) = (Vec::new(), Vec::new());
    for (file, bytes) in [("train", train), ("test", test)] {
        let (records, rest) = bytes.as_chunks::<RECORD>();
        if !rest.is_empty() || records.is_empty() {
            return Err(wrong(format!(
                "{file}.bin is cut off: its {} bytes are no whole number of images of {RECORD}",
                bytes.len()
            )));
        }
        for (number, record) in records.iter().enumerate() {
            let count = classes.len();
            let (_, images) = classes.get_mut(usize::from(record[1])).ok_or_else(|| {
                wrong(format!(
                    "image {number} (counted from 0) of {file}.bin is of class {}, but {} names {count}",
                    record[1], FILES[0]
                ))
            })?;
            images.push(names.len() as u32);
            values.extend(&record[2..]);
            names.push(format!("{file}{number:05}"));
        }
    }
    let mut notes = Vec::new();
    let divided = facts.divided(classes, &place, &mut notes)?;
    let class = |(name, images)| Class { name, images, quarter_turns: 0 };
    let classes = divided.map(|classes| classes.into_iter().map(class).collect());
    let (preparation, whole) = Pixels { shape: [3, SIDE, SIDE], values, names }.prepared(options)?;
    Ok(Box::new(ClassSplits::new(facts.name, preparation, &whole, classes)?.with_notes(notes)))
}

/// [`FILES`], of the archive or of its directory.
fn files(place: &Path) -> Result<[Vec<u8>; 3], String> {
    let mut files: [Option<Vec<u8>>; 3] = [None, None, None];
    if place.is_dir() {
        for (file, name) in files.iter_mut().zip(FILES) {
            let content = file::bytes(&place.join(name), MOST_BYTES, "reading");
            *file = Some(content.map_err(|error| error.to_string())?);
        }
    } else {
        let number =
            |path: &Path| FILES.iter().position(|file| path.file_name().is_some_and(|name| name == *file));
        archive::each(place, &|path| number(path).is_some(), &mut |path, bytes| {
            let mut content = Vec::new();
            let length = bytes.read_to_end(&mut content)?;
            if let Some(file) = number(path).and_then(|at| files.get_mut(at)) {
                *file = Some(content);
            }
            Ok(length as u64)
        })
        .map_err(|error| error.to_string())?;
    }
    let mut files = files.into_iter().zip(FILES);
    let mut next = || match files.next() {
        Some((Some(bytes), _)) => Ok(bytes),
        Some((None, name)) => Err(format!("it has no {name}")),
        None => Err("it has no more files".to_owned()),
    };
    Ok([next()?, next()?, next()?])
}
