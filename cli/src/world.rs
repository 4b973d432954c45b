//! The ranks that this process is one of: those that `mpirun` or `srun` started together, in a program with the feature `mpi`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use kshot::ranks::Ranks;
use kshot::{Error, Result};

use crate::args::Command;

static WORLD: OnceLock<Ranks> = OnceLock::new();
/// Whether each works on something of its own.
static APART: AtomicBool = AtomicBool::new(false);

/// All ranks.
pub(crate) fn world() -> &'static Ranks {
    WORLD.get().unwrap_or(Ranks::alone())
}

/// Those that share the work in hand.
pub(crate) fn sharing() -> &'static Ranks {
    if APART.load(Ordering::Relaxed) { Ranks::alone() } else { world() }
}

/// Has each rank work on something of its own from here on, or all together again.
pub(crate) fn apart(apart: bool) {
    APART.store(apart, Ordering::Relaxed);
}

/// How many processes were started together, as their starter says, before MPI is asked.
fn started() -> usize {
    // Open MPI; MPICH and its kin, also under SLURM.
    let counts = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"];
    let count = |name: &str| std::env::var(name).ok()?.parse().ok();
    counts.into_iter().find_map(count).unwrap_or(1)
}

/// MPI, until this is dropped.
#[cfg(feature = "mpi")]
pub(crate) type Session = kshot::ranks::mpi::Session;

#[cfg(not(feature = "mpi"))]
pub(crate) type Session = ();

/// Joins the ranks, if this process was started as one of several; the first is to print.
///
/// # Errors
/// When it cannot.
#[cfg(feature = "mpi")]
pub(crate) fn join() -> Result<Option<Session>> {
    // A process alone is not made to wait for MPI, unless it is a step of SLURM, which need not say how many there are.
    if started() < 2 && std::env::var_os("PMIX_RANK").is_none() {
        return Ok(None);
    }
    let (session, ranks) = kshot::ranks::mpi::start()?;
    let _ = WORLD.set(ranks);
    if !world().is_first() {
        crate::progress::hide(true);
    }
    Ok(Some(session))
}

/// Refuses to be one of several, which would all do the same and write over each other.
///
/// # Errors
/// Then.
#[cfg(not(feature = "mpi"))]
pub(crate) fn join() -> Result<Option<Session>> {
    match started() {
        1 => Ok(None),
        several => Err(Error::invalid(format!(
            "{several} processes were started together, but this kshot was built without the feature `mpi`, and each would do all of \
             the work: `cargo build --release --features mpi` (docs/distributed.md)"
        ))),
    }
}

/// Refuses a command that ranks do not share.
///
/// # Errors
/// When there are several, and it is one.
pub(crate) fn refuse_unshared(command: &Command) -> Result<()> {
    match command {
        _ if world().size() == 1 => Ok(()),
        Command::Train(_) | Command::Eval(_) | Command::Bench(_) | Command::Run(_) => Ok(()),
        _ => Err(Error::invalid(format!(
            "{} processes were started, but only `train`, `eval`, `bench` and `run` share their work: run this one alone",
            world().size()
        ))),
    }
}
