//! The layers on matrices, after the images: linear layers, ReLU and dropout, all four passes.
//!
//! Matrices are `[features, n]` here, n in whole cache lines: weights, which are larger than a small batch, are then
//! the left factor of every product as they lie, and are never transposed.

use std::sync::Arc;

use ndarray::Array2;

use super::arena::{Arena, Buffer, LINE};
use super::gemm::{Left, ONE, Panels, Sizes, Target, multiply};
use super::image::padded;
use super::simd::Isa;
use crate::architecture::{self, DropBlock, Linear};

/// A layer on matrices.
pub(super) enum Layer {
    Linear(Linear),
    Relu { slope: f32 },
    Drop(DropBlock),
}

/// The layers on matrices, in order.
pub(super) struct Tail {
    isa: Isa,
    arena: Arc<Arena>,
    layers: Vec<Layer>,
    /// Features before each layer, and after the last.
    widths: Vec<usize>,
}

/// The matrix before each layer, and after the last, `[features, n]` one after another.
pub(super) struct Values {
    count: usize,
    /// What names the noise of dropout, where it is active.
    noise: Option<u64>,
    all: Buffer,
}

impl Tail {
    /// `layers`, if all are on matrices.
    pub(super) fn new(
        isa: Isa,
        arena: &Arc<Arena>,
        features: usize,
        layers: &[architecture::Layer],
    ) -> Option<Self> {
        let layers = layers.iter().map(|layer| match layer {
            architecture::Layer::Linear(linear) => Some(Layer::Linear(linear.clone())),
            &architecture::Layer::Relu { slope } => Some(Layer::Relu { slope }),
            &architecture::Layer::Drop(drop) => Some(Layer::Drop(drop)),
            _ => None,
        });
        let layers = layers.collect::<Option<Vec<_>>>()?;
        let mut widths = vec![features];
        for layer in &layers {
            let before = widths[widths.len() - 1];
            widths.push(match layer {
                Layer::Linear(linear) => linear.output,
                Layer::Relu { .. } | Layer::Drop(_) => before,
            });
        }
        Some(Self { isa, arena: arena.clone(), layers, widths })
    }

    /// Where the matrix before layer `index` lies among the values of all.
    fn place(&self, index: usize, count: usize) -> std::ops::Range<usize> {
        let start: usize = self.widths[..index].iter().sum();
        start * padded(count)..(start + self.widths[index]) * padded(count)
    }

    /// Room for all matrices, the first filled from `rows`, `[n, features]`.
    fn start(&self, (count, noise): (usize, Option<u64>), rows: Option<&[f32]>) -> Values {
        let total: usize = self.widths.iter().sum();
        let mut all = self.arena.take(total * padded(count));
        let first = &mut all[self.place(0, count)];
        match rows {
            Some(rows) => transpose(rows, self.widths[0], padded(count), first),
            None => first.fill(0.0),
        }
        Values { count, noise, all }
    }

    /// The matrix after the last layer, `[n, features]`.
    pub(super) fn output(&self, values: &Values) -> Array2<f32> {
        let last = &values.all[self.place(self.layers.len(), values.count)];
        let features = self.widths[self.layers.len()];
        Array2::from_shape_fn((values.count, features), |(row, feature)| {
            last[feature * padded(values.count) + row]
        })
    }

    /// All matrices, from the first, `[n, features]`, with noise if it is named.
    pub(super) fn forward(
        &self,
        theta: &[f32],
        (count, noise): (usize, Option<u64>),
        rows: &[f32],
    ) -> Values {
        let mut values = self.start((count, noise), Some(rows));
        for (index, layer) in self.layers.iter().enumerate() {
            let (x, y) = self.around(index, &mut values);
            match layer {
                Layer::Linear(linear) => {
                    fill_rows(y, &theta[linear.bias.clone()]);
                    self.apply(linear, &theta[linear.weight.clone()], x, y);
                }
                &Layer::Relu { slope } => {
                    x.iter().zip(y).for_each(|(&x, y)| *y = x.max(0.0) + slope * x.min(0.0))
                }
                Layer::Drop(drop) => {
                    y.copy_from_slice(x);
                    drop_features(drop, (count, noise), y);
                }
            }
        }
        values
    }

    /// Changes of all matrices along `direction`, from those of the first (if it changes), `[n, features]`.
    pub(super) fn tangent_forward(
        &self,
        [theta, direction]: [&[f32]; 2],
        values: &Values,
        rows: Option<&[f32]>,
    ) -> Values {
        let examples = (values.count, values.noise);
        let mut changes = self.start(examples, rows);
        for (index, layer) in self.layers.iter().enumerate() {
            let x = &values.all[self.place(index, values.count)];
            let (x_tangent, y_tangent) = self.around(index, &mut changes);
            match layer {
                Layer::Linear(linear) => {
                    fill_rows(y_tangent, &direction[linear.bias.clone()]);
                    self.apply(linear, &direction[linear.weight.clone()], x, y_tangent);
                    if index > 0 || rows.is_some() {
                        self.apply(linear, &theta[linear.weight.clone()], x_tangent, y_tangent);
                    }
                }
                &Layer::Relu { slope } => {
                    y_tangent.copy_from_slice(x_tangent);
                    mask(y_tangent, x, slope);
                }
                Layer::Drop(drop) => {
                    y_tangent.copy_from_slice(x_tangent);
                    drop_features(drop, examples, y_tangent);
                }
            }
        }
        changes
    }

    /// Adds gradients to `gradient`, and gives that of the first matrix, `[n, features]`, if `first` asks for it.
    pub(super) fn backward(
        &self,
        theta: &[f32],
        values: &Values,
        d_output: &Array2<f32>,
        first: bool,
        gradient: &mut [f32],
    ) -> Option<Buffer> {
        let mut d = self.columns(d_output);
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let x = &values.all[self.place(index, values.count)];
            match layer {
                Layer::Linear(linear) => {
                    self.add_weight_gradient(linear, values.count, &d, x, gradient);
                    add_row_sums(&d, values.count, &mut gradient[linear.bias.clone()]);
                    if index > 0 || first {
                        let mut dx = self.arena.take(x.len());
                        self.apply_transposed(linear, &theta[linear.weight.clone()], &d, &mut dx, false);
                        d = dx;
                    }
                }
                &Layer::Relu { slope } => mask(&mut d, x, slope),
                Layer::Drop(drop) => drop_features(drop, (values.count, values.noise), &mut d),
            }
        }
        first.then(|| self.rows(values.count, &d))
    }

    /// Adds changes of gradients to `product`, and gives the gradient of the first matrix and its change.
    pub(super) fn tangent_backward(
        &self,
        [theta, direction]: [&[f32]; 2],
        [values, changes]: [&Values; 2],
        [d_output, dd_output]: [&Array2<f32>; 2],
        first: bool,
        product: &mut [f32],
    ) -> Option<[Buffer; 2]> {
        let count = values.count;
        let (mut d, mut d_tangent) = (self.columns(d_output), self.columns(dd_output));
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let place = self.place(index, count);
            let (x, x_tangent) = (&values.all[place.clone()], &changes.all[place]);
            match layer {
                Layer::Linear(linear) => {
                    self.add_weight_gradient(linear, count, &d_tangent, x, product);
                    add_row_sums(&d_tangent, count, &mut product[linear.bias.clone()]);
                    if index == 0 && !first {
                        continue;
                    }
                    self.add_weight_gradient(linear, count, &d, x_tangent, product);
                    let weights = [theta, direction].map(|values| &values[linear.weight.clone()]);
                    let mut dx_tangent = self.arena.take(x.len());
                    self.apply_transposed(linear, weights[0], &d_tangent, &mut dx_tangent, false);
                    self.apply_transposed(linear, weights[1], &d, &mut dx_tangent, true);
                    let mut dx = self.arena.take(x.len());
                    self.apply_transposed(linear, weights[0], &d, &mut dx, false);
                    (d, d_tangent) = (dx, dx_tangent);
                }
                &Layer::Relu { slope } => {
                    mask(&mut d, x, slope);
                    mask(&mut d_tangent, x, slope);
                }
                Layer::Drop(drop) => {
                    drop_features(drop, (count, values.noise), &mut d);
                    drop_features(drop, (count, values.noise), &mut d_tangent);
                }
            }
        }
        first.then(|| [self.rows(count, &d), self.rows(count, &d_tangent)])
    }

    /// The matrices before and after layer `index`.
    fn around<'a>(&self, index: usize, values: &'a mut Values) -> (&'a [f32], &'a mut [f32]) {
        let (before, after) = (self.place(index, values.count), self.place(index + 1, values.count));
        let (x, y) = values.all[before.start..after.end].split_at_mut(before.len());
        (x, y)
    }

    /// `y += W x` for W `[out, in]`.
    fn apply(&self, linear: &Linear, weight: &[f32], x: &[f32], y: &mut [f32]) {
        let columns = x.len() / linear.input;
        let sizes = Sizes { rows: linear.output, columns, depth: linear.input };
        let a = Left { values: weight, row: linear.input, column: 1 };
        self.product(sizes, a, x, Target { values: y, row: columns, accumulate: true });
    }

    /// `dx (+)= Wᵀ dy` for W `[out, in]`.
    fn apply_transposed(
        &self,
        linear: &Linear,
        weight: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        accumulate: bool,
    ) {
        let columns = dy.len() / linear.output;
        let sizes = Sizes { rows: linear.input, columns, depth: linear.output };
        let a = Left { values: weight, row: 1, column: linear.input };
        self.product(sizes, a, dy, Target { values: dx, row: columns, accumulate });
    }

    /// Adds `dy xᵀ` to the gradient of W.
    fn add_weight_gradient(
        &self,
        linear: &Linear,
        count: usize,
        dy: &[f32],
        x: &[f32],
        gradient: &mut [f32],
    ) {
        let columns = padded(linear.input);
        let mut transposed = self.arena.take(count * columns);
        transpose(x, padded(count), columns, &mut transposed);
        let sizes = Sizes { rows: linear.output, columns: linear.input, depth: count };
        let a = Left { values: dy, row: padded(count), column: 1 };
        let b = Panels { values: &transposed, panel: LINE, depth: columns };
        let values = &mut gradient[linear.weight.clone()];
        multiply(self.isa, ONE, sizes, a, b, Target { values, row: linear.input, accumulate: true });
    }

    /// The product with `b`, `[depth, columns]`.
    fn product(&self, sizes: Sizes, a: Left<'_>, b: &[f32], c: Target<'_>) {
        let b = Panels { values: b, panel: LINE, depth: sizes.columns };
        multiply(self.isa, ONE, sizes, a, b, c);
    }

    /// `[n, features]` to `[features, n]`.
    fn columns(&self, rows: &Array2<f32>) -> Buffer {
        let (count, features) = rows.dim();
        let mut columns = self.arena.zeros(features * padded(count));
        for (row, values) in rows.rows().into_iter().enumerate() {
            let places = columns[row..].iter_mut().step_by(padded(count));
            values.iter().zip(places).for_each(|(value, to)| *to = *value);
        }
        columns
    }

    /// `[features, n]` to `[n, features]`.
    fn rows(&self, count: usize, columns: &[f32]) -> Buffer {
        let features = columns.len() / padded(count);
        let mut rows = self.arena.take(count * features);
        transpose(columns, padded(count), features, &mut rows);
        rows
    }
}

/// Rows of `from`, `width` long, as columns of `to`, whose rows are `stride` long; zero where there is no row.
fn transpose(from: &[f32], width: usize, stride: usize, to: &mut [f32]) {
    let rows = from.len() / width;
    for (column, to) in to.chunks_exact_mut(stride).enumerate() {
        let (filled, rest) = to.split_at_mut(rows);
        filled.iter_mut().zip(from[column..].iter().step_by(width)).for_each(|(to, from)| *to = *from);
        rest.fill(0.0);
    }
}

/// Fills each row with its value.
fn fill_rows(matrix: &mut [f32], values: &[f32]) {
    let width = matrix.len() / values.len();
    matrix.chunks_exact_mut(width).zip(values).for_each(|(row, value)| row.fill(*value));
}

/// Adds the sum of each row's first `count` values.
fn add_row_sums(matrix: &[f32], count: usize, sums: &mut [f32]) {
    for (row, sum) in matrix.chunks_exact(padded(count)).zip(sums) {
        *sum += row[..count].iter().sum::<f32>();
    }
}

/// Drops features `[features, n]`, or their changes or gradients, of each example, if noise is named.
fn drop_features(drop: &DropBlock, (count, noise): (usize, Option<u64>), matrix: &mut [f32]) {
    let Some(seed) = noise else { return };
    (0..count).for_each(|example| drop.apply(seed, example, [padded(count), 1], &mut matrix[example..]));
}

/// Gradients in the input `x` of a ReLU.
fn mask(d: &mut [f32], x: &[f32], slope: f32) {
    d.iter_mut().zip(x).for_each(|(d, x)| *d = if *x > 0.0 { *d } else { slope * *d });
}
