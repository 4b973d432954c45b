//! The Tennessee Eastman process: a simulated chemical plant, normal or with one of 21 faults, in 52 variables.
//!
//! Downs & Vogel, "A plant-wide industrial process control problem", Computers & Chemical Engineering 1993; data of
//! Russell, Chiang & Braatz, "Data-driven Methods for Fault Detection and Diagnosis in Chemical Processes", 2000. Each
//! class is a run for training (`dNN.dat`) and one for test (`dNN_te.dat`, whose fault starts at sample 160); both are
//! cut into windows `[52, 1, window]`, each variable standardised by the training run of the normal plant. Classes are
//! divided among training, validation and test: faults never seen are diagnosed from a few windows.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kshot::dataset::{Class, ClassSet, Dataset, DatasetContext, Preparation};
use kshot::options::Options;
use kshot::{Error, Result, file};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::archive::Zip;
use crate::class_division::by_fractions;
use crate::class_splits::ClassSplits;
use crate::place::find;

kshot::register_dataset! {
    /// a chemical plant, normal or with one of 21 faults: windows of 52 variables
    ///
    /// Russell, Chiang, Braatz 2000, after Downs & Vogel 1993; NCSA-like licence
    name: "tep",
    options: TepOptions,
    open: open,
    locate: locate,
}

/// Options of `tep`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct TepOptions {
    /// Samples of a window (3 minutes each); windows do not overlap.
    #[schemars(range(min = 1, max = 480))]
    pub window: usize,
    /// The shares of the classes for training, validation and test.
    pub fractions: [f64; 3],
    /// Seed of that division. Not the run's: all runs see the same classes.
    pub seed: u64,
}

impl Default for TepOptions {
    fn default() -> Self {
        Self { window: 16, fractions: [0.45, 0.25, 0.3], seed: 0 }
    }
}

impl Options for TepOptions {}

const VARIABLES: usize = 52;
const CLASSES: usize = 22;
/// More than this is no run: refused before it is unpacked.
const MOST_BYTES: u64 = 64 << 20;
/// Sample of a test run at which its fault starts.
const FAULT: usize = 160;

fn locate(context: &DatasetContext) -> Result<PathBuf> {
    let from = "github.com/jkitchin/tennessee-eastman-profbraatz (d00.dat … d21_te.dat, loose or as tep.zip)";
    let folder = &["tep"];
    find(&context.data_dir, folder, "d00.dat", from)
        .or_else(|_| find(&context.data_dir, folder, "tep.zip", from))
}

#[expect(clippy::indexing_slicing, reason = "a sample has all variables")]
fn open(context: &DatasetContext, options: TepOptions) -> Result<Box<dyn Dataset>> {
    let files = Files::open(&locate(context)?)?;
    let normal = files.run("d00.dat")?;
    let (mean, scale) = statistics(&normal);
    let names: Vec<String> = (0..CLASSES)
        .map(|class| if class == 0 { "normal".to_owned() } else { format!("fault{class:02}") })
        .collect();
    let (mut values, mut window_names, mut classes) = (Vec::new(), Vec::new(), Vec::new());
    for (class, name) in names.iter().enumerate() {
        let first = window_names.len() as u32;
        for (file, from) in [(format!("d{class:02}.dat"), 0), (format!("d{class:02}_te.dat"), FAULT)] {
            let run = if class == 0 && from == 0 { normal.clone() } else { files.run(&file)? };
            let samples: Vec<&[f64; VARIABLES]> =
                run.iter().skip(if class == 0 { 0 } else { from }).collect();
            for (number, window) in samples.chunks_exact(options.window).enumerate() {
                for variable in 0..VARIABLES {
                    let value = |sample: &&[f64; VARIABLES]| {
                        ((sample[variable] - mean[variable]) * scale[variable]) as f32
                    };
                    values.extend(window.iter().map(value));
                }
                window_names.push(format!("{file}@{}", number * options.window));
            }
        }
        classes.push(Class {
            name: name.clone(),
            images: (first..window_names.len() as u32).collect(),
            quarter_turns: 0,
        });
    }
    let splits = by_fractions(options.fractions, options.seed, &names)?.map(|chosen| {
        classes.iter().filter(|class| chosen.contains(&class.name)).cloned().collect::<Vec<Class>>()
    });
    let shape = [VARIABLES, 1, options.window];
    let whole = ClassSet::new(shape, Arc::new(values), Arc::new(window_names), Vec::new())?;
    let preparation = Preparation::Numbers { standardise: true };
    Ok(Box::new(ClassSplits::new("tep", preparation, &whole, splits)?))
}

/// Mean of each variable, and the inverse of its deviation.
#[expect(clippy::indexing_slicing, reason = "a sample has all variables")]
fn statistics(run: &[[f64; VARIABLES]]) -> ([f64; VARIABLES], [f64; VARIABLES]) {
    let n = run.len() as f64;
    let mean = std::array::from_fn(|v| run.iter().map(|sample| sample[v]).sum::<f64>() / n);
    let scale = std::array::from_fn(|v: usize| {
        let mean: &[f64; VARIABLES] = &mean;
        let variance = run.iter().map(|sample| (sample[v] - mean[v]).powi(2)).sum::<f64>() / n;
        if variance > 0.0 { variance.sqrt().recip() } else { 0.0 }
    });
    (mean, scale)
}

/// The runs, loose in a folder or in a zip.
enum Files {
    Folder(PathBuf),
    Zip(PathBuf, Vec<u8>),
}

impl Files {
    fn open(folder: &Path) -> Result<Self> {
        if folder.join("d00.dat").exists() {
            return Ok(Self::Folder(folder.to_path_buf()));
        }
        let path = folder.join("tep.zip");
        let bytes = file::bytes(&path, file::MOST_BYTES, "reading the archive")?;
        Ok(Self::Zip(path, bytes))
    }

    /// The samples of a run, in order of time.
    fn run(&self, name: &str) -> Result<Vec<[f64; VARIABLES]>> {
        let (text, path) = match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                (file::text(&path, MOST_BYTES, "reading the run")?, path)
            }
            Self::Zip(path, bytes) => {
                let broken = |error: &dyn std::fmt::Display| {
                    Error::invalid(format!("{}: `{name}` cannot be read: {error}", path.display()))
                };
                let mut archive = Zip::open(Cursor::new(bytes)).map_err(|why| broken(&why))?;
                let entry = archive.find(name).ok_or_else(|| broken(&"it is not there"))?;
                let bytes = archive.unpack(entry, MOST_BYTES).map_err(|why| broken(&why))?;
                (String::from_utf8(bytes).map_err(|error| broken(&error))?, path.join(name))
            }
        };
        samples(&text).map_err(|why| Error::invalid(format!("{}: {why}", path.display())))
    }
}

/// Samples of 52 variables: a line each, or, as in `d00.dat`, a line for each variable.
fn samples(text: &str) -> Result<Vec<[f64; VARIABLES]>, String> {
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let row: Vec<f64> = line
            .split_whitespace()
            .map(|word| word.parse().map_err(|_| format!("line {}: `{word}` is not a number", number + 1)))
            .collect::<Result<_, _>>()?;
        if !row.is_empty() {
            rows.push(row);
        }
    }
    if rows.iter().all(|row| row.len() == VARIABLES) && !rows.is_empty() {
        return Ok(rows.into_iter().filter_map(|row| row.try_into().ok()).collect());
    }
    let length = rows.first().map_or(0, Vec::len);
    if rows.len() == VARIABLES && rows.iter().all(|row| row.len() == length) {
        let at =
            |t: usize| rows.iter().filter_map(|row| row.get(t).copied()).collect::<Vec<_>>().try_into().ok();
        return Ok((0..length).filter_map(at).collect());
    }
    Err(format!("{} lines of {length} numbers are no samples of {VARIABLES} variables", rows.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_file_gives_the_same_samples() {
        let value = |t: usize, v: usize| (t * 100 + v).to_string();
        let lines = |rows: usize, columns: usize, of: &dyn Fn(usize, usize) -> String| {
            (0..rows)
                .map(|r| (0..columns).map(|c| of(r, c)).collect::<Vec<_>>().join("  ") + "\n")
                .collect::<String>()
        };
        let straight = samples(&lines(60, 52, &value)).unwrap();
        let turned = samples(&lines(52, 60, &|v, t| value(t, v))).unwrap();
        assert_eq!(straight, turned);
        assert_eq!(straight[59][51], 5951.0);
        assert!(samples("1 2 3\n").unwrap_err().contains("1 lines of 3 numbers"));
        assert!(samples("1 x\n").unwrap_err().contains("`x` is not a number"));
    }
}
