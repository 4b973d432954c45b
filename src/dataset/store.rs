//! Decoded images in one file, read as they are sampled: data that need not fit into memory.
//!
//! A file is, numbers little-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `kshotimg` |
//! | 4 | version of this layout: 1 |
//! | 4 | length of the description |
//! | | the description, JSON: a [`Description`] |
//! | 4 | CRC-32 of all before |
//! | | the images `[images, channels, height, width]`, a byte a value |
//! | 4 × images | CRC-32 of each image |
//! | 4 | CRC-32 of these |
//!
//! It is read by positioned reads and not mapped into memory: a file cut short under a mapping ends the program by a signal,
//! where a read gives an error that names the file; no `unsafe` is needed; and a limit on the address space (`ulimit -v`) is no
//! limit on the data. The page cache keeps in memory what fits.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs::{File, FileTimes};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crc32fast::hash;
use serde::{Deserialize, Serialize};

use crate::atomic::Pending;
use crate::{Error, Result, file};

const MAGIC: &[u8; 8] = b"kshotimg";
const VERSION: u32 = 1;
/// Before the description.
const HEAD: usize = 16;
/// Of a CRC-32.
const SUM: usize = 4;
/// Of a description: paths and words.
const MOST_DESCRIPTION: u32 = 1 << 20;
/// ImageNet-21k has 14 million; so many sums are held in memory.
const MOST_IMAGES: u32 = 100_000_000;

/// What a store holds, and what it was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Name of the dataset.
    pub dataset: String,
    /// The directory, archive or list that it was made of, for people.
    pub source: String,
    /// How the images were made of files, for people.
    pub prepared: String,
    /// What names it: of source and options.
    pub key: String,
    /// The state of the source's files.
    pub state: String,
    /// How many images there are.
    pub images: u32,
    /// Shape of each, `[channels, height, width]`.
    pub shape: [usize; 3],
    /// When it was made, in seconds since 1970.
    pub made: u64,
}

impl Description {
    /// Bytes of an image.
    fn size(&self) -> Option<usize> {
        let [channels, height, width] = self.shape;
        channels.checked_mul(height)?.checked_mul(width).filter(|&size| size > 0)
    }

    /// Bytes of all images.
    fn bytes(&self) -> Option<u64> {
        u64::try_from(self.size()?).ok()?.checked_mul(u64::from(self.images))
    }
}

/// A store's file, opened.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    file: File,
    description: Description,
    /// Bytes of an image.
    size: usize,
    /// Where the first image begins.
    first: u64,
    /// Of each image; none until it is read from.
    sums: Vec<u32>,
}

impl Store {
    /// Opens a store and checks its head, and that the file is as long as that says. Its images are for [`Store::ready`].
    ///
    /// # Errors
    /// When it cannot be read, or is damaged: names the file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = file::open(path, READING)?;
        let length = file.metadata().map_err(|error| Error::io(READING, path, error))?.len();
        let (description, first) = head(&file).map_err(|broken| broken.of(path))?;
        let expected = description.size().zip(description.bytes()).and_then(|(size, bytes)| {
            let sums = u64::from(description.images).checked_add(1)?.checked_mul(SUM as u64)?;
            Some((size, first.checked_add(bytes)?.checked_add(sums)?))
        });
        match expected {
            Some((size, expected)) if expected == length && description.images <= MOST_IMAGES => {
                Ok(Self { path: path.to_path_buf(), file, description, size, first, sums: Vec::new() })
            }
            Some((_, expected)) => {
                Err(Broken::What(format!("it is {length} bytes long, and should be {expected}")).of(path))
            }
            None => Err(Broken::What(format!("it says it holds images of {:?}", description.shape)).of(path)),
        }
    }

    /// Reads what images are checked by.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn ready(mut self) -> Result<Self> {
        let count = self.description.images as usize;
        let mut bytes = vec![0; (count + 1) * SUM];
        let at = self.first + count as u64 * self.size as u64;
        read_exact_at(&self.file, &mut bytes, at).map_err(|error| Broken::from(error).of(&self.path))?;
        let numbers = bytes.as_chunks::<SUM>().0.iter().copied().map(u32::from_le_bytes);
        let mut sums: Vec<u32> = numbers.collect();
        let last = sums.pop();
        let whole = bytes.get(..count * SUM).is_some_and(|of| Some(hash(of)) == last);
        if !whole {
            return Err(Broken::What("the checksums at its end are not as they were written".to_owned())
                .of(&self.path));
        }
        self.sums = sums;
        Ok(self)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Remembers that it was used now, as the time of the file's last access. Nothing is lost where that may not be set.
    pub fn mark_used(&self) {
        let _ = self.file.set_times(FileTimes::new().set_accessed(SystemTime::now()));
    }

    /// When it was last used ([`Store::mark_used`]).
    pub fn used(&self) -> Option<SystemTime> {
        self.file.metadata().ok()?.accessed().ok()
    }

    /// Reads an image.
    ///
    /// # Errors
    /// When the file was cut short or changed since it was opened: names it.
    fn read(&self, number: u32, image: &mut [u8]) -> Result<()> {
        let at = self.first + u64::from(number) * self.size as u64;
        read_exact_at(&self.file, image, at).map_err(|error| Broken::from(error).of(&self.path))?;
        match self.sums.get(number as usize) {
            Some(&sum) if sum == hash(image) => Ok(()),
            _ => Err(Broken::What(format!("image {number} is not as it was written")).of(&self.path)),
        }
    }
}

const READING: &str = "reading the store";

/// What is wrong with a file.
enum Broken {
    Io(io::Error),
    What(String),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::What("it ends too early".to_owned()),
            _ => Self::Io(error),
        }
    }
}

impl Broken {
    fn of(self, path: &Path) -> Error {
        match self {
            Self::Io(error) => Error::io(READING, path, error),
            Self::What(what) => Error::invalid(format!(
                "the store {} is damaged, or was changed while it was read: {what}; remove it (`kshot data remove`) and \
                 prepare it again (`kshot data prepare`)",
                path.display()
            )),
        }
    }
}

/// The description at the beginning of a file, and where the images begin.
fn head(mut file: &File) -> Result<(Description, u64), Broken> {
    let no_store = || Broken::What("it does not begin as a store does".to_owned());
    let mut bytes = vec![0; HEAD];
    file.read_exact(&mut bytes)?;
    let number = |bytes: Option<&[u8]>| bytes.and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    let [version, length] = [number(bytes.get(8..12)), number(bytes.get(12..16))];
    if !bytes.starts_with(MAGIC) || version != Some(VERSION) {
        return Err(no_store());
    }
    let length = length.filter(|&length| length <= MOST_DESCRIPTION).ok_or_else(no_store)? as usize;
    bytes.resize(HEAD + length + SUM, 0);
    file.read_exact(bytes.get_mut(HEAD..).unwrap_or_default())?;
    let (head, sum) = bytes.split_at_checked(HEAD + length).ok_or_else(no_store)?;
    if number(Some(sum)) != Some(hash(head)) {
        return Err(Broken::What("its head is not as it was written".to_owned()));
    }
    let description = serde_json::from_slice(head.get(HEAD..).unwrap_or_default())
        .map_err(|error| Broken::What(format!("its description cannot be read: {error}")))?;
    Ok((description, bytes.len() as u64))
}

/// Reads at a place, whatever others read of the same file at the same time.
#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = match std::os::windows::fs::FileExt::seek_read(file, bytes, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        bytes = bytes.get_mut(read..).unwrap_or_default();
        at += read as u64;
    }
    Ok(())
}

/// Writes a store, image by image: it is there once it is finished, whole.
pub struct StoreWriter {
    path: PathBuf,
    pending: Pending,
    size: usize,
    sums: Vec<u8>,
    images: u32,
}

const WRITING: &str = "writing the store";

impl StoreWriter {
    /// Begins a store of as many images as the description says.
    ///
    /// # Errors
    /// When it has none or too many, or nothing can be written there.
    pub fn create(path: &Path, description: &Description) -> Result<Self> {
        let &Description { images, shape, .. } = description;
        let size = description
            .size()
            .filter(|_| description.bytes().is_some() && (1..=MOST_IMAGES).contains(&images));
        let Some(size) = size else {
            return Err(Error::invalid(format!(
                "{WRITING} {}: {images} images of {shape:?} cannot be stored; it holds 1 to {MOST_IMAGES}",
                path.display()
            )));
        };
        let described = serde_json::to_vec(description)
            .ok()
            .filter(|described| described.len() <= MOST_DESCRIPTION as usize)
            .ok_or_else(|| {
                Error::invalid(format!("{WRITING} {}: its description is too long", path.display()))
            })?;
        let mut head = [&MAGIC[..], &VERSION.to_le_bytes(), &(described.len() as u32).to_le_bytes()].concat();
        head.extend(described);
        head.extend(hash(&head).to_le_bytes());
        let pending = Pending::create(path, WRITING)?;
        let mut writer = Self { path: path.to_path_buf(), pending, size, sums: Vec::new(), images };
        writer.write(&head)?;
        Ok(writer)
    }

    /// Appends images, one after another.
    ///
    /// # Errors
    /// When the disk is full, or they are no whole images.
    pub fn push(&mut self, images: &[u8]) -> Result<()> {
        if !images.len().is_multiple_of(self.size) {
            return Err(Error::invalid(format!(
                "{} bytes are no images of {} bytes",
                images.len(),
                self.size
            )));
        }
        self.sums.extend(images.chunks_exact(self.size).flat_map(|image| hash(image).to_le_bytes()));
        self.write(images)
    }

    /// Puts the store in its place.
    ///
    /// # Errors
    /// When the disk is full, or images are missing.
    pub fn finish(mut self) -> Result<()> {
        if self.sums.len() != self.images as usize * SUM {
            return Err(Error::invalid(format!(
                "{WRITING} {}: it got {} images, not {}",
                self.path.display(),
                self.sums.len() / SUM,
                self.images
            )));
        }
        let mut sums = std::mem::take(&mut self.sums);
        sums.extend(hash(&sums).to_le_bytes());
        self.write(&sums)?;
        self.pending.commit()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.pending.write_all(bytes).map_err(|error| Error::io(WRITING, &self.path, error))
    }
}

/// Images of a store in an order of their own.
#[derive(Debug)]
pub struct Stored {
    store: Arc<Store>,
    /// Which of the store's each is.
    order: Vec<u32>,
}

impl Stored {
    /// Images of these numbers in the store.
    ///
    /// # Errors
    /// When the store has no such image, or cannot be read.
    pub fn new(store: Store, order: Vec<u32>) -> Result<Self> {
        let images = store.description.images;
        if let Some(number) = order.iter().find(|&&number| number >= images) {
            return Err(Error::invalid(format!(
                "the store {} has {images} images, and none of number {number}",
                store.path.display()
            )));
        }
        Ok(Self { store: Arc::new(store.ready()?), order })
    }

    /// Values of all of them.
    pub(super) fn values(&self) -> usize {
        self.order.len() * self.store.size
    }

    /// Reads image `number` into `image`, of as many bytes as one has.
    ///
    /// # Errors
    /// When the file was cut short or changed: names it.
    pub(super) fn read(&self, number: usize, image: &mut [u8]) -> Result<()> {
        match self.order.get(number) {
            Some(&number) => self.store.read(number, image),
            None => Err(Error::invalid(format!("there is no image {number}"))),
        }
    }
}

#[cfg(test)]
mod tests;
