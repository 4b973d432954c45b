//! A learner of one's own, beside those that come with kshot: the nearest class mean of pixels, by cosine.
//!
//! cargo run --release --example own_learner -- bench --data glyphs --learner cosine-means,pixels

use std::process::ExitCode;

use kshot::Result;
use kshot::episode::{Labelled, Unlabelled};
use kshot::learner::{Adapted, Family, Learner, Prediction};
use kshot::nn::{Similarity, head};
use kshot::options::NoOptions;
use kshot::registry::Setup;
use ndarray::{Array2, ArrayView4};

kshot::register_learner! {
    /// the class mean of pixels with the most similar direction
    ///
    /// an example
    name: "cosine-means",
    family: Family::Baseline,
    options: NoOptions,
    build: |_: &Setup, _: NoOptions| Ok(CosineMeans),
}

struct CosineMeans;

/// A mean for each class, `[classes, values]`.
struct Means(Array2<f32>);

impl Learner for CosineMeans {
    fn is_transductive(&self) -> bool {
        false
    }

    fn adapt<'a>(&'a self, support: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
        let x = flat(support.inputs());
        Ok(Box::new(Means(head::class_means(x.view(), support.classes()?)?)))
    }
}

impl Adapted for Means {
    fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
        let x = flat(query.inputs.view());
        Ok(Prediction::Scores(Similarity::Cosine.between(x.view(), self.0.view())))
    }
}

/// Examples as rows, `[n, channels · height · width]`.
fn flat(x: ArrayView4<'_, f32>) -> Array2<f32> {
    let values = x.len() / x.dim().0.max(1);
    Array2::from_shape_fn((x.dim().0, values), |(n, at)| {
        let (_, _, height, width) = x.dim();
        x[[n, at / (height * width), at / width % height, at % width]]
    })
}

fn main() -> ExitCode {
    kshot_cli::main()
}
