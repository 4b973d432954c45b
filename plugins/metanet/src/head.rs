//! Algorithm 1 of the paper on the backbone's embeddings, and the way back to all weights.
//!
//! Gradients are data here: they are made with the slow weights, preprocessed, and not differentiated again.

use ndarray::{Array1, Array2, Array3, ArrayView2, Axis, concatenate};

use crate::FastWeights;
use crate::activation::{relu_backward, softmax};
use crate::layers::{Attention, Augmented, Memory, read, read_backward};
use crate::meta_learners::{d, d_backward, preprocess};
use crate::weights::Weights;

/// What a support set makes: Q*, the representations of its examples and the memory of their W*. Algorithm 1 up to line 11.
pub(crate) struct Adaptation {
    /// Number of classes.
    ways: usize,
    sharpness: f32,
    fast: Option<Fast>,
    /// r′ᵢ, `[support, hidden]`.
    r: Array2<f32>,
    /// Of the base learner's hidden layer and of its output layer.
    memories: Option<[Memory; 2]>,
}

/// Queries answered, with what the way back needs.
pub(crate) struct Answer<'a> {
    /// `[queries, ways]`.
    pub(crate) logits: Array2<f32>,
    adaptation: &'a Adaptation,
    weights: &'a Weights,
    attention: Attention,
    hidden: Layer<'a>,
    output: Layer<'a>,
}

/// Q* `[hidden, features]`, and the gradients it was made of, one matrix for each class.
struct Fast {
    weights: Array2<f32>,
    gradients: Vec<Array2<f32>>,
}

impl Adaptation {
    /// From the support's embeddings `[support, features]` and their labels, each class below `ways` with an example.
    pub(crate) fn new(
        z: ArrayView2<'_, f32>,
        labels: &[usize],
        ways: usize,
        weights: &Weights,
        (fast_weights, sharpness): (FastWeights, f32),
    ) -> Self {
        let fast = (fast_weights == FastWeights::All).then(|| {
            let gradients = class_gradients(z, labels, ways, weights);
            let made = d(&weights.d, &gradients).into_shape_with_order(weights.representation.dim());
            Fast { weights: made.expect("a fast weight for each slow one"), gradients }
        });
        let mut adaptation = Self { ways, sharpness, fast, r: Array2::default((0, 0)), memories: None };
        adaptation.r = adaptation.represent(z, weights);
        if fast_weights != FastWeights::None {
            let [hidden, output] = example_gradients(adaptation.r.view(), labels, ways, weights);
            let memory = |gradients, inputs| Memory::new(&weights.m, gradients, labels.len(), inputs);
            adaptation.memories =
                Some([memory(hidden, adaptation.r.ncols()), memory(output, weights.hidden.nrows())]);
        }
        adaptation
    }

    /// r = u(x; Q, Q*): lines 10 and 13. The embedding needs no ReLU: its cosines are to be of either sign.
    fn represent(&self, z: ArrayView2<'_, f32>, weights: &Weights) -> Array2<f32> {
        let slow = z.dot(&weights.representation.t());
        match &self.fast {
            Some(fast) => slow + z.dot(&fast.weights.t()),
            None => slow,
        }
    }

    /// The logits of queries with embeddings `[queries, features]`: lines 12–16.
    pub(crate) fn answer<'a>(&'a self, z: ArrayView2<'_, f32>, weights: &'a Weights) -> Answer<'a> {
        let x = self.represent(z, weights);
        let attention = Attention::new(self.r.view(), x.view(), self.sharpness);
        let [of_hidden, of_output] =
            [0, 1].map(|layer| self.memories.as_ref().map(|memories| &memories[layer]));
        let hidden = Layer::new(weights.hidden.view(), of_hidden, &attention.weights, x, true);
        let slow = weights.output.slice_axis(Axis(0), (..self.ways).into());
        let output = Layer::new(slow, of_output, &attention.weights, hidden.paths.output(), false);
        Answer { logits: output.paths.output(), adaptation: self, weights, attention, hidden, output }
    }
}

/// The gradients in Q of the representation loss, preprocessed, `[hidden · features, 2]` for each class: the mean
/// cross-entropy of its examples. Lines 1–4.
fn class_gradients(
    z: ArrayView2<'_, f32>,
    labels: &[usize],
    ways: usize,
    weights: &Weights,
) -> Vec<Array2<f32>> {
    (0..ways)
        .map(|class| {
            let examples: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == class).collect();
            let z = z.select(Axis(0), &examples);
            let classifier = weights.classifier.slice_axis(Axis(0), (..ways).into());
            let logits = z.dot(&weights.representation.t()).dot(&classifier.t());
            let d_logits = cross_entropy_gradient(logits, &vec![class; examples.len()]);
            let d_r = d_logits.dot(&classifier) / examples.len() as f32;
            preprocess(d_r.t().dot(&z).view())
        })
        .collect()
}

/// ∇ᵢ = ∇_W loss(b(rᵢ; W), yᵢ) of each support example, preprocessed, `[support · out · in, 2]` in the hidden layer and in
/// the output layer. Lines 7–8.
fn example_gradients(
    r: ArrayView2<'_, f32>,
    labels: &[usize],
    ways: usize,
    weights: &Weights,
) -> [Array2<f32>; 2] {
    let output = weights.output.slice_axis(Axis(0), (..ways).into());
    let a = r.dot(&weights.hidden.t()).mapv_into(|x| x.max(0.0));
    let d_logits = cross_entropy_gradient(a.dot(&output.t()), labels);
    let d_a = relu_backward(&a, d_logits.dot(&output));
    [preprocess(outer(&d_a, r).view()), preprocess(outer(&d_logits, a.view()).view())]
}

impl Answer<'_> {
    /// Gradient in the embeddings `z` of support and queries, from the one in the logits; those in Q, W, Z and G are added to
    /// `gradient`.
    pub(crate) fn backward(
        &self,
        z: ArrayView2<'_, f32>,
        d_logits: &Array2<f32>,
        gradient: &mut Weights,
    ) -> Array2<f32> {
        let attention = &self.attention.weights;
        let mut d_attention = Array2::zeros(attention.dim());
        let meta_learner = &self.weights.m;
        let (d_a, d_output) =
            self.output.backward(meta_learner, attention, d_logits, &mut d_attention, &mut gradient.m);
        let (d_x, d_hidden) =
            self.hidden.backward(meta_learner, attention, &d_a, &mut d_attention, &mut gradient.m);
        let mut rows = gradient.output.slice_axis_mut(Axis(0), (..d_output.nrows()).into());
        rows += &d_output;
        gradient.hidden += &d_hidden;
        let (d_support, d_query) = self.attention.backward(&d_attention);
        self.representation_backward(z, &concatenate![Axis(0), d_support, d_x + d_query], gradient)
    }

    /// Back through r = (Q + Q*) z.
    fn representation_backward(
        &self,
        z: ArrayView2<'_, f32>,
        d_r: &Array2<f32>,
        gradient: &mut Weights,
    ) -> Array2<f32> {
        let d_weights = d_r.t().dot(&z);
        gradient.representation += &d_weights;
        let mut d_z = d_r.dot(&self.weights.representation);
        if let Some(fast) = &self.adaptation.fast {
            d_z += &d_r.dot(&fast.weights);
            let d_weights = d_weights.into_iter().collect::<Array1<f32>>();
            add(&mut gradient.d, &d_backward(&self.weights.d, &fast.gradients, d_weights.view()));
        }
        d_z
    }
}

/// An augmented layer of the base learner, on some queries.
struct Layer<'a> {
    slow: ArrayView2<'a, f32>,
    memory: Option<&'a Memory>,
    /// What each example's fast weights make of each query, `[queries, support, out]`.
    each: Option<Array3<f32>>,
    /// `[queries, in]`.
    x: Array2<f32>,
    paths: Augmented,
}

impl<'a> Layer<'a> {
    fn new(
        slow: ArrayView2<'a, f32>,
        memory: Option<&'a Memory>,
        attention: &Array2<f32>,
        x: Array2<f32>,
        relu: bool,
    ) -> Self {
        let each = memory.map(|memory| memory.each(&x));
        let fast = each.as_ref().map(|each| read(each, attention));
        Self { slow, memory, each, paths: Augmented::new(x.dot(&slow.t()), fast, relu), x }
    }

    /// Gradients in the inputs and the slow weights.
    fn backward(
        &self,
        meta_learner: &[Array2<f32>; 3],
        attention: &Array2<f32>,
        d: &Array2<f32>,
        d_attention: &mut Array2<f32>,
        d_meta: &mut [Array2<f32>; 3],
    ) -> (Array2<f32>, Array2<f32>) {
        let (d_slow, d_fast) = self.paths.backward(d);
        let mut d_x = d_slow.dot(&self.slow);
        if let (Some(memory), Some(each), Some(d_fast)) = (self.memory, &self.each, d_fast) {
            read_backward(each, &d_fast, d_attention);
            let (d_query, d_m) = memory.backward(meta_learner, attention, &self.x, &d_fast);
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
