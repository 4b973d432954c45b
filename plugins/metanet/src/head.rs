//! Algorithm 1 of the paper on the backbone's embeddings, and the way back to all weights.
//!
//! Gradients are data here: they are made with the slow weights, preprocessed, and not differentiated again.

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};

use crate::FastWeights;
use crate::activation::{relu_backward, softmax};
use crate::layers::{Attention, Augmented, Memory};
use crate::meta_learners::{d, d_backward, preprocess};
use crate::weights::Weights;

/// The embedded task.
pub(crate) struct Task<'a> {
    /// The support's embeddings, then the queries', `[support + queries, features]`.
    pub(crate) z: ArrayView2<'a, f32>,
    /// The label of each support example.
    pub(crate) labels: &'a [usize],
    /// Number of classes.
    pub(crate) ways: usize,
}

/// The task answered, with what the way back needs.
pub(crate) struct Answer<'a> {
    /// `[queries, ways]`.
    pub(crate) logits: Array2<f32>,
    representation: Representation<'a>,
    attention: Attention,
    hidden: Layer<'a>,
    output: Layer<'a>,
}

/// The representation learner u on support and queries.
struct Representation<'a> {
    z: ArrayView2<'a, f32>,
    weights: &'a Weights,
    fast: Option<Fast>,
    layer: Augmented,
}

/// Q* `[hidden, features]`, and the gradients it was made of, one matrix for each class.
struct Fast {
    weights: Array2<f32>,
    gradients: Vec<Array2<f32>>,
}

/// ∇ᵢ = ∇_W loss(b(rᵢ; W), yᵢ) of each support example, preprocessed, `[support · out · in, 2]`.
struct ExampleGradients {
    hidden: Array2<f32>,
    output: Array2<f32>,
}

impl<'a> Task<'a> {
    /// Algorithm 1 up to the logits of the queries.
    pub(crate) fn answer(&self, weights: &'a Weights, fast: FastWeights) -> Answer<'a> {
        let n = self.labels.len();
        let representation = self.represent(weights, fast == FastWeights::All);
        let r = representation.layer.output();
        let (r_support, x) = (r.slice_axis(Axis(0), (..n).into()), r.slice_axis(Axis(0), (n..).into()));
        let attention = Attention::new(r_support, x);
        let (mut of_hidden, mut of_output) = (None, None);
        if fast != FastWeights::None {
            let gradients = self.example_gradients(weights, r_support);
            (of_hidden, of_output) = (Some(gradients.hidden), Some(gradients.output));
        }
        let memory = |gradients, x: &Array2<f32>| Memory::new(&weights.m, gradients, n, x.clone());
        let x = x.to_owned();
        let of_hidden = of_hidden.map(|gradients| memory(gradients, &x));
        let hidden = Layer::new(weights.hidden.view(), of_hidden, &attention.weights, x, true);
        let a = hidden.paths.output();
        let of_output = of_output.map(|gradients| memory(gradients, &a));
        let slow = weights.output.slice_axis(Axis(0), (..self.ways).into());
        let output = Layer::new(slow, of_output, &attention.weights, a, false);
        Answer { logits: output.paths.output(), representation, attention, hidden, output }
    }

    /// r = u(x; Q, Q*) with Q* = d(G, {∇}): lines 1–5, 10 and 13. The embedding needs no ReLU: its cosines are to be
    /// of either sign.
    fn represent(&self, weights: &'a Weights, with_fast: bool) -> Representation<'a> {
        let fast = with_fast.then(|| {
            let gradients = self.class_gradients(weights);
            let shape = weights.representation.dim();
            let made = d(&weights.d, &gradients).into_shape_with_order(shape);
            Fast { weights: made.expect("a fast weight for each slow one"), gradients }
        });
        let path = |weights: &Array2<f32>| self.z.dot(&weights.t());
        let layer =
            Augmented::new(path(&weights.representation), fast.as_ref().map(|f| path(&f.weights)), false);
        Representation { z: self.z, weights, fast, layer }
    }

    /// The gradients in Q of the representation loss, preprocessed, `[hidden · features, 2]` for each class: the mean
    /// cross-entropy of its examples. Lines 1–4.
    fn class_gradients(&self, weights: &Weights) -> Vec<Array2<f32>> {
        (0..self.ways)
            .map(|class| {
                let examples: Vec<usize> =
                    (0..self.labels.len()).filter(|&i| self.labels[i] == class).collect();
                let z = self.z.select(Axis(0), &examples);
                let classifier = weights.classifier.slice_axis(Axis(0), (..self.ways).into());
                let logits = z.dot(&weights.representation.t()).dot(&classifier.t());
                let d_logits = cross_entropy_gradient(logits, &vec![class; examples.len()]);
                let d_r = d_logits.dot(&classifier) / examples.len() as f32;
                preprocess(d_r.t().dot(&z).view())
            })
            .collect()
    }

    /// Each support example's gradient in W. Lines 7–8.
    fn example_gradients(&self, weights: &Weights, r: ArrayView2<'_, f32>) -> ExampleGradients {
        let output = weights.output.slice_axis(Axis(0), (..self.ways).into());
        let a = r.dot(&weights.hidden.t()).mapv_into(|x| x.max(0.0));
        let d_logits = cross_entropy_gradient(a.dot(&output.t()), self.labels);
        let d_a = relu_backward(&a, d_logits.dot(&output));
        ExampleGradients {
            hidden: preprocess(outer(&d_a, r).view()),
            output: preprocess(outer(&d_logits, a.view()).view()),
        }
    }
}

impl Answer<'_> {
    /// Gradient in the embeddings, from the one in the logits; those in Q, W, Z and G are added to `gradient`.
    pub(crate) fn backward(&self, d_logits: &Array2<f32>, gradient: &mut Weights) -> Array2<f32> {
        let attention = &self.attention.weights;
        let mut d_attention = Array2::zeros(attention.dim());
        let (d_a, d_output) = self.output.backward(attention, d_logits, &mut d_attention, &mut gradient.m);
        let (d_x, d_hidden) = self.hidden.backward(attention, &d_a, &mut d_attention, &mut gradient.m);
        let mut rows = gradient.output.slice_axis_mut(Axis(0), (..d_output.nrows()).into());
        rows += &d_output;
        gradient.hidden += &d_hidden;
        let (d_support, d_query) = self.attention.backward(&d_attention);
        self.representation.backward(&concatenate![Axis(0), d_support, d_x + d_query], gradient)
    }
}

impl Representation<'_> {
    fn backward(&self, d_r: &Array2<f32>, gradient: &mut Weights) -> Array2<f32> {
        let (d_slow, d_fast) = self.layer.backward(d_r);
        gradient.representation += &d_slow.t().dot(&self.z);
        let mut d_z = d_slow.dot(&self.weights.representation);
        if let (Some(fast), Some(d_fast)) = (&self.fast, d_fast) {
            d_z += &d_fast.dot(&fast.weights);
            let d_weights = d_fast.t().dot(&self.z).into_iter().collect::<Array1<f32>>();
            add(&mut gradient.d, &d_backward(&self.weights.d, &fast.gradients, d_weights.view()));
        }
        d_z
    }
}

/// An augmented layer of the base learner.
struct Layer<'a> {
    slow: ArrayView2<'a, f32>,
    memory: Option<Memory<'a>>,
    /// `[queries, in]`.
    x: Array2<f32>,
    paths: Augmented,
}

impl<'a> Layer<'a> {
    fn new(
        slow: ArrayView2<'a, f32>,
        memory: Option<Memory<'a>>,
        attention: &Array2<f32>,
        x: Array2<f32>,
        relu: bool,
    ) -> Self {
        let fast = memory.as_ref().map(|memory| memory.read(attention));
        Self { slow, memory, paths: Augmented::new(x.dot(&slow.t()), fast, relu), x }
    }

    /// Gradients in the inputs and the slow weights.
    fn backward(
        &self,
        attention: &Array2<f32>,
        d: &Array2<f32>,
        d_attention: &mut Array2<f32>,
        d_meta: &mut [Array2<f32>; 3],
    ) -> (Array2<f32>, Array2<f32>) {
        let (d_slow, d_fast) = self.paths.backward(d);
        let mut d_x = d_slow.dot(&self.slow);
        if let (Some(memory), Some(d_fast)) = (&self.memory, d_fast) {
            let (d_query, d_m) = memory.backward(attention, &d_fast, d_attention);
            d_x += &d_query;
            add(d_meta, &d_m);
        }
        (d_x, d_slow.t().dot(&self.x))
    }
}

/// Gradient of each row's cross-entropy in its logits: p − y.
fn cross_entropy_gradient(logits: Array2<f32>, labels: &[usize]) -> Array2<f32> {
    let mut d = softmax(logits);
    for (mut row, &label) in d.rows_mut().into_iter().zip(labels) {
        row[label] -= 1.0;
    }
    d
}

/// The outer product of each pair of rows, one below the other, `[n · left, right]`.
fn outer(left: &Array2<f32>, right: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut products = Array2::zeros((left.len(), right.ncols()));
    for (mut product, ((row, _), &factor)) in products.outer_iter_mut().zip(left.indexed_iter()) {
        product.scaled_add(factor, &right.row(row));
    }
    products
}

fn add<const N: usize>(sums: &mut [Array2<f32>; N], others: &[Array2<f32>; N]) {
    sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other);
}
