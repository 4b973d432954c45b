//! Second derivatives of a network that only has first ones: differences of gradients.

use crate::params::{Layout, Params, Role};
use crate::{Error, Result};

/// The derivative of `gradient` at `theta` along `direction`, as the difference of its values a step ahead and a step
/// back. Only the weights of `layout`, with which the layout of θ begins, are moved and counted.
///
/// The step balances truncation, which grows with its square, against rounding, which shrinks with its inverse: it is
/// the cube root of the machine's precision, in the scale of θ (Nocedal & Wright 2006, section 8.1).
pub(super) fn central_difference(
    layout: &Layout,
    theta: &Params,
    direction: &Params,
    gradient: impl Fn(&Params) -> Result<Params>,
) -> Result<Params> {
    let shorter = theta.values().len().min(direction.values().len());
    if shorter < layout.len() {
        return Err(Error::invalid(format!(
            "the network has {} weights, but was given weights or a direction of {shorter}",
            layout.len()
        )));
    }
    let norm = |params: &Params| {
        let values = layout.ranges(Role::Weight).flat_map(|range| &params.values()[range]);
        values.map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
    };
    let mut product = Params::zeros(theta.layout());
    let length = norm(direction);
    if length == 0.0 {
        return Ok(product);
    }
    let step = (f64::from(f32::EPSILON).cbrt() * (1.0 + norm(theta)) / length) as f32;
    let gradient_at = |step: f32| {
        let mut moved = theta.clone();
        for range in layout.ranges(Role::Weight) {
            let along = &direction.values()[range.clone()];
            moved.values_mut()[range].iter_mut().zip(along).for_each(|(theta, v)| *theta += step * v);
        }
        gradient(&moved)
    };
    let (ahead, behind) = (gradient_at(step)?, gradient_at(-step)?);
    for range in layout.ranges(Role::Weight) {
        let differences = ahead.values()[range.clone()].iter().zip(&behind.values()[range.clone()]);
        let slots = product.values_mut()[range].iter_mut();
        slots.zip(differences).for_each(|(slot, (a, b))| *slot = (a - b) / (2.0 * step));
    }
    Ok(product)
}
