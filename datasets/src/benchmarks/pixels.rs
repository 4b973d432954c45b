//! Images that are in memory as they are read, all of one size: what digits, drawings and CIFAR share.

use std::sync::Arc;

use image::{DynamicImage, GrayImage, RgbImage};
use kshot::dataset::{ClassSet, Images, Normalise, Preparation};
use kshot::options::Options;
use kshot::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::folder::Colour;
use crate::images::ImageReader;

/// Options of benchmarks of small images.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct PixelOptions {
    /// Height and width the images are brought to, in pixels [default: as they are: 28 (digits, drawings), 32 (CIFAR)].
    #[schemars(range(min = 1, max = 1024))]
    pub image_size: Option<usize>,
    /// One channel or three [default: as they are: grey (digits, drawings), rgb (CIFAR)].
    pub colour: Option<Colour>,
    /// What is subtracted from the channels, and divided by: `imagenet`, `none`, or `0.5,0.5,0.5/0.2,0.2,0.2`.
    pub normalise: Normalise,
}

impl Options for PixelOptions {}

/// Images `[n, channels, height, width]`, with a name for each.
pub(super) struct Pixels {
    /// `[channels, height, width]`.
    pub(super) shape: [usize; 3],
    pub(super) values: Vec<u8>,
    pub(super) names: Vec<String>,
}

impl Pixels {
    /// The same in the size and colour that `options` ask for, no class named yet.
    #[expect(clippy::indexing_slicing, reason = "as many values as names, in images of `shape`")]
    pub(super) fn prepared(self, options: &PixelOptions) -> Result<(Preparation, ClassSet)> {
        let [channels, height, width] = self.shape;
        let images = Images { normalise: options.normalise, ..Images::default() };
        let [wide, high] = [width, height].map(|side| options.image_size.unwrap_or(side));
        let shape = [options.colour.map_or(channels, Colour::channels), high, wide];
        let size = self.shape.iter().product::<usize>();
        let image = |number: usize| {
            let planes = &self.values[number * size..][..size];
            let (width, height) = (width as u32, height as u32);
            let image = match channels {
                1 => GrayImage::from_raw(width, height, planes.to_vec()).map(DynamicImage::ImageLuma8),
                _ => {
                    let pixel = |at: usize| (0..3).map(move |channel| planes[channel * size / 3 + at]);
                    let pixels = (0..size / 3).flat_map(pixel).collect();
                    RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8)
                }
            };
            image.ok_or_else(|| Error::invalid(format!("image {number} is not {:?}", self.shape)))
        };
        let values = match shape == self.shape {
            true => self.values,
            false => ImageReader::new(images, shape)?.read_each(self.names.len(), image)?,
        };
        let whole = ClassSet::new(shape, Arc::new(values), Arc::new(self.names), Vec::new())?;
        Ok((Preparation::Images(images), whole.normalised(images.normalise)))
    }
}
