//! The relation module g: a perceptron of two hidden layers on a query's and a class's embedding, side by side.

use std::sync::Arc;

use dfdx::prelude::*;
use kshot::learner::accuracy;
use kshot::metric::TrainingLoss;
use kshot::nn::head::{averaging_matrix, split};
use kshot::nn::{Dev, HeadWeights, Matrix, TapedMatrix};
use kshot::params::{Layout, Params, Role};
use kshot::rng::Rng;
use kshot::{Error, Result};
use ndarray::{Array2, ArrayView2};
use rand::Rng as _;

/// g without its weights: those are tensors of θ.
pub(crate) struct Module {
    pub(crate) hidden: usize,
}

/// First layer, its part for the query and its part for the class, `[hidden, features]` each, and bias `[hidden]`;
/// then `[hidden, hidden]` and `[hidden]`; then `[1, hidden]` and `[1]`.
const QUERY: &str = "relation.query.weight";
const CLASS: &str = "relation.class.weight";
const BIAS: &str = "relation.bias";
const HIDDEN: &str = "relation.hidden.weight";
const HIDDEN_BIAS: &str = "relation.hidden.bias";
const OUTPUT: &str = "relation.output.weight";
const OUTPUT_BIAS: &str = "relation.output.bias";

impl Module {
    fn tensors(&self, features: usize) -> [(&'static str, Vec<usize>); 7] {
        let &Self { hidden } = self;
        [
            (QUERY, vec![hidden, features]),
            (CLASS, vec![hidden, features]),
            (BIAS, vec![hidden]),
            (HIDDEN, vec![hidden, hidden]),
            (HIDDEN_BIAS, vec![hidden]),
            (OUTPUT, vec![1, hidden]),
            (OUTPUT_BIAS, vec![1]),
        ]
    }

    /// Fresh weights: uniform in ±√(6 / fan-in) (He et al. 2015), biases 0. The parts for query and class start as
    /// opposites, so that g starts from the difference of the two.
    pub(crate) fn weights(&self, features: usize, rng: &mut Rng) -> Params {
        let mut layout = Layout::new();
        for (name, shape) in self.tensors(features) {
            layout.push(name, &shape, Role::Weight);
        }
        let mut weights = Params::zeros(&Arc::new(layout));
        for entry in weights.layout().clone().entries() {
            let (before, own) = weights.values_mut().split_at_mut(entry.range.start);
            let own = &mut own[..entry.range.len()];
            match entry.shape[..] {
                [_, _] if entry.name == CLASS => {
                    let query = &before[before.len() - own.len()..];
                    own.iter_mut().zip(query).for_each(|(class, query)| *class = -query);
                }
                [_, inputs] => {
                    let bound = (6.0 / inputs as f32).sqrt();
                    own.fill_with(|| rng.random_range(-bound..bound));
                }
                _ => {}
            }
        }
        weights
    }

    /// The loss of an episode (equation 2), of the embedded support and the embedded queries behind it.
    pub(crate) fn loss(
        &self,
        z: TapedMatrix,
        weights: &HeadWeights<'_>,
        support: &[usize],
        query: &[usize],
    ) -> Result<TrainingLoss> {
        let device = z.device().clone();
        let [z_support, z_query] = split(z, support.len())?;
        let means = averaging_matrix(support)?;
        let &(ways, _) = means.shape();
        let pairs = query.len() * ways;
        // Pair `q · ways + c` is query q with class c.
        let place = |of: &dyn Fn(usize) -> usize, columns: usize| {
            let mut one_hot = vec![0.0; pairs * columns];
            (0..pairs).for_each(|pair| one_hot[pair * columns + of(pair)] = 1.0);
            device.try_tensor_from_vec(one_hot, (pairs, columns))
        };
        let [of_query, of_class] = [weights.matrix(QUERY)?, weights.matrix(CLASS)?];
        let [hidden, output] = [weights.matrix(HIDDEN)?, weights.matrix(OUTPUT)?];
        let [bias, hidden_bias, output_bias] =
            [weights.vector(BIAS)?, weights.vector(HIDDEN_BIAS)?, weights.vector(OUTPUT_BIAS)?];
        let transposed =
            |weight: Matrix| weight.put_tape(OwnedTape::default()).try_permute::<_, Axes2<1, 0>>();
        let targets: Vec<f32> =
            (0..pairs).map(|pair| if query[pair / ways] == pair % ways { 1.0 } else { 0.0 }).collect();
        let compute = || {
            // The first layer of a concatenation is the sum of a layer of each part, made once for each example.
            let classes = means.put_tape(OwnedTape::default()).try_matmul(z_support)?;
            let classes = classes.try_matmul(transposed(of_class)?)?;
            let queries = z_query.try_matmul(transposed(of_query)?)?;
            let classes =
                place(&|pair| pair % ways, ways)?.put_tape(OwnedTape::default()).try_matmul(classes)?;
            let x = place(&|pair| pair / ways, queries.shape().0)?.put_tape(OwnedTape::default());
            let x = x.try_matmul(queries)?.try_add(classes)?;
            let shape = *x.shape();
            let bias = bias.put_tape(OwnedTape::default()).try_broadcast_like::<_, Axis<0>>(&shape)?;
            let x = x.try_add(bias)?.try_relu()?.try_matmul(transposed(hidden)?)?;
            let bias = hidden_bias.put_tape(OwnedTape::default()).try_broadcast_like::<_, Axis<0>>(&shape)?;
            let x = x.try_add(bias)?.try_relu()?.try_matmul(transposed(output)?)?;
            let bias = output_bias.put_tape(OwnedTape::default());
            let x = x.try_add(bias.try_broadcast_like::<_, Axis<0>>(&(pairs, 1))?)?.try_sigmoid()?;
            let accuracy = accuracy(x.as_vec(), query);
            let targets = device.try_tensor_from_vec(targets, (pairs, 1))?;
            Ok::<_, <Dev as HasErr>::Err>((x.try_sub(targets)?.try_square()?.try_mean()?, accuracy))
        };
        let (loss, accuracy) =
            compute().map_err(|error| Error::device("relating queries to classes", error))?;
        Ok(TrainingLoss { loss, metrics: vec![("accuracy", accuracy)] })
    }

    /// Scores before the sigmoid, `[queries, classes]`, of embeddings `[queries, features]` and `[classes, features]`.
    pub(crate) fn scores(
        &self,
        theta: &Params,
        query: ArrayView2<'_, f32>,
        classes: ArrayView2<'_, f32>,
    ) -> Result<Array2<f32>> {
        let vector = |name: &str| {
            let missing = || Error::invalid(format!("`relation`: θ has no tensor `{name}`"));
            theta.tensor(name).ok_or_else(missing)
        };
        let matrix = |name: &str, rows: usize| {
            let values = vector(name)?;
            ArrayView2::from_shape((rows, values.len() / rows), values)
                .map_err(|error| Error::invalid(format!("`relation`: tensor `{name}`: {error}")))
        };
        let of_query = query.dot(&matrix(QUERY, self.hidden)?.t()) + ndarray::aview1(vector(BIAS)?);
        let of_class = classes.dot(&matrix(CLASS, self.hidden)?.t());
        let (hidden, output) = (matrix(HIDDEN, self.hidden)?, ndarray::aview1(vector(OUTPUT)?));
        let (hidden_bias, output_bias) = (ndarray::aview1(vector(HIDDEN_BIAS)?), vector(OUTPUT_BIAS)?[0]);
        let mut scores = Array2::zeros((query.nrows(), classes.nrows()));
        for (of_query, mut scores) in of_query.outer_iter().zip(scores.outer_iter_mut()) {
            let x = (&of_class + &of_query).mapv_into(|x| x.max(0.0));
            let x = (x.dot(&hidden.t()) + hidden_bias).mapv_into(|x| x.max(0.0));
            scores.assign(&(x.dot(&output) + output_bias));
        }
        Ok(scores)
    }
}
