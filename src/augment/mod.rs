//! Augmentation: training examples varied as they are sampled, so that a network sees what does not change their class.
//!
//! [`Augment`] says how, in torchvision's parameters where it has the transformation; [`Augment::standard`] is what papers
//! do with such data. The variation of an example is a pure function of (seed, episode, example): the same on any number of
//! threads, interrupted and resumed or not. [`Augmented`](crate::episode::Augmented) puts it before a training,
//! [`SupportViews`](crate::episode::SupportViews) before the support sets of a test.
//!
//! ```
//! use kshot::augment::{Augment, Inputs};
//! use kshot::dataset::Normalise;
//! use kshot::options::read;
//!
//! let photographs = Inputs { shape: [3, 84, 84], pixels: Some(Normalise::NONE) };
//! let standard = Augment::standard(&photographs)?;
//! assert_eq!((standard.padding, standard.flip, standard.brightness), (8, 0.5, 0.4));
//!
//! let options = toml::toml! {
//!     crop-scale = [0.5, 1.0]
//!     flip = 0.5
//! };
//! let own: Augment = read("`augment`", &options)?;
//! own.fits(&photographs)?;
//! let grey = Inputs { shape: [1, 84, 84], pixels: Some(Normalise::NONE) };
//! let error = Augment { saturation: 0.4, ..own }.fits(&grey).unwrap_err().to_string();
//! assert!(error.contains("saturation` needs three channels"), "{error}");
//! # Ok::<(), kshot::Error>(())
//! ```

mod colour;
mod geometry;
mod signal;
#[cfg(test)]
mod tests;
mod variation;

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dataset::{Normalise, TaskSource};
use crate::options::{self, Options};
use crate::{Error, Result};

pub use variation::Variation;

/// How examples are varied. In order: cut (`padding` or `crop-scale`), mirrored or shifted, colours or amplitude and noise,
/// erased. Nothing by default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Augment {
    /// Pixels of black (samples of 0) added on every side before a random piece of the old size is cut out, as
    /// torchvision's `RandomCrop(padding)`.
    #[schemars(range(max = 1024))]
    pub padding: usize,
    /// Least and largest share of an image (of a signal's length) that is cut out at random and brought back to the old
    /// size, as torchvision's `RandomResizedCrop(scale)`, whose default is [0.08, 1.0]; unset cuts nothing.
    pub crop_scale: Option<[f64; 2]>,
    /// Least and largest aspect ratio of what `crop-scale` cuts out of an image.
    pub crop_ratio: [f64; 2],
    /// How often an image is mirrored left to right, as torchvision's `RandomHorizontalFlip(p)`.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub flip: f64,
    /// Brightness is multiplied by 1 ± this at most, as torchvision's `ColorJitter`, as are the next three.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub brightness: f64,
    /// Contrast: the difference to the mean grey is multiplied by 1 ± this at most.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub contrast: f64,
    /// Saturation: the difference to a pixel's grey is multiplied by 1 ± this at most.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub saturation: f64,
    /// Hue is turned by this part of a circle at most.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub hue: f64,
    /// How often a piece is erased: set to the 0 that the network sees, as torchvision's `RandomErasing(p)` after its
    /// `Normalize`.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub erase: f64,
    /// Least and largest share of an image (of a signal's length) that is erased.
    pub erase_scale: [f64; 2],
    /// Least and largest aspect ratio of what is erased of an image.
    pub erase_ratio: [f64; 2],
    /// Deviation of the Gaussian noise on signals and features, as a share of an example's own (of a channel's).
    #[schemars(range(min = 0.0))]
    pub noise: f64,
    /// Deviation of the factor, 1 in the mean, that all of a signal or of features is multiplied by.
    #[schemars(range(min = 0.0))]
    pub amplitude: f64,
    /// Share of its length that a signal is shifted by at most, to either side; what leaves at one end enters at the other.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub shift: f64,
    /// Views of each support example in a test: the example itself and varied ones beside it, so that a learner has that
    /// many times the shots.
    #[schemars(range(min = 1, max = 1000))]
    pub support_views: usize,
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            padding: 0,
            crop_scale: None,
            crop_ratio: [3.0 / 4.0, 4.0 / 3.0],
            flip: 0.0,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
            erase: 0.0,
            erase_scale: [0.02, 0.33],
            erase_ratio: [0.3, 3.3],
            noise: 0.0,
            amplitude: 0.0,
            shift: 0.0,
            support_views: 1,
        }
    }
}

impl Options for Augment {
    fn check(&self) -> Result<()> {
        let scale = self.crop_scale.unwrap_or([1.0; 2]);
        for (name, [least, largest], most) in [
            ("crop-scale", scale, 1.0),
            ("crop-ratio", self.crop_ratio, f64::MAX),
            ("erase-scale", self.erase_scale, 1.0),
            ("erase-ratio", self.erase_ratio, f64::MAX),
        ] {
            if !(least > 0.0 && least <= largest && largest <= most) {
                let most = if most == 1.0 { "and no more than 1 " } else { "" };
                return Err(Error::invalid(format!(
                    "`{name}` is [{least}, {largest}], but must be a least and a largest value, above 0 {most}and in order"
                )));
            }
        }
        if self.padding > 0 && self.crop_scale.is_some() {
            return Err(Error::invalid(
                "`padding` and `crop-scale` are two ways to cut: leave one out (`padding = 0`)",
            ));
        }
        if self.support_views > 1 && !self.varies() {
            return Err(Error::invalid(format!(
                "`support-views` is {}, but nothing is varied, so that all views would be the same: take `augment = \"standard\"`, \
                 or set a transformation",
                self.support_views
            )));
        }
        Ok(())
    }
}

/// What a word stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Examples as they are.
    #[default]
    None,
    /// What papers do with such data.
    Standard,
}

impl Preset {
    const ALL: [(&'static str, Self); 2] = [("none", Self::None), ("standard", Self::Standard)];

    /// `none` or `standard`.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, preset)| *preset == self).map_or("", |(name, _)| name)
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|(name, _)| *name == text);
        found
            .map(|(_, preset)| preset)
            .ok_or_else(|| Error::unknown("augmentation", text, Self::ALL.iter().map(|all| all.0)))
    }
}

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inputs {
    /// `[channels, height, width]`.
    pub shape: [usize; 3],
    /// How pixels of 0–1 were normalised; `None` for numbers, which may be anything.
    pub pixels: Option<Normalise>,
}

/// What inputs are, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Several rows and columns.
    Image,
    /// One row or one column.
    Signal,
    /// One value a channel.
    Features,
}

impl Inputs {
    /// The inputs of a source of tasks.
    ///
    /// # Errors
    /// For functions, which have no examples.
    pub fn of(source: &TaskSource) -> Result<Self> {
        let set = match source {
            TaskSource::Classes(set) => set,
            TaskSource::Domains(domains) => &domains.domains()[0].train,
            TaskSource::Functions(_) => {
                return Err(Error::invalid(
                    "`augment` varies examples, but the tasks of this dataset are functions: leave it out",
                ));
            }
        };
        Ok(Self { shape: set.shape(), pixels: set.pixels() })
    }

    fn kind(&self) -> Kind {
        match self.shape {
            [_, 1, 1] => Kind::Features,
            [_, 1, _] | [_, _, 1] => Kind::Signal,
            _ => Kind::Image,
        }
    }

    /// In words, for messages.
    fn in_words(&self) -> String {
        let [channels, height, width] = self.shape;
        match (self.kind(), self.pixels) {
            (Kind::Features, _) => format!("features, {channels} of them"),
            (Kind::Signal, _) => format!("signals of {} samples", height * width),
            (Kind::Image, Some(_)) if channels == 3 => format!("colour images of {height}×{width}"),
            (Kind::Image, Some(_)) => format!("grey images of {height}×{width}"),
            (Kind::Image, None) => format!("arrays of {channels}×{height}×{width} numbers"),
        }
    }
}

impl Augment {
    /// What a word stands for, with a table of options over it, for inputs that it has to fit.
    ///
    /// # Errors
    /// As [`options::read`], [`Augment::standard`] and [`Augment::fits`].
    pub fn of(preset: Preset, over: &toml::Table, inputs: &Inputs) -> Result<Self> {
        let mut table = match preset {
            Preset::None => toml::Table::new(),
            Preset::Standard => Self::standard(inputs)?.table()?,
        };
        table.extend(over.clone());
        let augment: Self = options::read("`augment`", &table)?;
        augment.fits(inputs)?;
        Ok(augment)
    }

    /// What papers do with such data.
    ///
    /// Colour images: a random crop after padding, a flip, colours by ±0.4 (Chen et al., "A Closer Look at Few-shot
    /// Classification", ICLR 2019, section 4.1, and their code; the padding is that of Lee et al., "Meta-Learning with
    /// Differentiable Convex Optimization", CVPR 2019, and their code: 8 pixels of 84, 4 of 32). Grey images, which may be
    /// characters: moved by the same crop, as Santoro et al., "Meta-Learning with Memory-Augmented Neural Networks", ICML
    /// 2016, section 4.1, move theirs. Signals: noise of 0.05 and a factor of deviation 0.1 (Um et al., "Data Augmentation of
    /// Wearable Sensor Data for Parkinson's Disease Monitoring using Convolutional Neural Networks", ICMI 2017, and their
    /// code), and a shift by a tenth at most.
    ///
    /// # Errors
    /// For features and arrays, which no paper varies alike.
    pub fn standard(inputs: &Inputs) -> Result<Self> {
        let [channels, height, width] = inputs.shape;
        let padding = (height.min(width) / 8).clamp(1, 8);
        let moved = Self { padding, ..Self::default() };
        match (inputs.kind(), inputs.pixels) {
            (Kind::Image, Some(_)) if channels == 3 => {
                Ok(Self { flip: 0.5, brightness: 0.4, contrast: 0.4, saturation: 0.4, ..moved })
            }
            (Kind::Image, Some(_)) => Ok(moved),
            (Kind::Signal, None) => Ok(Self { noise: 0.05, amplitude: 0.1, shift: 0.1, ..Self::default() }),
            _ => Err(Error::invalid(format!(
                "`augment = \"standard\"` is for images and signals, but these inputs are {}: say what may vary, as with \
                 `--set augment.noise=0.1`",
                inputs.in_words()
            ))),
        }
    }

    /// Whether any example comes out other than it went in.
    pub fn varies(&self) -> bool {
        let chances = [
            self.flip,
            self.brightness,
            self.contrast,
            self.saturation,
            self.hue,
            self.erase,
            self.noise,
            self.amplitude,
            self.shift,
        ];
        self.padding > 0 || self.crop_scale.is_some() || chances.iter().any(|&chance| chance > 0.0)
    }

    /// Refuses transformations that mean nothing for such inputs.
    ///
    /// # Errors
    /// Names the option and what it needs.
    pub fn fits(&self, inputs: &Inputs) -> Result<()> {
        let refused = |option: &str, needs: &str| {
            Err(Error::invalid(format!(
                "`augment.{option}` needs {needs}, but these inputs are {}: leave it out",
                inputs.in_words()
            )))
        };
        let (kind, colour) = (inputs.kind(), inputs.pixels.is_some() && inputs.shape[0] == 3);
        for (option, value) in [("brightness", self.brightness), ("contrast", self.contrast)] {
            if value > 0.0 && inputs.pixels.is_none() {
                return refused(option, "pixels of a known range");
            }
        }
        for (option, value) in [("saturation", self.saturation), ("hue", self.hue)] {
            if value > 0.0 && !colour {
                return refused(option, "three channels of colour");
            }
        }
        if self.flip > 0.0 && kind != Kind::Image {
            return refused("flip", "images, which have a left and a right");
        }
        let cuts = [
            ("padding", self.padding > 0),
            ("crop-scale", self.crop_scale.is_some()),
            ("erase", self.erase > 0.0),
        ];
        for (option, set) in cuts {
            if set && kind == Kind::Features {
                return refused(option, "images or signals, which have a place for each value");
            }
        }
        if self.shift > 0.0 && kind != Kind::Signal {
            return refused("shift", "signals, of one row or one column");
        }
        for (option, value) in [("noise", self.noise), ("amplitude", self.amplitude)] {
            if value > 0.0 && inputs.pixels.is_some() {
                return refused(option, "signals or features");
            }
        }
        Ok(())
    }

    /// What is other than by default, as it is written in a file.
    ///
    /// # Errors
    /// None for options that were read.
    pub fn table(&self) -> Result<toml::Table> {
        let table = |options: &Self| {
            toml::Table::try_from(options).map_err(|error| Error::invalid(format!("`augment`: {error}")))
        };
        let (mut set, default) = (table(self)?, table(&Self::default())?);
        set.retain(|key, value| default.get(key) != Some(value));
        Ok(set)
    }
}
