//! Writing arrays as NumPy and the dataset `arrays` read them.

use std::io::{BufReader, Read, Write};
use std::path::Path;

use kshot::atomic::Pending;
use kshot::{Error, Result};
use zip::write::SimpleFileOptions;

/// Writes an `.npz` with the arrays `X` `[rows, features]`, `name` and, where there are labels, `y`. The values of `x` are
/// little-endian `f32`, row by row: they are copied through and never all in memory.
///
/// # Errors
/// When `x` ends early, or the file cannot be written; what was there before is untouched then.
pub fn npz(
    path: &Path,
    x: impl Read,
    [rows, features]: [usize; 2],
    names: &[String],
    labels: Option<&[String]>,
) -> Result<()> {
    const DOING: &str = "writing the arrays to";
    let failed = |error: std::io::Error| Error::io(DOING, path, error);
    let zipped = |error: zip::result::ZipError| failed(std::io::Error::other(error));
    let mut zip = zip::ZipWriter::new_stream(Pending::create(path, DOING)?);
    let stored =
        SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(true);
    zip.start_file("X.npy", stored).map_err(zipped)?;
    zip.write_all(&header("<f4", &[rows, features])).map_err(failed)?;
    let bytes = 4 * (rows * features) as u64;
    let copied = std::io::copy(&mut BufReader::new(x).take(bytes), &mut zip).map_err(failed)?;
    if copied != bytes {
        return Err(Error::invalid(format!(
            "only {copied} of {bytes} bytes of the values of {} are there",
            path.display()
        )));
    }
    for (name, words) in [("name.npy", Some(names)), ("y.npy", labels)] {
        let Some(words) = words else { continue };
        zip.start_file(name, stored).map_err(zipped)?;
        let width = words.iter().map(|word| word.chars().count()).max().unwrap_or(0).max(1);
        zip.write_all(&header(&format!("<U{width}"), &[words.len()])).map_err(failed)?;
        for word in words {
            let letters = word.chars().map(u32::from).chain(std::iter::repeat(0)).take(width);
            let bytes: Vec<u8> = letters.flat_map(u32::to_le_bytes).collect();
            zip.write_all(&bytes).map_err(failed)?;
        }
    }
    zip.finish().map_err(zipped)?.into_inner().commit()
}

/// Writes an `.npz` of vectors by name.
///
/// # Errors
/// When the file cannot be written; what was there before is untouched then.
pub fn vectors(path: &Path, vectors: &[(&str, &[f32])]) -> Result<()> {
    const DOING: &str = "writing the arrays to";
    let failed = |error: std::io::Error| Error::io(DOING, path, error);
    let zipped = |error: zip::result::ZipError| failed(std::io::Error::other(error));
    let mut zip = zip::ZipWriter::new_stream(Pending::create(path, DOING)?);
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, values) in vectors {
        zip.start_file(format!("{name}.npy"), stored).map_err(zipped)?;
        zip.write_all(&header("<f4", &[values.len()])).map_err(failed)?;
        let bytes: Vec<u8> = values.iter().copied().flat_map(f32::to_le_bytes).collect();
        zip.write_all(&bytes).map_err(failed)?;
    }
    zip.finish().map_err(zipped)?.into_inner().commit()
}

/// What stands before the values in a `.npy` file (NumPy's format 1.0): its kind and shape, filled up to 64 bytes.
fn header(kind: &str, shape: &[usize]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let mut text =
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}), }}", sizes.trim_end());
    let begun = 10 + text.len() + 1;
    text += &" ".repeat(begun.next_multiple_of(64) - begun);
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.bytes());
    header
}
