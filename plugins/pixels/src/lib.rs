//! The floor: 1-nearest-neighbour on raw inputs.
//!
//! Cover & Hart, "Nearest Neighbor Pattern Classification", IEEE Trans. Inf. Theory 1967. The baseline "Pixels" of
//! Vinyals et al. 2016, table 1. It learns nothing; whatever learns should beat it.
//!
//! ```
//! use kshot::episode::{Labelled, Targets, Unlabelled};
//! use kshot::learner::Learner;
//! use kshot_pixels::Pixels;
//! use ndarray::Array4;
//!
//! let drawing = |ink: f32| Array4::from_shape_fn((2, 1, 28, 28), |(n, _, y, x)| if [x, y][n] < 14 { ink } else { 0.0 });
//! let support = Labelled::new(drawing(1.0), Targets::Classes(vec![0, 1]));
//! let queries = Unlabelled { inputs: drawing(0.9) };
//! assert_eq!(Pixels.answer(&support, &queries)?.classes(), [0, 1]);
//! # Ok::<(), kshot::Error>(())
//! ```

#![forbid(unsafe_code)]

use kshot::episode::{Labelled, Unlabelled};
use kshot::learner::{Adapted, Family, Learner, Prediction};
use kshot::options::NoOptions;
use kshot::registry::Setup;
use kshot::{Error, Result};
use ndarray::{Array2, ArrayView4};

kshot::register_learner! {
    /// nearest neighbour on raw inputs, the floor
    ///
    /// Cover & Hart, Nearest Neighbor Pattern Classification, IEEE Trans. Inf. Theory 1967
    name: "pixels",
    family: Family::Baseline,
    options: NoOptions,
    build: |_: &Setup, _: NoOptions| Ok(Pixels),
}

/// 1-nearest-neighbour by Euclidean distance.
pub struct Pixels;

impl Learner for Pixels {
    fn is_transductive(&self) -> bool {
        false
    }

    fn adapt<'a>(&'a self, support: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
        Ok(Box::new(Neighbours { support, ways: support.ways()? }))
    }
}

/// The examples to be compared with.
struct Neighbours<'a> {
    support: &'a Labelled,
    ways: usize,
}

impl Adapted for Neighbours<'_> {
    /// Scores of a class: minus the distance to its nearest example.
    fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
        let labels = self.support.classes()?;
        let shape = |x: ArrayView4<'_, f32>| [x.dim().1, x.dim().2, x.dim().3];
        let (known, given) = (shape(self.support.inputs()), shape(query.inputs.view()));
        if given != known {
            return Err(Error::invalid(format!(
                "queries are {given:?} (channels, height, width), but the support is {known:?}"
            )));
        }
        let mut scores = Array2::from_elem((query.len(), self.ways), f32::NEG_INFINITY);
        for (input, mut scores) in query.inputs.outer_iter().zip(scores.outer_iter_mut()) {
            for (example, &label) in self.support.inputs().outer_iter().zip(labels) {
                let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
                let distance = input.iter().zip(example.iter()).map(square).sum::<f64>().sqrt();
                scores[label] = scores[label].max(-distance as f32);
            }
        }
        Ok(Prediction::Scores(scores))
    }
}

#[cfg(test)]
mod tests {
    use kshot::episode::Targets;
    use ndarray::Array4;

    use super::*;

    #[test]
    fn a_query_equal_to_a_support_example_gets_its_class_whatever_the_order() {
        let inputs = Array4::from_shape_fn((3, 1, 2, 2), |(n, _, h, w)| (n * 4 + h * 2 + w) as f32);
        let support = Labelled::new(inputs.clone(), Targets::Classes(vec![1, 0, 1]));
        let prediction = Pixels.answer(&support, &Unlabelled { inputs }).unwrap();
        assert_eq!(prediction.classes(), [1, 0, 1]);
    }
}
