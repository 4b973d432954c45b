//! Whether files are as they were: by their sizes and times, which cost nothing to ask for.

use std::fs::Metadata;
use std::time::SystemTime;

/// A file's size and the time of its last change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: u64,
    /// In nanoseconds since 1970; 0 where the system does not say.
    modified: i128,
}

impl Stamp {
    /// As bytes, for a digest.
    pub(crate) fn bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.size.to_le_bytes());
        bytes[8..].copy_from_slice(&self.modified.to_le_bytes());
        bytes
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        let since = |time: SystemTime| match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => after.as_nanos() as i128,
            Err(before) => -(before.duration().as_nanos() as i128),
        };
        Self { size: metadata.len(), modified: metadata.modified().map_or(0, since) }
    }
}
