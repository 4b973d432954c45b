//! Your own features or signals: arrays with a label for each example, and a domain if there are several.
//!
//! | `path` | what is read |
//! | --- | --- |
//! | a directory | `X.npy`, `y.npy` and, where there is one, `domain.npy` |
//! | `FILE.npz`, `FILE.mat` (saved with `-v7` or `-v6`) | its arrays `X`, `y`, `domain` |
//! | `FILE.csv` | with a header: the columns `y` and `domain`, all others are features |
//!
//! The names are options. A column or feature that numbers the examples, as an index does, tells the class of examples
//! sorted by it: it is left out where it has no name, else refused. X is `[n, features]`, `[n, channels, length]` or `[n, channels, height, width]`; labels and
//! domains are whole numbers or words. With domains, tasks go from one to another; without, classes are divided among
//! training, validation and test as those of `folder`.

pub(crate) mod array;
pub(crate) mod mat;
pub(crate) mod npy;
mod standardise;
mod table;
pub mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kshot::dataset::{Class, ClassSet, Dataset, DatasetContext, Preparation};
use kshot::options::Options;
use kshot::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::class_division::{FRACTIONS, by_fractions_or_all};
use crate::class_splits::ClassSplits;
use crate::domain_splits::{DomainBuilder, Part};
use crate::groups::numbered;
use crate::place::resolve;
use array::{Array, Arrays, take};

pub(crate) use standardise::standardise;

kshot::register_dataset! {
    /// your own features or signals: npy, npz, mat or CSV, with labels and perhaps domains
    ///
    /// the file or directory `path`
    name: "arrays",
    options: ArraysOptions,
    open: open,
}

/// Options of `arrays`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct ArraysOptions {
    /// The file or directory; where it is relative, it is looked for in the data directory and in the current one.
    pub path: Option<PathBuf>,
    /// Name of the examples' array.
    pub x: String,
    /// Name of the labels' array or column.
    pub y: String,
    /// Name of the domains' array or column; it need not be there.
    pub domain: String,
    /// Name of the groups' array or column: patients, machines, videos, none of which is on both sides of a task; it need not
    /// be there.
    pub group: String,
    /// Columns of a CSV file that are not read.
    pub leave_out: Vec<String>,
    /// Whether each feature is standardised (mean 0, deviation 1) within each domain, or over all where there are none.
    pub standardise: bool,
    /// Without domains: the shares of the classes for training, validation and test.
    pub fractions: [f64; 3],
    /// Seed of that division. Not the run's: all runs see the same classes.
    pub seed: u64,
}

impl Default for ArraysOptions {
    fn default() -> Self {
        Self {
            path: None,
            x: "X".to_owned(),
            y: "y".to_owned(),
            domain: "domain".to_owned(),
            group: "group".to_owned(),
            leave_out: Vec::new(),
            standardise: false,
            fractions: FRACTIONS,
            seed: 0,
        }
    }
}

impl Options for ArraysOptions {}

/// Examples, row by row, each with its label and domain.
struct Table {
    shape: [usize; 3],
    values: Vec<f32>,
    labels: Vec<String>,
    domains: Option<Vec<String>>,
    groups: Option<Vec<u32>>,
    /// What was left out, in words.
    notes: Vec<String>,
}

fn open(context: &DatasetContext, options: ArraysOptions) -> Result<Box<dyn Dataset>> {
    let path = options.path.as_ref().ok_or_else(|| {
        Error::invalid(
            "the dataset `arrays` needs its option `path`: a .npz, .mat or .csv file, or a directory with X.npy and \
             y.npy",
        )
    })?;
    let path = resolve("arrays", path, &context.data_dir)?;
    let mut table = read(&path, &options, true)?;
    if options.standardise {
        let whole = vec![String::new(); table.labels.len()];
        standardise(&mut table.values, table.domains.as_ref().unwrap_or(&whole));
    }
    match table.domains.take() {
        Some(domains) => {
            let size = table.shape.iter().product::<usize>();
            let mut builder = DomainBuilder::new(table.shape);
            // In order of their names, whatever the order of the examples.
            let examples = table.values.chunks_exact(size).zip(&domains).zip(&table.labels).enumerate();
            let mut order: Vec<_> = examples.collect();
            order.sort_by_key(|(_, ((_, domain), label))| (natural(domain), natural(label)));
            for &(i, ((values, domain), label)) in &order {
                builder.push(domain, label, Part::Both, i.to_string(), values);
            }
            builder.groups = table
                .groups
                .map(|groups| order.iter().filter_map(|&(i, _)| groups.get(i).copied()).collect());
            let preparation = Preparation::Numbers { standardise: options.standardise };
            Ok(Box::new(builder.finish(preparation, &[])?.with_notes(table.notes)))
        }
        None => classes(table, &options),
    }
}

/// Orders `2` before `10`.
fn natural(name: &str) -> (Option<i64>, String) {
    (name.parse().ok(), name.to_owned())
}

/// A dataset of classes, divided among the splits.
fn classes(mut table: Table, options: &ArraysOptions) -> Result<Box<dyn Dataset>> {
    let mut names = table.labels.clone();
    names.sort_by_key(|name| natural(name));
    names.dedup();
    let division = by_fractions_or_all(options.fractions, options.seed, &names, &mut table.notes)?;
    let class = |name: String| {
        let of = |(i, label): (usize, &String)| (*label == name).then_some(i as u32);
        Class { images: table.labels.iter().enumerate().filter_map(of).collect(), name, quarter_turns: 0 }
    };
    let splits = division.map(|names| names.into_iter().map(class).collect());
    let names = (0..table.labels.len()).map(|i| i.to_string()).collect();
    let preparation = Preparation::Numbers { standardise: options.standardise };
    let mut whole = ClassSet::new(table.shape, Arc::new(table.values), Arc::new(names), Vec::new())?;
    if let Some(groups) = table.groups {
        whole = whole.grouped(Arc::new(groups))?;
    }
    Ok(Box::new(ClassSplits::new("arrays", preparation, &whole, splits)?.with_notes(table.notes)))
}

/// Examples of a file or directory as the dataset reads them, with the default names of arrays and columns.
pub struct Examples {
    /// Of one, `[channels, height, width]`.
    pub shape: [usize; 3],
    /// One example after another.
    pub values: Vec<f32>,
    /// A label each; none where they were not asked for.
    pub labels: Vec<String>,
    /// The array `name`, where there is one, as `kshot embed` writes it.
    pub names: Option<Vec<String>>,
}

/// Reads labelled examples, or, from a `.npy` too, examples whose labels, if any, are left aside.
///
/// # Errors
/// When there is no such file, or it does not hold what is asked of it.
pub fn examples(path: &Path, labelled: bool) -> Result<Examples> {
    let Table { shape, values, labels, .. } = read(path, &ArraysOptions::default(), labelled)?;
    let mut arrays = match path.extension().is_some_and(|end| end.eq_ignore_ascii_case("npz")) {
        true => npy::npz(path, &["name"])?,
        false => Arrays::new(),
    };
    let n = values.len() / shape.iter().product::<usize>().max(1);
    let names = arrays.remove("name").and_then(|array| array.ok()?.names(n, "`name`").ok());
    Ok(Examples { shape, values, labels, names })
}

/// The vectors of an `.npz` by these names, as [`write::vectors`] writes them.
///
/// # Errors
/// When there is no such file, or it lacks one.
pub fn vectors(path: &Path, names: &[String]) -> Result<Vec<Vec<f32>>> {
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut arrays = npy::npz(path, &wanted)?;
    let vector = |name: &&str| {
        let values = take(&mut arrays, name, path)?.numbers(&format!("`{name}` of {}", path.display()))?;
        Ok(values.into_iter().map(|value| value as f32).collect())
    };
    wanted.iter().map(vector).collect()
}

fn read(path: &Path, options: &ArraysOptions, labelled: bool) -> Result<Table> {
    let ArraysOptions { x, y, domain, group, .. } = options;
    let ending = path.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mut notes = Vec::new();
    let (x, [y, domain, group]): (Array, [Option<Array>; 3]) = if path.is_dir() {
        let file = |name: &str| path.join(format!("{name}.npy"));
        let read = |wanted: bool, name: &str| wanted.then(|| npy::npy(&file(name))).transpose();
        let there = |name: &str| file(name).exists();
        let x = npy::npy(&file(x))?;
        (x, [read(labelled, y)?, read(there(domain), domain)?, read(there(group), group)?])
    } else if ending == "npy" && !labelled {
        (npy::npy(path)?, [None, None, None])
    } else if ending == "csv" {
        let columns = table::csv(path, options, labelled)?;
        notes.extend(columns.note);
        (columns.x, [columns.y, columns.domain, columns.group])
    } else {
        let mut arrays = match ending.as_str() {
            "npz" => npy::npz(path, &[x, y, domain, group])?,
            "mat" => mat::mat(path)?,
            _ => {
                return Err(Error::invalid(format!(
                    "{} is neither a directory nor a .npz, .mat or .csv file",
                    path.display()
                )));
            }
        };
        let [domain_there, group_there] = [domain, group].map(|name| arrays.contains_key(name));
        let mut taken = |wanted: bool, name| wanted.then(|| take(&mut arrays, name, path)).transpose();
        let others = [taken(labelled, y)?, taken(domain_there, domain)?, taken(group_there, group)?];
        (take(&mut arrays, x, path)?, others)
    };
    let named = |name: &str| format!("`{name}` of {}", path.display());
    let what = named(&options.x);
    let shape = match *x.shape.as_slice() {
        [_, features] => [features, 1, 1],
        [_, channels, length] => [channels, 1, length],
        [_, channels, height, width] => [channels, height, width],
        _ => {
            return Err(Error::invalid(format!(
                "{what} has the shape {:?}; examples are [n, features], [n, channels, length] or [n, channels, height, \
                 width]",
                x.shape
            )));
        }
    };
    let n = x.shape.first().copied().unwrap_or(0);
    let labels = y.map_or(Ok(Vec::new()), |y| y.names(n, &named(&options.y)))?;
    let domains = domain.map(|domain| domain.names(n, &named(&options.domain))).transpose()?;
    let groups = group.map(|group| group.names(n, &named(&options.group))).transpose()?;
    let groups = groups.and_then(|groups| numbered(&groups));
    let values: Vec<f32> = x.numbers(&what)?.into_iter().map(|value| value as f32).collect();
    let size = values.len() / n.max(1);
    if size == 0 {
        return Err(Error::invalid(format!("{what} has no example with a value: its shape is {:?}", shape)));
    }
    let index = (0..size).filter(|_| labelled).find(|&at| {
        table::counts_rows(values.iter().skip(at).step_by(size).map(|&value| Some(f64::from(value))))
    });
    if let Some(feature) = index {
        return Err(Error::invalid(format!(
            "{what}: feature {feature} (counted from 0) numbers the examples, as an index does, and would tell the class \
             of examples sorted by it: take it out"
        )));
    }
    Ok(Table { shape, values, labels, domains, groups, notes })
}
