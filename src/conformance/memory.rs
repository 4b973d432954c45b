//! Memory over time.

use crate::Result;

/// Rounds that fill whatever is kept on purpose; so many early ones and late ones are compared; and all of a run.
const WARM_UP: u64 = 100;
const COMPARED: u64 = 100;
const ROUNDS: u64 = 400;
/// Memory is looked at each so many rounds.
const EACH: u64 = 10;
/// What the least of the late ones may be above the most of the early ones. The allocator gives back and takes megabytes
/// from one round to the next, but the least and the most of many rounds stay. A leak of 10 kB a round is 1 MB.
const BYTES: u64 = 800_000;

/// What is wrong if `round`, done many times, takes more and more memory. Where the system does not say how much memory a
/// process has, nothing is.
pub(super) fn growth(mut round: impl FnMut(u64) -> Result<()>) -> Result<Option<String>> {
    (0..WARM_UP).try_for_each(&mut round)?;
    let mut seen = Vec::new();
    for number in WARM_UP..ROUNDS {
        round(number)?;
        if number % EACH == 0 {
            seen.push((number, resident()));
        }
    }
    let among = |from: u64, to: u64| {
        let part = seen.iter().filter(move |(number, _)| (from..to).contains(number));
        part.filter_map(|(_, bytes)| *bytes)
    };
    let early = among(WARM_UP, WARM_UP + COMPARED).max();
    let late = among(ROUNDS - COMPARED, ROUNDS).min();
    let (Some(early), Some(late)) = (early, late) else { return Ok(None) };
    super::unless(late <= early + BYTES, || {
        format!(
            "in rounds {WARM_UP} to {} of training and answering the process had at most {early} bytes, in the last \
             {COMPARED} of {ROUNDS} never less than {late}",
            WARM_UP + COMPARED
        )
    })
}

/// Bytes of resident memory, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| 1024 * kilobytes)
}
