//! Datasets: what episodes are sampled from. Implementations live in the `datasets` crate and in plugins.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::episode::Episode;
use crate::{Error, Result};

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

/// Where and under which seed a dataset is opened.
#[derive(Clone, Debug, Default)]
pub struct DatasetContext {
    /// Where datasets lie, by precedence: `--data-dir`, `KSHOT_DATA`, the user's data directory.
    pub data_dir: PathBuf,
    /// Seed of generated datasets and of random class splits.
    pub seed: u64,
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

    /// Writes example `place` of class `class` to `out` as `f32` in 0–1, turned as the class says.
    pub fn copy_example(&self, class: usize, place: usize, out: &mut [f32]) {
        let [_, height, width] = self.shape;
        let size = out.len();
        let class = &self.classes[class];
        let start = class.images[place] as usize * size;
        let pixels = &self.pixels[start..start + size];
        let planes = pixels.chunks_exact(height * width).zip(out.chunks_exact_mut(height * width));
        for (plane, out) in planes {
            turn(plane, out, height, width, class.quarter_turns);
        }
    }
}

/// Copies one plane to `f32` in 0–1, turned counter-clockwise by `quarter_turns` × 90°.
fn turn(plane: &[u8], out: &mut [f32], height: usize, width: usize, quarter_turns: u8) {
    const SCALE: f32 = 1.0 / 255.0;
    match quarter_turns % 4 {
        0 => out.iter_mut().zip(plane).for_each(|(o, &p)| *o = f32::from(p) * SCALE),
        2 => out.iter_mut().zip(plane.iter().rev()).for_each(|(o, &p)| *o = f32::from(p) * SCALE),
        turns => {
            // Square by construction: out[r][c] = plane[c][width−1−r] for one turn, plane[height−1−c][r] for three.
            for (r, row) in out.chunks_exact_mut(height).enumerate() {
                for (c, o) in row.iter_mut().enumerate() {
                    let source =
                        if turns == 1 { c * width + width - 1 - r } else { (height - 1 - c) * width + r };
                    *o = f32::from(plane[source]) * SCALE;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_quarter_turns_are_the_identity_and_one_moves_the_top_right_corner_to_the_top_left() {
        let plane: Vec<u8> = (0..9).collect();
        let mut out = vec![0.0; 9];
        turn(&plane, &mut out, 3, 3, 1);
        let turned: Vec<u8> = out.iter().map(|v| (v * 255.0).round() as u8).collect();
        assert_eq!(turned, [2, 5, 8, 1, 4, 7, 0, 3, 6]);
        let mut again = turned;
        for _ in 0..3 {
            turn(&again.clone(), &mut out, 3, 3, 1);
            again = out.iter().map(|v| (v * 255.0).round() as u8).collect();
        }
        assert_eq!(again, plane);
        turn(&plane, &mut out, 3, 3, 3);
        assert_eq!(out[0] * 255.0, 6.0);
    }
}
