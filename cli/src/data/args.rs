//! The command line of `kshot data`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::Place;

#[derive(Subcommand)]
pub(crate) enum DataCommand {
    /// Download a dataset, or take local copies of its files, with checksums
    Get {
        /// Which dataset, as `omniglot`; of one that only its owners may give, it says how to come by it
        dataset: String,
        #[command(flatten)]
        place: Place,
        /// Take the files from this directory instead of downloading
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
        /// Download from this mirror: URL/FILE instead of upstream's address
        #[arg(long, value_name = "URL", conflicts_with = "from")]
        mirror: Option<String>,
    },
    /// Decode the images of a dataset once, to a store on disk that need not fit into memory
    ///
    /// Whatever opens the dataset with the same options from then on reads the store, at once, and comes to the same figures. It
    /// lies in the cache ($KSHOT_CACHE, else the user's cache directory), a byte a value: 100,000 colour images of 64×64 take
    /// 1.2 GB. Where files of the dataset change, it is not used, and the same command makes it anew. Ctrl-C leaves nothing of it.
    Prepare(PrepareArgs),
    /// List the stores that were prepared
    List,
    /// Remove stores
    Remove {
        /// Their names, as `kshot data list` has them
        #[arg(value_name = "NAME", required_unless_present = "all")]
        names: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
}

#[derive(Args)]
pub(crate) struct PrepareArgs {
    /// Which dataset, as `folder` or `mini-imagenet`
    pub(crate) dataset: String,
    #[command(flatten)]
    pub(crate) place: Place,
    /// Side of an image in pixels (short for `--set DATASET.image-size=N`)
    #[arg(long, value_name = "N")]
    pub(crate) image_size: Option<usize>,
    /// Set an option of the dataset, as `folder.path=photos`; `kshot datasets NAME` lists them
    #[arg(long = "set", value_name = "NAME.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}
