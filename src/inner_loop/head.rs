//! The inner loop of ANIL: only a linear head adapts, so that the body is passed once, whatever the number of steps.
//!
//! Raghu, Raghu, Bengio & Vinyals, "Rapid Learning or Feature Reuse? Towards Understanding the Effectiveness of MAML", ICLR
//! 2020. With features z_S = f(x_S), z_Q = f(x_Q) and the head's W_{k+1} = W_k − α ∇_W L(z_S W_kᵀ), the recursion of
//! [`InnerLoop`](super::InnerLoop) is one in the head alone; what its Hessian-vector products have outside of the head is the
//! gradient in z_S, −∂²L/∂z∂W (α V), summed over the steps, which goes back through the body once.

use ndarray::{Array2, ArrayView2, Axis, aview1};

use crate::nn::Loss;
use crate::params::Params;
use crate::{Error, Result};

/// Gradient descent of a linear head `[outputs, features]` with a bias, the last column.
#[derive(Clone, Copy)]
pub struct HeadLoop<'a> {
    /// α.
    pub rate: f32,
    /// K: the number of steps.
    pub steps: usize,
    /// As [`InnerLoop::step_weights`](super::InnerLoop::step_weights).
    pub step_weights: Option<&'a [f32]>,
}

/// The query loss after the steps, and its gradients.
#[derive(Clone, Debug)]
pub struct HeadGradient {
    /// The query loss, weighted over the steps if so wanted.
    pub loss: f32,
    /// The head's outputs for the queries after the last step, `[queries, outputs]`.
    pub outputs: Array2<f32>,
    /// The gradient in the head that the steps start from, `[outputs, features + 1]`.
    pub head: Array2<f32>,
    /// In the support's features, `[support, features]`.
    pub support: Array2<f32>,
    /// In the queries' features, `[queries, features]`.
    pub query: Array2<f32>,
}

/// Features `[n, features]` and a mean loss on the head's outputs for them.
type Objective<'a> = (ArrayView2<'a, f32>, &'a Loss);

impl HeadLoop<'_> {
    /// The head among θ's tensors, `head.weight` and `head.bias`, as one matrix.
    ///
    /// # Errors
    /// When θ has none.
    pub fn head_of(theta: &Params) -> Result<Array2<f32>> {
        let missing = || Error::invalid("the weights have no linear layer `head` to adapt");
        let weight = theta.layout().get("head.weight").ok_or_else(missing)?;
        let bias = theta.tensor("head.bias").ok_or_else(missing)?;
        let &[outputs, features] = &weight.shape[..] else { return Err(missing()) };
        let weight = ArrayView2::from_shape((outputs, features), &theta.values()[weight.range.clone()])
            .map_err(|_| missing())?;
        Ok(ndarray::concatenate![Axis(1), weight, aview1(bias).insert_axis(Axis(1))])
    }

    /// Puts a head where [`HeadLoop::head_of`] found one.
    pub fn put_head(theta: &mut Params, head: &Array2<f32>) {
        let (weight, bias) = head.view().split_at(Axis(1), head.ncols().saturating_sub(1));
        for (name, values) in [("head.weight", weight), ("head.bias", bias)] {
            let place = theta.layout().get(name).map(|entry| entry.range.clone());
            if let Some(place) = place {
                theta.values_mut()[place].iter_mut().zip(values).for_each(|(slot, value)| *slot = *value);
            }
        }
    }

    /// The head after all steps.
    ///
    /// # Errors
    /// When the loss does not match the features or the head.
    pub fn adapt(&self, head: &Array2<f32>, support: Objective<'_>) -> Result<Array2<f32>> {
        Ok(self.path(head, support)?.pop().unwrap_or_else(|| head.clone()))
    }

    /// The head before each step and after the last.
    fn path(&self, head: &Array2<f32>, (z, loss): Objective<'_>) -> Result<Vec<Array2<f32>>> {
        let mut path = vec![head.clone()];
        for k in 0..self.steps {
            let slopes = loss.gradient(outputs(&path[k], z).view())?;
            let mut next = path[k].clone();
            next.scaled_add(-self.rate, &in_head(&slopes, z));
            path.push(next);
        }
        Ok(path)
    }

    /// The query loss after the steps, and its exact gradients.
    ///
    /// # Errors
    /// As for `adapt`, and when there are not as many step weights as steps.
    pub fn gradient(
        &self,
        head: &Array2<f32>,
        support: Objective<'_>,
        query: Objective<'_>,
    ) -> Result<HeadGradient> {
        let weight_after = |k: usize| match self.step_weights {
            None => Ok(if k == self.steps { 1.0 } else { 0.0 }),
            Some(weights) if weights.len() == self.steps => {
                Ok(if k == 0 { if self.steps == 0 { 1.0 } else { 0.0 } } else { weights[k - 1] })
            }
            Some(weights) => Err(Error::invalid(format!(
                "the inner loop takes {} steps, but has weights for the query losses after {}",
                self.steps,
                weights.len()
            ))),
        };
        let path = self.path(head, support)?;
        let (z_support, z_query) = (support.0, query.0);
        let mut gradient = HeadGradient {
            loss: 0.0,
            outputs: outputs(&path[self.steps], z_query),
            head: Array2::zeros(head.dim()),
            support: Array2::zeros(z_support.dim()),
            query: Array2::zeros(z_query.dim()),
        };
        for (k, head_k) in path.iter().enumerate().rev() {
            // `gradient.head` is V of step k + 1 here; at the end it is 0.
            if k < self.steps {
                let direction = &gradient.head * self.rate;
                let outputs_k = outputs(head_k, z_support);
                let slopes = support.1.gradient(outputs_k.view())?;
                let change = outputs(&direction, z_support);
                let slopes_change = support.1.gradient_tangent(outputs_k.view(), change.view())?;
                gradient.head -= &in_head(&slopes_change, z_support);
                gradient.support -= &(in_features(&slopes_change, head_k) + in_features(&slopes, &direction));
            }
            let weight = weight_after(k)?;
            if weight != 0.0 {
                let outputs_k = outputs(head_k, z_query);
                let slopes = query.1.gradient(outputs_k.view())? * weight;
                gradient.loss += weight * query.1.value(outputs_k.view())?;
                gradient.head += &in_head(&slopes, z_query);
                gradient.query += &in_features(&slopes, head_k);
            }
        }
        Ok(gradient)
    }
}

/// `z Wᵀ + b`.
fn outputs(head: &Array2<f32>, z: ArrayView2<'_, f32>) -> Array2<f32> {
    let (weight, bias) = head.view().split_at(Axis(1), z.ncols());
    z.dot(&weight.t()) + bias.t()
}

/// The gradient in the head, from the one in its outputs.
fn in_head(slopes: &Array2<f32>, z: ArrayView2<'_, f32>) -> Array2<f32> {
    ndarray::concatenate![Axis(1), slopes.t().dot(&z), slopes.sum_axis(Axis(0)).insert_axis(Axis(1))]
}

/// The gradient in the features, from the one in the head's outputs.
fn in_features(slopes: &Array2<f32>, head: &Array2<f32>) -> Array2<f32> {
    slopes.dot(&head.slice_axis(Axis(1), (..head.ncols() - 1).into()))
}
