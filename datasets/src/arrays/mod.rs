//! Your own features or signals: arrays with a label for each example, and a domain if there are several.
//!
//! | `path` | what is read |
//! | --- | --- |
//! | a directory | `X.npy`, `y.npy` and, where there is one, `domain.npy` |
//! | `FILE.npz`, `FILE.mat` (saved with `-v7` or older) | its arrays `X`, `y`, `domain` |
//! | `FILE.csv` | with a header: the columns `y` and `domain`, all others are features |
//!
//! The names are options. X is `[n, features]`, `[n, channels, length]` or `[n, channels, height, width]`; labels and
//! domains are whole numbers or words. With domains, tasks go from one to another; without, classes are divided among
//! training, validation and test as those of `folder`.

pub(crate) mod files;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kshot::dataset::{Class, Dataset, DatasetContext, Preparation};
use kshot::options::Options;
use kshot::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::class_division::by_fractions;
use crate::class_splits::ClassSplits;
use crate::domain_splits::{DomainBuilder, Part};
use crate::place::resolve;
use files::{Array, Arrays};

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
    /// The file or directory; where it is relative, it is looked for in the data directory, then in the current one.
    pub path: Option<PathBuf>,
    /// Name of the examples' array.
    pub x: String,
    /// Name of the labels' array or column.
    pub y: String,
    /// Name of the domains' array or column; it need not be there.
    pub domain: String,
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
            standardise: false,
            fractions: [0.6, 0.2, 0.2],
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
}

fn open(context: &DatasetContext, options: ArraysOptions) -> Result<Box<dyn Dataset>> {
    let path = options.path.as_ref().ok_or_else(|| {
        Error::invalid(
            "the dataset `arrays` needs its option `path`: a .npz, .mat or .csv file, or a directory with X.npy and \
             y.npy",
        )
    })?;
    let path = resolve("arrays", path, &context.data_dir)?;
    let mut table = read(&path, &options)?;
    if options.standardise {
        let whole = vec![String::new(); table.labels.len()];
        standardise(&mut table.values, table.domains.as_ref().unwrap_or(&whole));
    }
    let preparation = Preparation::Numbers { standardise: options.standardise };
    match &table.domains {
        Some(domains) => {
            let size = table.shape.iter().product::<usize>();
            let mut builder = DomainBuilder::new(table.shape);
            // In order of their names, whatever the order of the examples.
            let mut order: Vec<usize> = (0..table.labels.len()).collect();
            order.sort_by_key(|&i| (natural(&domains[i]), natural(&table.labels[i])));
            for i in order {
                let values = &table.values[i * size..][..size];
                builder.push(&domains[i], &table.labels[i], Part::Both, i.to_string(), values);
            }
            Ok(Box::new(builder.finish(preparation, &[])?))
        }
        None => classes(table, &options),
    }
}

/// Orders `2` before `10`.
fn natural(name: &str) -> (Option<i64>, String) {
    (name.parse().ok(), name.to_owned())
}

/// A dataset of classes, divided among the splits.
fn classes(table: Table, options: &ArraysOptions) -> Result<Box<dyn Dataset>> {
    if let Some(at) = table.values.iter().position(|value| !value.is_finite()) {
        let size = table.shape.iter().product::<usize>();
        return Err(Error::NotFinite(format!(
            "feature {} of example {} is {}, not a finite number: correct the file, or leave the example out",
            at % size,
            at / size,
            table.values[at]
        )));
    }
    let mut names = table.labels.clone();
    names.sort_by_key(|name| natural(name));
    names.dedup();
    let division = by_fractions(options.fractions, options.seed, &names)?;
    let class = |name: String| {
        let of = |(i, label): (usize, &String)| (*label == name).then_some(i as u32);
        Class { images: table.labels.iter().enumerate().filter_map(of).collect(), name, quarter_turns: 0 }
    };
    let splits = division.map(|names| names.into_iter().map(class).collect());
    let names = (0..table.labels.len()).map(|i| i.to_string()).collect();
    Ok(Box::new(ClassSplits::new(
        "arrays",
        table.shape,
        Preparation::Numbers { standardise: options.standardise },
        Arc::new(table.values),
        names,
        splits,
    )?))
}

fn read(path: &Path, options: &ArraysOptions) -> Result<Table> {
    let ending = path.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default();
    let (x, y, domain): (Array, Array, Option<Array>) = if path.is_dir() {
        let file = |name: &str| path.join(format!("{name}.npy"));
        let domain = Some(file(&options.domain)).filter(|path| path.exists());
        (
            files::npy(&file(&options.x))?,
            files::npy(&file(&options.y))?,
            domain.map(|p| files::npy(&p)).transpose()?,
        )
    } else {
        let (mut arrays, x, y, domain): (Arrays, &str, &str, &str) = match ending.as_str() {
            "npz" => (files::npz(path)?, &options.x, &options.y, &options.domain),
            "mat" => (files::mat(path)?, &options.x, &options.y, &options.domain),
            "csv" => {
                let header = files::csv_header(path)?;
                let domain = Some(options.domain.as_str()).filter(|name| header.iter().any(|h| h == name));
                (files::csv(path, &options.y, domain)?, "x", "y", "domain")
            }
            _ => {
                return Err(Error::invalid(format!(
                    "{} is neither a directory nor a .npz, .mat or .csv file",
                    path.display()
                )));
            }
        };
        (files::take(&mut arrays, x, path)?, files::take(&mut arrays, y, path)?, arrays.remove(domain))
    };
    let shape = match *x.shape.as_slice() {
        [_, features] => [features, 1, 1],
        [_, channels, length] => [channels, 1, length],
        [_, channels, height, width] => [channels, height, width],
        _ => {
            return Err(Error::invalid(format!(
                "`{}` of {} has the shape {:?}; examples are [n, features], [n, channels, length] or [n, channels, \
                 height, width]",
                options.x,
                path.display(),
                x.shape
            )));
        }
    };
    let n = x.shape[0];
    let named = |name: &str| format!("`{name}` of {}", path.display());
    let labels = y.names(n, &named(&options.y))?;
    let domains = domain.map(|domain| domain.names(n, &named(&options.domain))).transpose()?;
    let values = x.numbers(&named(&options.x))?.into_iter().map(|value| value as f32).collect();
    Ok(Table { shape, values, labels, domains })
}

/// Gives each feature mean 0 and (population) deviation 1 within each group of rows; constant ones become 0.
pub(crate) fn standardise(values: &mut [f32], groups: &[String]) {
    let size = values.len() / groups.len().max(1);
    let mut names: Vec<&String> = groups.iter().collect();
    names.sort();
    names.dedup();
    for name in names {
        let rows: Vec<usize> = (0..groups.len()).filter(|&row| groups[row] == *name).collect();
        for feature in 0..size {
            let of = |row: &usize| f64::from(values[row * size + feature]);
            let mean = rows.iter().map(of).sum::<f64>() / rows.len() as f64;
            let variance = rows.iter().map(|row| (of(row) - mean).powi(2)).sum::<f64>() / rows.len() as f64;
            let scale = if variance > 0.0 { variance.sqrt().recip() } else { 0.0 };
            for row in &rows {
                let value = &mut values[row * size + feature];
                *value = ((f64::from(*value) - mean) * scale) as f32;
            }
        }
    }
}
