//! An array of a file, and what is refused of it.

use std::collections::BTreeMap;
use std::path::Path;

use kshot::{Error, Result, file};

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
    /// The numbers of examples `[n, …]`, each a finite `f32`.
    ///
    /// # Errors
    /// When they are words, or one is not a finite number: names its example and its place in it.
    pub(crate) fn numbers(self, what: &str) -> Result<Vec<f64>> {
        let Content::Numbers(numbers) = self.content else {
            return Err(Error::invalid(format!("{what} has words where numbers are needed")));
        };
        let size = self.shape.iter().skip(1).product::<usize>().max(1);
        if let Some((at, &wrong)) =
            numbers.iter().enumerate().find(|(_, number)| !(**number as f32).is_finite())
        {
            return Err(Error::NotFinite(format!(
                "{what}: value {} of example {} (both counted from 0) is {}, {}: correct the file, or leave the example \
                 out",
                at % size,
                at / size,
                wrong,
                out_of_range(wrong)
            )));
        }
        Ok(numbers)
    }

    /// The numbers of examples of this shape.
    ///
    /// # Errors
    /// As [`Array::numbers`], and when the array is not `[n, shape…]`.
    pub(crate) fn numbers_of(self, shape: &[usize], what: &str) -> Result<Vec<f64>> {
        if self.shape.get(1..) != Some(shape) {
            return Err(Error::invalid(format!(
                "{what} has the shape {:?}, but should have [n{}]",
                self.shape,
                shape.iter().map(|size| format!(", {size}")).collect::<String>()
            )));
        }
        self.numbers(what)
    }

    /// One name for each of `n` examples: words as they are, numbers as whole numbers.
    ///
    /// # Errors
    /// When there are more or fewer, or an example has none (an empty word, `nan`) or a broken number.
    pub(crate) fn names(self, n: usize, what: &str) -> Result<Vec<String>> {
        let names: Vec<String> = match self.content {
            Content::Names(names) => names,
            Content::Numbers(numbers) => numbers
                .into_iter()
                .enumerate()
                .map(|(i, number)| match number {
                    whole if whole.fract() == 0.0 && whole.abs() < 1e15 => Ok(format!("{whole:.0}")),
                    other => Err(Error::invalid(format!(
                        "{what} is {other} at example {i} (counted from 0), which is no whole number: a label is a whole \
                         number or a word"
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
        match names.iter().enumerate().find(|(_, name)| is_missing(name)) {
            Some((i, name)) => Err(Error::invalid(format!(
                "{what} is missing (`{name}`) at example {i} (counted from 0): label it, or leave it out"
            ))),
            None => Ok(names),
        }
    }
}

/// Whether a label says that there is none: empty, or not a number.
pub(super) fn is_missing(label: &str) -> bool {
    label.trim().is_empty() || label.trim().eq_ignore_ascii_case("nan")
}

/// What is wrong with a number that is no finite `f32`.
pub(super) fn out_of_range(number: f64) -> &'static str {
    if number.is_finite() { "which is beyond 3.4e38" } else { "not a finite number" }
}

/// The arrays of a file, by name; those that cannot be used with the reason.
pub(crate) type Arrays = BTreeMap<String, Result<Array, String>>;

/// Takes the array called `name`, or says which there are.
pub(crate) fn take(arrays: &mut Arrays, name: &str, path: &Path) -> Result<Array> {
    match arrays.remove(name) {
        Some(Ok(array)) => Ok(array),
        Some(Err(why)) => Err(broken(path, format!("`{name}` {why}"))),
        None if arrays.is_empty() => Err(broken(path, "it holds no array")),
        None => Err(Error::unknown("array", name, arrays.keys().map(String::as_str)).context(path.display())),
    }
}

pub(super) const READING: &str = "reading the arrays of";

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    file::bytes(path, file::MOST_BYTES, READING)
}

pub(super) fn broken(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::invalid(format!("{} cannot be read: {why}", path.display()))
}

/// Values that lie with their first index fastest, put with their last index fastest; as many as the shape has.
pub(super) fn rows_first<T: Clone>(shape: &[usize], values: &[T]) -> Vec<T> {
    let mut index = vec![0; shape.len()];
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        let at = index.iter().zip(shape).rev().fold(0, |at, (&i, &size)| at * size + i);
        out.extend(values.get(at).cloned());
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
