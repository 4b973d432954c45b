//! Work in parallel, its results in order.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::prelude::*;

use crate::Result;

/// `work` for each number, results in order of the number: the same on any number of threads, also which error is
/// returned (the first). With the feature `cuda` one after another, as a CUDA context is bound to a thread.
///
/// # Errors
/// The first of `work`.
pub fn map_in_order<T: Send>(
    numbers: Range<u64>,
    work: impl Fn(u64) -> Result<T> + Sync + Send,
) -> Result<Vec<T>> {
    map_until(numbers, &AtomicBool::new(false), work)
}

/// As [`map_in_order`], but no further number is begun once `stop` is set: the results are those of the first numbers, as
/// many as had been begun.
///
/// # Errors
/// The first of `work`.
pub fn map_until<T: Send>(
    numbers: Range<u64>,
    stop: &AtomicBool,
    work: impl Fn(u64) -> Result<T> + Sync + Send,
) -> Result<Vec<T>> {
    let next = AtomicU64::new(numbers.start);
    // The next number, whichever thread asks: what has been begun is always the first numbers.
    let one = |_| {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let number = next.fetch_add(1, Ordering::Relaxed);
        Some((number, work(number)))
    };
    let count = (numbers.end - numbers.start) as usize;
    let mut done: Vec<(u64, Result<T>)> = if cfg!(feature = "cuda") {
        (0..count).filter_map(one).collect()
    } else {
        // Each on its own, so that no thread is left with several while another has none.
        (0..count).into_par_iter().with_max_len(1).filter_map(one).collect()
    };
    done.sort_unstable_by_key(|&(number, _)| number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// `work` on a thread of the pool, where it can start parallel work without waking a thread for it each time.
pub fn on_the_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    if cfg!(feature = "cuda") { work() } else { rayon::scope(|_| work()) }
}
