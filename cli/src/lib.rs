//! The `kshot` program as a library, so that a crate with learners of its own can offer the same command line:
//!
//! ```no_run
//! // use my_learner as _; // links the plugin, which registers itself
//! fn main() -> std::process::ExitCode {
//!     kshot_cli::main()
//! }
//! ```

#![forbid(unsafe_code)]

mod args;
mod bench;
mod compare;
mod data;
mod device;
mod doctor;
mod embed;
mod eval;
mod experiment;
mod fit;
mod inputs;
mod job;
mod leak;
mod list;
mod measure;
mod new;
mod output;
mod perf;
mod place;
mod plot;
mod predict;
mod progress;
mod report;
mod row;
mod schema;
mod setting;
mod source_table;
mod stop;
mod suite;
mod table;
mod tasks;
mod train;
mod train_keys;
mod verification;
mod verify;
mod words;
mod world;

use std::process::ExitCode;

use clap::Parser as _;
use kshot::{Error, Result};

// Linking them is what registers them.
use kshot_datasets as _;
use kshot_finetune as _;
use kshot_heads as _;
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
use output::{complain, paragraph, print};
use world::world;

/// Runs the program on the process's arguments. Exit codes: 0 done, 2 refused or failed, 130 interrupted.
pub fn main() -> ExitCode {
    limit_as_an_error();
    match world::join() {
        // Held until all is said: MPI ends when it is dropped.
        Ok(_session) => exit_code(command()),
        Err(error) => exit_code(Err(error)),
    }
}

fn command() -> Result<ExitCode> {
    match Cli::try_parse() {
        Ok(cli) => world().settle(run(cli)).map(|()| ExitCode::SUCCESS),
        Err(usage) => {
            if world().is_first() {
                let _ = usage.print();
            }
            Ok(ExitCode::from(usage.exit_code() as u8))
        }
    }
}

fn exit_code(outcome: Result<ExitCode>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) => {
            complain(&paragraph(&error));
            ExitCode::from(if matches!(error, Error::Interrupted(_)) { 130 } else { 2 })
        }
    }
}

/// Makes a file that grows beyond the system's limit an error of the write, which says so, and not the end of the program.
fn limit_as_an_error() {
    #[cfg(unix)]
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default());
}

fn run(cli: Cli) -> Result<()> {
    world::refuse_unshared(&cli.command)?;
    device::refuse_other(cli.device, &cli.command)?;
    match cli.command {
        Command::Bench(args) => bench::run(args),
        Command::Run(args) => bench::run_suite(args),
        Command::Compare(args) => compare::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Predict(args) => predict::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Tasks(args) => tasks::run(args),
        Command::Perf(args) => perf::run(args),
        Command::Learners { name } => print(&list::learners(name.as_deref())?),
        Command::Datasets { name } => print(&list::datasets(name.as_deref())?),
        Command::Backbones { name } => print(&list::backbones(name.as_deref())?),
        Command::New(args) => new::run(args),
        Command::Schema { of } => print(&format!("{:#}\n", schema::of(of))),
        Command::Data { command } => data::run(command),
        Command::Doctor(place) => print(&doctor::report(&place)),
    }
}
