//! Fully conditional embeddings: what a task's other examples make of an embedding.
//!
//! Vinyals et al. 2016, section 2.1.2 and appendices A.1 and A.2. The support is read by an LSTM in both directions, in order of
//! its examples, g(xᵢ) = →hᵢ + ←hᵢ + zᵢ. A query reads the support K times by attention: from h₀ = 0,
//! rₖ₋₁ = Σᵢ softmaxᵢ(hₖ₋₁ · g(xᵢ)) g(xᵢ), then hₖ = LSTM(z, [hₖ₋₁, rₖ₋₁]) + z.

use std::sync::Arc;

use dfdx::prelude::*;
use kshot::nn::head::rows;
use kshot::nn::{Dev, HeadWeights, Matrix, TapedMatrix, Vector};
use kshot::params::{Layout, Params, Role};
use kshot::rng::Rng;
use kshot::{Error, Result};
use rand::Rng as _;

/// An LSTM's gates, as [`Lstm::step`] takes them.
const GATES: [&str; 4] = ["input", "forget", "cell", "output"];

/// The three LSTMs, and what each reads.
const FORWARD: (&str, &[&str]) = ("forward", &["x", "h"]);
const BACKWARD: (&str, &[&str]) = ("backward", &["x", "h"]);
const ATTENTION: (&str, &[&str]) = ("attention", &["x", "h", "r"]);

/// Fresh weights for embeddings of this width: uniform in ±1/√width, and biases 0 but for the forget gates' 1 (Gers et al. 2000).
pub(crate) fn weights(features: usize, rng: &mut Rng) -> Params {
    let mut layout = Layout::new();
    for (cell, reads) in [FORWARD, BACKWARD, ATTENTION] {
        for gate in GATES {
            for from in reads {
                layout.push(format!("fce.{cell}.{gate}.{from}"), &[features, features], Role::Weight);
            }
            layout.push(format!("fce.{cell}.{gate}.bias"), &[features], Role::Weight);
        }
    }
    let mut weights = Params::zeros(&Arc::new(layout));
    let bound = 1.0 / (features as f32).sqrt();
    for entry in weights.layout().clone().entries() {
        let own = &mut weights.values_mut()[entry.range.clone()];
        match entry.shape.len() {
            2 => own.fill_with(|| rng.random_range(-bound..bound)),
            _ if entry.name.ends_with("forget.bias") => own.fill(1.0),
            _ => {}
        }
    }
    weights
}

/// The support's embeddings and the queries', `[n, features]` each, as parts of a task; each query reads the support `steps` times.
///
/// # Errors
/// When θ lacks the weights, or the device fails.
pub(crate) fn conditional(
    [z_support, z_query]: [TapedMatrix; 2],
    weights: &HeadWeights<'_>,
    steps: usize,
) -> Result<[TapedMatrix; 2]> {
    let (forward, backward) = (Lstm::of(weights, FORWARD)?, Lstm::of(weights, BACKWARD)?);
    let attention = Lstm::of(weights, ATTENTION)?;
    let (n, _) = *z_support.shape();
    let (z, tape) = z_support.split_tape();
    let mut support = z.clone().put_tape(tape);
    for (lstm, order) in [(&forward, (0..n).collect::<Vec<_>>()), (&backward, (0..n).rev().collect())] {
        support = lstm.along(&z, order, support)?;
    }
    let (support, support_tape) = support.split_tape();
    let (z, mut tape) = z_query.split_tape();
    let zeros = || z.device().try_zeros_like(z.shape()).map_err(failed);
    let (mut state, mut cell) = (zeros()?, zeros()?);
    for _ in 0..steps {
        let read = || {
            let transposed = taped(&support).try_permute::<_, Axes2<1, 0>>()?;
            let weights = taped(&state).try_matmul(transposed)?.try_softmax::<Axis<1>>()?;
            let reading = weights.try_matmul(taped(&support))?;
            let (next, cell) = attention.step(vec![taped(&z), taped(&state), reading], &cell)?;
            Ok((next.try_add(taped(&z))?, cell))
        };
        let (next, next_cell) = read().map_err(failed)?;
        let (next, of_step) = next.split_tape();
        (state, cell, tape) = (next, next_cell, tape.merge(of_step));
    }
    Ok([support.put_tape(support_tape), state.put_tape(tape)])
}

/// An LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000): for each gate the weights of what it reads, and
/// its bias.
struct Lstm {
    gates: Vec<(Vec<Matrix>, Vector)>,
}

impl Lstm {
    fn of(weights: &HeadWeights<'_>, (cell, reads): (&str, &[&str])) -> Result<Self> {
        let gate = |gate: &&str| {
            let matrices = reads.iter().map(|from| weights.matrix(&format!("fce.{cell}.{gate}.{from}")));
            Ok((matrices.collect::<Result<_>>()?, weights.vector(&format!("fce.{cell}.{gate}.bias"))?))
        };
        Ok(Self { gates: GATES.iter().map(gate).collect::<Result<_>>()? })
    }

    /// Adds the hidden states along the rows of `z`, in this order, to the rows of `to`.
    fn along(&self, z: &Matrix, order: Vec<usize>, mut to: TapedMatrix) -> Result<TapedMatrix> {
        let &(n, features) = z.shape();
        let zeros = || z.device().try_zeros_like(&(1, features)).map_err(failed);
        let (mut state, mut cell) = (zeros()?, zeros()?);
        for example in order {
            let x = rows(taped(z), example, example + 1)?;
            let (next, next_cell) = self.step(vec![x, taped(&state)], &cell).map_err(failed)?;
            let (next, tape) = next.split_tape();
            let mut place = vec![0.0; n];
            place[example] = 1.0;
            let add = || {
                let place = z.device().try_tensor_from_vec(place, (n, 1))?;
                to.try_add(place.put_tape(tape).try_matmul(taped(&next))?)
            };
            to = add().map_err(failed)?;
            (state, cell) = (next, next_cell);
        }
        Ok(to)
    }

    /// The next hidden state and cell, `[n, features]`, of what is read and the cell before; the state carries the operations.
    fn step(
        &self,
        reads: Vec<TapedMatrix>,
        cell: &Matrix,
    ) -> Result<(TapedMatrix, Matrix), <Dev as HasErr>::Err> {
        let (values, tapes): (Vec<Matrix>, Vec<_>) = reads.into_iter().map(TapedMatrix::split_tape).unzip();
        // What was read brings its operations along with the first gate.
        let mut tapes = tapes.into_iter();
        let mut gate = |number: usize| {
            let (matrices, bias) = &self.gates[number];
            let bias = bias.clone().put_tape(OwnedTape::default());
            let mut sum = bias.try_broadcast_like::<_, Axis<0>>(cell.shape())?;
            for (x, weight) in values.iter().zip(matrices) {
                let x = x.clone().put_tape(tapes.next().unwrap_or_default());
                sum = sum.try_add(x.try_matmul(taped(weight).try_permute::<_, Axes2<1, 0>>()?)?)?;
            }
            Ok::<_, <Dev as HasErr>::Err>(sum)
        };
        let (input, forget) = (gate(0)?.try_sigmoid()?, gate(1)?.try_sigmoid()?);
        let (candidate, output) = (gate(2)?.try_tanh()?, gate(3)?.try_sigmoid()?);
        let next = candidate.try_mul(input)?.try_add(forget.try_mul(taped(cell))?)?;
        let (cell, tape) = next.split_tape();
        Ok((cell.clone().put_tape(tape).try_tanh()?.try_mul(output)?, cell))
    }
}

/// A matrix whose operations are carried elsewhere.
fn taped(x: &Matrix) -> TapedMatrix {
    x.clone().put_tape(OwnedTape::default())
}

fn failed(error: <Dev as HasErr>::Err) -> Error {
    Error::device("embedding a task as a whole", error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use kshot::nn::head::split;
    use kshot::nn::value_and_grad_of_head;
    use kshot::rng::stream;
    use ndarray::Array2;

    use super::*;

    /// Of a weighted sum of all embeddings, in every weight and in what is embedded.
    #[test]
    fn the_gradient_is_a_derivative() {
        let theta = weights(3, &mut stream(1, "init", 0));
        let z = Array2::from_shape_fn((5, 3), |(i, j)| ((3 * i + j) as f32 * 1.3).sin());
        let of = |theta: &Params, z: &Array2<f32>| {
            let mut gradient = Params::zeros(theta.layout());
            let (value, d_z) = value_and_grad_of_head(theta, z.clone(), &mut gradient, &mut |z, weights| {
                let [support, query] = conditional(split(z, 3)?, weights, 2)?;
                let sum = |x: TapedMatrix| {
                    let &shape = x.shape();
                    let factors = (0..shape.0 * shape.1).map(|i| (i as f32).cos()).collect();
                    let factors = x.device().tensor_from_vec(factors, shape);
                    x.try_mul(factors)?.try_sum::<(), _>()
                };
                sum(support).and_then(|support| support.try_add(sum(query)?)).map_err(failed)
            })
            .unwrap();
            (value, gradient, d_z)
        };
        let (_, gradient, d_z) = of(&theta, &z);
        let close = |up: f32, down: f32, exact: f32, what: &str| {
            let difference = (up - down) / 2e-2;
            assert!((difference - exact).abs() < 2e-3, "{what}: {difference} {exact}");
        };
        for entry in theta.layout().entries() {
            let at = |by: f32| {
                let mut theta = theta.clone();
                theta.values_mut()[entry.range.start + entry.range.len() / 2] += by;
                of(&theta, &z).0
            };
            let exact = gradient.values()[entry.range.start + entry.range.len() / 2];
            close(at(1e-2), at(-1e-2), exact, &entry.name);
        }
        for place in [[0, 0], [2, 1], [4, 2]] {
            let at = |by: f32| {
                let mut z = z.clone();
                z[place] += by;
                of(&theta, &z).0
            };
            close(at(1e-2), at(-1e-2), d_z[place], "an embedding");
        }
    }
}
