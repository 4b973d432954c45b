//! `kshot data`: the files of datasets, and what is kept of their images.

mod args;
#[cfg(feature = "download")]
mod get;
mod prepare;
mod stores;

use kshot::Result;

pub(crate) use args::DataCommand;

pub(crate) fn run(command: DataCommand) -> Result<()> {
    match command {
        #[cfg(feature = "download")]
        DataCommand::Get { dataset, place, from, mirror } => get::run(&dataset, &place, from, mirror),
        #[cfg(not(feature = "download"))]
        DataCommand::Get { .. } => {
            Err(kshot::Error::invalid("this kshot was built without the feature `download`"))
        }
        DataCommand::Prepare(args) => prepare::run(&args),
        DataCommand::List => stores::list(),
        DataCommand::Remove { names, all } => stores::remove(names, all),
    }
}
