//! How images become inputs: what whoever prepares another image in the same way has to know, besides the inputs' shape.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Images as values of 0–1, of one channel (luminance) or three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// How they are brought to fewer or more pixels.
    pub resample: Resample,
    /// Whether dark is 1 and light 0.
    pub invert: bool,
    /// What shows through where they are transparent, and beside them where they are fitted in.
    #[serde(default)]
    pub background: Background,
    /// What becomes of those of another aspect ratio.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resize: Resize,
    /// What is subtracted, and divided by, last.
    #[serde(default, skip_serializing_if = "is_default")]
    pub normalise: Normalise,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How an image is brought to another number of pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resample {
    /// The mean over the area that a pixel covers.
    Area,
    /// A triangle filter (bilinear, widened where the image shrinks).
    #[default]
    Triangle,
}

/// What becomes of an image of another aspect ratio than the inputs'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// It is stretched: all of it is seen, out of proportion.
    #[default]
    Stretch,
    /// It is fitted in, the background beside it: all of it is seen, in proportion, smaller.
    Fit,
    /// It covers the input, and what sticks out is cut off.
    Crop,
    /// The middle 7/8 of `crop`, as torchvision's encoders are evaluated (256 cut to 224).
    Imagenet,
}

impl FromStr for Resize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [
            ("stretch", Self::Stretch),
            ("fit", Self::Fit),
            ("crop", Self::Crop),
            ("imagenet", Self::Imagenet),
        ];
        let found = all.into_iter().find(|(name, _)| *name == text);
        found
            .map(|(_, resize)| resize)
            .ok_or_else(|| Error::unknown("way to resize", text, all.iter().map(|all| all.0)))
    }
}

/// What shows through where an image is transparent: red, green, blue. Written `white` (paper, for dark drawings), `black` or
/// `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Background(pub [u8; 3]);

impl Background {
    /// Paper.
    pub const WHITE: Self = Self([u8::MAX; 3]);
    /// For light drawings.
    pub const BLACK: Self = Self([0; 3]);
}

impl Default for Background {
    fn default() -> Self {
        Self::WHITE
    }
}

impl TryFrom<String> for Background {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let hex = |digits: &str| {
            let all = digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            all.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
        };
        match (text.as_str(), text.strip_prefix('#').and_then(hex)) {
            ("white", _) => Ok(Self::WHITE),
            ("black", _) => Ok(Self::BLACK),
            (_, Some(colour)) => Ok(Self([16, 8, 0].map(|shift| (colour >> shift) as u8))),
            _ => {
                Err(Error::invalid(format!("`{text}` is no background: write `white`, `black` or `#rrggbb`")))
            }
        }
    }
}

impl From<Background> for String {
    fn from(background: Background) -> Self {
        background.to_string()
    }
}

impl fmt::Display for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::WHITE => f.write_str("white"),
            Self::BLACK => f.write_str("black"),
            Self([red, green, blue]) => write!(f, "#{red:02x}{green:02x}{blue:02x}"),
        }
    }
}

/// What is subtracted from values of 0–1, and what the rest is divided by, channel by channel. Written `imagenet`, `none`, or
/// means and deviations as `0.5,0.5,0.5/0.2,0.2,0.2`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Normalise {
    /// Of each channel; the first of grey images.
    pub mean: [f32; 3],
    /// Above 0.
    pub deviation: [f32; 3],
}

impl Normalise {
    /// As values of 0–1 are.
    pub const NONE: Self = Self { mean: [0.0; 3], deviation: [1.0; 3] };
    /// Of ImageNet's channels, which torchvision's encoders were trained with.
    pub const IMAGENET: Self = Self { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] };

    /// Normalises the values of one channel.
    pub fn apply(&self, channel: usize, value: f32) -> f32 {
        (value - self.mean[channel]) / self.deviation[channel]
    }
}

impl Default for Normalise {
    fn default() -> Self {
        Self::NONE
    }
}

impl FromStr for Normalise {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let three = |part: &str| -> Option<[f32; 3]> {
            let numbers: Vec<f32> =
                part.split(',').map(|one| one.trim().parse().ok()).collect::<Option<_>>()?;
            let numbers: [f32; 3] = numbers.try_into().ok()?;
            numbers.iter().all(|number| number.is_finite()).then_some(numbers)
        };
        let given = || {
            let (mean, deviation) = text.split_once('/')?;
            let (mean, deviation) = (three(mean)?, three(deviation)?);
            deviation.iter().all(|&one| one > 0.0).then_some(Self { mean, deviation })
        };
        match text {
            "none" => Ok(Self::NONE),
            "imagenet" => Ok(Self::IMAGENET),
            _ => given().ok_or_else(|| {
                Error::invalid(format!(
                    "`{text}` is neither `imagenet` nor `none` nor three means and three deviations, as \
                     `0.5,0.5,0.5/0.5,0.5,0.5`"
                ))
            }),
        }
    }
}

impl TryFrom<String> for Normalise {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Normalise> for String {
    fn from(normalise: Normalise) -> Self {
        let list = |numbers: [f32; 3]| numbers.map(|number| number.to_string()).join(",");
        match normalise {
            Normalise::NONE => "none".to_owned(),
            Normalise::IMAGENET => "imagenet".to_owned(),
            Normalise { mean, deviation } => format!("{}/{}", list(mean), list(deviation)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_scales_are_read_as_they_are_written() {
        for text in ["white", "black", "#12ab00"] {
            assert_eq!(String::from(Background::try_from(text.to_owned()).unwrap()), text);
        }
        assert_eq!(Background::try_from("#12ab00".to_owned()).unwrap().0, [0x12, 0xab, 0]);
        for text in ["green", "#12ab0", "#12ab0g", "#+2ab00"] {
            assert!(Background::try_from(text.to_owned()).is_err(), "{text}");
        }
        for text in ["none", "imagenet", "0.5,0.25,0/1,2,0.1"] {
            assert_eq!(String::from(text.parse::<Normalise>().unwrap()), text);
        }
        for text in ["", "1,2/1,2", "1,2,3/1,0,1", "1,2,NaN/1,1,1", "1,2,3"] {
            assert!(text.parse::<Normalise>().is_err(), "{text}");
        }
    }
}
