//! Datasets: what episodes are sampled from. Implementations live in the `datasets` crate and in plugins.

mod quarter_turn;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::episode::Episode;
use crate::{Error, Result};
use quarter_turn::turn;

/// The disjoint parts of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Meta-training: base classes.
    Train,
    /// Choosing a checkpoint: classes of its own.
    Validation,
    /// Meta-test: classes never seen before.
    Test,
}

impl Split {
    /// `train`, `validation` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// Where a dataset is opened.
#[derive(Clone, Debug, Default)]
pub struct DatasetContext {
    /// Where datasets lie, by precedence: `--data-dir`, `KSHOT_DATA`, the user's data directory.
    pub data_dir: PathBuf,
}

/// A dataset, opened.
pub trait Dataset: Send + Sync {
    /// The tasks of one split.
    ///
    /// # Errors
    /// When the split has no classes or cannot be read.
    fn split(&self, split: Split) -> Result<TaskSource>;

    /// Shape of one input, `[channels, height, width]`.
    fn input(&self) -> [usize; 3];
}

/// What a split offers to sample tasks from.
#[derive(Clone)]
pub enum TaskSource {
    /// Classes with examples: N-way K-shot tasks, batches, manifests.
    Classes(Arc<ClassSet>),
    /// A distribution over functions: regression tasks.
    Functions(Arc<dyn FunctionTasks>),
}

impl TaskSource {
    /// Number of classes; 0 for functions.
    pub fn class_count(&self) -> usize {
        match self {
            Self::Classes(set) => set.classes().len(),
            Self::Functions(_) => 0,
        }
    }
}

/// A distribution over regression tasks.
pub trait FunctionTasks: Send + Sync {
    /// Task `index` of `split` under `seed`, with this many support and query points: a pure function of its arguments.
    fn task(&self, seed: u64, split: Split, index: u64, support: usize, query: usize) -> Episode;
}

/// One class of a [`ClassSet`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Name, unique in its set: `Greek/character07/rot090`.
    pub name: String,
    /// Its examples: numbers of images in the set.
    pub images: Vec<u32>,
    /// How many times 90° counter-clockwise its images are turned as they are sampled (0–3).
    pub quarter_turns: u8,
}

/// Images by class: `u8` in memory, `f32` in 0–1 as they are sampled.
#[derive(Clone, Debug)]
pub struct ClassSet {
    shape: [usize; 3],
    pixels: Arc<Vec<u8>>,
    image_names: Arc<Vec<String>>,
    classes: Vec<Class>,
}

impl ClassSet {
    /// A set over `pixels`, `[images, channels, height, width]` flattened, which several splits may share.
    ///
    /// `image_names` has one file name for each image.
    ///
    /// # Errors
    /// When the lengths disagree, a class is empty, or images that are not square are to be turned.
    pub fn new(
        shape: [usize; 3],
        pixels: Arc<Vec<u8>>,
        image_names: Arc<Vec<String>>,
        classes: Vec<Class>,
    ) -> Result<Self> {
        let size = shape.iter().product::<usize>();
        if size == 0 || pixels.len() != size * image_names.len() {
            return Err(Error::invalid(format!(
                "{} pixels are not {} images of {}×{}×{}",
                pixels.len(),
                image_names.len(),
                shape[0],
                shape[1],
                shape[2]
            )));
        }
        for class in &classes {
            if class.images.is_empty() {
                return Err(Error::invalid(format!("class `{}` has no examples", class.name)));
            }
            if class.images.iter().any(|&image| image as usize >= image_names.len()) {
                return Err(Error::invalid(format!(
                    "class `{}` names an image that is not there",
                    class.name
                )));
            }
            if class.quarter_turns % 2 == 1 && shape[1] != shape[2] {
                return Err(Error::invalid(format!(
                    "images of {}×{} cannot be turned by 90°: rotation needs square images",
                    shape[1], shape[2]
                )));
            }
        }
        Ok(Self { shape, pixels, image_names, classes })
    }

    /// Shape of one image, `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The classes, in order; a class's number is its place here.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// `CLASS/FILE` of every example → (class, place within the class): what manifests name.
    pub fn example_names(&self) -> HashMap<String, (usize, usize)> {
        let mut names = HashMap::new();
        for (number, class) in self.classes.iter().enumerate() {
            for (place, &image) in class.images.iter().enumerate() {
                names.insert(format!("{}/{}", class.name, self.image_names[image as usize]), (number, place));
            }
        }
        names
    }

    /// Appends examples, each (class, place within the class), to `out` as `f32` in 0–1, turned as their classes say.
    pub fn push_examples(&self, examples: impl IntoIterator<Item = (usize, usize)>, out: &mut Vec<f32>) {
        const SCALE: f32 = 1.0 / 255.0;
        let [_, height, width] = self.shape;
        let size = self.shape.iter().product::<usize>();
        let mut turned = Vec::new();
        for (class, place) in examples {
            let class = &self.classes[class];
            let start = class.images[place] as usize * size;
            let mut pixels = &self.pixels[start..start + size];
            if !class.quarter_turns.is_multiple_of(4) {
                turned.resize(size, 0);
                let planes = pixels.chunks_exact(height * width).zip(turned.chunks_exact_mut(height * width));
                planes.for_each(|(plane, out)| turn(plane, out, width, class.quarter_turns));
                pixels = &turned;
            }
            // Appended, not written over zeros: that is another pass over memory.
            out.extend(pixels.iter().map(|&pixel| f32::from(pixel) * SCALE));
        }
    }
}
