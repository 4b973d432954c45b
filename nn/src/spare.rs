//! Vectors of dropped [`Params`](crate::params::Params), for the next of their layout: fresh memory costs a page fault every
//! 4 KiB.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The vectors that a layout keeps. Together with those in use there are never more than were in use at once, so what is
/// kept is bounded by what a program needs anyway, whoever made the vectors.
#[derive(Default)]
pub(crate) struct Spare(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    free: Vec<Vec<f32>>,
    /// Vectors in use, and the most there were.
    used: usize,
    most: usize,
}

impl Spare {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A vector with the values its last user left in it, if one is free; counts one more in use.
    pub(crate) fn take(&self) -> Option<Vec<f32>> {
        let mut counted = self.counted();
        counted.used += 1;
        counted.most = counted.most.max(counted.used);
        counted.free.pop()
    }

    /// Counts a vector that came from elsewhere as in use; a free one makes room for it.
    pub(crate) fn adopt(&self) {
        let surplus = {
            let mut counted = self.counted();
            counted.used += 1;
            counted.most = counted.most.max(counted.used);
            if counted.used + counted.free.len() > counted.most { counted.free.pop() } else { None }
        };
        drop(surplus);
    }

    /// Takes back a vector that was in use.
    pub(crate) fn give_back(&self, vector: Vec<f32>) {
        let mut counted = self.counted();
        counted.used -= 1;
        // One of length 0 is no memory to save.
        if vector.capacity() > 0 {
            counted.free.push(vector);
        }
    }

    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.counted().free.len()
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
        write!(f, "{} spare", self.counted().free.len())
    }
}
