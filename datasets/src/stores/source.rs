//! Where images are from, and the state of their files.

use std::fs;
use std::path::{Path, PathBuf};

use kshot::{Error, Result};

use crate::digest::Parts;
use crate::folder::ClassFiles;
use crate::stamp::Stamp;

/// A directory of images, an archive or a list of them.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// Of names, sizes and times of its files; of an archive, of its own size and time.
    pub(crate) state: String,
    /// How many images it has.
    pub(crate) images: usize,
}

impl Source {
    /// Of classes in several parts. Their images get their numbers, in this order.
    ///
    /// # Errors
    /// When they are more than are counted, or an archive is gone.
    pub(crate) fn of<'a>(
        path: &Path,
        is_archive: bool,
        parts: impl IntoIterator<Item = &'a mut Vec<ClassFiles>>,
    ) -> Result<Self> {
        let whole = is_archive.then(|| fs::metadata(path)).transpose();
        let whole = whole.map_err(|error| Error::io("looking at the archive", path, error))?;
        let whole = whole.as_ref().map(Stamp::from);
        let (mut state, mut images) = (Parts::default(), 0);
        for part in parts {
            state.add(b"part");
            for class in part {
                state.add(class.name.as_bytes());
                state.add(&class.images.len().to_le_bytes());
                for image in &mut class.images {
                    state.add(image.name.as_bytes());
                    state.add(&whole.unwrap_or(image.stamp).bytes());
                    image.number = images;
                    images = images.checked_add(1).ok_or_else(|| {
                        Error::invalid(format!("{} has more than {} images", path.display(), u32::MAX))
                    })?;
                }
            }
        }
        Ok(Self { path: path.to_path_buf(), state: state.name(), images: images as usize })
    }

    /// The same with what else the inputs depend on.
    pub(crate) fn and(self, more: &str) -> Self {
        let state = crate::digest::of_all([self.state.as_str(), more]);
        Self { state, ..self }
    }

    /// Where it lies, whichever way it is named.
    pub(super) fn place(&self) -> String {
        let whole = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        crate::digest::hexadecimal(whole.as_os_str().as_encoded_bytes())
    }
}
