//! Buffers that are used again: fresh memory costs a page fault every 4 KiB, more than the arithmetic done on it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Floats of one cache line; also one group of channels.
pub(super) const LINE: usize = 16;

/// So that vectors never straddle cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Lists of free buffers: each thread mostly uses its own, so that threads do not wait for each other.
const LISTS: usize = 16;

/// The buffers that nobody uses at the moment.
#[derive(Default)]
pub(super) struct Arena {
    free: [Mutex<Vec<Vec<Line>>>; LISTS],
}

/// `len` floats, aligned to cache lines, given back to the arena when dropped.
pub(super) struct Buffer {
    lines: Vec<Line>,
    len: usize,
    home: Arc<Arena>,
}

/// The list of this thread.
fn own_list() -> usize {
    rayon::current_thread_index().map_or(0, |index| (index + 1) % LISTS)
}

impl Arena {
    /// A buffer with unspecified (but initialised) content.
    pub(super) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let need = len.div_ceil(LINE);
        if need == 0 {
            return Buffer { lines: Vec::new(), len, home: self.clone() };
        }
        let own = own_list();
        let lines = (0..LISTS).find_map(|k| {
            let mut free = self.free[(own + k) % LISTS].lock().unwrap_or_else(PoisonError::into_inner);
            // The smallest that fits, unless it is so large that it is better kept for larger needs.
            let best = (0..free.len())
                .filter(|&i| (need..=2 * need + 64).contains(&free[i].len()))
                .min_by_key(|&i| free[i].len());
            best.map(|i| free.swap_remove(i))
        });
        let lines = lines.unwrap_or_else(|| vec![Line([0.0; LINE]); need]);
        Buffer { lines, len, home: self.clone() }
    }

    /// A buffer of zeros.
    pub(super) fn zeros(self: &Arc<Self>, len: usize) -> Buffer {
        let mut buffer = self.take(len);
        buffer.fill(0.0);
        buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        if lines.is_empty() {
            return;
        }
        self.home.free[own_list()].lock().unwrap_or_else(PoisonError::into_inner).push(lines);
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: a `Line` is 16 floats and nothing else, all initialised; `len` is at most theirs.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and the lines are borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}
