//! Names for what is kept: the SHA-256 of what it was made of.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use kshot::{Error, Result, file};
use sha2::{Digest as _, Sha256};

/// Of a file's bytes, in hexadecimal.
pub(crate) fn of_file(path: &Path) -> Result<String> {
    read(file::open(path, "reading")?)
        .map(|(_, digest)| digest)
        .map_err(|error| Error::io("reading", path, error))
}

/// Size and digest of a file.
#[expect(clippy::indexing_slicing, reason = "a reader fills no more than the buffer")]
pub(crate) fn read(mut file: File) -> io::Result<(u64, String)> {
    let (mut digest, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, hexadecimal(&digest.finalize()))),
            n => {
                digest.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
}

/// Of several texts, each with its end.
pub(crate) fn of_all<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut parts = Parts::default();
    texts.into_iter().for_each(|text| parts.add(text.as_bytes()));
    parts.name()
}

/// The same, part by part.
#[derive(Default)]
pub(crate) struct Parts(Sha256);

impl Parts {
    pub(crate) fn add(&mut self, part: &[u8]) {
        self.0.update(part.len().to_le_bytes());
        self.0.update(part);
    }

    /// In hexadecimal.
    pub(crate) fn name(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}

/// `00` to `ff` for each byte.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
