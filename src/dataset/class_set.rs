//! Classes with examples, in memory or in a file.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::images::Normalise;
use super::quarter_turn::turn;
use super::values::Values;
use crate::{Error, Result};

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

/// Refuses numbers that cannot be compared: squared distances of 10²⁰ or 10⁻²⁵ leave `f32`, all examples are then equally
/// far.
fn check_scale(numbers: &[f32]) -> Result<()> {
    const SMALLEST: f32 = 1e-15;
    const LARGEST: f32 = 1e15;
    let largest = numbers.iter().fold(0.0f32, |most, number| most.max(number.abs()));
    if largest == 0.0 || (SMALLEST..=LARGEST).contains(&largest) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the largest of the inputs is {largest:e}, and their squares leave what f32 holds: bring them to a scale near 1 \
         (`standardise`, or other units)"
    )))
}

/// Examples by class.
#[derive(Clone, Debug)]
pub struct ClassSet {
    shape: [usize; 3],
    values: Values,
    image_names: Arc<Vec<String>>,
    /// Of bytes.
    normalise: Normalise,
    /// Of each example, where some are not to be on both sides of a task.
    groups: Option<Arc<Vec<u32>>>,
    classes: Vec<Class>,
    /// Of several datasets joined: name and number of classes of each, in order of the classes; empty for one dataset.
    sources: Vec<(String, usize)>,
}

impl ClassSet {
    /// A set over `values`, which several splits may share.
    ///
    /// `image_names` has one file name for each example.
    ///
    /// # Errors
    /// When the lengths disagree, a class is empty, what is no square image of bytes is to be turned, or numbers are of a
    /// scale whose squares `f32` cannot hold.
    pub fn new(
        shape: [usize; 3],
        values: impl Into<Values>,
        image_names: Arc<Vec<String>>,
        classes: Vec<Class>,
    ) -> Result<Self> {
        let (size, values) = (shape.iter().product::<usize>(), values.into());
        if size == 0 || values.len() != size * image_names.len() {
            return Err(Error::invalid(format!(
                "{} values are not {} examples of {}×{}×{}",
                values.len(),
                image_names.len(),
                shape[0],
                shape[1],
                shape[2]
            )));
        }
        if let Values::Floats(numbers) = &values {
            check_scale(numbers)?;
        }
        let (normalise, groups, sources) = (Normalise::NONE, None, Vec::new());
        Self { shape, values, image_names, normalise, groups, classes: Vec::new(), sources }
            .with_classes(classes)
    }

    /// The inputs of several sets one after the other, without classes, and the number of each set's first example. Grey images
    /// beside those of three channels are given three. Pixels stay where they are, none is copied.
    ///
    /// # Errors
    /// When they differ in size, in how they are normalised or in what they hold (bytes, numbers), or some are in groups.
    pub fn joined(sets: &[&Self]) -> Result<(Self, Vec<u32>)> {
        let Some(first) = sets.first() else { return Err(Error::invalid("there is no set to join")) };
        let channels = sets.iter().map(|set| set.shape[0]).max().unwrap_or(1);
        let shape = [channels, first.shape[1], first.shape[2]];
        let (mut names, mut firsts, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for set in sets {
            let [own, height, width] = set.shape;
            let repeats = match (own, set.values.are_pixels()) {
                _ if own == channels => 1,
                (1, true) => channels,
                _ => 0,
            };
            if [height, width] != shape[1..] || repeats == 0 {
                return Err(Error::invalid(format!(
                    "inputs of {:?} and of {:?} (channels, height, width) cannot be joined: bring them to one `image-size`",
                    first.shape, set.shape
                )));
            }
            if set.normalise != first.normalise || set.groups.is_some() {
                return Err(Error::invalid(
                    "inputs that are normalised differently, or are in groups, cannot be joined: set `normalise` alike",
                ));
            }
            firsts.push(names.len() as u32);
            names.extend_from_slice(&set.image_names);
            parts.push((&set.values, repeats));
        }
        let values = Values::joined(&parts, &firsts)?;
        let joined = Self::new(shape, values, Arc::new(names), Vec::new())?.normalised(first.normalise);
        Ok((joined, firsts))
    }

    /// The same with names of the datasets that its classes are from, and how many are of each, in order: no task has classes of
    /// two.
    ///
    /// # Errors
    /// When they are not as many as the classes.
    pub fn from_sources(self, sources: Vec<(String, usize)>) -> Result<Self> {
        let there = self.classes.len();
        match sources.iter().map(|source| source.1).sum::<usize>() == there {
            true => Ok(Self { sources, ..self }),
            false => Err(Error::invalid(format!("{sources:?} are not the sources of {there} classes"))),
        }
    }

    /// The datasets that its classes are from, where they are of several: name, and the numbers of its classes.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = (&str, Range<usize>)> {
        let mut next = 0;
        self.sources.iter().map(move |(name, classes)| {
            let first = next;
            next += classes;
            (name.as_str(), first..next)
        })
    }

    /// The same with pixels normalised as they are sampled.
    #[must_use]
    pub fn normalised(self, normalise: Normalise) -> Self {
        Self { normalise, ..self }
    }

    /// The same with a group for each example: a patient, a machine, a video, whose examples are alike in more than their
    /// class. No group is on both sides of a task.
    ///
    /// # Errors
    /// When they are not as many as the examples.
    pub fn grouped(self, groups: Arc<Vec<u32>>) -> Result<Self> {
        if groups.len() != self.image_names.len() {
            return Err(Error::invalid(format!(
                "{} groups are not those of {} examples",
                groups.len(),
                self.image_names.len()
            )));
        }
        Ok(Self { groups: Some(groups), ..self })
    }

    /// Whether some examples are not to be on both sides of a task.
    pub(crate) fn is_grouped(&self) -> bool {
        self.groups.is_some()
    }

    /// The group of each example of a class, where there are groups.
    pub(crate) fn groups_of(&self, class: usize) -> Option<Vec<u32>> {
        let groups = self.groups.as_ref()?;
        Some(self.classes[class].images.iter().map(|&image| groups[image as usize]).collect())
    }

    /// The same examples under other classes.
    ///
    /// # Errors
    /// As [`ClassSet::new`].
    pub fn with_classes(&self, classes: Vec<Class>) -> Result<Self> {
        let Self { shape, values, image_names, .. } = self;
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
            if class.quarter_turns != 0 && matches!(values, Values::Floats(_)) {
                return Err(Error::invalid(format!(
                    "class `{}` is to be turned, but is no image",
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
        Ok(Self { classes, sources: Vec::new(), ..self.clone() })
    }

    /// Shape of one image, `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// How pixels are normalised as they are sampled; `None` for numbers, which are as they are.
    pub fn pixels(&self) -> Option<Normalise> {
        self.values.are_pixels().then_some(self.normalise)
    }

    /// Whether both are views of the same inputs: one was made of the other by [`ClassSet::with_classes`].
    pub fn shares_inputs_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.image_names, &other.image_names)
    }

    /// The classes, in order; a class's number is its place here.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// `CLASS/FILE` of an example of a class.
    pub(crate) fn example_name(&self, class: usize, place: usize) -> String {
        let class = &self.classes[class];
        format!("{}/{}", class.name, self.image_names[class.images[place] as usize])
    }

    /// `CLASS/FILE` of every example → (class, place within the class): what manifests name.
    pub fn example_names(&self) -> HashMap<String, (usize, usize)> {
        let mut names = HashMap::new();
        for (number, class) in self.classes.iter().enumerate() {
            for place in 0..class.images.len() {
                names.insert(self.example_name(number, place), (number, place));
            }
        }
        names
    }

    /// Appends examples, each (class, place within the class), to `out`: bytes as `f32` in 0–1, turned as their classes
    /// say.
    ///
    /// # Errors
    /// When they lie in a file that was cut short or changed since it was opened: names it.
    pub fn push_examples(
        &self,
        examples: impl IntoIterator<Item = (usize, usize)>,
        out: &mut Vec<f32>,
    ) -> Result<()> {
        const SCALE: f32 = 1.0 / 255.0;
        let [_, height, width] = self.shape;
        let size = self.shape.iter().product::<usize>();
        let (mut read, mut turned) = (Vec::new(), Vec::new());
        for (class, place) in examples {
            let class = &self.classes[class];
            let number = class.images[place] as usize;
            if let Values::Floats(floats) = &self.values {
                out.extend_from_slice(&floats[number * size..(number + 1) * size]);
                continue;
            }
            let mut pixels = self.values.image(number, size, &mut read)?;
            if !class.quarter_turns.is_multiple_of(4) {
                turned.resize(size, 0);
                let planes = pixels.chunks_exact(height * width).zip(turned.chunks_exact_mut(height * width));
                planes.for_each(|(plane, out)| turn(plane, out, width, class.quarter_turns));
                pixels = &turned;
            }
            // Appended, not written over zeros: that is another pass over memory.
            if self.normalise == Normalise::NONE {
                out.extend(pixels.iter().map(|&pixel| f32::from(pixel) * SCALE));
                continue;
            }
            for (channel, plane) in pixels.chunks_exact(height * width).enumerate() {
                out.extend(
                    plane.iter().map(|&pixel| self.normalise.apply(channel, f32::from(pixel) * SCALE)),
                );
            }
        }
        Ok(())
    }
}
