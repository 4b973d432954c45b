//! Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people.
//!
//! Lake, Salakhutdinov, Tenenbaum, *Human-level concept learning through probabilistic program induction*, Science 350,
//! 2015; <https://github.com/brendenlake/omniglot>, MIT licence. Drawings are 105×105 with ink = 0 in the files; here
//! they are `[1, image-size, image-size]`, resampled by exact area averaging, with ink = 255.

mod drawings;
#[cfg(feature = "download")]
mod remote;
mod split;

use std::path::PathBuf;
use std::sync::Arc;

use kshot::Result;
use kshot::dataset::{ClassSet, Dataset, DatasetContext, Images, Preparation, Resample};
use kshot::options::Options;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::class_splits::ClassSplits;
use drawings::{Drawn, PARTS};

#[cfg(feature = "download")]
pub(crate) use remote::remote_files;
pub use split::ClassSplit;

kshot::register_dataset! {
    /// 1,623 handwritten characters of 50 alphabets, 20 drawings of each
    ///
    /// Lake, Salakhutdinov, Tenenbaum, Science 2015; github.com/brendenlake/omniglot, MIT
    name: "omniglot",
    options: OmniglotOptions,
    open: open,
    locate: locate,
}

/// Options of `omniglot`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct OmniglotOptions {
    /// Height and width of the images, in pixels; the drawings have 105.
    #[schemars(range(min = 1, max = 105))]
    pub image_size: usize,
    /// Which characters are for training, validation and test.
    pub split: ClassSplit,
    /// Whether each rotation by 90° of a character is a class of its own (Santoro et al. 2016), in every split.
    pub rotations: bool,
}

impl Default for OmniglotOptions {
    fn default() -> Self {
        Self { image_size: 28, split: ClassSplit::Vinyals, rotations: true }
    }
}

impl Options for OmniglotOptions {}

/// Where the zips or their folders lie: the directory that holds the background set.
///
/// # Errors
/// When a part is missing: says where it was looked for.
fn locate(context: &DatasetContext) -> Result<PathBuf> {
    let [background, evaluation] = &PARTS;
    let path = drawings::locate(&context.data_dir, background)?;
    drawings::locate(&context.data_dir, evaluation)?;
    Ok(path.parent().unwrap_or(&path).to_path_buf())
}

fn open(context: &DatasetContext, options: OmniglotOptions) -> Result<Box<dyn Dataset>> {
    let size = options.image_size;
    let paths =
        [drawings::locate(&context.data_dir, &PARTS[0])?, drawings::locate(&context.data_dir, &PARTS[1])?];
    let mut images = Drawn::default();
    let background = drawings::read(&paths[0], &PARTS[0], size, &mut images)?;
    let evaluation = drawings::read(&paths[1], &PARTS[1], size, &mut images)?;
    let classes = split::classes(options.split, &background, &evaluation, options.rotations)?;
    let whole = ClassSet::new([1, size, size], Arc::new(images.pixels), Arc::new(images.names), Vec::new())?;
    let made = Images { resample: Resample::Area, invert: true, ..Images::default() };
    Ok(Box::new(ClassSplits::new("omniglot", Preparation::Images(made), &whole, classes)?))
}
