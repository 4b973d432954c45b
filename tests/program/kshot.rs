//! Runs the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A network and a training so small that a run takes a second, on the dataset that needs no file.
pub const TINY: &[&str] = &[
    "--set=backbone.width=8",
    "--set=glyphs.train-classes=40",
    "--set=glyphs.validation-classes=10",
    "--set=glyphs.test-classes=10",
    "--set=prototypical.train-ways=5",
    "--steps=20",
    "--validate-every=10",
    "--validation-episodes=20",
    "--episodes=40",
];

pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kshot"));
    command.args(arguments).env_remove("KSHOT_DATA").env("KSHOT_CACHE", "");
    command
}

pub fn run(arguments: &[&str]) -> Ran {
    command(arguments).output().unwrap().into()
}

/// Runs and asserts that it went well.
pub fn succeed(arguments: &[&str]) -> Ran {
    let ran = run(arguments);
    assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
    ran
}

/// Runs and asserts that it was refused: exit code 2, one paragraph at the end of stderr (a line of ours, or the command
/// line parser's), all of `words` in it, no panic.
pub fn refuse(arguments: &[&str], words: &[&str]) -> Ran {
    let ran = run(arguments);
    assert_eq!(ran.code, Some(2), "{arguments:?}: {}\n{}", ran.stdout, ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{arguments:?}: {}", ran.stderr);
    let last = ran.stderr.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("kshot: ") || ran.stderr.starts_with("error: "),
        "{arguments:?}: {}",
        ran.stderr
    );
    for word in words {
        assert!(ran.stderr.contains(word), "{arguments:?}: no `{word}` in: {}", ran.stderr);
    }
    ran
}

/// The real datasets, or `None`, said aloud, where they are not there.
pub fn real_data(what: &str) -> Option<PathBuf> {
    let data = std::env::var_os("KSHOT_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let there = data.join(what).exists().then_some(data);
    if there.is_none() {
        eprintln!("SKIPPED: no {what}; set KSHOT_DATA");
    }
    there
}
