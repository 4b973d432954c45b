//! Memory over time.

use crate::Result;

/// Rounds that fill whatever is kept on purpose, and all of a run.
const WARM_UP: u64 = 100;
const ROUNDS: u64 = 400;
/// What a process may grow by in between, as a share and in bytes, whichever is more: noise of the allocator, which in a
/// small process is more than the share. A leak of 10 kB a round is 3 MB.
const SHARE: f64 = 0.05;
const BYTES: f64 = 2e6;

/// What is wrong if `round`, done many times, takes more and more memory. Where the system does not say how much memory a
/// process has, nothing is.
pub(super) fn growth(mut round: impl FnMut(u64) -> Result<()>) -> Result<Option<String>> {
    (0..WARM_UP).try_for_each(&mut round)?;
    let before = resident();
    (WARM_UP..ROUNDS).try_for_each(&mut round)?;
    let (Some(before), Some(after)) = (before, resident()) else { return Ok(None) };
    let most = before as f64 + BYTES.max(SHARE * before as f64);
    super::unless(after as f64 <= most, || {
        format!(
            "after {WARM_UP} rounds of training and answering the process had {before} bytes, after {ROUNDS} {after}"
        )
    })
}

/// Bytes of resident memory, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| 1024 * kilobytes)
}
