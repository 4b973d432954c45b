//! Names, shapes and places of tensors in a flat vector.

use std::ops::Range;

use crate::spare::Spare;

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
    pub(crate) spare: Spare,
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

    /// The tensors of this layout, followed by those of `other`.
    pub fn followed_by(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for entry in &other.entries {
            both.push(entry.name.clone(), &entry.shape, entry.role);
        }
        both
    }

    /// The tensors of this layout that start at `place` or after it.
    pub fn behind(&self, place: usize) -> Self {
        let mut rest = Self::new();
        for entry in self.entries.iter().filter(|entry| entry.range.start >= place) {
            rest.push(entry.name.clone(), &entry.shape, entry.role);
        }
        rest
    }
}
