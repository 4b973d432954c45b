//! Telling whether a file is the one it should be.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use kshot::{Error, Result};
use sha2::{Digest as _, Sha256};

/// Size and digest of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// In bytes.
    pub size: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

impl Checksum {
    /// The checksum of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { size: bytes.len() as u64, sha256: hexadecimal(&Sha256::digest(bytes)) }
    }
}

/// The checksum of a file.
pub(super) fn of(path: &Path) -> Result<Checksum> {
    read(path).map_err(|error| Error::io("checking", path, error))
}

/// Whether the file has one of these checksums.
pub(super) fn is_any(path: &Path, accepted: &[Checksum]) -> Result<bool> {
    Ok(accepted.contains(&of(path)?))
}

fn read(path: &Path) -> io::Result<Checksum> {
    let mut file = File::open(path)?;
    let (mut digest, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Checksum { size, sha256: hexadecimal(&digest.finalize()) }),
            n => {
                digest.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
