//! Which cell is measured next: the first that is left and, where memory is limited, fits beside those in work.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use kshot::Result;

use super::measure::Plan;
use super::memory::{Bytes, estimate, resident};
use crate::output::complain;

/// The cells that are left, and what those in work take.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Told when a cell is done.
    freed: Condvar,
    /// What cells may take together.
    limit: u64,
}

struct State {
    /// Number in the plan, and bytes.
    left: Vec<(usize, Bytes)>,
    taken: u64,
}

/// A cell in work, until this is dropped.
pub(super) struct Turn<'a> {
    queue: &'a Queue,
    pub(super) number: usize,
    pub(super) bytes: Bytes,
}

/// A value behind a lock, whatever happened to who held it.
pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    /// These cells of a plan, each on so many threads; and why some of them do not fit alone into the memory that there is.
    ///
    /// # Errors
    /// When a cell's tasks cannot be opened.
    pub(super) fn of(
        plan: &[Plan<'_>],
        cells: &[usize],
        threads: usize,
        memory: Option<Bytes>,
    ) -> Result<(Self, Vec<(usize, String)>)> {
        let Some(memory) = memory else {
            return Ok((
                Self::with(cells.iter().map(|&number| (number, Bytes(0))).collect(), u64::MAX),
                Vec::new(),
            ));
        };
        let mut sizes = Vec::new();
        for &number in cells {
            sizes.push((number, estimate(&plan[number].cell, threads)?));
        }
        // By now the datasets are open.
        let open = resident();
        if open.is_none() {
            complain(
                "note: this system does not say what the program and its datasets take; only cells are counted",
            );
        }
        let open = open.unwrap_or(Bytes(0));
        let limit = memory.0.saturating_sub(open.0);
        let (fitting, large): (Vec<_>, Vec<_>) = sizes.into_iter().partition(|(_, bytes)| bytes.0 <= limit);
        let mut refused = Vec::new();
        for (number, bytes) in large {
            refused.push((
                number,
                format!(
                    "{} takes about {bytes} at most, beside the {open} of the program and its datasets, and `--memory` allows \
                     {memory}: allow more, or ask for fewer `--threads`, `--jobs`, ways or queries, or smaller inputs",
                    plan[number].cell.name()?
                ),
            ));
        }
        Ok((Self::with(fitting, limit), refused))
    }

    fn with(left: Vec<(usize, Bytes)>, limit: u64) -> Self {
        Self { state: Mutex::new(State { left, taken: 0 }), freed: Condvar::new(), limit }
    }

    /// The next cell, once there is room for one; none when none is left.
    pub(super) fn next(&self) -> Option<Turn<'_>> {
        let mut state = held(&self.state);
        loop {
            if state.left.is_empty() {
                return None;
            }
            let room = self.limit - state.taken;
            if let Some(place) = state.left.iter().position(|(_, bytes)| bytes.0 <= room) {
                let (number, bytes) = state.left.remove(place);
                state.taken += bytes.0;
                return Some(Turn { queue: self, number, bytes });
            }
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        held(&self.queue.state).taken -= self.bytes.0;
        self.queue.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_in_work_stays_within_the_limit_and_nothing_is_forgotten() {
        let sizes: Vec<(usize, Bytes)> =
            [7, 3, 9, 1, 10, 2, 5, 4].map(Bytes).into_iter().enumerate().collect();
        let queue = Queue::with(sizes.clone(), 10);
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let done = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(turn) = queue.next() {
                        most.fetch_max(
                            now.fetch_add(turn.bytes.0, Ordering::SeqCst) + turn.bytes.0,
                            Ordering::SeqCst,
                        );
                        std::thread::sleep(Duration::from_millis(turn.bytes.0));
                        held(&done).push(turn.number);
                        now.fetch_sub(turn.bytes.0, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!((9..=10).contains(&most.into_inner()));
        let mut done = done.into_inner().unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..sizes.len()).collect::<Vec<_>>());
    }
}
