//! Moving bytes into a `.part`: from a local file, or over HTTP with resumption (RFC 9110, §14).

use std::fs::File;
use std::io::{ErrorKind, Read, Write as _};
use std::path::Path;
use std::time::Duration;

use kshot::{Error, Result};
use ureq::{Agent, Body, http};

use super::{Progress, RemoteFile};

/// How long a server may take to accept a connection and to begin its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the whole of a file may take; what came by then is kept and resumed.
const LONGEST: Duration = Duration::from_secs(3600);

/// Copies the local file `source` into `part`, over what is there.
pub(super) fn copy(
    file: &RemoteFile,
    source: &Path,
    part: &File,
    part_path: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    if !source.exists() {
        return Err(Error::invalid(format!(
            "there is no {}; --from names the directory that has {} in it",
            source.display(),
            file.name
        )));
    }
    let mut reader = kshot::file::open(source, "copying")?;
    let total = reader.metadata().ok().map(|metadata| metadata.len());
    clear(part, part_path)?;
    receive(file, &mut reader, part, Progress { file: &file.name, done: 0, total }, progress)
        .map_err(|stop| stop.describe(|error| Error::io("reading", source, error), part_path))
}

/// Downloads `file` into `part`, going on from what is there.
pub(super) fn download(
    file: &RemoteFile,
    part: &File,
    part_path: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    let mut done = part.metadata().map_err(|error| Error::io("reading", part_path, error))?.len();
    if file.accepted.iter().any(|checksum| checksum.size == done)
        && super::checksum::is_any(part_path, &file.accepted)?
    {
        return Ok(()); // It was whole, only not yet renamed.
    }
    if done >= longest(file) {
        clear(part, part_path)?;
        done = 0;
    }
    let mut response = request(file, done)?;
    if response.status() == http::StatusCode::RANGE_NOT_SATISFIABLE {
        clear(part, part_path)?;
        done = 0;
        response = request(file, done)?;
    }
    match response.status() {
        http::StatusCode::PARTIAL_CONTENT if starts_at(&response, done) => {}
        http::StatusCode::OK => {
            // The server knows no ranges, or the file has changed: from the beginning.
            clear(part, part_path)?;
            done = 0;
        }
        status => {
            return Err(Error::invalid(format!(
                "downloading {}: the server answered `{status}`; try again later, or get the file elsewhere and pass \
                 its directory with --from",
                file.url
            )));
        }
    }
    let total = response.body().content_length().map(|rest| done + rest);
    let mut reader = response.into_body().into_reader();
    let broke_off = |why: String| {
        let there = part.metadata().map_or(0, |metadata| metadata.len());
        Error::invalid(format!(
            "downloading {} broke off after {there} bytes ({why}); run the same command again to go on from there",
            file.url
        ))
    };
    receive(file, &mut reader, part, Progress { file: &file.name, done, total }, progress)
        .map_err(|stop| stop.describe(|error| broke_off(error.to_string()), part_path))?;
    let there = part.metadata().map_err(|error| Error::io("reading", part_path, error))?.len();
    let whole =
        total.unwrap_or_else(|| file.accepted.iter().map(|checksum| checksum.size).min().unwrap_or(0));
    if there < whole.min(longest(file) + 1) {
        return Err(broke_off(format!("there should be {whole}")));
    }
    Ok(())
}

/// Asks for the bytes of `file` from `start` on; an answer of any status.
fn request(file: &RemoteFile, start: u64) -> Result<http::Response<Body>> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("kshot/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_recv_body(Some(LONGEST));
    if is_loopback(&file.url) {
        config = config.proxy(None);
    }
    let mut request = Agent::from(config.build()).get(&file.url);
    if start > 0 {
        request = request.header("Range", format!("bytes={start}-"));
    }
    request.call().map_err(|error| {
        Error::invalid(format!(
            "downloading {}: {error}; check the connection and try again, or get the file elsewhere and pass its \
             directory with --from",
            file.url
        ))
    })
}

/// Whether a URL names this machine, which no proxy can reach.
fn is_loopback(url: &str) -> bool {
    let host = url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    host.is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host.as_str()))
}

/// Whether a partial answer begins at byte `start`: `Content-Range: bytes START-END/TOTAL`.
fn starts_at(response: &http::Response<Body>, start: u64) -> bool {
    response
        .headers()
        .get("content-range")
        .and_then(|range| range.to_str().ok()?.strip_prefix("bytes ")?.split('-').next()?.parse().ok())
        == Some(start)
}

/// The most bytes an accepted file has.
fn longest(file: &RemoteFile) -> u64 {
    file.accepted.iter().map(|checksum| checksum.size).max().unwrap_or(0)
}

/// Empties `part`.
fn clear(part: &File, part_path: &Path) -> Result<()> {
    part.set_len(0).map_err(|error| Error::io("writing", part_path, error))
}

/// Why no more bytes were received.
enum Stop {
    /// The source failed.
    Reading(std::io::Error),
    /// The disk failed, or is full.
    Writing(std::io::Error),
}

impl Stop {
    fn describe(self, reading: impl FnOnce(std::io::Error) -> Error, part: &Path) -> Error {
        match self {
            Self::Reading(error) => reading(error),
            Self::Writing(error) => Error::io("writing", part, error),
        }
    }
}

/// Appends what `reader` gives to `part`, at most one byte more than an accepted file has.
#[expect(clippy::indexing_slicing, reason = "a reader fills no more than the buffer")]
fn receive(
    file: &RemoteFile,
    reader: &mut dyn Read,
    mut part: &File,
    mut state: Progress<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), Stop> {
    let mut reader = reader.take((longest(file) + 1).saturating_sub(state.done));
    let mut buffer = vec![0; 1 << 16];
    loop {
        progress(state);
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                part.write_all(&buffer[..n]).map_err(Stop::Writing)?;
                state.done += n as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Stop::Reading(error)),
        }
    }
}
