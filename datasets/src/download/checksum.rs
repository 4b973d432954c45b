//! Telling whether a file is the one it should be.

use std::path::Path;

use kshot::{Error, Result, file};
use sha2::{Digest as _, Sha256};

use crate::digest::{self, hexadecimal};

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
    let (size, sha256) =
        digest::read(file::open(path, "checking")?).map_err(|error| Error::io("checking", path, error))?;
    Ok(Checksum { size, sha256 })
}

/// Whether the file has one of these checksums.
pub(super) fn is_any(path: &Path, accepted: &[Checksum]) -> Result<bool> {
    Ok(accepted.contains(&of(path)?))
}
