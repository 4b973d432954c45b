//! Several processes (ranks) that do one piece of work together, on one machine or many.
//!
//! All run the same program on the same input. Where work is cut into numbered pieces (the episodes of a meta-batch, those of
//! an evaluation), rank r of n does every n-th from r on; what comes of them is gathered and put in order on every rank, which then
//! goes on as if it had done them all. The same bits, however many ranks there are, as long as their processors compute alike.
//!
//! A rank that fails says so in the next exchange, in place of what the others expect of it: all stop with its error, none waits.
//!
//! ```
//! use kshot::ranks::{Ranks, simulated};
//!
//! let squares = |ranks: &Ranks| ranks.map(0..10, |number| Ok(number * number));
//! let alone = squares(Ranks::alone())?;
//! for several in simulated(4, squares) {
//!     assert_eq!(several?, alone);
//! }
//! # Ok::<(), kshot::Error>(())
//! ```

mod failure;
mod floats;
#[cfg(feature = "mpi")]
pub mod mpi;
mod simulated;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::nn::parallel;
use crate::{Error, Result};
use failure::Failure;
pub use floats::Floats;
pub use simulated::simulated;

/// What carries bytes between ranks.
pub trait Link: Send + Sync {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// What each rank gives, in order of the ranks; every rank calls it, and gets the same.
    ///
    /// # Errors
    /// When a rank is lost.
    fn gather(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>>;

    /// Sends a message to one rank.
    ///
    /// # Errors
    /// When it is lost.
    fn send(&self, to: usize, message: Vec<u8>) -> Result<()>;

    /// The next message that a rank has sent to this one, if there is one by now, and who sent it.
    ///
    /// # Errors
    /// When a rank is lost.
    fn receive(&self) -> Result<Option<(usize, Vec<u8>)>>;
}

/// The ranks of a piece of work, as one of them sees them.
pub struct Ranks {
    /// None where there is only one.
    link: Option<Box<dyn Link>>,
    /// Whether all know of a failure that no [`Ranks::settle`] has ended yet.
    failed: AtomicBool,
}

/// What a rank gives in an exchange; what its bytes begin with.
enum Given<T> {
    What(T),
    Failure(Failure),
}
const WHAT: u8 = 0;
const FAILURE: u8 = 1;

impl Ranks {
    /// Ranks that `link` connects.
    pub fn new(link: impl Link + 'static) -> Self {
        let link: Option<Box<dyn Link>> = if link.size() > 1 { Some(Box::new(link)) } else { None };
        Self { link, failed: AtomicBool::new(false) }
    }

    /// One process alone.
    pub fn alone() -> &'static Self {
        static ALONE: Ranks = Ranks { link: None, failed: AtomicBool::new(false) };
        &ALONE
    }

    /// This rank, from 0.
    pub fn rank(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.rank())
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.link.as_ref().map_or(1, |link| link.size())
    }

    /// Whether this is the one that prints and writes files.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// What carries messages between them; none where there is only one.
    pub fn link(&self) -> Option<&dyn Link> {
        self.link.as_deref()
    }

    /// What each rank gives, in order of the ranks. Every rank calls it.
    ///
    /// # Errors
    /// That of the first rank that failed, the same on every rank.
    pub fn gather<T: Serialize + DeserializeOwned>(&self, own: T) -> Result<Vec<T>> {
        match &self.link {
            None => Ok(vec![own]),
            Some(link) => self.exchange(link.as_ref(), Given::What(own)),
        }
    }

    fn exchange<T: Serialize + DeserializeOwned>(&self, link: &dyn Link, own: Given<T>) -> Result<Vec<T>> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(Error::invalid("another rank has failed; this is a fault of kshot"));
        }
        let own = match own {
            // What cannot be sent is a failure, which the others are told instead of waiting.
            Given::What(what) => postcard::to_extend(&what, vec![WHAT])
                .or_else(|error| postcard::to_extend(&Failure::of(&unreadable(error)), vec![FAILURE])),
            Given::Failure(failure) => postcard::to_extend(&failure, vec![FAILURE]),
        };
        let all = link
            .gather(own.unwrap_or_else(|_| vec![FAILURE]))
            .inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?;
        // Failures first: what failed may have expected another exchange.
        for (rank, bytes) in all.iter().enumerate() {
            if let [FAILURE, failure @ ..] = bytes.as_slice() {
                self.failed.store(true, Ordering::Relaxed);
                return Err(postcard::from_bytes::<Failure>(failure).map_err(unreadable)?.of_rank(rank));
            }
        }
        all.iter()
            .map(|bytes| postcard::from_bytes(bytes.get(1..).unwrap_or_default()).map_err(unreadable))
            .collect()
    }

    /// Whether `own` is so on any rank.
    ///
    /// # Errors
    /// As [`Ranks::gather`].
    pub fn any(&self, own: bool) -> Result<bool> {
        Ok(self.gather(own)?.contains(&true))
    }

    /// What the first rank makes, on every rank: what only one may do, as reading what it will write over.
    ///
    /// # Errors
    /// Its error, the same on every rank.
    pub fn from_first<T: Serialize + DeserializeOwned>(&self, make: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.link.is_none() {
            return make();
        }
        let own = if self.is_first() { Some(self.told(make())?) } else { None };
        let first = self.gather(own)?.into_iter().next().flatten();
        first.ok_or_else(|| Error::invalid("the first rank gave nothing; this is a fault of kshot"))
    }

    /// `work` for each number, in parallel on every rank, results in order of the number: the same on any number of ranks and
    /// threads, also which error is returned (the first).
    ///
    /// # Errors
    /// The first of `work`, or as [`Ranks::gather`].
    pub fn map<T: Serialize + DeserializeOwned + Send>(
        &self,
        numbers: Range<u64>,
        work: impl Fn(u64) -> Result<T> + Sync + Send,
    ) -> Result<Vec<T>> {
        self.map_until(numbers, &AtomicBool::new(false), work)
    }

    /// As [`Ranks::map`], but no further number is begun once `stop` is set on any rank: the results are those of the first
    /// numbers.
    ///
    /// # Errors
    /// As [`Ranks::map`].
    pub fn map_until<T: Serialize + DeserializeOwned + Send>(
        &self,
        numbers: Range<u64>,
        stop: &AtomicBool,
        work: impl Fn(u64) -> Result<T> + Sync + Send,
    ) -> Result<Vec<T>> {
        if self.link.is_none() {
            return parallel::map_until(numbers, stop, work);
        }
        let (rank, size) = (self.rank() as u64, self.size() as u64);
        let count = (numbers.end.saturating_sub(numbers.start) + size - 1).saturating_sub(rank) / size;
        // An error is a result like others, so that all ranks see the first one.
        let own = parallel::map_until(0..count, stop, |own| {
            Ok(work(numbers.start + rank + own * size).map_err(|error| Failure::of(&error)))
        })?;
        let mut parts: Vec<_> = self.gather(own)?.into_iter().map(Vec::into_iter).collect();
        let mut all = Vec::new();
        for number in 0..numbers.end - numbers.start {
            match parts[(number % size) as usize].next() {
                Some(result) => all.push(result.map_err(Failure::into_error)?),
                None => break,
            }
        }
        Ok(all)
    }

    /// Ends a part of the work: all ranks have come to its end, or all know who has not. Every rank calls it, also one that
    /// failed; no exchange of the part is waited for after it.
    ///
    /// # Errors
    /// That of this part, or of another rank's.
    pub fn settle<T>(&self, outcome: Result<T>) -> Result<T> {
        if self.failed.swap(false, Ordering::Relaxed) {
            return outcome;
        }
        let settled = match self.told(outcome) {
            Ok(what) => self.gather(()).map(|_| what),
            error => error,
        };
        self.failed.store(false, Ordering::Relaxed);
        settled
    }

    /// An outcome, of whose failure all ranks know.
    fn told<T>(&self, outcome: Result<T>) -> Result<T> {
        match (&self.link, outcome) {
            (Some(link), Err(error)) if !self.failed.load(Ordering::Relaxed) => {
                // If several have failed, the first rank's error is that of all.
                match self.exchange::<()>(link.as_ref(), Given::Failure(Failure::of(&error))) {
                    Err(first) => Err(first),
                    Ok(_) => Err(error),
                }
            }
            (_, outcome) => outcome,
        }
    }
}

fn unreadable(error: postcard::Error) -> Error {
    Error::invalid(format!(
        "the ranks do not understand each other ({error}): start them all from the same program with the same arguments"
    ))
}
