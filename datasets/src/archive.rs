//! Unpacking a zip's entries without trusting them.

use std::io::{Read, Seek};

use zip::ZipArchive;

/// Entry `number`, which may be `most` bytes long.
///
/// # Errors
/// An entry that says it is longer, before it is unpacked; one that is longer than it says, when it gets there.
pub(crate) fn unpack<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    number: usize,
    most: u64,
) -> Result<Vec<u8>, String> {
    let entry = zip.by_index(number).map_err(|error| error.to_string())?;
    let said = entry.size();
    if said > most {
        return Err(format!("is {said} bytes long unpacked, more than the {most} that are read"));
    }
    let mut bytes = Vec::new();
    entry.take(said + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() as u64 {
        length if length > said => Err(format!("is longer than the {said} bytes it says")),
        length if length < said => Err(format!("is {length} bytes long, not the {said} it says")),
        _ => Ok(bytes),
    }
}
