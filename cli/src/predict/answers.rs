//! What `kshot predict` gives: lines on the terminal, CSV, JSON, copies by label.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use kshot::atomic::Pending;
use kshot::{Error, Result};
use serde_json::json;

use crate::args::PredictArgs;
use crate::output::print;

/// The label of what is none of the classes.
const NONE: &str = "(none)";

/// What is said of one query.
pub(super) struct Answer<'a> {
    pub(super) query: &'a Path,
    /// The class; none for what is not sure enough to be of one.
    pub(super) label: Option<&'a str>,
    /// The best class's score less the second's.
    pub(super) margin: f32,
    /// In the order of the classes.
    pub(super) scores: Vec<f32>,
}

/// Takes answers to where they were asked for.
pub(super) struct Answers<'a> {
    classes: &'a [String],
    width: usize,
    csv: Option<Csv>,
    json: Option<Pending>,
    out: Option<&'a Path>,
    count: usize,
}

enum Csv {
    File(Box<csv::Writer<Pending>>),
    Stdout(Box<csv::Writer<std::io::Stdout>>),
}

impl Csv {
    fn write(&mut self, record: Vec<String>) -> Result<()> {
        let written = match self {
            Self::File(writer) => writer.write_record(record),
            Self::Stdout(writer) => writer.write_record(record),
        };
        written.map_err(|error| Error::invalid(format!("writing the answers as CSV: {error}")))
    }
}

const WRITING: &str = "writing the answers to";

impl<'a> Answers<'a> {
    pub(super) fn new(args: &'a PredictArgs, classes: &'a [String]) -> Result<Self> {
        let mut csv = match &args.csv {
            Some(path) if path.as_os_str() == "-" => {
                Some(Csv::Stdout(Box::new(csv::Writer::from_writer(std::io::stdout()))))
            }
            Some(path) => {
                Some(Csv::File(Box::new(csv::Writer::from_writer(Pending::create(path, WRITING)?))))
            }
            None => None,
        };
        if let Some(csv) = &mut csv {
            let head = ["file", "label", "margin"].map(str::to_owned).into_iter();
            csv.write(head.chain(classes.iter().cloned()).collect())?;
        }
        let json = args.json.as_ref().map(|path| Pending::create(path, WRITING)).transpose()?;
        let longest = classes.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let width = if args.reject.is_some() { longest.max(NONE.len()) } else { longest };
        let answers = Self { classes, width: width.max(5), csv, json, out: args.out.as_deref(), count: 0 };
        if answers.shows() {
            print(&format!(
                "{:<w$}  {:>9}  file\n{}  ─────────  ────\n",
                "label",
                "margin",
                "─".repeat(answers.width),
                w = answers.width
            ))?;
        }
        Ok(answers)
    }

    /// Whether answers are shown on stdout, as nothing else was asked for.
    fn shows(&self) -> bool {
        self.csv.is_none() && self.json.is_none()
    }

    pub(super) fn push(&mut self, answer: &Answer<'_>) -> Result<()> {
        let Answer { query, label, margin, scores } = answer;
        let (file, name) = (query.display().to_string(), label.unwrap_or(NONE));
        if self.shows() {
            print(&format!("{name:<w$}  {margin:>9.4}  {file}\n", w = self.width))?;
        }
        if let Some(csv) = &mut self.csv {
            let numbers = std::iter::once(margin).chain(scores).map(f32::to_string);
            csv.write([file.clone(), name.to_owned()].into_iter().chain(numbers).collect())?;
        }
        if let Some(pending) = &mut self.json {
            let by_class: serde_json::Map<_, _> =
                self.classes.iter().zip(scores).map(|(class, score)| (class.clone(), json!(score))).collect();
            let row = json!({ "file": file, "label": label, "margin": margin, "scores": by_class });
            let before = if self.count == 0 { "[\n" } else { ",\n" };
            write!(pending, "{before}{row}").map_err(|error| Error::io(WRITING, "the JSON file", error))?;
        }
        if let Some(out) = self.out {
            copy(query, &out.join(name.replace(['/', '\\'], "_")))?;
        }
        self.count += 1;
        Ok(())
    }

    /// Puts the files in their places, and says how many answers there are.
    pub(super) fn finish(self) -> Result<usize> {
        match self.csv {
            Some(Csv::File(writer)) => {
                let file = writer
                    .into_inner()
                    .map_err(|error| Error::invalid(format!("writing the answers as CSV: {error}")))?;
                file.commit()?;
            }
            Some(Csv::Stdout(mut writer)) => {
                writer.flush().map_err(|error| Error::io(WRITING, "standard output", error))?;
            }
            None => {}
        }
        if let Some(mut pending) = self.json {
            let end = if self.count == 0 { "[]\n" } else { "\n]\n" };
            pending.write_all(end.as_bytes()).map_err(|error| Error::io(WRITING, "the JSON file", error))?;
            pending.commit()?;
        }
        Ok(self.count)
    }
}

/// Copies a file into a directory, under another name where one of its name is there.
fn copy(file: &Path, directory: &Path) -> Result<()> {
    let failed = |error| Error::io("copying into", directory, error);
    fs::create_dir_all(directory).map_err(failed)?;
    let name = file.file_name().unwrap_or_default();
    let (stem, ending) = (Path::new(name).file_stem().unwrap_or_default(), Path::new(name).extension());
    let mut place: PathBuf = directory.join(name);
    for number in 2.. {
        if !place.exists() {
            break;
        }
        let mut other = stem.to_os_string();
        other.push(format!("-{number}"));
        if let Some(ending) = ending {
            other.push(".");
            other.push(ending);
        }
        place = directory.join(other);
    }
    fs::copy(file, &place).map(drop).map_err(failed)
}
