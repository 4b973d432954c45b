//! MNIST and USPS, the digits as 16×16 images, 2000 and 1800 of them: a benchmark of domain adaptation.
//!
//! The subsets of Long, Wang, Ding, Sun & Yu, "Transfer Feature Learning with Joint Distribution Adaptation", ICCV 2013.

use std::path::PathBuf;

use kshot::Result;
use kshot::dataset::{Dataset, DatasetContext, Published};
use kshot::options::Options;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::arrays::npy::npy;
use crate::domain_splits::{DomainBuilder, NUMBERS, Part};
use crate::place::find;

kshot::register_dataset! {
    /// handwritten digits in 2 domains (mnist, usps), 16×16
    ///
    /// Long, Wang, Ding, Sun, Yu, ICCV 2013; as `.npy` files
    name: "digits-da",
    options: DigitsOptions,
    open: open,
    locate: locate,
}

/// Options of `digits-da`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct DigitsOptions {
    /// Whether images are scaled to unit length, the protocol of the papers.
    pub unit_length: bool,
}

impl Default for DigitsOptions {
    fn default() -> Self {
        Self { unit_length: true }
    }
}

impl Options for DigitsOptions {}

const SIZE: usize = 16 * 16;

fn locate(context: &DatasetContext) -> Result<PathBuf> {
    let from =
        "the release of Long et al. 2013, as the arrays mnist_X.npy, mnist_y.npy, usps_X.npy, usps_y.npy,";
    find(&context.data_dir, &["mnist-usps", "digits-da"], "usps_X.npy", from)
}

fn open(context: &DatasetContext, options: DigitsOptions) -> Result<Box<dyn Dataset>> {
    let folder = locate(context)?;
    let mut builder = DomainBuilder::new([1, 16, 16]);
    for domain in ["mnist", "usps"] {
        let path = folder.join(format!("{domain}_X.npy"));
        let images = npy(&path)?;
        let images = match images.shape.as_slice() {
            [_, 256] => images.numbers_of(&[256], &path.display().to_string()),
            _ => images.numbers_of(&[16, 16], &path.display().to_string()),
        }?;
        let n = images.len() / SIZE;
        let labels = npy(&folder.join(format!("{domain}_y.npy")))?.names(n, "labels")?;
        for digit in 1..=10 {
            let label = digit.to_string();
            let examples = images.chunks_exact(SIZE).zip(&labels).enumerate();
            for (i, (image, _)) in examples.filter(|(_, (_, of))| **of == label) {
                let length = image.iter().map(|value| value * value).sum::<f64>().sqrt();
                let scale = if options.unit_length && length > 0.0 { length.recip() } else { 1.0 };
                let image: Vec<f32> = image.iter().map(|value| (value * scale) as f32).collect();
                builder.push(domain, &(digit - 1).to_string(), Part::Both, format!("{domain}{i}"), &image);
            }
        }
    }
    Ok(Box::new(builder.finish(NUMBERS, PUBLISHED)?))
}

const PAPER: &str = "Long, Wang, Ding, Sun, Yu, ICCV 2013, table 3";

const PUBLISHED: &[Published] = &[
    Published {
        method: "TCA",
        paper: PAPER,
        accuracies: &[("mnist", "usps", 56.28), ("usps", "mnist", 51.05)],
    },
    Published {
        method: "JDA",
        paper: PAPER,
        accuracies: &[("mnist", "usps", 67.28), ("usps", "mnist", 59.65)],
    },
];
