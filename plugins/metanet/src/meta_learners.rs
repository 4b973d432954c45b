//! The meta-learners m and d: networks that turn loss gradients into fast weights, coordinate by coordinate.
//!
//! Both look at the gradient of one weight at a time, with the same weights of their own for every one (§3.1 of the
//! paper; Andrychowicz et al., "Learning to learn by gradient descent by gradient descent", NeurIPS 2016, §2.1). So a
//! row of a matrix here is such a coordinate, and blocks of rows are computed in parallel.

use std::ops::Range;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Zip};
use rayon::prelude::*;

use crate::activation::{relu_backward, sigmoid, tanh};

/// p of the preprocessing.
const P: f32 = 7.0;
/// Coordinates in a block; a sum over coordinates is a sum over blocks, in order.
const BLOCK: usize = 512;

/// Gradients as the meta-learners get them, two numbers for each (Andrychowicz et al. 2016, appendix A):
/// `(log|g| / p, sign g)` where `|g| ≥ e⁻ᵖ`, else `(−1, eᵖ g)`; `[coordinates, 2]`.
pub(crate) fn preprocess(gradient: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut pairs = Array2::zeros((gradient.len(), 2));
    for (mut pair, &g) in pairs.outer_iter_mut().zip(gradient) {
        pair[0] = (g.abs().ln() / P).max(-1.0);
        pair[1] = (g * P.exp()).clamp(-1.0, 1.0);
    }
    pairs
}

/// m(Z, ∇): a fast weight for each gradient of `[coordinates, 2]`.
pub(crate) fn m(weights: &[Array2<f32>; 3], gradient: &Array2<f32>) -> Array1<f32> {
    by_block(gradient.nrows(), |rows| {
        let [.., last] = m_layers(weights, gradient.slice_axis(Axis(0), rows.into()));
        affine(last.view(), &weights[2]).remove_axis(Axis(1))
    })
    .concat()
}

/// Gradient in Z, from the one in the fast weights, `[coordinates]`.
pub(crate) fn m_backward(
    weights: &[Array2<f32>; 3],
    gradient: &Array2<f32>,
    d_fast: ArrayView1<'_, f32>,
) -> [Array2<f32>; 3] {
    by_block(gradient.nrows(), |rows| {
        let x = gradient.slice_axis(Axis(0), rows.clone().into());
        let [first, second] = m_layers(weights, x);
        let d_third = d_fast.slice_axis(Axis(0), rows.into()).insert_axis(Axis(1));
        let d_second = relu_backward(&second, d_inputs(d_third, &weights[2]));
        let d_first = relu_backward(&first, d_inputs(d_second.view(), &weights[1]));
        [
            d_affine(x, d_first.view()),
            d_affine(first.view(), d_second.view()),
            d_affine(second.view(), d_third),
        ]
    })
    .sum()
}

/// The two hidden layers, `[coordinates, meta]` each.
fn m_layers(weights: &[Array2<f32>; 3], x: ArrayView2<'_, f32>) -> [Array2<f32>; 2] {
    let relu = |x: Array2<f32>| x.mapv_into(|x| x.max(0.0));
    let first = relu(affine(x, &weights[0]));
    let second = relu(affine(first.view(), &weights[1]));
    [first, second]
}

/// d(G, {∇}₁ᵀ): a fast weight for each coordinate of T gradients, `[coordinates, 2]` each.
pub(crate) fn d(weights: &[Array2<f32>; 2], gradients: &[Array2<f32>]) -> Array1<f32> {
    by_block(gradients[0].nrows(), |rows| {
        let [.., last] = &d_steps(weights, gradients, rows)[..] else { return Array1::zeros(0) };
        affine(last.state().view(), &weights[1]).remove_axis(Axis(1))
    })
    .concat()
}

/// Gradient in G, from the one in the fast weights, `[coordinates]`: back through all T steps.
pub(crate) fn d_backward(
    weights: &[Array2<f32>; 2],
    gradients: &[Array2<f32>],
    d_fast: ArrayView1<'_, f32>,
) -> [Array2<f32>; 2] {
    let (meta, inputs) = (weights[1].ncols() - 1, gradients[0].ncols());
    by_block(d_fast.len(), |rows| {
        let steps = d_steps(weights, gradients, rows.clone());
        let d_output = d_fast.slice_axis(Axis(0), rows.clone().into()).insert_axis(Axis(1));
        let d_head = steps.last().map(|last| d_affine(last.state().view(), d_output));
        let mut d_state = d_inputs(d_output, &weights[1]);
        let mut d_cell = Array2::zeros((rows.len(), meta));
        let mut d_lstm = Array2::zeros(weights[0].dim());
        for (t, step) in steps.iter().enumerate().rev() {
            let before = t.checked_sub(1).map(|before| &steps[before].cell);
            let d_gates = step.backward(before, &d_state, &mut d_cell);
            d_lstm += &d_affine(step.input.view(), d_gates.view());
            d_state = d_inputs(d_gates.view(), &weights[0]).slice_axis(Axis(1), (inputs..).into()).to_owned();
        }
        [d_lstm, d_head.unwrap_or_else(|| Array2::zeros(weights[1].dim()))]
    })
    .sum()
}

/// One step of the LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000) on a block.
struct Step {
    /// Gradient and last state, `[rows, 2 + meta]`.
    input: Array2<f32>,
    /// Input, forget, cell and output gate, `[rows, 4 · meta]`.
    gates: Array2<f32>,
    /// `[rows, meta]`.
    cell: Array2<f32>,
    /// tanh of the cell.
    squashed: Array2<f32>,
}

fn d_steps(weights: &[Array2<f32>; 2], gradients: &[Array2<f32>], rows: Range<usize>) -> Vec<Step> {
    let meta = weights[1].ncols() - 1;
    let mut state = Array2::zeros((rows.len(), meta));
    let mut cell = Array2::zeros((rows.len(), meta));
    let mut steps = Vec::with_capacity(gradients.len());
    for gradient in gradients {
        let mut input = Array2::zeros((rows.len(), gradient.ncols() + meta));
        input
            .slice_axis_mut(Axis(1), (..gradient.ncols()).into())
            .assign(&gradient.slice_axis(Axis(0), rows.clone().into()));
        input.slice_axis_mut(Axis(1), (gradient.ncols()..).into()).assign(&state);
        let mut gates = affine(input.view(), &weights[0]);
        for row in gates.outer_iter_mut() {
            let (before, rest) = row.split_at(Axis(0), CELL * meta);
            let (mut cell, after) = rest.split_at(Axis(0), meta);
            for mut gates in [before, after] {
                gates.mapv_inplace(sigmoid);
            }
            cell.mapv_inplace(tanh);
        }
        let [i, f, g, _] = split(&gates);
        Zip::from(&mut cell).and(i).and(f).and(g).for_each(|c, i, f, g| *c = f * *c + i * g);
        let squashed = cell.mapv(tanh);
        let step = Step { input, gates, cell: cell.clone(), squashed };
        state = step.state();
        steps.push(step);
    }
    steps
}

impl Step {
    /// `[rows, meta]`.
    fn state(&self) -> Array2<f32> {
        let [.., output] = split(&self.gates);
        &output * &self.squashed
    }

    /// Gradient before the gates' squashing, from those in this step's state and cell; leaves the one in the last cell.
    fn backward(
        &self,
        last: Option<&Array2<f32>>,
        d_state: &Array2<f32>,
        d_cell: &mut Array2<f32>,
    ) -> Array2<f32> {
        let meta = self.cell.ncols();
        let [i, f, g, o] = split(&self.gates);
        Zip::from(&mut *d_cell)
            .and(d_state)
            .and(o)
            .and(&self.squashed)
            .for_each(|d, d_state, o, squashed| *d += d_state * o * (1.0 - squashed * squashed));
        let mut d_gates = Array2::zeros(self.gates.dim());
        for (number, mut d) in d_gates.axis_chunks_iter_mut(Axis(1), meta).enumerate() {
            match (number, last) {
                (0, _) => Zip::from(&mut d).and(&*d_cell).and(g).and(i).for_each(|slot, d, g, i| {
                    *slot = d * g * i * (1.0 - i);
                }),
                (1, None) => {}
                (1, Some(last)) => {
                    Zip::from(&mut d).and(&*d_cell).and(last).and(f).for_each(|slot, d, last, f| {
                        *slot = d * last * f * (1.0 - f);
                    })
                }
                (CELL, _) => Zip::from(&mut d).and(&*d_cell).and(i).and(g).for_each(|slot, d, i, g| {
                    *slot = d * i * (1.0 - g * g);
                }),
                _ => Zip::from(&mut d).and(d_state).and(&self.squashed).and(o).for_each(
                    |slot, d, squashed, o| {
                        *slot = d * squashed * o * (1.0 - o);
                    },
                ),
            }
        }
        Zip::from(d_cell).and(f).for_each(|d, f| *d *= f);
        d_gates
    }
}

/// Which of the four gates is the cell's input.
const CELL: usize = 2;

/// The four gates, `[rows, meta]` each.
fn split(gates: &Array2<f32>) -> [ArrayView2<'_, f32>; 4] {
    let meta = gates.ncols() / 4;
    [0, 1, 2, 3].map(|gate| gates.slice_axis(Axis(1), (gate * meta..(gate + 1) * meta).into()))
}

/// `x Wᵀ + b`, the bias b being the last column.
fn affine(x: ArrayView2<'_, f32>, weights: &Array2<f32>) -> Array2<f32> {
    let inputs = x.ncols();
    x.dot(&weights.slice_axis(Axis(1), (..inputs).into()).t()) + weights.column(inputs)
}

/// Gradient in an affine layer's weights, from its inputs and the gradient in its outputs.
fn d_affine(x: ArrayView2<'_, f32>, d_outputs: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut d = Array2::zeros((d_outputs.ncols(), x.ncols() + 1));
    d.slice_axis_mut(Axis(1), (..x.ncols()).into()).assign(&d_outputs.t().dot(&x));
    d.column_mut(x.ncols()).assign(&d_outputs.sum_axis(Axis(0)));
    d
}

/// Gradient in an affine layer's inputs.
fn d_inputs(d_outputs: ArrayView2<'_, f32>, weights: &Array2<f32>) -> Array2<f32> {
    d_outputs.dot(&weights.slice_axis(Axis(1), (..weights.ncols() - 1).into()))
}

/// What was computed for each block of coordinates, in order.
struct Blocks<T>(Vec<T>);

/// Computes blocks of rows in parallel.
fn by_block<T: Send>(rows: usize, compute: impl Fn(Range<usize>) -> T + Sync + Send) -> Blocks<T> {
    let block = |number: usize| compute(number * BLOCK..rows.min((number + 1) * BLOCK));
    Blocks((0..rows.div_ceil(BLOCK)).into_par_iter().map(block).collect())
}

impl Blocks<Array1<f32>> {
    fn concat(self) -> Array1<f32> {
        self.0.iter().flatten().copied().collect()
    }
}

impl<const N: usize> Blocks<[Array2<f32>; N]> {
    fn sum(self) -> [Array2<f32>; N] {
        let add = |mut sum: [Array2<f32>; N], block: [Array2<f32>; N]| {
            sum.iter_mut().zip(&block).for_each(|(sum, block)| *sum += block);
            sum
        };
        let empty = || std::array::from_fn(|_| Array2::zeros((0, 0)));
        self.0.into_iter().reduce(add).unwrap_or_else(empty)
    }
}
