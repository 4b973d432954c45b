//! MATLAB's `.mat` files, level 5 (`-v6`, `-v7`), as "MAT-File Format" (MathWorks) describes them.
//!
//! Numeric, logical, character and sparse arrays and cell arrays of words are read; of all others, name and kind are known,
//! so that a refusal can say them.

use std::path::Path;

use flate2::read::ZlibDecoder;
use kshot::Result;

use super::array::{Array, Arrays, Content, broken, read, rows_first};
use crate::archive;

/// More than this is unpacked of no file, in bytes.
const MOST_UNPACKED: u64 = 8 << 30;

/// The variables of a file.
pub(crate) fn mat(path: &Path) -> Result<Arrays> {
    let bytes = read(path)?;
    if bytes.starts_with(b"MATLAB 7.3") || bytes.starts_with(b"\x89HDF") {
        return Err(broken(path, "it is of version 7.3 (HDF5); save it with `save(…, '-v7')`"));
    }
    let (Some(order), Some(body)) = (bytes.get(126..128), bytes.get(128..)) else {
        return Err(broken(path, "it is too short for a MATLAB file"));
    };
    let little = match order {
        b"IM" => true,
        b"MI" => false,
        _ => {
            return Err(broken(
                path,
                "it is no MATLAB file of version 5 to 7 (one of version 4?); save it with `save(…, '-v7')`",
            ));
        }
    };
    variables(body, little).map_err(|why| broken(path, why))
}

fn variables(body: &[u8], little: bool) -> Result<Arrays, String> {
    let mut arrays = Arrays::new();
    let mut elements = Elements { bytes: body, little };
    let mut unpacked_so_far = 0;
    while let Some((kind, data)) = elements.next()? {
        let unpacked;
        let matrix = match kind {
            MATRIX => data,
            COMPRESSED => {
                let left = archive::most_of(body.len() as u64).min(MOST_UNPACKED) - unpacked_so_far;
                unpacked = archive::unpacked(ZlibDecoder::new(data), data.len() as u64, left)
                    .map_err(|why| format!("a variable cannot be unpacked: it {why}"))?;
                unpacked_so_far += unpacked.len() as u64;
                match (Elements { bytes: &unpacked, little }).next()? {
                    Some((MATRIX, data)) => data,
                    _ => continue,
                }
            }
            _ => continue,
        };
        let header = Header::read(matrix, little)?;
        let name = header.name.clone();
        arrays.insert(name, header.array());
    }
    Ok(arrays)
}

const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;

/// Elements one after another: a tag, and the data it announces.
struct Elements<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl<'a> Elements<'a> {
    /// The kind and the data of the next one; `None` at the end.
    fn next(&mut self) -> Result<Option<(u32, &'a [u8])>, String> {
        let cut = || "it is cut off".to_owned();
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let word = |at: usize| -> Result<u32, String> {
            let bytes: [u8; 4] = self.bytes.get(at..at + 4).ok_or_else(cut)?.try_into().map_err(|_| cut())?;
            Ok(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
        };
        let first = word(0)?;
        // Up to four bytes lie in the tag itself.
        let (kind, start, length) = match first >> 16 {
            0 => (first, 8, word(4)? as usize),
            length => (first & 0xffff, 4, length as usize),
        };
        let data = self.bytes.get(start..start + length).ok_or_else(cut)?;
        let padded = if kind == COMPRESSED { start + length } else { (start + length).next_multiple_of(8) };
        self.bytes = self.bytes.get(padded..).unwrap_or_default();
        Ok(Some((kind, data)))
    }

    fn expect(&mut self) -> Result<(u32, &'a [u8]), String> {
        self.next()?.ok_or_else(|| "it is cut off".to_owned())
    }
}

/// A variable before its values are read.
struct Header<'a> {
    name: String,
    class: u8,
    complex: bool,
    shape: Vec<usize>,
    rest: Elements<'a>,
}

impl<'a> Header<'a> {
    fn read(matrix: &'a [u8], little: bool) -> Result<Self, String> {
        let mut rest = Elements { bytes: matrix, little };
        let (_, flags) = rest.expect()?;
        let flags = numbers((6, flags), little)?.first().copied().unwrap_or_default() as u32;
        let shape = numbers(rest.expect()?, little)?.into_iter().map(|size| size as usize).collect();
        let name = String::from_utf8_lossy(rest.expect()?.1).into_owned();
        Ok(Self { name, class: flags as u8, complex: flags & 0x0800 != 0, shape, rest })
    }

    /// Its values, or what it is that cannot be used.
    fn array(mut self) -> Result<Array, String> {
        let kind = match self.class {
            CELL | CHAR | SPARSE | 6..=15 => "",
            2 => "struct",
            3 | 17 => "object",
            16 => "function handle",
            _ => "variable of an unknown kind",
        };
        if !kind.is_empty() {
            return Err(format!("is a {kind}, not an array of numbers or words"));
        }
        if self.complex {
            return Err("is complex; save its real part, or its magnitude and phase as features".to_owned());
        }
        let little = self.rest.little;
        match self.class {
            CELL => self.cell(),
            CHAR => {
                let letters = characters(self.rest.expect()?, little)?;
                self.check(letters.len())?;
                // Of words without a letter there may be said to be any number.
                let rows = (*self.shape.first().unwrap_or(&0)).min(letters.len().max(1));
                let names = (0..rows).map(|row| letters.iter().skip(row).step_by(rows).collect::<String>());
                let names = names.map(|name| name.trim_end().to_owned()).collect();
                Ok(Array { shape: vec![rows], content: Content::Names(names) })
            }
            SPARSE => self.sparse(),
            _ => {
                let values = numbers(self.rest.expect()?, little)?;
                self.check(values.len())?;
                let values = rows_first(&self.shape, &values);
                Ok(Array { shape: self.shape, content: Content::Numbers(values) })
            }
        }
    }

    /// Refuses a shape that the values do not have.
    fn check(&self, values: usize) -> Result<(), String> {
        let said = self.shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        if said == Some(values) {
            Ok(())
        } else {
            Err(format!("has {values} values, but the shape {:?}", self.shape))
        }
    }

    /// A cell array of words.
    fn cell(mut self) -> Result<Array, String> {
        let mut names = Vec::new();
        while let Some((_, matrix)) = self.rest.next()? {
            let cell = Header::read(matrix, self.rest.little)?;
            let word = match cell.class {
                CHAR => cell.array()?,
                _ => return Err("is a cell array of more than words".to_owned()),
            };
            match word.content {
                Content::Names(words) if words.len() <= 1 => names.push(words.concat()),
                _ => return Err("is a cell array with a cell of several words".to_owned()),
            }
        }
        self.check(names.len())?;
        Ok(Array { content: Content::Names(rows_first(&self.shape, &names)), shape: self.shape })
    }

    /// A sparse matrix, by columns: the rows of its entries, where each column's begin, and their values.
    fn sparse(mut self) -> Result<Array, String> {
        let little = self.rest.little;
        let [rows, columns, values] = [
            numbers(self.rest.expect()?, little)?,
            numbers(self.rest.expect()?, little)?,
            numbers(self.rest.expect()?, little)?,
        ];
        let (&[height, width], true) =
            (self.shape.as_slice(), self.shape.last() == columns.len().checked_sub(1).as_ref())
        else {
            return Err(CONTRADICTION.to_owned());
        };
        let stored = 8 * (rows.len() + columns.len() + values.len()) as u64;
        let most = archive::most_of(stored).min(MOST_UNPACKED) / 8;
        let size = height.checked_mul(width).filter(|&size| size as u64 <= most);
        let size = size.ok_or_else(|| format!("is sparse, and too large in full: {height} × {width}"))?;
        let mut full = vec![0.0; size];
        for (column, ends) in columns.windows(2).enumerate() {
            let &[start, end] = ends else { continue };
            if start.is_nan() || end < start {
                return Err(CONTRADICTION.to_owned());
            }
            for entry in start as usize..end as usize {
                let (Some(&row), Some(&value)) = (rows.get(entry), values.get(entry)) else {
                    return Err(CONTRADICTION.to_owned());
                };
                let place =
                    (row as usize).checked_mul(width).and_then(|at| full.get_mut(at.checked_add(column)?));
                *place.ok_or(CONTRADICTION)? = value;
            }
        }
        Ok(Array { shape: self.shape, content: Content::Numbers(full) })
    }
}

const CONTRADICTION: &str = "is a sparse array that contradicts itself";

const CELL: u8 = 1;
const CHAR: u8 = 4;
const SPARSE: u8 = 5;

/// The values of an element, whatever type they are stored as.
fn numbers((kind, data): (u32, &[u8]), little: bool) -> Result<Vec<f64>, String> {
    macro_rules! read {
        ($t:ty, $convert:expr) => {
            data.as_chunks()
                .0
                .iter()
                .map(|&bytes| if little { <$t>::from_le_bytes(bytes) } else { <$t>::from_be_bytes(bytes) })
                .map($convert)
                .collect()
        };
    }
    Ok(match kind {
        1 => read!(i8, f64::from),
        2 => read!(u8, f64::from),
        3 => read!(i16, f64::from),
        4 => read!(u16, f64::from),
        5 => read!(i32, f64::from),
        6 => read!(u32, f64::from),
        7 => read!(f32, f64::from),
        9 => read!(f64, |value| value),
        12 => read!(i64, |value| value as f64),
        13 => read!(u64, |value| value as f64),
        _ => return Err(format!("has values of the unknown type {kind}")),
    })
}

/// The letters of an element.
fn characters((kind, data): (u32, &[u8]), little: bool) -> Result<Vec<char>, String> {
    if kind == 16 {
        return Ok(String::from_utf8_lossy(data).chars().collect());
    }
    let units = numbers((if kind == 17 { 4 } else { kind }, data), little)?;
    let units = units.into_iter().map(|unit| unit as u16);
    Ok(char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}
