//! Buffers that are used again: fresh memory costs a page fault every 4 KiB, more than the arithmetic done on it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Floats of one cache line; also one group of channels.
pub(super) const LINE: usize = 16;

/// A cache line: buffers are made of these, so that vectors never straddle two lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Lists of free buffers: each thread mostly uses its own, so that threads do not wait for each other.
const LISTS: usize = 16;

/// A list, on cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct List(Mutex<Vec<Vec<Line>>>);

impl List {
    /// The smallest buffer of at least `need` lines, unless it is so large that it is better kept for larger needs.
    fn find(&self, need: usize) -> Option<Vec<Line>> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fit = (0..free.len()).filter(|&i| (need..=2 * need + 64).contains(&free[i].len()));
        let best = fit.min_by_key(|&i| free[i].len());
        best.map(|i| free.swap_remove(i))
    }
}

/// The buffers that are free at the moment.
#[derive(Default)]
pub(super) struct Arena {
    free: [Arc<List>; LISTS],
}

/// `len` floats, aligned to cache lines, given back to the arena when dropped.
pub(super) struct Buffer {
    lines: Vec<Line>,
    len: usize,
    home: Arc<List>,
}

/// The list of this thread.
fn own_list() -> usize {
    rayon::current_thread_index().map_or(0, |index| (index + 1) % LISTS)
}

impl Arena {
    /// A buffer with unspecified (but initialised) content.
    pub(super) fn take(&self, len: usize) -> Buffer {
        let (need, own) = (len.div_ceil(LINE), own_list());
        if cfg!(kshot_sanitize) {
            // For a memory checker: no longer than asked for, and full of what spreads wherever it is read.
            return Buffer { lines: vec![Line([f32::NAN; LINE]); need], len, home: Arc::default() };
        }
        let found = if need == 0 {
            Some((Vec::new(), own))
        } else {
            let lists = (0..LISTS).map(|k| (own + k) % LISTS);
            lists.into_iter().find_map(|list| self.free[list].find(need).map(|lines| (lines, list)))
        };
        let (lines, list) = found.unwrap_or_else(|| (vec![Line([0.0; LINE]); need], own));
        Buffer { lines, len, home: self.free[list].clone() }
    }

    /// A buffer of zeros.
    pub(super) fn zeros(&self, len: usize) -> Buffer {
        let mut buffer = self.take(len);
        buffer.fill(0.0);
        buffer
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        if !lines.is_empty() {
            self.home.0.lock().unwrap_or_else(PoisonError::into_inner).push(lines);
        }
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
