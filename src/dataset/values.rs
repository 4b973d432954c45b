//! Where the inputs of a class set lie.

use std::sync::Arc;

use super::store::Stored;
use crate::{Error, Result};

/// The inputs of a set, `[examples, channels, height, width]` flattened.
#[derive(Clone, Debug)]
pub enum Values {
    /// Pixels: `u8` in memory, 0–1 as they are sampled.
    Bytes(Arc<Vec<u8>>),
    /// Features or signals, as they are.
    Floats(Arc<Vec<f32>>),
    /// Pixels in a file, read as they are sampled.
    Stored(Arc<Stored>),
    /// Pixels of several sets.
    Joined(Arc<Joined>),
}

/// Pixels of several sets, one set after another.
#[derive(Clone, Debug)]
pub struct Joined {
    parts: Vec<Part>,
    /// Of all of them.
    values: usize,
}

/// Those of one set.
#[derive(Clone, Debug)]
struct Part {
    /// The number of its first image.
    first: usize,
    values: Values,
    /// How often each image is given, one after the other: a grey one beside those of three channels three times.
    repeats: usize,
}

impl Values {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(values) => values.len(),
            Self::Floats(values) => values.len(),
            Self::Stored(stored) => stored.values(),
            Self::Joined(joined) => joined.values,
        }
    }

    pub(super) fn are_pixels(&self) -> bool {
        !matches!(self, Self::Floats(_))
    }

    /// Values of several sets and how often each input is repeated, one set after another; `firsts` are the numbers of their
    /// first inputs.
    pub(super) fn joined(sets: &[(&Self, usize)], firsts: &[u32]) -> Result<Self> {
        let pixels = sets.iter().filter(|(values, _)| values.are_pixels()).count();
        if pixels == 0 {
            let floats = sets.iter().filter_map(|(values, _)| match values {
                Self::Floats(floats) => Some(floats.as_slice()),
                _ => None,
            });
            return Ok(Arc::new(floats.collect::<Vec<_>>().concat()).into());
        }
        if pixels < sets.len() {
            return Err(Error::invalid("images and features cannot be joined"));
        }
        let values = sets.iter().map(|(values, repeats)| values.len() * repeats).sum();
        let part = |(&(values, repeats), &first): (&(&Self, usize), &u32)| Part {
            first: first as usize,
            values: values.clone(),
            repeats,
        };
        let parts = sets.iter().zip(firsts).map(part).collect();
        Ok(Self::Joined(Arc::new(Joined { parts, values })))
    }

    /// Image `number`, of `size` pixels; `read` is room for one that is not in memory.
    ///
    /// # Errors
    /// When it cannot be read, or these are no pixels.
    pub(super) fn image<'a>(&'a self, number: usize, size: usize, read: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(&bytes[number * size..(number + 1) * size]),
            Self::Floats(_) => Err(Error::invalid("features are no pixels")),
            Self::Stored(stored) => {
                read.resize(size, 0);
                stored.read(number, read)?;
                Ok(read)
            }
            Self::Joined(joined) => {
                let part = joined.parts.partition_point(|part| part.first <= number).saturating_sub(1);
                let Part { first, values, repeats } = &joined.parts[part];
                if *repeats == 1 {
                    return values.image(number - first, size, read);
                }
                let mut once = Vec::new();
                let once = values.image(number - first, size / repeats, &mut once)?;
                read.clear();
                (0..*repeats).for_each(|_| read.extend_from_slice(once));
                Ok(read)
            }
        }
    }
}

impl From<Arc<Vec<u8>>> for Values {
    fn from(values: Arc<Vec<u8>>) -> Self {
        Self::Bytes(values)
    }
}

impl From<Arc<Vec<f32>>> for Values {
    fn from(values: Arc<Vec<f32>>) -> Self {
        Self::Floats(values)
    }
}

impl From<Stored> for Values {
    fn from(stored: Stored) -> Self {
        Self::Stored(Arc::new(stored))
    }
}
