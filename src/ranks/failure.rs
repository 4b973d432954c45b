//! An error on its way to another rank.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Error;

/// An [`Error`], as bytes can carry it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    Invalid(String),
    /// What was being done, to which path, the system's number of what it said, and its words.
    Io(String, String, Option<i32>, String),
    NotFinite(String),
    Device(String, String),
    Interrupted(String),
}

impl Failure {
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::Invalid(message) => Self::Invalid(message.clone()),
            Error::Io { doing, path, source } => {
                let path = path.to_string_lossy().into_owned();
                Self::Io(doing.clone(), path, source.raw_os_error(), source.to_string())
            }
            Error::NotFinite(message) => Self::NotFinite(message.clone()),
            Error::Device { doing, what } => Self::Device(doing.clone(), what.clone()),
            Error::Interrupted(message) => Self::Interrupted(message.clone()),
        }
    }

    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Invalid(message) => Error::Invalid(message),
            Self::Io(doing, path, number, text) => Error::Io {
                doing,
                path: PathBuf::from(path),
                source: number.map_or_else(|| io::Error::other(text), io::Error::from_raw_os_error),
            },
            Self::NotFinite(message) => Error::NotFinite(message),
            Self::Device(doing, what) => Error::Device { doing, what },
            Self::Interrupted(message) => Error::Interrupted(message),
        }
    }

    /// The error, with the rank that has it unless it is the first, which everybody hears.
    pub(super) fn of_rank(self, rank: usize) -> Error {
        match (rank, self.into_error()) {
            (0, error) | (_, error @ Error::Interrupted(_)) => error,
            (rank, error) => error.context(format!("rank {rank}")),
        }
    }
}
