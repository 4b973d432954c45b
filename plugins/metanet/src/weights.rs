//! θ behind the backbone: the slow weights Q and W, and those of the meta-learners, Z of m and G of d.

use std::sync::Arc;

use kshot::params::{Layout, Params, Role};
use kshot::rng::Rng;
use kshot::{Error, Result};
use ndarray::{Array2, ArrayView2, Axis};
use rand::Rng as _;

/// Sizes of the layers behind the backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Width of the backbone's output.
    pub(crate) features: usize,
    /// Width of the representation r, and of the base learner's hidden layer.
    pub(crate) hidden: usize,
    /// Classes the base learner can tell apart.
    pub(crate) ways: usize,
    /// Width of the meta-learners' hidden layers.
    pub(crate) meta: usize,
}

/// The weights, or the gradient in them. "Affine" is a matrix with its bias as a last column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weights {
    /// Q: the layer of the representation learner u behind the backbone, `[hidden, features]`.
    pub(crate) representation: Array2<f32>,
    /// What the representation loss classifies with, `[ways, hidden]`.
    pub(crate) classifier: Array2<f32>,
    /// W, the base learner b: its hidden layer, `[hidden, hidden]`,
    pub(crate) hidden: Array2<f32>,
    /// and its output layer, `[ways, hidden]`.
    pub(crate) output: Array2<f32>,
    /// Z, the meta-learner m: a perceptron of three affine layers, 2 → meta → meta → 1.
    pub(crate) m: [Array2<f32>; 3],
    /// G, the meta-learner d: an affine map of 2 inputs and the state to the four gates (input, forget, cell, output),
    /// `[4 · meta, 2 + meta + 1]`, and an affine map of the last state to 1.
    pub(crate) d: [Array2<f32>; 2],
}

/// Names of the tensors, in order.
const NAMES: [&str; 9] = [
    "u.weight",
    "u.classifier",
    "b.hidden",
    "b.output",
    "m.layer0",
    "m.layer1",
    "m.layer2",
    "d.lstm",
    "d.output",
];

impl Weights {
    pub(crate) fn zeros(sizes: Sizes) -> Self {
        let Sizes { features, hidden, ways, meta } = sizes;
        Self {
            representation: Array2::zeros((hidden, features)),
            classifier: Array2::zeros((ways, hidden)),
            hidden: Array2::zeros((hidden, hidden)),
            output: Array2::zeros((ways, hidden)),
            m: [(meta, 3), (meta, meta + 1), (1, meta + 1)].map(Array2::zeros),
            d: [(4 * meta, 2 + meta + 1), (1, meta + 1)].map(Array2::zeros),
        }
    }

    /// Fresh weights, uniform in ±1/√fan-in; biases 0, but 1 for the forget gate, so that d starts by remembering
    /// (Gers, Schmidhuber, Cummins, "Learning to Forget", Neural Computation 2000).
    pub(crate) fn init(sizes: Sizes, rng: &mut Rng) -> Self {
        let mut weights = Self::zeros(sizes);
        for (number, tensor) in weights.tensors_mut().into_iter().enumerate() {
            let columns = tensor.ncols();
            let inputs = if number < 4 { columns } else { columns - 1 };
            let bound = 1.0 / (inputs as f32).sqrt();
            tensor.mapv_inplace(|_| rng.random_range(-bound..bound));
            if inputs < columns {
                tensor.column_mut(inputs).fill(0.0);
            }
        }
        let forget = sizes.meta..2 * sizes.meta;
        weights.d[0].column_mut(2 + sizes.meta).slice_axis_mut(Axis(0), forget.into()).fill(1.0);
        weights
    }

    /// The tensors in order of [`NAMES`].
    pub(crate) fn tensors_mut(&mut self) -> [&mut Array2<f32>; 9] {
        let Self { representation, classifier, hidden, output, m: [m0, m1, m2], d: [d0, d1] } = self;
        [representation, classifier, hidden, output, m0, m1, m2, d0, d1]
    }

    /// The weights as tensors of θ.
    pub(crate) fn into_params(mut self) -> Params {
        let mut layout = Layout::new();
        for (name, tensor) in NAMES.into_iter().zip(self.tensors_mut()) {
            layout.push(name, tensor.shape(), Role::Weight);
        }
        let mut params = Params::zeros(&Arc::new(layout));
        self.write(&mut params);
        params
    }

    /// The values in θ.
    pub(crate) fn read(sizes: Sizes, theta: &Params) -> Result<Self> {
        let mut weights = Self::zeros(sizes);
        for (name, tensor) in NAMES.into_iter().zip(weights.tensors_mut()) {
            let values =
                theta.tensor(name).and_then(|values| ArrayView2::from_shape(tensor.dim(), values).ok());
            let values =
                values.ok_or_else(|| Error::invalid(format!("`metanet`: θ has no tensor `{name}`")))?;
            tensor.assign(&values);
        }
        Ok(weights)
    }

    /// Puts the values into θ, or a gradient in its layout.
    pub(crate) fn write(mut self, theta: &mut Params) {
        let layout = theta.layout().clone();
        for (name, tensor) in NAMES.into_iter().zip(self.tensors_mut()) {
            if let Some(entry) = layout.get(name) {
                theta.values_mut()[entry.range.clone()]
                    .iter_mut()
                    .zip(tensor)
                    .for_each(|(to, from)| *to = *from);
            }
        }
    }
}
