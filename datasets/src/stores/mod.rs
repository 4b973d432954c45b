//! Images decoded once and kept on disk: found again by where they are from and how they were made, for data larger than memory.
//!
//! Each store is a directory below `stores` in the cache, `DATASET-KEY`: the file `images` ([`kshot::dataset::Store`]) and a `lock`
//! that is held while it is written. The key is of the source's place, the size and colour of the inputs, and how images are
//! brought to them; what is done as they are sampled (`normalise`, the division of the classes) is no part of it. The store
//! knows the source by names, sizes and times of its files: where they are others now, it is not used.

mod kept;
mod prepare;
mod source;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kshot::dataset::{DatasetContext, Images, Normalise, Store, Stored, Values};
use kshot::{Error, Result};

use crate::digest;
use crate::images::ImageReader;
use crate::memory;

pub use kept::{Kept, kept, remove};
pub(crate) use prepare::prepare;
pub(crate) use source::Source;

/// Decoded bytes from which on it is said that they need not be in memory.
const LARGE: u64 = 1 << 30;
/// The file in a store's directory.
const IMAGES: &str = "images";

/// What a store is of: image files, and how they become inputs.
pub(crate) struct Origin<'a> {
    pub(crate) dataset: &'a str,
    pub(crate) source: &'a Source,
    pub(crate) reader: ImageReader,
    /// What is done to images before they are resized.
    pub(crate) before: &'static str,
}

impl Origin<'_> {
    /// What names the store. Another version of the program may decode otherwise.
    fn key(&self) -> String {
        let Self { dataset, source, reader, before } = self;
        let images = Images { normalise: Normalise::NONE, ..reader.images() };
        let way = format!("{images:?} {:?} {before}", reader.shape());
        digest::of_all([*dataset, &source.place(), &way, env!("CARGO_PKG_VERSION")])
    }

    /// `folder-0123456789ab`.
    fn name(&self, key: &str) -> String {
        format!("{}-{}", self.dataset, key.get(..12).unwrap_or(key))
    }

    /// Bytes of one input.
    fn size(&self) -> usize {
        self.reader.shape().iter().product()
    }

    /// The store, if there is one of this source as it is now.
    ///
    /// # Errors
    /// When it is damaged.
    fn find(&self, cache: &Path) -> Result<Found> {
        let key = self.key();
        let name = self.name(&key);
        let store = match Store::open(&place(cache, &name)) {
            // Without it the images are read as they would be without a cache.
            Err(Error::Io { source, .. }) if NOT_THERE.contains(&source.kind()) => return Ok(Found::None),
            store => store?,
        };
        let there = store.description();
        let same = there.state == self.source.state
            && there.images as usize == self.source.images
            && there.shape == self.reader.shape();
        Ok(match there.key == key {
            true if same => Found::Fits(Box::new(store)),
            true => Found::Changed(name),
            false => Found::None,
        })
    }
}

enum Found {
    Fits(Box<Store>),
    /// Its files are others since; the store of this name is not used.
    Changed(String),
    None,
}

const NOT_THERE: [ErrorKind; 3] =
    [ErrorKind::NotFound, ErrorKind::NotADirectory, ErrorKind::PermissionDenied];

/// The directory of all stores.
fn directory(cache: &Path) -> PathBuf {
    cache.join("stores")
}

/// The file of a store.
fn place(cache: &Path, name: &str) -> PathBuf {
    directory(cache).join(name).join(IMAGES)
}

/// Inputs of the images of these numbers: in the store, if one fits, else in memory, as `read` gives them.
///
/// # Errors
/// When the store is damaged, there is not as much memory, or those of `read`.
pub(crate) fn values(
    origin: &Origin<'_>,
    numbers: &[u32],
    context: &DatasetContext,
    notes: &mut Vec<String>,
    read: impl FnOnce() -> Result<Vec<u8>>,
) -> Result<Values> {
    let Origin { dataset, source, .. } = origin;
    let found = context.cache_dir.as_ref().map_or(Ok(Found::None), |cache| origin.find(cache))?;
    match found {
        Found::Fits(store) => {
            store.mark_used();
            return Ok(Stored::new(*store, numbers.to_vec())?.into());
        }
        Found::Changed(name) => notes.push(format!(
            "files of {} are not as they were when the store {name} was made: it is not used; `kshot data prepare {dataset}`, with the \
             same options, makes a new one",
            source.path.display()
        )),
        Found::None => {}
    }
    let bytes = (origin.size() as u64).saturating_mul(numbers.len() as u64);
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    if let Some(available) = memory::available().filter(|&available| bytes > available) {
        return Err(Error::invalid(format!(
            "the {} images of `{dataset}` take {:.1} GB of memory, of which {:.1} GB are left: `kshot data prepare {dataset}`, with \
             the same options, keeps them on disk, to be read from there; or set a smaller `image-size`",
            numbers.len(),
            gigabytes(bytes),
            gigabytes(available)
        )));
    }
    if bytes > LARGE {
        notes.push(format!(
            "the images of `{dataset}` take {:.1} GB of memory and are decoded anew each time: `kshot data prepare {dataset}`, with the \
             same options, keeps them on disk, to be read from there",
            gigabytes(bytes)
        ));
    }
    Ok(std::sync::Arc::new(read()?).into())
}
