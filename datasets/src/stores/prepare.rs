//! Writing a store: once, in parallel, whole or not at all.

use std::fs::{self, File, TryLockError};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use kshot::dataset::{DatasetContext, Description, Resize, StoreWriter};
use kshot::registry::Prepared;
use kshot::{Error, Result};

use super::{Found, Origin, directory, place};
use crate::images::Vanished;

/// Bytes of images decoded in parallel and then written.
const TOGETHER: usize = 32 << 20;
const DOING: &str = "preparing the store";
const WAITING: &str = "images prepared by another process";
/// How often it is looked whether another process is done.
const WAIT: Duration = Duration::from_millis(100);

/// Makes inputs of images of these numbers, one after another.
pub(crate) type Decode<'a> = &'a dyn Fn(Range<usize>, &mut [u8]) -> Result<Vanished>;

/// Writes the store of a source, unless there is one of it as it is now.
///
/// Of several processes that prepare the same, one writes and the others wait for it. What a process left that was killed
/// is removed.
///
/// # Errors
/// When there is no cache, an image cannot be read, or the disk is full: nothing is kept then. [`Error::Interrupted`] when
/// `stop` is set.
pub(crate) fn prepare(
    origin: &Origin<'_>,
    context: &DatasetContext,
    stop: &AtomicBool,
    decode: Decode<'_>,
) -> Result<Prepared> {
    let Origin { dataset, source, reader, .. } = origin;
    let cache = context.cache_dir.as_ref().ok_or_else(|| {
        Error::invalid("there is no cache directory to keep a store in: set KSHOT_CACHE to a directory")
    })?;
    let key = origin.key();
    let name = origin.name(&key);
    let directory = directory(cache).join(&name);
    let failed = |error| Error::io(DOING, &directory, error);
    fs::create_dir_all(&directory).map_err(failed)?;
    let stopped = || match stop.load(Ordering::Relaxed) {
        true => Err(Error::Interrupted(format!(
            "`{dataset}` is not prepared, and nothing is kept of it; the same command begins again"
        ))),
        false => Ok(()),
    };
    let lock = lock(&directory)?;
    let (all, mut waited) = (source.images as u64, false);
    let is_alone = loop {
        match lock.try_lock() {
            Ok(()) => break true,
            Err(TryLockError::WouldBlock) => {
                stopped()?;
                waited = true;
                (context.progress)(WAITING, 0, all);
                std::thread::sleep(WAIT);
            }
            // A file system without locks: what the last writes stays.
            Err(TryLockError::Error(_)) => break false,
        }
    };
    if waited {
        (context.progress)(WAITING, all, all);
    }
    let prepared = |description, was_there| Prepared {
        name: name.clone(),
        path: place(cache, &name),
        description,
        was_there,
    };
    // One that is damaged is replaced.
    if let Ok(Found::Fits(store)) = origin.find(cache) {
        return Ok(prepared(store.description().clone(), true));
    }
    for entry in fs::read_dir(&directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if is_alone && entry.file_name().to_string_lossy().starts_with(".kshot-") {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let description = Description {
        dataset: (*dataset).to_owned(),
        source: source.path.to_string_lossy().into_owned(),
        prepared: in_words(origin),
        key,
        state: source.state.clone(),
        images: source.images as u32,
        shape: reader.shape(),
        made: since.map_or(0, |since| since.as_secs()),
    };
    let mut writer = StoreWriter::create(&place(cache, &name), &description)?;
    let (size, mut vanished) = (origin.size(), Vanished::default());
    let together = (TOGETHER / size).max(rayon::current_num_threads());
    let mut images = Vec::new();
    let mut done = 0;
    while done < source.images {
        stopped()?;
        let next = (done + together).min(source.images);
        images.resize((next - done) * size, 0);
        vanished += decode(done..next, &mut images)?;
        writer.push(&images)?;
        done = next;
        (context.progress)("images prepared", done as u64, all);
    }
    stopped()?;
    vanished.check(dataset, reader.images().background)?;
    writer.finish()?;
    Ok(prepared(description, false))
}

/// The file that is locked while a store is written.
fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    file.map_err(|error| Error::io(DOING, path, error))
}

const LOCK: &str = "lock";

/// Whether a store is being written.
pub(super) fn is_locked(directory: &Path) -> bool {
    let file = File::options().write(true).open(directory.join(LOCK));
    file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// `64×64 rgb, fit`.
fn in_words(origin: &Origin<'_>) -> String {
    let [channels, height, width] = origin.reader.shape();
    let images = origin.reader.images();
    let mut words = vec![format!("{width}×{height} {}", if channels == 1 { "grey" } else { "rgb" })];
    words.extend((!origin.before.is_empty()).then(|| origin.before.to_owned()));
    words.extend(match images.resize {
        Resize::Stretch => None,
        Resize::Fit => Some("fit".to_owned()),
        Resize::Crop => Some("crop".to_owned()),
        Resize::Imagenet => Some("imagenet".to_owned()),
    });
    words.extend(images.invert.then(|| "inverted".to_owned()));
    words.join(", ")
}
