//! Reading arrays of numbers or names: `.npy`, `.npz`, MATLAB `.mat` (version 5 to 7), CSV.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read as _};
use std::path::Path;

use kshot::{Error, Result};
use matfile::{MatFile, NumericData};
use npyz::{NpyFile, Order, TypeChar};

/// An array of a file, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    Numbers(Vec<f64>),
    Names(Vec<String>),
}

impl Array {
    /// The numbers of `[n, …]`.
    pub(crate) fn numbers(self, what: &str) -> Result<Vec<f64>> {
        match self.content {
            Content::Numbers(numbers) => Ok(numbers),
            Content::Names(_) => Err(Error::invalid(format!("{what} has words where numbers are needed"))),
        }
    }

    /// One name for each of `n` examples: words as they are, numbers as whole numbers.
    pub(crate) fn names(self, n: usize, what: &str) -> Result<Vec<String>> {
        let names: Vec<String> = match self.content {
            Content::Names(names) => names,
            Content::Numbers(numbers) => numbers
                .into_iter()
                .map(|number| match number {
                    whole if whole.fract() == 0.0 && whole.abs() < 1e15 => Ok(format!("{whole:.0}")),
                    other => Err(Error::invalid(format!(
                        "{what} has the value {other}, which is no whole number: a label is a whole number or a word"
                    ))),
                })
                .collect::<Result<_>>()?,
        };
        if names.len() != n {
            return Err(Error::invalid(format!(
                "{what} has {} values, but there are {n} examples",
                names.len()
            )));
        }
        Ok(names)
    }
}

/// The arrays of a file, by name.
pub(crate) type Arrays = BTreeMap<String, Array>;

/// Takes the array called `name`, or says which there are.
pub(crate) fn take(arrays: &mut Arrays, name: &str, path: &Path) -> Result<Array> {
    let known: Vec<String> = arrays.keys().cloned().collect();
    arrays.remove(name).ok_or_else(|| {
        Error::unknown("array", name, known.iter().map(String::as_str)).context(path.display())
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Error::io("reading the arrays of", path, error))
}

fn broken(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::invalid(format!("{} cannot be read: {why}", path.display()))
}

/// One `.npy` file.
pub(crate) fn npy(path: &Path) -> Result<Array> {
    parse_npy(&read(path)?).map_err(|why| broken(path, why))
}

/// The entries of an `.npz` file.
pub(crate) fn npz(path: &Path) -> Result<Arrays> {
    let mut zip = zip::ZipArchive::new(Cursor::new(read(path)?)).map_err(|error| broken(path, error))?;
    let mut arrays = Arrays::new();
    for number in 0..zip.len() {
        let mut entry = zip.by_index(number).map_err(|error| broken(path, error))?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|error| broken(path, error))?;
        let name = entry.name().trim_end_matches(".npy").to_owned();
        let array = parse_npy(&bytes).map_err(|why| broken(path, format!("`{name}`: {why}")))?;
        arrays.insert(name, array);
    }
    Ok(arrays)
}

fn parse_npy(bytes: &[u8]) -> Result<Array, String> {
    let text = |error: std::io::Error| error.to_string();
    let file = NpyFile::new(bytes).map_err(text)?;
    let shape: Vec<usize> = file.shape().iter().map(|&size| size as usize).collect();
    let columns_first = file.order() == Order::Fortran;
    let npyz::DType::Plain(kind) = file.dtype() else {
        return Err("it holds records, not plain values".to_owned());
    };
    macro_rules! numbers {
        ($t:ty, $convert:expr) => {
            Content::Numbers(file.into_vec::<$t>().map_err(text)?.into_iter().map($convert).collect())
        };
    }
    let bits = kind.size_field() * 8;
    let content = match (kind.type_char(), bits) {
        (TypeChar::Float, 32) => numbers!(f32, f64::from),
        (TypeChar::Float, 64) => numbers!(f64, |value| value),
        (TypeChar::Int, 8) => numbers!(i8, f64::from),
        (TypeChar::Int, 16) => numbers!(i16, f64::from),
        (TypeChar::Int, 32) => numbers!(i32, f64::from),
        (TypeChar::Int, 64) => numbers!(i64, |value| value as f64),
        (TypeChar::Uint, 8) => numbers!(u8, f64::from),
        (TypeChar::Uint, 16) => numbers!(u16, f64::from),
        (TypeChar::Uint, 32) => numbers!(u32, f64::from),
        (TypeChar::Uint, 64) => numbers!(u64, |value| value as f64),
        (TypeChar::Bool, _) => numbers!(bool, |value| f64::from(u8::from(value))),
        (TypeChar::UnicodeStr, _) => Content::Names(file.into_vec::<String>().map_err(text)?),
        _ => return Err(format!("values of type {kind} are neither numbers nor words")),
    };
    Ok(rows_first(shape, content, columns_first))
}

/// The numeric arrays of a `.mat` file.
pub(crate) fn mat(path: &Path) -> Result<Arrays> {
    let bytes = read(path)?;
    if bytes.starts_with(b"MATLAB 7.3") || bytes.starts_with(b"\x89HDF") {
        return Err(broken(path, "it is of version 7.3 (HDF5); save it with `save(…, '-v7')`"));
    }
    let file = MatFile::parse(bytes.as_slice()).map_err(|error| broken(path, error))?;
    let array = |array: &matfile::Array| {
        macro_rules! convert {
            ($($kind:ident),*) => {
                match array.data() {
                    NumericData::Double { real, .. } => real.clone(),
                    NumericData::Int64 { real, .. } => real.iter().map(|&value| value as f64).collect(),
                    NumericData::UInt64 { real, .. } => real.iter().map(|&value| value as f64).collect(),
                    $(NumericData::$kind { real, .. } => real.iter().map(|&value| f64::from(value)).collect(),)*
                }
            };
        }
        let values: Vec<f64> = convert!(Int8, UInt8, Int16, UInt16, Int32, UInt32, Single);
        rows_first(array.size().clone(), Content::Numbers(values), true)
    };
    Ok(file.arrays().iter().map(|found| (found.name().to_owned(), array(found))).collect())
}

/// Values that lie with their first index fastest, put with their last index fastest.
fn rows_first(shape: Vec<usize>, content: Content, columns_first: bool) -> Array {
    fn turned<T: Clone>(shape: &[usize], values: &[T]) -> Vec<T> {
        let mut index = vec![0; shape.len()];
        let mut out = Vec::with_capacity(values.len());
        for _ in 0..values.len() {
            let at = index.iter().zip(shape).rev().fold(0, |at, (&i, &size)| at * size + i);
            out.push(values[at].clone());
            for (i, &size) in index.iter_mut().zip(shape).rev() {
                *i += 1;
                if *i < size {
                    break;
                }
                *i = 0;
            }
        }
        out
    }
    let content = match content {
        Content::Numbers(values) if columns_first => Content::Numbers(turned(&shape, &values)),
        Content::Names(values) if columns_first => Content::Names(turned(&shape, &values)),
        content => content,
    };
    Array { shape, content }
}

/// A CSV file with a header: `label` and `domain` as columns of their own, all others as one array `x`, `[rows, columns]`.
pub(crate) fn csv(path: &Path, label: &str, domain: Option<&str>) -> Result<Arrays> {
    let bytes = read(path)?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let header = reader.headers().map_err(|error| broken(path, error))?.clone();
    let place = |name: &str| {
        header
            .iter()
            .position(|column| column.trim() == name)
            .ok_or_else(|| Error::unknown("column", name, header.iter()).context(path.display()))
    };
    let (label_at, domain_at) = (place(label)?, domain.map(place).transpose()?);
    let (mut x, mut labels, mut domains, mut rows) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for record in reader.records() {
        let record = record.map_err(|error| broken(path, error))?;
        rows += 1;
        for (column, cell) in record.iter().enumerate() {
            let cell = cell.trim();
            if column == label_at {
                labels.push(cell.to_owned());
            } else if Some(column) == domain_at {
                domains.push(cell.to_owned());
            } else {
                x.push(cell.parse().map_err(|_| {
                    broken(
                        path,
                        format!(
                            "row {rows}, column `{}` is `{cell}`, not a number; name the column as `y` or `domain`, \
                             or take it out",
                            &header[column]
                        ),
                    )
                })?);
            }
        }
    }
    let columns = header.len() - 1 - usize::from(domain_at.is_some());
    let names = |names: Vec<String>| Array { shape: vec![names.len()], content: Content::Names(names) };
    let mut arrays = Arrays::new();
    arrays.insert("x".to_owned(), Array { shape: vec![rows, columns], content: Content::Numbers(x) });
    arrays.insert("y".to_owned(), names(labels));
    if domain_at.is_some() {
        arrays.insert("domain".to_owned(), names(domains));
    }
    Ok(arrays)
}

/// The names of a CSV file's columns.
pub(crate) fn csv_header(path: &Path) -> Result<Vec<String>> {
    let bytes = read(path)?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let header = reader.headers().map_err(|error| broken(path, error))?;
    Ok(header.iter().map(|name| name.trim().to_owned()).collect())
}
