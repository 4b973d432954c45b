//! Colours of pixels in 0–1, as torchvision's `ColorJitter` on tensors has them: what each step gives is kept within 0–1.

use rand::seq::SliceRandom as _;

use super::Augment;
use super::geometry::uniform;
use crate::rng::Rng;

/// Shares of red, green and blue in grey (ITU-R BT.601, as torchvision rounds them).
const GREY: [f32; 3] = [0.2989, 0.587, 0.114];

/// One step, with what was drawn for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    Brightness(f32),
    Contrast(f32),
    Saturation(f32),
    /// In turns.
    Hue(f32),
}

/// The steps that vary at all, in random order.
pub(super) fn draw(augment: &Augment, rng: &mut Rng) -> impl Iterator<Item = Step> {
    let mut order = [0, 1, 2, 3];
    order.shuffle(rng);
    let factor = |by: f64, rng: &mut Rng| uniform([(1.0 - by).max(0.0), 1.0 + by], rng) as f32;
    let Augment { brightness, contrast, saturation, hue, .. } = *augment;
    let steps = [
        (brightness, Step::Brightness(factor(brightness, rng))),
        (contrast, Step::Contrast(factor(contrast, rng))),
        (saturation, Step::Saturation(factor(saturation, rng))),
        (hue, Step::Hue(uniform([-hue, hue], rng) as f32)),
    ];
    order.into_iter().map(move |step| steps[step]).filter(|(by, _)| *by > 0.0).map(|(_, step)| step)
}

impl Step {
    /// Changes an image of one or three planes of `size` values.
    pub(super) fn apply(self, image: &mut [f32], size: usize) {
        match self {
            Self::Brightness(factor) => {
                image.iter_mut().for_each(|value| *value = (*value * factor).clamp(0.0, 1.0));
            }
            Self::Contrast(factor) => {
                let weights = if image.len() == size { &[1.0][..] } else { &GREY };
                let planes = image.chunks_exact(size).zip(weights);
                let mean: f32 = planes.map(|(plane, weight)| weight * sum(plane)).sum::<f32>() / size as f32;
                let rest = (1.0 - factor) * mean;
                image.iter_mut().for_each(|value| *value = (factor * *value + rest).clamp(0.0, 1.0));
            }
            Self::Saturation(factor) => {
                let rest = 1.0 - factor;
                pixels(image, size, |[red, green, blue]| {
                    let grey = rest * (GREY[0] * red + GREY[1] * green + GREY[2] * blue);
                    [red, green, blue].map(|value| (factor * value + grey).clamp(0.0, 1.0))
                });
            }
            Self::Hue(turns) => pixels(image, size, |colour| turned(colour, turns)),
        }
    }
}

/// Changes the pixels of an image of three planes.
fn pixels(image: &mut [f32], size: usize, change: impl Fn([f32; 3]) -> [f32; 3]) {
    let (red, rest) = image.split_at_mut(size);
    let (green, blue) = rest.split_at_mut(size);
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        [*red, *green, *blue] = change([*red, *green, *blue]);
    }
}

/// In eight sums, so that additions do not wait for each other.
fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (whole, rest) = values.as_chunks::<8>();
    for values in whole {
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    sums.into_iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// A colour with its hue turned: to hue, saturation and value and back (Smith, "Color Gamut Transform Pairs", SIGGRAPH 1978).
fn turned([red, green, blue]: [f32; 3], turns: f32) -> [f32; 3] {
    let value = red.max(green).max(blue);
    let spread = value - red.min(green).min(blue);
    if spread <= 0.0 {
        return [red, green, blue];
    }
    let sixths = if value == red {
        (green - blue) / spread
    } else if value == green {
        2.0 + (blue - red) / spread
    } else {
        4.0 + (red - green) / spread
    };
    let sixths = (sixths + 6.0 * turns).rem_euclid(6.0);
    // How far each channel is below the value, as a share of the spread.
    [5.0, 3.0, 1.0].map(|offset| {
        let place = (offset + sixths).rem_euclid(6.0);
        value - spread * place.min(4.0 - place).clamp(0.0, 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the formulas of torchvision's documentation give for one pixel of two, by hand.
    #[test]
    fn steps_are_as_defined() {
        // Two pixels: (0.2, 0.4, 0.6) and (1, 0, 0.5).
        let image = [0.2, 1.0, 0.4, 0.0, 0.6, 0.5];
        let after = |step: Step| {
            let mut image = image;
            step.apply(&mut image, 2);
            image
        };
        let near = |found: [f32; 6], expected: [f32; 6]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");
        };
        near(after(Step::Brightness(1.5)), [0.3, 1.0, 0.6, 0.0, 0.9, 0.75]);
        let greys = [0.05978 + 0.2348 + 0.0684, 0.2989 + 0.057];
        let mean = (greys[0] + greys[1]) / 2.0;
        let contrast = image.map(|value| (0.5 * value + 0.5 * mean).clamp(0.0, 1.0));
        near(after(Step::Contrast(0.5)), contrast);
        let saturation = std::array::from_fn(|i| (2.0 * image[i] - greys[i % 2]).clamp(0.0, 1.0));
        near(after(Step::Saturation(2.0)), saturation);
        near(after(Step::Saturation(0.0)), std::array::from_fn(|i| greys[i % 2]));
        // A third of a turn puts red in green's place.
        near(after(Step::Hue(1.0 / 3.0)), [0.6, 0.5, 0.2, 1.0, 0.4, 0.0]);
        near(after(Step::Hue(0.0)), image);
    }
}
