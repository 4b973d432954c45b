//! Episodes in parallel, their results in order.

use std::ops::Range;

use rayon::prelude::*;

use crate::Result;

/// `work` for every episode number, results in order of the number: the same on any number of threads, also which
/// error is returned (the first). With the feature `cuda` one after another, as a CUDA context is bound to a thread.
pub(crate) fn map_episodes<T: Send>(
    numbers: Range<u64>,
    work: impl Fn(u64) -> Result<T> + Sync + Send,
) -> Result<Vec<T>> {
    if cfg!(feature = "cuda") {
        return numbers.map(work).collect();
    }
    // Each on its own, so that no thread is left with several while another has none.
    let count = (numbers.end - numbers.start) as usize;
    let each = (0..count).into_par_iter().with_max_len(1).map(|index| work(numbers.start + index as u64));
    let results: Vec<Result<T>> = each.collect();
    results.into_iter().collect()
}

/// `work` on a thread of the pool, where it can start parallel work without waking a thread for it each time.
pub(crate) fn on_the_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    if cfg!(feature = "cuda") { work() } else { rayon::scope(|_| work()) }
}
