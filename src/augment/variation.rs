//! [`Augment`], ready to vary examples of one kind.

use rand::Rng as _;
use rayon::prelude::*;

use super::geometry::{Piece, Taps, mirror, resize, slide};
use super::signal::{add_noise, normal};
use super::{Augment, Inputs, Kind, colour};
use crate::Result;
use crate::dataset::Normalise;
use crate::rng::Rng;

/// How examples of one kind are varied.
#[derive(Clone, Debug)]
pub struct Variation {
    augment: Augment,
    inputs: Inputs,
    /// Whether some step is of pixels in 0–1.
    colours: bool,
}

impl Variation {
    /// For inputs of this kind.
    ///
    /// # Errors
    /// As [`Augment::fits`].
    pub fn new(augment: Augment, inputs: Inputs) -> Result<Self> {
        augment.fits(&inputs)?;
        let Augment { brightness, contrast, saturation, hue, .. } = augment;
        let colours = [brightness, contrast, saturation, hue].iter().any(|&by| by > 0.0);
        Ok(Self { augment, inputs, colours })
    }

    /// Views of each example in a test; see [`Augment::support_views`].
    pub fn support_views(&self) -> usize {
        self.augment.support_views
    }

    /// Varies examples `[n, channels, height, width]`, one after the other in memory, in parallel: example number i by the
    /// i-th stream of `rng`, so that it does not depend on the others or on threads. Those `kept` says stay as they are.
    pub fn vary(&self, examples: &mut [f32], rng: &Rng, kept: impl Fn(usize) -> bool + Sync) {
        let size = self.inputs.shape.iter().product::<usize>();
        examples.par_chunks_mut(size).enumerate().filter(|(number, _)| !kept(*number)).for_each_init(
            Vec::new,
            |room, (number, example)| {
                let mut rng = rng.clone();
                rng.set_stream(number as u64);
                self.one(example, &mut rng, room);
            },
        );
    }

    /// Varies one example; `room` is memory to be used again.
    fn one(&self, example: &mut [f32], rng: &mut Rng, room: &mut Vec<f32>) {
        self.cut(example, rng, room);
        let [_, height, width] = self.inputs.shape;
        let Augment { flip, shift, amplitude, noise, erase, erase_scale, erase_ratio, .. } = self.augment;
        if flip > 0.0 && rng.random_bool(flip) {
            mirror(example, width);
        }
        if shift > 0.0 {
            let length = (height * width) as i64;
            let most = (shift * length as f64) as i64;
            let by = rng.random_range(-most..=most).rem_euclid(length) as usize;
            example.chunks_exact_mut(height * width).for_each(|channel| channel.rotate_right(by));
        }
        if self.colours {
            self.recolour(example, rng);
        }
        if amplitude > 0.0 {
            let factor = 1.0 + amplitude as f32 * normal(rng);
            example.iter_mut().for_each(|value| *value *= factor);
        }
        if noise > 0.0 {
            let channel = if self.inputs.kind() == Kind::Features { example.len() } else { height * width };
            example.chunks_exact_mut(channel).for_each(|values| add_noise(values, noise as f32, rng));
        }
        if erase > 0.0
            && rng.random_bool(erase)
            && let Some(piece) = Piece::to_erase([height, width], erase_scale, erase_ratio, rng)
        {
            example.chunks_exact_mut(height * width).for_each(|plane| piece.erase(plane, width));
        }
    }

    /// Cuts a piece out, of the old size or brought to it.
    fn cut(&self, example: &mut [f32], rng: &mut Rng, room: &mut Vec<f32>) {
        let [_, height, width] = self.inputs.shape;
        let size = [height, width];
        if let Some(scale) = self.augment.crop_scale {
            let piece = Piece::to_keep(size, scale, self.augment.crop_ratio, rng);
            if piece.size != size {
                let taps = [Taps::new(piece.size[0], height), Taps::new(piece.size[1], width)];
                let planes = example.chunks_exact_mut(height * width);
                planes.for_each(|plane| resize(plane, piece, &taps, room));
            }
        } else if self.augment.padding > 0 {
            let by = size.map(|length| match (length, self.augment.padding as i64) {
                // The axis that a signal does not have.
                (1, _) => 0,
                (_, most) => rng.random_range(-most..=most),
            });
            for (channel, plane) in example.chunks_exact_mut(height * width).enumerate() {
                let black = self.inputs.pixels.map_or(0.0, |normalise| normalise.apply(channel, 0.0));
                slide(plane, width, by, black);
            }
        }
    }

    /// Jitters colours in 0–1, whatever the pixels were normalised to.
    fn recolour(&self, example: &mut [f32], rng: &mut Rng) {
        let plane = self.inputs.shape[1] * self.inputs.shape[2];
        let normalise = self.inputs.pixels.filter(|normalise| *normalise != Normalise::NONE);
        if let Some(Normalise { mean, deviation }) = normalise {
            for (channel, values) in example.chunks_exact_mut(plane).enumerate() {
                values.iter_mut().for_each(|value| *value = *value * deviation[channel] + mean[channel]);
            }
        }
        colour::draw(&self.augment, rng).for_each(|step| step.apply(example, plane));
        if let Some(normalise) = normalise {
            for (channel, values) in example.chunks_exact_mut(plane).enumerate() {
                values.iter_mut().for_each(|value| *value = normalise.apply(channel, *value));
            }
        }
    }
}
