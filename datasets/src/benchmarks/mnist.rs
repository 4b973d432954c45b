//! MNIST: 70,000 handwritten digits, 28×28, in the IDX files as published, gzip or not.
//!
//! LeCun, Bottou, Bengio & Haffner, *Gradient-based learning applied to document recognition*, Proceedings of the IEEE 86,
//! 1998. Those of its training and its test are taken together, 6,313 to 7,877 of each digit. In few-shot work all ten digits
//! are for test (Requeima et al., *Fast and Flexible Multi-Task Classification Using CNAPs*, NeurIPS 2019): a learner is trained
//! on other data. `fractions` divides them otherwise.

use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use kshot::dataset::{Class, Dataset, DatasetContext};
use kshot::options::Options;
use kshot::{Error, Result, file};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pixels::{PixelOptions, Pixels};
use crate::archive;
use crate::class_division::by_fractions_or_all;
use crate::class_splits::ClassSplits;

kshot::register_dataset! {
    /// 70,000 handwritten digits, 28×28 grey, all ten for test
    ///
    /// LeCun, Bottou, Bengio, Haffner, Proceedings of the IEEE 1998
    name: "mnist",
    options: MnistOptions,
    open: open,
    locate: locate,
}

/// Options of `mnist`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct MnistOptions {
    /// How images are prepared.
    #[serde(flatten)]
    pub pixels: PixelOptions,
    /// The shares of the digits for training, validation and test.
    pub fractions: [f64; 3],
    /// Seed of the division by `fractions`. Not the run's: all runs see the same classes.
    pub seed: u64,
}

impl Default for MnistOptions {
    fn default() -> Self {
        Self { pixels: PixelOptions::default(), fractions: [0.0, 0.0, 1.0], seed: 0 }
    }
}

impl Options for MnistOptions {}

/// Its parts: images and labels.
const PARTS: [&str; 2] = ["train", "t10k"];
/// More than this is no file of MNIST.
const MOST_BYTES: u64 = 1 << 28;
const SIDE: usize = 28;
const DIGITS: usize = 10;

fn locate(context: &DatasetContext) -> Result<PathBuf> {
    let folders = ["mnist", "MNIST/raw"].map(|folder| context.data_dir.join(folder));
    let all = |folder: &&PathBuf| {
        PARTS
            .iter()
            .all(|part| [images_of(part), labels_of(part)].iter().all(|name| found(folder, name).is_some()))
    };
    folders.iter().find(all).cloned().ok_or_else(|| {
        Error::invalid(format!(
            "MNIST's four files, {} and so on, with `.gz` or without, are not in {}; get them with `kshot data get mnist`, or \
             say with --data-dir where they are",
            images_of(PARTS[0]),
            folders[0].display()
        ))
    })
}

fn images_of(part: &str) -> String {
    format!("{part}-images-idx3-ubyte")
}

fn labels_of(part: &str) -> String {
    format!("{part}-labels-idx1-ubyte")
}

/// The file of this name, packed or not.
fn found(folder: &Path, name: &str) -> Option<PathBuf> {
    [format!("{name}.gz"), name.to_owned()].iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

fn open(context: &DatasetContext, options: MnistOptions) -> Result<Box<dyn Dataset>> {
    let folder = locate(context)?;
    let (mut values, mut names) = (Vec::new(), Vec::new());
    let mut of_digit: Vec<Vec<u32>> = vec![Vec::new(); DIGITS];
    for part in PARTS {
        let (images, path) = idx(&folder, &images_of(part), &[SIDE, SIDE])?;
        let (labels, labels_path) = idx(&folder, &labels_of(part), &[])?;
        let count = images.len() / (SIDE * SIDE);
        if count != labels.len() {
            return Err(Error::invalid(format!(
                "{} has {count} images, but {} has {} labels: get both again with `kshot data get mnist`",
                path.display(),
                labels_path.display(),
                labels.len()
            )));
        }
        for (number, label) in labels.into_iter().enumerate() {
            let digit = of_digit.get_mut(usize::from(label)).ok_or_else(|| {
                Error::invalid(format!(
                    "label {number} (counted from 0) of {} is {label}, which is no digit",
                    labels_path.display()
                ))
            })?;
            digit.push(names.len() as u32);
            names.push(format!("{part}{number:05}"));
        }
        values.extend(images);
    }
    let (preparation, whole) = Pixels { shape: [1, SIDE, SIDE], values, names }.prepared(&options.pixels)?;
    let digits: Vec<String> = (0..DIGITS).map(|digit| digit.to_string()).collect();
    let mut notes = Vec::new();
    let division = by_fractions_or_all(options.fractions, options.seed, &digits, &mut notes)?;
    let class = |name: String| {
        let digit = name.parse::<usize>().unwrap_or_default();
        Class { name, images: of_digit.get(digit).cloned().unwrap_or_default(), quarter_turns: 0 }
    };
    let classes = division.map(|names| names.into_iter().map(class).collect());
    Ok(Box::new(ClassSplits::new("mnist", preparation, &whole, classes)?.with_notes(notes)))
}

/// The bytes of an IDX file's items, each of this shape, and where they were read from.
fn idx(folder: &Path, name: &str, shape: &[usize]) -> Result<(Vec<u8>, PathBuf)> {
    let path = found(folder, name).ok_or_else(|| {
        Error::invalid(format!("there is no {} (nor {name}.gz)", folder.join(name).display()))
    })?;
    let packed = file::bytes(&path, MOST_BYTES, "reading")?;
    let wrong = |why: String| {
        Error::invalid(format!("{} {why}; get it again with `kshot data get mnist`", path.display()))
    };
    let bytes = match path.extension().is_some_and(|end| end == "gz") {
        true => {
            archive::unpacked(GzDecoder::new(&*packed), packed.len() as u64, MOST_BYTES).map_err(wrong)?
        }
        false => packed,
    };
    let items = items(bytes, shape).map_err(wrong)?;
    Ok((items, path))
}

/// What follows an IDX head: 0, 0, 8 for bytes, the number of dimensions, and each of these in four bytes, highest first.
fn items(mut bytes: Vec<u8>, shape: &[usize]) -> Result<Vec<u8>, String> {
    let dimensions = 1 + shape.len();
    let head = 4 * (1 + dimensions);
    let sizes = bytes.get(4..head).filter(|_| bytes.starts_with(&[0, 0, 8, dimensions as u8]));
    let Some(sizes) = sizes else {
        let found: Vec<u8> = bytes.iter().take(4).copied().collect();
        return Err(format!(
            "is no IDX file of bytes in {dimensions} dimensions: it begins with {found:?}, not [0, 0, 8, {dimensions}]"
        ));
    };
    let size = |at: &[u8]| at.iter().fold(0usize, |size, &byte| (size << 8) | usize::from(byte));
    let sizes: Vec<usize> = sizes.chunks_exact(4).map(size).collect();
    let Some((items, of_each)) = sizes.split_first().filter(|(_, of_each)| *of_each == shape) else {
        return Err(format!("has items of {:?}, not {shape:?}", sizes.get(1..).unwrap_or_default()));
    };
    let wanted = of_each.iter().try_fold(*items, |product, &size| product.checked_mul(size));
    if wanted != Some(bytes.len() - head) {
        return Err(format!("says it has {items} items, but has {} bytes of them", bytes.len() - head));
    }
    Ok(bytes.split_off(head))
}
