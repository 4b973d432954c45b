//! Measuring the cells of a suite; those that are kept from before are left as they are.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kshot::{Error, Result};

use super::memory::Bytes;
use super::queue::{Queue, held};
use super::{Cell, dispatch, kept};
use crate::output::{complain, paragraph};
use crate::progress;
use crate::row::Row;
use crate::stop::STOP;
use crate::words::{duration, plural};
use crate::world::{apart, sharing, world};

/// A cell, and where it is kept; nowhere for a comparison that is only looked at.
pub(crate) struct Plan<'a> {
    pub(crate) cell: Cell<'a>,
    pub(crate) directory: Option<PathBuf>,
}

/// What a cell came to.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) rows: Vec<Row>,
    /// Why there are no more rows, in words.
    pub(crate) failed: Vec<String>,
}

/// How a plan is measured.
#[derive(Clone, Copy)]
pub(crate) struct How {
    /// Cells at a time, at most, each with its share of the threads.
    pub(crate) jobs: usize,
    /// Measure again what failed.
    pub(crate) again: bool,
    /// What the program may take of memory; without it that is not looked at.
    pub(crate) memory: Option<Bytes>,
}

/// Measures the cells of a plan, several at a time. What is kept is not measured again, unless it failed and that is asked for. Gives
/// all in the order of the plan; what was finished when it is interrupted, with the error.
///
/// # Errors
/// Beside the figures: when it was interrupted, or what is kept cannot be read. A cell that fails costs its own figures only.
pub(crate) fn measure(plan: &[Plan<'_>], how: How) -> (Vec<Measured>, Result<()>) {
    // Kept cells are shared out; others, which all ranks look at, are measured by all together.
    let link = world().link().filter(|_| plan.iter().any(|plan| plan.directory.is_some()));
    let mut found = Vec::new();
    let read = world().from_first(|| {
        for Plan { directory, .. } in plan {
            let kept = directory.as_deref().map(kept::read).transpose()?.flatten();
            found.push(kept.filter(|(_, failed)| !how.again || failed.is_empty()));
        }
        Ok(())
    });
    if let Err(error) = read {
        return (Vec::new(), Err(error));
    }
    if let (Some(link), false) = (link, world().is_first()) {
        apart(true);
        let outcome = dispatch::work(link, plan);
        apart(false);
        return (Vec::new(), outcome);
    }
    found.resize_with(plan.len(), || None);
    let missing: Vec<usize> = (0..plan.len()).filter(|&number| found[number].is_none()).collect();
    let kept = plan.len() - missing.len();
    if kept > 0 {
        complain(&format!("{kept} of {} are there from before", plural(plan.len(), "cell")));
    }
    let results: Vec<Mutex<Measured>> = found
        .into_iter()
        .map(|kept| kept.map_or_else(Measured::default, |(rows, failed)| Measured { rows, failed }))
        .map(Mutex::new)
        .collect();
    let jobs = how.jobs.clamp(1, missing.len().max(1));
    let threads = (rayon::current_num_threads() / jobs).max(1);
    let (queue, refused) = match Queue::of(plan, &missing, threads, how.memory) {
        Ok(both) => both,
        Err(error) => return (Vec::new(), Err(error)),
    };
    for (number, why) in refused {
        complain(&paragraph(&Error::invalid(&why)));
        held(&results[number]).failed.push(why);
    }
    let stopped = Mutex::new(None);
    let (done, begun) = (AtomicUsize::new(0), Instant::now());
    let next = || {
        let turn = queue.next()?;
        match sharing().any(STOP.load(Ordering::Relaxed)) {
            Ok(false) => {}
            Ok(true) => {
                held(&stopped).get_or_insert(Error::Interrupted("stopped before the next cell".to_owned()));
                return None;
            }
            Err(error) => {
                held(&stopped).get_or_insert(error);
                return None;
            }
        }
        if let Some(directory) = &plan[turn.number].directory {
            let name = directory.file_name().unwrap_or_default().to_string_lossy();
            let left = time_left(begun.elapsed(), done.load(Ordering::Relaxed), missing.len());
            let takes = how.memory.map_or(String::new(), |_| format!(", at most about {}", turn.bytes));
            complain(&format!("[{}/{}] {name}{takes}{left}", turn.number + 1, plan.len()));
        }
        Some(turn)
    };
    let take = |number: usize, measured: Measured, error: Option<Error>| {
        *held(&results[number]) = measured;
        if let Some(error) = error {
            held(&stopped).get_or_insert(error);
        }
        done.fetch_add(1, Ordering::Relaxed);
    };
    let work = || {
        while let Some(turn) = next() {
            let (measured, error) = finished(&plan[turn.number]);
            take(turn.number, measured, error);
        }
    };
    if let Some(link) = link {
        let served =
            on_several(work, || dispatch::serve(link, plan, || next().map(|turn| turn.number), take));
        if let Err(error) = served {
            held(&stopped).get_or_insert(error);
        }
    } else if jobs == 1 {
        work();
    } else {
        progress::hide(true);
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
                    Ok(pool) => pool.install(work),
                    Err(error) => {
                        complain(&format!("kshot: cannot start {}: {error}", plural(threads, "thread")))
                    }
                });
            }
        });
        progress::hide(false);
    }
    let results = results
        .into_iter()
        .map(|result| result.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()));
    let stopped = stopped.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    (results.collect(), stopped.map_or(Ok(()), Err))
}

/// The first rank's own cells, and beside them an ear for the others.
fn on_several(work: impl FnOnce(), serve: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    apart(true);
    progress::hide(true);
    let served = std::thread::scope(|scope| {
        let served = scope.spawn(serve);
        work();
        served.join().unwrap_or_else(|_| {
            Err(Error::invalid("the ranks were no longer heard; this is a fault of kshot"))
        })
    });
    progress::hide(false);
    apart(false);
    served
}

/// Measures a cell and keeps what it came to; with what interrupted it.
pub(super) fn finished(plan: &Plan<'_>) -> (Measured, Option<Error>) {
    let (mut measured, mut stopped, mut lasting) = (Measured::default(), None, true);
    for row in plan.cell.measure(plan.directory.as_deref()) {
        match row {
            Ok(row) => measured.rows.push(row),
            Err(error @ Error::Interrupted(_)) => stopped = Some(error),
            // The others' figures are worth having all the same.
            Err(error) => {
                complain(&paragraph(&error));
                // A full disk is not full for ever.
                lasting &= !matches!(error, Error::Io { .. } | Error::Device { .. });
                measured.failed.push(error.to_string());
            }
        }
    }
    if let (None, Some(directory), true) = (&stopped, &plan.directory, lasting) {
        // Figures that could not be kept are measured again the next time.
        let kept = plan
            .cell
            .config(measured.rows.first().and_then(|row| row.search.as_ref()))
            .and_then(|config| kept::write(directory, &config, &measured.rows, measured.failed.clone()));
        if let Err(error) = kept {
            complain(&paragraph(&error));
            measured.failed.push(error.to_string());
        }
    }
    (measured, stopped)
}

/// `, about 12 min left`, once a cell has been measured.
fn time_left(elapsed: Duration, done: usize, all: usize) -> String {
    if done == 0 {
        return String::new();
    }
    format!(", about {} left", duration(elapsed.as_secs_f64() / done as f64 * (all - done) as f64))
}
