//! The `kshot` program as a library, so that a crate with learners of its own can offer the same command line:
//!
//! ```no_run
//! // use my_learner as _; // links the plugin, which registers itself
//! fn main() -> std::process::ExitCode {
//!     kshot_cli::main()
//! }
//! ```

mod args;
mod bench;
mod data;
mod doctor;
mod domain_table;
mod eval;
mod experiment;
mod job;
mod list;
mod perf;
mod plot;
mod table;
mod train;
mod verification;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser as _;
use kshot::{Error, Result};

// Linking them is what registers them.
use kshot_datasets as _;
use kshot_finetune as _;
use kshot_maml as _;
use kshot_matching as _;
use kshot_metanet as _;
use kshot_pixels as _;
use kshot_prototypical as _;
use kshot_relation as _;
use kshot_siamese as _;
use kshot_tca as _;
use kshot_triplet as _;

use args::{Cli, Command};

/// Set by the first Ctrl-C; training stops before its next step.
static STOP: AtomicBool = AtomicBool::new(false);

/// Makes the first Ctrl-C ask a training to stop, instead of ending the program at once.
fn stop_on_ctrl_c() {
    let installed = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        complain("\nstopping after this step; press Ctrl-C again to stop at once");
    });
    if let Err(error) = installed {
        complain(&format!("kshot: Ctrl-C will stop at once, without saving: {error}"));
    }
}

/// Runs the program on the process's arguments. Exit codes: 0 done, 2 refused or failed, 130 interrupted.
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&paragraph(&error));
            ExitCode::from(if matches!(error, Error::Interrupted(_)) { 130 } else { 2 })
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Bench(args) => bench::run(args),
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Perf(args) => perf::run(args),
        Command::Learners => print(&list::learners()),
        Command::Datasets => print(&list::datasets()),
        Command::Data { command } => data::run(command),
        Command::Doctor(place) => print(&doctor::report(&place)),
    }
}

/// Writes a line to stderr; that nobody reads it (`2>&1 | head`) is no reason to panic, as `eprintln!` does.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// An error as one line, whatever the libraries underneath put into it.
fn paragraph(error: &Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    format!("kshot: {}", lines.join(" "))
}

/// Writes to stdout; a reader who went away (`| head`) is no error.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("writing to", "standard output", error))
        }
        _ => Ok(()),
    }
}
