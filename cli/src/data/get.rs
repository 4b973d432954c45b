//! `kshot data get`.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use kshot::Result;
use kshot_datasets::download::{Progress, fetch};

use crate::args::Place;
use crate::output::{complain, print};
use crate::place::data_dir;

pub(super) fn run(dataset: &str, place: &Place, from: Option<PathBuf>, mirror: Option<String>) -> Result<()> {
    let directory = data_dir(place.data_dir.as_ref());
    let terminal = std::io::stderr().is_terminal();
    let mut show = |progress: Progress<'_>| {
        if terminal {
            let total =
                progress.total.map_or(String::new(), |total| format!(" of {:.1}", total as f64 / 1e6));
            let _ = write!(
                std::io::stderr(),
                "\r{}: {:.1}{total} MB ",
                progress.file,
                progress.done as f64 / 1e6
            );
        }
    };
    let fetched = fetch(dataset, &directory, from.as_deref(), mirror.as_deref(), &mut show);
    if terminal {
        complain("");
    }
    let fetched = fetched?;
    let lines = fetched.iter().map(|file| {
        let what = if file.was_there { "was there and is whole" } else { "is there now, checked" };
        format!("{} {what}\n", file.path.display())
    });
    print(&lines.collect::<String>())
}
