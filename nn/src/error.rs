//! One error type for the engine: each message says what was being done, to what, what is wrong and what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Result of everything in kshot that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in words meant for the person who runs the program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Input that is refused: a setting, a file's content, a request that cannot be met.
    #[error("{0}")]
    Invalid(String),
    /// The operating system refused something.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done, as a participle: "reading", "writing the checkpoint".
        doing: String,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A loss or a gradient stopped being a finite number.
    #[error("{0}")]
    NotFinite(String),
    /// The device (dfdx, CUDA) failed.
    #[error("the device failed while {doing}: {what}")]
    Device {
        /// What was being computed.
        doing: String,
        /// What the device said.
        what: String,
    },
    /// Stopped by Ctrl-C after the current step.
    #[error("interrupted: {0}")]
    Interrupted(String),
}

impl Error {
    /// Refuses an input, with the reason.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// "there is no KIND called …; did you mean …?"
    pub fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.collect();
        let nearest = known
            .iter()
            .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
            .min()
            .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()) / 2);
        Self::Invalid(match nearest {
            Some((_, candidate)) => {
                format!("there is no {kind} called `{name}`; did you mean `{candidate}`?")
            }
            None => format!("there is no {kind} called `{name}`; there are: {}", known.join(", ")),
        })
    }

    /// Wraps an I/O error with what was being done and to which path.
    pub fn io(doing: impl Into<String>, path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Io { doing: doing.into(), path: path.as_ref().to_path_buf(), source }
    }

    /// Wraps a device error.
    pub fn device(doing: impl Into<String>, what: impl std::fmt::Debug) -> Self {
        Self::Device { doing: doing.into(), what: format!("{what:?}") }
    }

    /// The same kind of error with `prefix: ` before its message.
    pub fn context(self, prefix: impl std::fmt::Display) -> Self {
        match self {
            Self::Invalid(message) => Self::Invalid(format!("{prefix}: {message}")),
            Self::NotFinite(message) => Self::NotFinite(format!("{prefix}: {message}")),
            Self::Io { doing, path, source } => {
                Self::Io { doing: format!("{prefix}: {doing}"), path, source }
            }
            Self::Device { doing, what } => Self::Device { doing: format!("{prefix}: {doing}"), what },
            Self::Interrupted(message) => Self::Interrupted(format!("{prefix}: {message}")),
        }
    }
}
