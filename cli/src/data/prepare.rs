//! `kshot data prepare`: a dataset's images decoded once, on disk.

use std::time::Instant;

use kshot::registry::{self, Prepared};
use kshot::{Error, Result};

use super::args::PrepareArgs;
use crate::experiment::{merge, parse_setting};
use crate::job::start;
use crate::output::print;
use crate::place::context;
use crate::stop::{STOP, stop_on_ctrl_c};
use crate::suite::memory::Bytes;
use crate::words::duration;

pub(super) fn run(args: &PrepareArgs) -> Result<()> {
    let entry = registry::dataset(&args.dataset)?;
    let Some(prepare) = entry.prepare else {
        let why = match (entry.locate, with_prepare()) {
            (None, _) if entry.name != "arrays" => "it has no image files".to_owned(),
            (_, others) => format!("its files are read as they are. What has: {others}"),
        };
        return Err(Error::invalid(format!("`{}` has nothing to prepare: {why}", entry.name)));
    };
    if let Some(threads) = args.threads {
        start(threads)?;
    }
    let options = options(args)?;
    stop_on_ctrl_c();
    let begun = Instant::now();
    let Prepared { name, path, description, was_there } =
        prepare(&context(args.place.data_dir.as_ref()), &options, &STOP)?;
    let [channels, height, width] = description.shape;
    let bytes = path.metadata().map_or(0, |file| file.len());
    let how = match was_there {
        true => "was prepared before".to_owned(),
        false => format!("prepared in {}", duration(begun.elapsed().as_secs_f64())),
    };
    print(&format!(
        "{}: {} images of {channels}×{height}×{width}, {}, {how}: {name}, in {}\n",
        args.dataset,
        description.images,
        Bytes(bytes),
        path.display()
    ))
}

/// The datasets that can be prepared.
fn with_prepare() -> String {
    let datasets = registry::datasets().into_iter().filter(|entry| entry.prepare.is_some());
    datasets.map(|entry| format!("`{}`", entry.name)).collect::<Vec<_>>().join(", ")
}

/// The options that are set for the dataset.
fn options(args: &PrepareArgs) -> Result<toml::Table> {
    let mut all = toml::Table::new();
    for setting in &args.set {
        merge(&mut all, parse_setting(setting)?);
    }
    let set = all.remove("set").and_then(|set| set.try_into::<toml::Table>().ok()).unwrap_or_default();
    if let Some(other) = set.keys().find(|name| **name != args.dataset) {
        return Err(Error::invalid(format!(
            "`--set` names `{other}`, but `{}` is prepared: set options of that",
            args.dataset
        )));
    }
    let own = set.get(&args.dataset).and_then(toml::Value::as_table).cloned();
    let mut options = own.unwrap_or_default();
    options.extend(args.image_size.map(|size| ("image-size".to_owned(), toml::Value::Integer(size as i64))));
    Ok(options)
}
