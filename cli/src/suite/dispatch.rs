//! The cells of a suite on several ranks: each asks the first for the next one. A cell is measured by one rank, which keeps it;
//! the first lists them, says how it goes, and reads what the others have kept.

use std::time::Duration;

use kshot::ranks::Link;
use kshot::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::kept;
use super::measure::{Measured, Plan, finished};
use crate::output::complain;

/// Between two looks for a message: little beside a cell.
const PAUSE: Duration = Duration::from_millis(2);

/// What a rank asks the first: the next cell, and what its last one came to.
#[derive(Serialize, Deserialize)]
struct Ask {
    done: Option<Done>,
}

#[derive(Serialize, Deserialize)]
struct Done {
    number: usize,
    /// Why it has no more rows, in words.
    failed: Vec<String>,
    interrupted: bool,
}

/// Answers the other ranks until none is left: `next` gives a cell, `take` is told what one came to.
///
/// # Errors
/// When they cannot be heard.
pub(super) fn serve(
    link: &dyn Link,
    plan: &[Plan<'_>],
    next: impl Fn() -> Option<usize>,
    take: impl Fn(usize, Measured, Option<Error>),
) -> Result<()> {
    let mut working = link.size() - 1;
    while working > 0 {
        let Some((from, message)) = link.receive()? else {
            std::thread::sleep(PAUSE);
            continue;
        };
        if let Some(Done { number, mut failed, interrupted }) = read::<Ask>(&message)?.done {
            let kept = plan.get(number).and_then(|plan| plan.directory.as_deref()).map(kept::read);
            let rows = match kept.transpose() {
                Ok(kept) => kept.flatten().map_or_else(Vec::new, |(rows, _)| rows),
                // The others are still to be answered.
                Err(error) => {
                    failed.push(error.to_string());
                    Vec::new()
                }
            };
            failed.iter().for_each(|why| complain(&format!("kshot: {why}")));
            let stopped = interrupted.then(|| Error::Interrupted(format!("rank {from} was stopped")));
            take(number, Measured { rows, failed }, stopped);
        }
        let number = next();
        working -= usize::from(number.is_none());
        link.send(from, write(&number)?)?;
    }
    Ok(())
}

/// Measures the cells that the first rank names until it names none.
///
/// # Errors
/// When it cannot be heard, or a cell was interrupted.
pub(super) fn work(link: &dyn Link, plan: &[Plan<'_>]) -> Result<()> {
    let (mut done, mut stopped) = (None, Ok(()));
    loop {
        link.send(0, write(&Ask { done: done.take() })?)?;
        let reply = loop {
            match link.receive()? {
                Some((_, reply)) => break reply,
                None => std::thread::sleep(PAUSE),
            }
        };
        let number = read::<Option<usize>>(&reply)?;
        let Some((number, plan)) = number.and_then(|number| Some((number, plan.get(number)?))) else {
            return stopped;
        };
        let (Measured { failed, .. }, error) = finished(plan);
        done = Some(Done { number, failed, interrupted: error.is_some() });
        stopped = error.map_or(stopped, Err);
    }
}

fn write(what: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(what).map_err(|error| Error::invalid(format!("a message to another rank: {error}")))
}

fn read<T: DeserializeOwned>(message: &[u8]) -> Result<T> {
    serde_json::from_slice(message)
        .map_err(|error| Error::invalid(format!("a message of another rank: {error}")))
}
