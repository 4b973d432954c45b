//! `kshot perf`: the program's own hot paths, timed.
//!
//! Each row runs in a process of its own, so that its peak memory is its own.

mod count;
mod rows;
mod work;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use kshot::nn::peak::instruction_set;
use kshot::registry;
use kshot::{Error, Result};

use crate::args::PerfArgs;
use crate::output::{complain, print};
use rows::{Row, rows};
use work::measure;

pub(crate) fn run(args: PerfArgs) -> Result<()> {
    if args.reps == 0 || args.threads == Some(0) {
        return Err(Error::invalid("`--reps` and `--threads` must be 1 or more"));
    }
    instruction_set()?;
    let rows = rows();
    if let Some(number) = args.row {
        let row = rows.get(number).ok_or_else(|| Error::invalid(format!("there is no row {number}")))?;
        return print(&format!("{}\n", measure(row, threads(&args), args.reps)?));
    }
    if let Some(name) = &args.only
        && !rows.iter().any(|row| row.bench == name)
    {
        let names: BTreeSet<&str> = rows.iter().map(|row| row.bench).collect();
        return Err(Error::unknown("row", name, names.into_iter()));
    }
    let wanted = |row: &Row| args.only.as_ref().is_none_or(|name| row.bench == name);
    for (number, row) in rows.iter().enumerate().filter(|(_, row)| wanted(row)) {
        if let Some(learner) = row.learner().filter(|name| registry::learner(name).is_err()) {
            complain(&format!(
                "kshot: `{}` is left out: the learner `{learner}` is not linked in",
                row.bench
            ));
            continue;
        }
        child(&args, number, row)?;
    }
    Ok(())
}

fn threads(args: &PerfArgs) -> usize {
    args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Runs one row in a process of its own; its line goes to our stdout.
fn child(args: &PerfArgs, number: usize, row: &Row) -> Result<()> {
    let doing = |error| Error::io("starting a process for the row", row.bench, error);
    let output = Command::new(std::env::current_exe().map_err(doing)?)
        .args(["perf", "--row", &number.to_string()])
        .args(["--reps", &args.reps.to_string(), "--threads", &threads(args).to_string()])
        .stderr(Stdio::inherit())
        .output()
        .map_err(doing)?;
    if !output.status.success() {
        return Err(Error::invalid(format!("the row `{}` failed: {}", row.bench, output.status)));
    }
    print(&String::from_utf8_lossy(&output.stdout))
}
