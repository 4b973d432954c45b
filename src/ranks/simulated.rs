//! A cluster in one process: each rank a thread.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Link, Ranks};
use crate::{Error, Result};

/// What `work` gives on each of `size` ranks, in order of the ranks. A rank that panics, or ends while others wait for it, is lost;
/// the others are told.
pub fn simulated<T: Send>(size: usize, work: impl Fn(&Ranks) -> Result<T> + Sync) -> Vec<Result<T>> {
    let cluster = Arc::new(Cluster {
        state: Mutex::new(State {
            given: vec![None; size],
            gathered: None,
            left_to_take: 0,
            lost: None,
            mail: vec![VecDeque::new(); size],
        }),
        changed: Condvar::new(),
    });
    let one = |rank: usize| {
        let link = Simulated { rank, size, cluster: cluster.clone() };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            // Its own, as in a process: threads shared with ranks that wait would wait too.
            let threads = rayon::ThreadPoolBuilder::new().num_threads(1).build();
            let threads =
                threads.map_err(|error| Error::invalid(format!("rank {rank} has no thread: {error}")))?;
            threads.install(|| work(&Ranks::new(link)))
        }));
        let mut state = cluster.held();
        state.lost.get_or_insert(rank);
        cluster.changed.notify_all();
        outcome.unwrap_or_else(|_| Err(Error::invalid(format!("rank {rank} panicked"))))
    };
    std::thread::scope(|scope| {
        let one = &one;
        let ranks: Vec<_> = (0..size).map(|rank| scope.spawn(move || one(rank))).collect();
        let join = |rank: std::thread::ScopedJoinHandle<'_, Result<T>>| {
            rank.join().unwrap_or_else(|_| Err(Error::invalid("a rank panicked")))
        };
        ranks.into_iter().map(join).collect()
    })
}

/// What the threads share.
struct Cluster {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Of the exchange under way.
    given: Vec<Option<Vec<u8>>>,
    /// Of the exchange that is done, until all have taken it.
    gathered: Option<Arc<Vec<Vec<u8>>>>,
    left_to_take: usize,
    /// The first rank that is no longer there.
    lost: Option<usize>,
    mail: Vec<VecDeque<(usize, Vec<u8>)>>,
}

impl Cluster {
    fn held(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready` gives something.
    fn wait<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut state = self.held();
        loop {
            match ready(&mut state) {
                Some(what) => return what,
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// A rank of a simulated cluster.
struct Simulated {
    rank: usize,
    size: usize,
    cluster: Arc<Cluster>,
}

fn lost(rank: usize) -> Error {
    Error::invalid(format!("rank {rank} was lost"))
}

impl Link for Simulated {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn gather(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let mut own = Some(own);
        // Nobody begins an exchange before all have taken the one before.
        let whole = self.cluster.wait(|state| match state.lost {
            Some(rank) => Some(Err(lost(rank))),
            None if state.gathered.is_some() => None,
            None => {
                state.given[self.rank] = own.take();
                Some(Ok(state.given.iter().all(Option::is_some)))
            }
        })?;
        if whole {
            let mut state = self.cluster.held();
            let all = state.given.iter_mut().map(|given| given.take().unwrap_or_default()).collect();
            state.gathered = Some(Arc::new(all));
            state.left_to_take = self.size;
            self.cluster.changed.notify_all();
        }
        let all = self.cluster.wait(|state| match (&state.gathered, state.lost) {
            (Some(all), _) => {
                let all = all.clone();
                state.left_to_take -= 1;
                if state.left_to_take == 0 {
                    state.gathered = None;
                }
                Some(Ok(all))
            }
            (None, Some(rank)) => Some(Err(lost(rank))),
            (None, None) => None,
        })?;
        self.cluster.changed.notify_all();
        Ok(Arc::unwrap_or_clone(all))
    }

    fn send(&self, to: usize, message: Vec<u8>) -> Result<()> {
        self.cluster.held().mail[to].push_back((self.rank, message));
        Ok(())
    }

    fn receive(&self) -> Result<Option<(usize, Vec<u8>)>> {
        Ok(self.cluster.held().mail[self.rank].pop_front())
    }
}
