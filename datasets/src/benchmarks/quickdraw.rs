//! Quick, Draw!: drawings of 345 categories, as bitmaps of 28×28, a `.npy` file for each category.
//!
//! Ha & Eck, *A Neural Representation of Sketch Drawings*, ICLR 2018; CC BY 4.0, from
//! <https://github.com/googlecreativelab/quickdraw-dataset> (`numpy_bitmap`). Categories are divided as in Meta-Dataset
//! (Triantafillou et al., ICLR 2020), 241, 52 and 52. All 50,426,266 drawings are 39.5 GB, so the first `per-class` of each
//! are read, from as many categories as there are files.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use kshot::dataset::{Class, Dataset, DatasetContext};
use kshot::options::Options;
use kshot::{Error, Result, file};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pixels::{PixelOptions, Pixels};
use crate::arrays::npy;
use crate::class_division::{Division, parse};
use crate::class_splits::ClassSplits;

kshot::register_dataset! {
    /// drawings of 345 categories, 28×28 grey, Meta-Dataset's split
    ///
    /// Ha, Eck, ICLR 2018; github.com/googlecreativelab/quickdraw-dataset, CC BY 4.0
    name: "quickdraw",
    options: QuickdrawOptions,
    open: open,
    locate: locate,
}

/// Options of `quickdraw`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct QuickdrawOptions {
    /// How images are prepared.
    #[serde(flatten)]
    pub pixels: PixelOptions,
    /// Drawings read of each category, the first of its file: 1000 of all are 270 MB of memory.
    #[schemars(range(min = 2))]
    pub per_class: u64,
}

impl Default for QuickdrawOptions {
    fn default() -> Self {
        Self { pixels: PixelOptions::default(), per_class: 1000 }
    }
}

impl Options for QuickdrawOptions {}

pub(super) const SPLIT: &str = include_str!("splits/quickdraw.toml");
/// Category, size in bytes and SHA-256 of each file.
#[cfg(feature = "download")]
pub(super) const FILES: &str = include_str!("quickdraw.tsv");
const SIDE: usize = 28;

fn locate(context: &DatasetContext) -> Result<PathBuf> {
    let folder = context.data_dir.join("quickdraw");
    match files(&folder) {
        Ok(files) if !files.is_empty() => Ok(folder),
        _ => Err(Error::invalid(format!(
            "there is no .npy file in {}; get Google's files `numpy_bitmap/CATEGORY.npy`, all 345 (39.5 GB) with `kshot data \
             get quickdraw` or some by hand, or say with --data-dir where they are",
            folder.display()
        ))),
    }
}

/// The `.npy` files of a folder, by the names of their categories.
fn files(folder: &Path) -> Result<HashMap<String, PathBuf>> {
    let failed = |error| Error::io("listing the folder", folder, error);
    let mut files = HashMap::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|end| end == "npy")
            && let Some(name) = path.file_stem()
        {
            // Some programs keep the name as it stands in the address.
            files.insert(name.to_string_lossy().replace("%20", " "), path);
        }
    }
    Ok(files)
}

fn open(context: &DatasetContext, options: QuickdrawOptions) -> Result<Box<dyn Dataset>> {
    let folder = locate(context)?;
    let mut files = files(&folder)?;
    let division: Division = parse(SPLIT).map_err(Error::invalid)?;
    let mut notes = Vec::new();
    let missing = division.iter().flatten().filter(|&name| !files.contains_key(name)).count();
    if missing > 0 {
        notes.push(format!(
            "{missing} of the {} categories are left out, as their files are not in {}: figures are not those of all",
            division.iter().flatten().count(),
            folder.display()
        ));
    }
    let (mut values, mut names) = (Vec::new(), Vec::new());
    let mut classes: [Vec<Class>; 3] = Default::default();
    for (classes, categories) in classes.iter_mut().zip(division) {
        for name in categories {
            let Some(path) = files.remove(&name) else { continue };
            let first = names.len() as u32;
            let drawings = bitmaps(&path, options.per_class).map_err(|why| {
                Error::invalid(format!(
                    "{}: {why}; get it again with `kshot data get quickdraw`",
                    path.display()
                ))
            })?;
            let count = (drawings.len() / (SIDE * SIDE)) as u32;
            values.extend(drawings);
            names.extend((0..count).map(|number| number.to_string()));
            classes.push(Class { name, images: (first..first + count).collect(), quarter_turns: 0 });
        }
    }
    if !files.is_empty() {
        let mut others: Vec<String> = files.into_keys().map(|name| format!("`{name}`")).collect();
        others.sort();
        notes.push(format!("left out of {}, as no category: {}", folder.display(), others.join(", ")));
    }
    let (preparation, whole) = Pixels { shape: [1, SIDE, SIDE], values, names }.prepared(&options.pixels)?;
    Ok(Box::new(ClassSplits::new("quickdraw", preparation, &whole, classes)?.with_notes(notes)))
}

/// The first bitmaps of a file `[n, 784]`.
fn bitmaps(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    const LONGEST: u64 = npy::MOST_HEAD as u64 + 12;
    let file = file::open(path, "reading").map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let wanted = most.saturating_mul(784).saturating_add(LONGEST);
    file.take(wanted).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let head = npy::header(&bytes)?;
    let &[count, 784] = head.shape() else {
        return Err(format!("has the shape {:?}, not [n, 784]", head.shape()));
    };
    head.data::<u8>().map(drop).map_err(|error| error.to_string())?;
    let values = npy::header(&bytes)?.into_inner();
    let wanted = usize::try_from(count.min(most)).ok().and_then(|count| count.checked_mul(784));
    let values = wanted.and_then(|wanted| values.get(..wanted));
    values.map(<[u8]>::to_vec).ok_or_else(|| format!("is cut off: its header says {count} drawings"))
}
