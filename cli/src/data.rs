//! `kshot data get`.

use kshot::Result;

use crate::args::DataCommand;

#[cfg(feature = "download")]
pub(crate) fn run(command: DataCommand) -> Result<()> {
    use std::io::{IsTerminal as _, Write as _};

    use crate::output::{complain, print};
    use crate::place::data_dir;
    use kshot_datasets::download::{Progress, fetch};

    let DataCommand::Get { dataset, place, from, mirror } = command;
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
    let fetched = fetch(&dataset, &directory, from.as_deref(), mirror.as_deref(), &mut show);
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

#[cfg(not(feature = "download"))]
pub(crate) fn run(_: DataCommand) -> Result<()> {
    Err(kshot::Error::invalid("this kshot was built without the feature `download`"))
}
