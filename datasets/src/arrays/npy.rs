//! NumPy's files: `.npy`, and `.npz`, a zip of them.

use std::io::BufReader;
use std::path::Path;

use kshot::{Result, file};
use npyz::{DType, NpyFile, Order, TypeChar};

use super::array::{Array, Arrays, Content, READING, broken, read, rows_first};
use crate::archive::Zip;

/// More than this is unpacked of no entry of an `.npz`, in bytes.
const MOST_UNPACKED: u64 = 8 << 30;
/// Of a head, in bytes: NumPy itself refuses more than 10,000.
pub(crate) const MOST_HEAD: usize = 1 << 16;
/// Brackets within brackets: a dictionary of a tuple has two, a list of records four.
const DEEPEST_HEAD: usize = 6;

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

/// The head of a `.npy` file and, after it, its values.
///
/// # Errors
/// When it is none, or its head is longer or deeper than that of an array ever is: who would parse it might never end.
pub(crate) fn header(bytes: &[u8]) -> Result<NpyFile<&[u8]>, String> {
    let length = match bytes.get(6).zip(bytes.get(8..12)) {
        Some((1, &[low, high, ..])) => u32::from(u16::from_le_bytes([low, high])),
        Some((_, &[a, b, c, d])) => u32::from_le_bytes([a, b, c, d]),
        _ => return Err("is too short for a .npy file".to_owned()),
    } as usize;
    let head = bytes.get(10..bytes.len().min(12usize.saturating_add(length))).unwrap_or_default();
    let mut depth = 0usize;
    let deepest = head.iter().map(|byte| {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth
    });
    if length > MOST_HEAD || deepest.max() > Some(DEEPEST_HEAD) {
        return Err("has a head that no array has".to_owned());
    }
    NpyFile::new(bytes).map_err(|error| error.to_string())
}

fn parse(bytes: &[u8]) -> Result<Array, String> {
    let text = |error: std::io::Error| error.to_string();
    let file = header(bytes)?;
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
    let width = if kind.type_char() == TypeChar::UnicodeStr { 4 } else { 1u64 }.checked_mul(size);
    // The header is believed only as far as the file goes; a word of no letters takes room in memory too.
    let width = width.and_then(|width| usize::try_from(width.max(1)).ok());
    let declared = shape.iter().try_fold(width.unwrap_or(usize::MAX), |bytes, &size| bytes.checked_mul(size));
    let present = header(bytes)?.into_inner().len();
    if declared.is_none_or(|declared| declared > present) {
        return Err(format!("is cut off: its header says {shape:?} values of {kind}"));
    }
    macro_rules! numbers {
        ($t:ty, $convert:expr) => {
            Content::Numbers(file.into_vec::<$t>().map_err(text)?.into_iter().map($convert).collect())
        };
    }
    let content = match (kind.type_char(), 8 * size.min(16)) {
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
            let word = |mut bytes: Vec<u8>| {
                // Shorter words are filled up with zeros.
                let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                bytes.truncate(end);
                String::from_utf8(bytes).map_err(|_| "has a word that is not UTF-8".to_owned())
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
