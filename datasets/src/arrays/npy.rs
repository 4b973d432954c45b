//! NumPy's files: `.npy`, and `.npz`, a zip of them.

use std::io::BufReader;
use std::path::Path;

use kshot::{Result, file};
use npyz::{DType, NpyFile, Order, TypeChar};

use super::array::{Array, Arrays, Content, READING, broken, read, rows_first};
use crate::archive::Zip;

/// More than this is unpacked of no entry of an `.npz`, in bytes.
const MOST_UNPACKED: u64 = 8 << 30;

/// One `.npy` file.
pub(crate) fn npy(path: &Path) -> Result<Array> {
    parse(&read(path)?).map_err(|why| broken(path, why))
}

/// The entries of an `.npz` file: only `wanted` are unpacked.
pub(crate) fn npz(path: &Path, wanted: &[&str]) -> Result<Arrays> {
    let mut zip =
        Zip::open(BufReader::new(file::open(path, READING)?)).map_err(|error| broken(path, error))?;
    let mut arrays = Arrays::new();
    for number in 0..zip.len() {
        let name = zip.name(number).map_err(|why| broken(path, why))?.trim_end_matches(".npy").to_owned();
        let array = if wanted.contains(&name.as_str()) {
            zip.unpack(number, MOST_UNPACKED).and_then(|bytes| parse(&bytes))
        } else {
            Err("was not asked for".to_owned())
        };
        arrays.insert(name, array);
    }
    Ok(arrays)
}

fn parse(bytes: &[u8]) -> Result<Array, String> {
    let text = |error: std::io::Error| error.to_string();
    let file = NpyFile::new(bytes).map_err(text)?;
    let shape: Vec<usize> = file
        .shape()
        .iter()
        .map(|&size| usize::try_from(size).map_err(|_| format!("its shape has the size {size}")))
        .collect::<Result<_, _>>()?;
    let columns_first = file.order() == Order::Fortran;
    let DType::Plain(kind) = file.dtype() else {
        return Err("holds records, not plain values".to_owned());
    };
    let size = kind.size_field();
    let width = if kind.type_char() == TypeChar::UnicodeStr { 4 * size } else { size };
    // The header is believed only as far as the file goes.
    let declared = shape.iter().try_fold(width as usize, |bytes, &size| bytes.checked_mul(size));
    if declared.is_none_or(|declared| declared > bytes.len()) {
        return Err(format!("is cut off: its header says {shape:?} values of {kind}"));
    }
    macro_rules! numbers {
        ($t:ty, $convert:expr) => {
            Content::Numbers(file.into_vec::<$t>().map_err(text)?.into_iter().map($convert).collect())
        };
    }
    let content = match (kind.type_char(), 8 * size) {
        (TypeChar::Float, 16) => numbers!(half::f16, f64::from),
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
        (TypeChar::ByteStr, _) => {
            let words = file.into_vec::<Vec<u8>>().map_err(text)?;
            let word = |bytes: Vec<u8>| {
                // Shorter words are filled up with zeros.
                let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                String::from_utf8(bytes[..end].to_vec())
                    .map_err(|_| "has a word that is not UTF-8".to_owned())
            };
            Content::Names(words.into_iter().map(word).collect::<Result<_, _>>()?)
        }
        _ => return Err(format!("holds values of type {kind}, neither numbers nor words")),
    };
    let content = match content {
        Content::Numbers(values) if columns_first => Content::Numbers(rows_first(&shape, &values)),
        Content::Names(values) if columns_first => Content::Names(rows_first(&shape, &values)),
        content => content,
    };
    Ok(Array { shape, content })
}
