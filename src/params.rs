//! Weights as one flat vector with a named layout, so that arithmetic on weights is vector arithmetic.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Error, Result};

/// What a tensor in a [`Layout`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Learned by gradient descent.
    Weight,
    /// A running statistic of batch norm: no gradient touches it. In a gradient its slot holds the statistic of
    /// the batch, which the engine folds into the running one.
    Statistic,
}

/// One named tensor of a [`Layout`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name in PyTorch's manner: `block0.conv.weight`.
    pub name: String,
    /// Shape in PyTorch's order: `[out, in, 3, 3]`.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// Where its values lie in the flat vector (row-major).
    pub range: Range<usize>,
}

/// Names, shapes and places of the tensors in a flat vector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    entries: Vec<Entry>,
    spare: Spare,
}

/// Vectors of dropped [`Params`], for the next of this layout: fresh memory costs a page fault every 4 KiB.
#[derive(Default)]
struct Spare(Mutex<Vec<Vec<f32>>>);

impl Spare {
    fn vectors(&self) -> MutexGuard<'_, Vec<Vec<f32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No part of what a layout is.
impl Clone for Spare {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Spare {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Spare {}

impl std::fmt::Debug for Spare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} spare", self.vectors().len())
    }
}

impl Layout {
    /// A layout with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a tensor and says where it went.
    pub fn push(&mut self, name: impl Into<String>, shape: &[usize], role: Role) -> Range<usize> {
        let start = self.len();
        let range = start..start + shape.iter().product::<usize>();
        self.entries.push(Entry { name: name.into(), shape: shape.to_vec(), role, range: range.clone() });
        range
    }

    /// The tensors, in order of their place.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Length of the flat vector.
    pub fn len(&self) -> usize {
        self.entries.last().map_or(0, |entry| entry.range.end)
    }

    /// Whether it holds no tensor.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Places of all tensors with this role.
    pub fn ranges(&self, role: Role) -> impl Iterator<Item = Range<usize>> + '_ {
        self.entries.iter().filter(move |entry| entry.role == role).map(|entry| entry.range.clone())
    }
}

/// A flat vector of weights (or a gradient, a direction, an optimizer's moment) and its layout.
#[derive(Debug, PartialEq)]
pub struct Params {
    layout: Arc<Layout>,
    values: Vec<f32>,
}

impl Clone for Params {
    fn clone(&self) -> Self {
        let mut values = self.layout.spare.vectors().pop().unwrap_or_default();
        values.clone_from(&self.values);
        Self { layout: self.layout.clone(), values }
    }
}

impl Drop for Params {
    fn drop(&mut self) {
        if !self.values.is_empty() {
            self.layout.spare.vectors().push(std::mem::take(&mut self.values));
        }
    }
}

impl Params {
    /// All zeros.
    pub fn zeros(layout: &Arc<Layout>) -> Self {
        let values = match layout.spare.vectors().pop() {
            Some(mut values) => {
                values.fill(0.0);
                values
            }
            None => vec![0.0; layout.len()],
        };
        Self { layout: layout.clone(), values }
    }

    /// Values that someone else laid out.
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
        Ok(Self { layout: layout.clone(), values })
    }

    /// Parameters of a learner that learns none.
    pub fn empty() -> Self {
        Self::zeros(&Arc::default())
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

    /// `self += factor · other`, element by element.
    pub fn add_scaled(&mut self, factor: f32, other: &Params) {
        debug_assert_eq!(self.values.len(), other.values.len());
        for (a, b) in self.values.iter_mut().zip(&other.values) {
            *a += factor * b;
        }
    }
}
