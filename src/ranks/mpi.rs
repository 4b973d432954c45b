//! Ranks that MPI starts and connects: `mpirun -n 4 kshot train …`, `srun …`.

use mpi::Count;
use mpi::datatype::PartitionMut;
use mpi::environment::Universe;
use mpi::point_to_point::MatchedReceiveVec as _;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives as _, Destination as _, Source as _};
use mpi::{Tag, Threading};

use super::{Link, Ranks};
use crate::{Error, Result};

/// MPI, until this is dropped: at the end of the program.
pub struct Session(#[expect(dead_code, reason = "MPI ends when it is dropped")] Universe);

/// Starts MPI, once in a process.
///
/// # Errors
/// When it has been started before, or cannot be used from more than one thread.
pub fn start() -> Result<(Session, Ranks)> {
    let started = mpi::initialize_with_threading(Threading::Multiple);
    let (universe, threading) =
        started.ok_or_else(|| Error::invalid("MPI was started before in this process"))?;
    if threading < Threading::Serialized {
        return Err(Error::invalid(format!(
            "this MPI can only be used from one thread ({threading:?}), and kshot has several; take one that was built with \
             threads"
        )));
    }
    Ok((Session(universe), Ranks::new(World)))
}

/// All ranks.
struct World;

/// Bytes of all ranks in one exchange: counts of MPI are 31 bits.
const AT_ONCE: usize = 1 << 30;
const MESSAGES: Tag = 1;

impl Link for World {
    fn rank(&self) -> usize {
        SimpleCommunicator::world().rank() as usize
    }

    fn size(&self) -> usize {
        SimpleCommunicator::world().size() as usize
    }

    fn gather(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let world = SimpleCommunicator::world();
        let size = self.size();
        let mut lengths = vec![0_u64; size];
        world.all_gather_into(&(own.len() as u64), &mut lengths[..]);
        let lengths: Vec<usize> = lengths.into_iter().map(|length| length as usize).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut all: Vec<Vec<u8>> = lengths.iter().map(|&length| Vec::with_capacity(length)).collect();
        let part = (AT_ONCE / size).max(1);
        let mut buffer = Vec::new();
        for begin in (0..longest).step_by(part) {
            let of = |length: usize| begin.min(length)..(begin + part).min(length);
            let counts: Vec<Count> = lengths.iter().map(|&length| of(length).len() as Count).collect();
            let starts: Vec<Count> =
                counts.iter().scan(0, |next, count| Some(std::mem::replace(next, *next + count))).collect();
            buffer.resize(counts.iter().sum::<Count>() as usize, 0_u8);
            let mut places = PartitionMut::new(&mut buffer[..], &counts[..], &starts[..]);
            world.all_gather_varcount_into(&own[of(own.len())], &mut places);
            for ((all, &start), &count) in all.iter_mut().zip(&starts).zip(&counts) {
                all.extend_from_slice(&buffer[start as usize..(start + count) as usize]);
            }
        }
        Ok(all)
    }

    fn send(&self, to: usize, message: Vec<u8>) -> Result<()> {
        SimpleCommunicator::world().process_at_rank(to as i32).send_with_tag(&message[..], MESSAGES);
        Ok(())
    }

    fn receive(&self) -> Result<Option<(usize, Vec<u8>)>> {
        let world = SimpleCommunicator::world();
        let waiting = world.any_process().immediate_matched_probe_with_tag(MESSAGES);
        Ok(waiting.map(|waiting| {
            let (message, status) = waiting.matched_receive_vec();
            (status.source_rank() as usize, message)
        }))
    }
}
