//! `kshot embed`: what a trained network makes of examples, written for other programs; goes on where it was stopped.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use indicatif::ProgressBar;
use kshot::embedding::{Embedding, is_encoder};
use kshot::train::{BEST, read_run};
use kshot::{Error, Result};
use kshot_datasets::arrays::write;
use serde_json::{Value, json};

use crate::args::EmbedArgs;
use crate::inputs::{Queries, Reader, holds_arrays};
use crate::output::{complain, print, writable};
use crate::stop::{STOP, stop_on_ctrl_c};
use crate::words::plural;

/// Examples embedded at a time.
const BATCH: usize = 64;

pub(crate) fn run(args: &EmbedArgs) -> Result<()> {
    if args.out.extension().is_none_or(|end| end != "npz") {
        return Err(Error::invalid(format!("`--out {}` does not end in .npz", args.out.display())));
    }
    writable(&args.out)?;
    let reader = if is_encoder(&args.checkpoint) {
        Reader::Images(Reader::by_flags(&args.images, true)?)
    } else {
        Reader::of_run(&args.paths[0], &read_run(&args.checkpoint)?.1.origin, Some(&args.images))?
    };
    let input = reader.input()?;
    let embedding = Embedding::read(&args.checkpoint, input)?;
    if embedding.is_transductive() {
        complain(&format!(
            "note: this network normalises by the batch: features depend on the {BATCH} examples embedded together"
        ));
    }
    let mut examples = Queries::new(&reader, &args.paths)?;
    // Weights trained since are others, though of the same place.
    let file = if args.checkpoint.is_dir() { args.checkpoint.join(BEST) } else { args.checkpoint.clone() };
    let modified = fs::metadata(&file).and_then(|file| file.modified()).ok();
    let of = json!({
        "checkpoint": fs::canonicalize(&file).ok(),
        "modified": modified.map(|time| format!("{time:?}")),
        "input": input,
        "images": [json!(args.images.resize), json!(args.images.normalise)],
        "paths": args.paths,
    });
    let mut work = Work::open(&args.out, &of, holds_arrays(&args.paths[0]))?;
    examples.pass_over(&work.names)?;
    if !work.names.is_empty() {
        complain(&format!("going on after {}", plural(work.names.len(), "example")));
    }
    stop_on_ctrl_c();
    let bar =
        if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    while let Some(batch) = examples.next(BATCH)? {
        let z = embedding.of(batch.queries.inputs.view())?;
        work.push(&batch.names, z.iter().copied(), z.ncols())?;
        bar.set_message(plural(work.names.len(), "example"));
        bar.tick();
        if STOP.load(Ordering::Relaxed) {
            return Err(Error::Interrupted(format!(
                "stopped after {}, which are in {}: the same command goes on",
                plural(work.names.len(), "example"),
                work.directory.display()
            )));
        }
    }
    bar.finish_and_clear();
    let failed = examples.failed;
    let (rows, features, labelled) = work.finish(&args.out, &args.paths)?;
    print(&format!(
        "{} of {features} features{}: {}\n",
        plural(rows, "example"),
        if labelled { ", with labels" } else { "" },
        args.out.display()
    ))?;
    match failed {
        0 => Ok(()),
        failed => Err(Error::invalid(format!(
            "{} could not be read, for the reasons above",
            plural(failed, "file")
        ))),
    }
}

/// What is done so far: a directory beside the file that is to be.
struct Work {
    directory: PathBuf,
    names: Vec<PathBuf>,
    values: File,
    lines: File,
    features: Option<usize>,
}

const DOING: &str = "keeping the features in";

impl Work {
    /// Opens what an earlier run of the same left, or begins.
    fn open(out: &Path, of: &Value, anew: bool) -> Result<Self> {
        let mut directory = out.as_os_str().to_owned();
        directory.push(".part");
        let directory = PathBuf::from(directory);
        let failed = |error| Error::io(DOING, &directory, error);
        let what = directory.join("of.json");
        let same = fs::read(&what)
            .is_ok_and(|bytes| serde_json::from_slice::<Value>(&bytes).is_ok_and(|was| was == *of));
        if !same || anew {
            if directory.exists() {
                fs::remove_dir_all(&directory).map_err(failed)?;
            }
            fs::create_dir_all(&directory).map_err(failed)?;
            fs::write(&what, of.to_string()).map_err(failed)?;
        }
        let open = |name: &str| {
            OpenOptions::new().read(true).append(true).create(true).open(directory.join(name)).map_err(failed)
        };
        let (values, lines) = (open("values")?, open("names")?);
        // A line is a row and its name; what was cut off is dropped.
        let mut names: Vec<PathBuf> = Vec::new();
        let mut features = None;
        let (mut whole, have) = (0, values.metadata().map_err(failed)?.len());
        for line in BufReader::new(&lines).lines() {
            let line = line.map_err(failed)?;
            let Ok((width, name)) = serde_json::from_str::<(usize, PathBuf)>(&line) else { break };
            if 4 * (width * (names.len() + 1)) as u64 > have {
                break;
            }
            features = Some(width);
            names.push(name);
            whole += line.len() as u64 + 1;
        }
        lines.set_len(whole).map_err(failed)?;
        values.set_len(4 * (features.unwrap_or(0) * names.len()) as u64).map_err(failed)?;
        Ok(Self { directory, names, values, lines, features })
    }

    fn push(&mut self, names: &[PathBuf], values: impl Iterator<Item = f32>, features: usize) -> Result<()> {
        let failed = |error| Error::io(DOING, &self.directory, error);
        self.values.write_all(&values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>()).map_err(failed)?;
        let lines: String = names.iter().map(|name| format!("{}\n", json!([features, name]))).collect();
        self.lines.write_all(lines.as_bytes()).map_err(failed)?;
        self.features = Some(features);
        self.names.extend_from_slice(names);
        Ok(())
    }

    /// Writes the file; how many rows and features it has, and whether labels.
    fn finish(self, out: &Path, paths: &[PathBuf]) -> Result<(usize, usize, bool)> {
        let Some(features) = self.features else {
            return Err(Error::invalid("there was no example to embed"));
        };
        let labels: Option<Vec<String>> = self.names.iter().map(|name| label(name, paths)).collect();
        let names: Vec<String> = self.names.iter().map(|name| name.display().to_string()).collect();
        let values = File::open(self.directory.join("values"));
        let values = values.map_err(|error| Error::io(DOING, &self.directory, error))?;
        write::npz(out, values, [names.len(), features], &names, labels.as_deref())?;
        fs::remove_dir_all(&self.directory).map_err(|error| Error::io(DOING, &self.directory, error))?;
        Ok((names.len(), features, labels.is_some()))
    }
}

/// The directory that an image is in, below the one that was named.
fn label(name: &Path, paths: &[PathBuf]) -> Option<String> {
    let below = paths.iter().find_map(|path| name.strip_prefix(path).ok())?;
    let mut parts = below.components();
    let first = parts.next()?.as_os_str().to_string_lossy().into_owned();
    parts.next().map(|_| first)
}
