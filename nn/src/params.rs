//! Weights as one flat vector with a named layout, so that arithmetic on weights is vector arithmetic.
//!
//! ```
//! use std::sync::Arc;
//! use kshot_nn::params::{Layout, Params, Role};
//!
//! let mut layout = Layout::new();
//! layout.push("head.weight", &[2, 3], Role::Weight);
//! let mut head = Params::zeros(&Arc::new(layout));
//! head.values_mut().fill(0.5);
//!
//! // θ of a network followed by the head's weights; and the two taken apart again.
//! let mut layout = Layout::new();
//! layout.push("block0.norm.running_mean", &[4], Role::Statistic);
//! let network = Params::zeros(&Arc::new(layout));
//! let mut theta = network.followed_by(&head);
//! assert_eq!(theta.tensor("head.weight"), Some(&[0.5; 6][..]));
//! assert_eq!(theta.split_at(network.layout())?, (network, head));
//!
//! // Descent moves weights; statistics are folded.
//! let gradient = theta.clone();
//! theta.update_weights([&gradient], |theta, [g]| *theta -= 0.1 * g);
//! theta.fold_statistics(&gradient)?;
//! # Ok::<(), kshot_nn::Error>(())
//! ```

use std::sync::Arc;

use crate::{Error, Result};

pub use crate::layout::{Entry, Layout, Role};

/// Weight of a batch's statistic when it is folded into the running one.
pub const NORM_MOMENTUM: f32 = 0.1;

/// A flat vector of weights (or a gradient, a direction, an optimizer's moment) and its layout.
#[derive(Debug, PartialEq)]
pub struct Params {
    layout: Arc<Layout>,
    values: Vec<f32>,
}

impl Clone for Params {
    fn clone(&self) -> Self {
        let mut values = self.layout.spare.take().unwrap_or_default();
        values.clone_from(&self.values);
        Self { layout: self.layout.clone(), values }
    }
}

impl Drop for Params {
    fn drop(&mut self) {
        self.layout.spare.give_back(std::mem::take(&mut self.values));
    }
}

impl Params {
    /// All zeros.
    pub fn zeros(layout: &Arc<Layout>) -> Self {
        let values = match layout.spare.take() {
            Some(mut values) => {
                values.fill(0.0);
                values
            }
            None => vec![0.0; layout.len()],
        };
        Self { layout: layout.clone(), values }
    }

    /// Values that are in the order of `layout` already.
    ///
    /// # Errors
    /// When there are more or fewer values than the layout has places.
    pub fn from_values(layout: &Arc<Layout>, values: Vec<f32>) -> Result<Self> {
        if values.len() != layout.len() {
            return Err(Error::invalid(format!(
                "weights: the layout has {} values, {} were given",
                layout.len(),
                values.len()
            )));
        }
        layout.spare.adopt();
        Ok(Self { layout: layout.clone(), values })
    }

    /// Where each tensor lies.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The flat vector.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The flat vector, to change.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The values of the tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&[f32]> {
        self.layout.get(name).map(|entry| &self.values[entry.range.clone()])
    }

    /// These tensors, followed by those of `other`: a network's θ with a head's weights.
    pub fn followed_by(&self, other: &Self) -> Self {
        let layout = Arc::new(self.layout.followed_by(&other.layout));
        layout.spare.adopt();
        Self { layout, values: [self.values(), other.values()].concat() }
    }

    /// The tensors of `front`, with which these begin, and the rest: the inverse of [`Params::followed_by`].
    ///
    /// # Errors
    /// When these do not begin with the tensors of `front`.
    pub fn split_at(&self, front: &Arc<Layout>) -> Result<(Self, Self)> {
        if !self.layout.entries().starts_with(front.entries()) {
            return Err(Error::invalid(format!(
                "weights of {} values do not begin with the {} tensors that were to be split off",
                self.values.len(),
                front.entries().len()
            )));
        }
        let mut before = Self::zeros(front);
        before.values.copy_from_slice(&self.values[..front.len()]);
        let mut behind = Self::zeros(&Arc::new(self.layout.behind(front.len())));
        behind.values.copy_from_slice(&self.values[front.len()..]);
        Ok((before, behind))
    }

    /// `self += factor · other`, element by element.
    ///
    /// # Errors
    /// When the two have different layouts.
    pub fn add_scaled(&mut self, factor: f32, other: &Self) -> Result<()> {
        self.check_layout(other)?;
        self.values.iter_mut().zip(&other.values).for_each(|(a, b)| *a += factor * b);
        Ok(())
    }

    /// `self *= factor`, element by element.
    pub fn scale(&mut self, factor: f32) {
        self.values.iter_mut().for_each(|value| *value *= factor);
    }

    /// Calls `update` for each learned weight with the same weight of `others`; statistics stay as they are.
    ///
    /// # Panics
    /// When one of `others` is shorter: they must be laid out alike.
    pub fn update_weights<const N: usize>(
        &mut self,
        others: [&Self; N],
        mut update: impl FnMut(&mut f32, [f32; N]),
    ) {
        for range in self.layout.ranges(Role::Weight) {
            let weights = &mut self.values[range.clone()];
            // All of one length, which the compiler then knows.
            let others = others.map(|other| &other.values[range.clone()][..weights.len()]);
            for at in 0..weights.len() {
                update(&mut weights[at], others.map(|other| other[at]));
            }
        }
    }

    /// ⟨self, other⟩ over the learned weights, summed in double precision.
    ///
    /// # Panics
    /// When `other` is shorter: the two must be laid out alike.
    pub fn dot(&self, other: &Self) -> f64 {
        let products = self.layout.ranges(Role::Weight).flat_map(|range| {
            let pairs = self.values[range.clone()].iter().zip(&other.values[range]);
            pairs.map(|(a, b)| f64::from(*a) * f64::from(*b))
        });
        products.sum()
    }

    /// Folds a batch's statistics, as a training gradient holds them, into the running ones: r ← (1 − m) r + m b with
    /// m = [`NORM_MOMENTUM`]. Weights stay as they are.
    ///
    /// # Errors
    /// When the two have different layouts.
    pub fn fold_statistics(&mut self, batch: &Self) -> Result<()> {
        self.check_layout(batch)?;
        for range in self.layout.ranges(Role::Statistic) {
            let running = self.values[range.clone()].iter_mut();
            for (running, batch) in running.zip(&batch.values[range]) {
                *running = (1.0 - NORM_MOMENTUM) * *running + NORM_MOMENTUM * batch;
            }
        }
        Ok(())
    }

    fn check_layout(&self, other: &Self) -> Result<()> {
        if Arc::ptr_eq(&self.layout, &other.layout) || self.layout == other.layout {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "weights of {} tensors with {} values meet others of {} with {}: they are laid out otherwise",
            self.layout.entries().len(),
            self.values.len(),
            other.layout.entries().len(),
            other.values.len()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(name: &str, length: usize) -> Arc<Layout> {
        let mut layout = Layout::new();
        layout.push(name, &[length], Role::Weight);
        Arc::new(layout)
    }

    #[test]
    fn what_is_kept_is_bounded_by_what_was_in_use_at_once() {
        let layout = layout("a", 4);
        let three: Vec<Params> = (0..3).map(|_| Params::zeros(&layout)).collect();
        drop(three);
        assert_eq!(layout.spare.free(), 3);
        for _ in 0..100 {
            drop(Params::from_values(&layout, vec![1.0; 4]).unwrap());
        }
        assert_eq!(layout.spare.free(), 3, "vectors from elsewhere pile up");
        let kept: Vec<Params> = (0..2).map(|_| Params::from_values(&layout, vec![1.0; 4]).unwrap()).collect();
        assert_eq!(layout.spare.free(), 1);
        assert!(Params::zeros(&layout).values().iter().all(|value| *value == 0.0));
        drop(kept);
        assert_eq!(layout.spare.free(), 3);
    }

    #[test]
    fn another_layout_is_refused() {
        let (a, b) = (layout("a", 4), layout("b", 3));
        let mut a = Params::zeros(&a);
        let error = a.add_scaled(1.0, &Params::zeros(&b)).unwrap_err().to_string();
        assert!(error.contains("laid out otherwise"), "{error}");
        assert!(a.fold_statistics(&Params::zeros(&b)).is_err());
        assert!(a.split_at(&b).is_err());
        assert!(a.add_scaled(1.0, &Params::zeros(&layout("a", 4))).is_ok(), "equal layouts need not be one");
    }
}
