//! Layers with slow and fast weights, and the attention that reads the memory of fast weights.

use kshot::nn::head::DIRECTION_EPSILON;
use ndarray::{Array1, Array2, Array3, ArrayView2, Axis, Zip};

use crate::activation::{relu_backward, softmax};
use crate::meta_learners::{m, m_backward};

/// Layer augmentation (§3.3): slow and fast weights each make an output of the same input, each goes through its own
/// ReLU, and the two are summed. The last layer of a network has no ReLU.
pub(crate) struct Augmented {
    slow: Array2<f32>,
    fast: Option<Array2<f32>>,
    relu: bool,
}

impl Augmented {
    pub(crate) fn new(slow: Array2<f32>, fast: Option<Array2<f32>>, relu: bool) -> Self {
        Self { slow, fast, relu }
    }

    /// `[n, out]`.
    pub(crate) fn output(&self) -> Array2<f32> {
        let squash = |path: &Array2<f32>| if self.relu { path.mapv(|x| x.max(0.0)) } else { path.clone() };
        match &self.fast {
            Some(fast) => squash(&self.slow) + squash(fast),
            None => squash(&self.slow),
        }
    }

    /// Gradients of the slow and the fast path, from the one of the output.
    pub(crate) fn backward(&self, d: &Array2<f32>) -> (Array2<f32>, Option<Array2<f32>>) {
        let path = |path: &Array2<f32>| if self.relu { relu_backward(path, d.clone()) } else { d.clone() };
        (path(&self.slow), self.fast.as_ref().map(path))
    }
}

/// The memory of one layer: fast weights Mᵢ = m(Z, ∇ᵢ) of each support example, read by queries.
///
/// A query's own fast weights are `W* = Σᵢ aᵢ Mᵢ`; they are never made, since `W* x = Σᵢ aᵢ (Mᵢ x)`.
pub(crate) struct Memory {
    gradients: Array2<f32>,
    /// Each example's below the last one's, `[support · out, in]`.
    weights: Array2<f32>,
    support: usize,
}

impl Memory {
    /// `gradients`: ∇ᵢ of each support example, preprocessed, `[support · out · in, 2]`.
    pub(crate) fn new(
        meta_learner: &[Array2<f32>; 3],
        gradients: Array2<f32>,
        support: usize,
        inputs: usize,
    ) -> Self {
        let rows = gradients.nrows() / inputs;
        let weights = m(meta_learner, &gradients).into_shape_with_order((rows, inputs));
        Self { gradients, weights: weights.expect("rows of `in`"), support }
    }

    /// What each example's weights make of queries `[queries, in]`: `[queries, support, out]`.
    pub(crate) fn each(&self, x: &Array2<f32>) -> Array3<f32> {
        let shape = (x.nrows(), self.support, self.weights.nrows() / self.support);
        x.dot(&self.weights.t()).into_shape_with_order(shape).expect("as many rows of each example")
    }

    /// Gradients in the queries `x` and in Z, from the one in what was [`read`].
    pub(crate) fn backward(
        &self,
        meta_learner: &[Array2<f32>; 3],
        attention: &Array2<f32>,
        x: &Array2<f32>,
        d: &Array2<f32>,
    ) -> (Array2<f32>, [Array2<f32>; 3]) {
        let d_each = &attention.view().insert_axis(Axis(2)) * &d.view().insert_axis(Axis(1));
        let shape = (x.nrows(), self.weights.nrows());
        let d_each = d_each.into_shape_with_order(shape).expect("the shape of the product");
        let d_weights: Array1<f32> = d_each.t().dot(x).into_iter().collect();
        (d_each.dot(&self.weights), m_backward(meta_learner, &self.gradients, d_weights.view()))
    }
}

/// Reads [`Memory::each`] by attention `[queries, support]`: `[queries, out]`.
pub(crate) fn read(each: &Array3<f32>, attention: &Array2<f32>) -> Array2<f32> {
    let mut output = Array2::zeros((each.dim().0, each.dim().2));
    let rows = Zip::from(output.rows_mut()).and(each.outer_iter()).and(attention.rows());
    rows.for_each(|mut output, each, a| output.assign(&a.dot(&each)));
    output
}

/// Adds the gradient in the attention, from the one in what was read.
pub(crate) fn read_backward(each: &Array3<f32>, d: &Array2<f32>, d_attention: &mut Array2<f32>) {
    let rows = Zip::from(d_attention.rows_mut()).and(each.outer_iter()).and(d.rows());
    rows.for_each(|mut d_attention, each, d| d_attention += &each.dot(&d));
}

/// Soft attention of each query to the support: the softmax of the cosines between their representations (§3.2), times a
/// sharpness.
pub(crate) struct Attention {
    support: Directions,
    query: Directions,
    sharpness: f32,
    /// `[queries, support]`; rows sum to 1.
    pub(crate) weights: Array2<f32>,
}

impl Attention {
    pub(crate) fn new(support: ArrayView2<'_, f32>, query: ArrayView2<'_, f32>, sharpness: f32) -> Self {
        let (support, query) = (Directions::new(support), Directions::new(query));
        let weights = softmax(query.unit.dot(&support.unit.t()) * sharpness);
        Self { support, query, sharpness, weights }
    }

    /// Gradients in the representations of support and queries.
    pub(crate) fn backward(&self, d: &Array2<f32>) -> (Array2<f32>, Array2<f32>) {
        let mean = (d * &self.weights).sum_axis(Axis(1)).insert_axis(Axis(1));
        let d_cosines = (d - &mean) * &self.weights * self.sharpness;
        let d_support = d_cosines.t().dot(&self.query.unit);
        let d_query = d_cosines.dot(&self.support.unit);
        (self.support.backward(d_support), self.query.backward(d_query))
    }
}

/// Rows at length 1, and the lengths they had.
struct Directions {
    unit: Array2<f32>,
    lengths: Array1<f32>,
}

impl Directions {
    fn new(x: ArrayView2<'_, f32>) -> Self {
        let lengths = x.map_axis(Axis(1), |row| (row.dot(&row) + DIRECTION_EPSILON).sqrt());
        Self { unit: &x / &lengths.view().insert_axis(Axis(1)), lengths }
    }

    fn backward(&self, mut d: Array2<f32>) -> Array2<f32> {
        Zip::from(d.rows_mut()).and(self.unit.rows()).and(&self.lengths).for_each(|mut d, unit, &length| {
            let along = d.dot(&unit);
            d.scaled_add(-along, &unit);
            d /= length;
        });
        d
    }
}
