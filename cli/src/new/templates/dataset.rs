//! `@NAME@`: a dataset of classes, here gratings drawn as it is opened. A class is an orientation and a wavelength.
//!
//! Replace `open` by what reads your files.

#![forbid(unsafe_code)]

use std::f32::consts::{PI, TAU};
use std::sync::Arc;

use kshot::dataset::{Class, ClassSet, Dataset, DatasetContext, Preparation, Split, TaskSource};
use kshot::options::Options;
use kshot::rng::stream;
use kshot::{Error, Result};
use rand::Rng as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

kshot::register_dataset! {
    /// gratings of an orientation and a wavelength, 28×28; needs no file
    ///
    /// yours: paper, licence
    name: "@NAME@",
    options: @TYPE@Options,
    open: |_: &DatasetContext, options: @TYPE@Options| @TYPE@::draw(&options),
}

/// Options of `@NAME@`: their doc comments are what `kshot datasets @NAME@` prints.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct @TYPE@Options {
    /// Classes of each split.
    #[schemars(range(min = 1, max = 10_000))]
    pub classes: usize,
    /// Examples of each class.
    #[schemars(range(min = 1, max = 1_000))]
    pub examples: usize,
}

impl Default for @TYPE@Options {
    fn default() -> Self {
        Self { classes: 40, examples: 20 }
    }
}

impl Options for @TYPE@Options {}

const SIZE: usize = 28;

/// Train, validation and test classes.
struct @TYPE@([Arc<ClassSet>; 3]);

impl @TYPE@ {
    fn draw(options: &@TYPE@Options) -> Result<Box<dyn Dataset>> {
        let splits = [Split::Train, Split::Validation, Split::Test];
        let [train, validation, test] = splits.map(|split| class_set(split, options).map(Arc::new));
        Ok(Box::new(Self([train?, validation?, test?])))
    }
}

/// The classes of a split: each a pure function of (split, class).
fn class_set(split: Split, options: &@TYPE@Options) -> Result<ClassSet> {
    let (mut pixels, mut names, mut classes) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..options.classes {
        let mut rng = stream(0, &format!("@NAME@/{}", split.name()), number as u64);
        let (angle, wavelength) = (rng.random_range(0.0..PI), rng.random_range(4.0..12.0f32));
        let first = names.len() as u32;
        for example in 0..options.examples {
            let (phase, noise) = (rng.random_range(0.0..TAU), rng.random_range(0.1..0.4f32));
            let (x, y) = (angle.cos() / wavelength, angle.sin() / wavelength);
            pixels.extend((0..SIZE * SIZE).map(|at| {
                let wave = (TAU * ((at % SIZE) as f32 * x + (at / SIZE) as f32 * y) + phase).sin();
                let value = 0.5 + 0.4 * wave + noise * rng.random_range(-1.0..1.0f32);
                (255.0 * value.clamp(0.0, 1.0)) as u8
            }));
            names.push(format!("{example:03}"));
        }
        let images = (first..names.len() as u32).collect();
        classes.push(Class { name: format!("{}/{number:04}", split.name()), images, quarter_turns: 0 });
    }
    ClassSet::new([1, SIZE, SIZE], Arc::new(pixels), Arc::new(names), classes)
}

impl Dataset for @TYPE@ {
    fn split(&self, split: Split) -> Result<TaskSource> {
        let place = [Split::Train, Split::Validation, Split::Test].iter().position(|other| *other == split);
        let set = place.and_then(|place| self.0.get(place));
        set.map(|set| TaskSource::Classes(set.clone())).ok_or_else(|| Error::invalid("there is no such split"))
    }

    fn input(&self) -> [usize; 3] {
        [1, SIZE, SIZE]
    }

    fn preparation(&self) -> Preparation {
        Preparation::Generated
    }
}
