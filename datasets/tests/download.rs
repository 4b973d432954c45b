//! Downloads from a small server on loopback, with made-up content.

#![cfg(feature = "download")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use kshot_datasets::download::{Checksum, Fetched, RemoteFile, fetch, fetch_files, files};
use tempfile::TempDir;

/// How the server behaves.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Answers ranges.
    Ranges,
    /// Sends the whole file whatever is asked.
    WholeOnly,
    /// Promises all that was asked, then hangs up after this many bytes.
    DropsAfter(usize),
    /// Knows no file.
    NotFound,
}

/// A server of one file on loopback; lives as long as the test program.
struct Server {
    url: String,
    manner: Arc<Mutex<Manner>>,
    /// `Range` header of each request, empty where there was none.
    ranges: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(content: Vec<u8>, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/drawings.bin", listener.local_addr().unwrap());
        let server = Self { url, manner: Arc::new(Mutex::new(manner)), ranges: Arc::default() };
        let (manner, ranges) = (server.manner.clone(), server.ranges.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let manner = *manner.lock().unwrap();
                let _ = answer(stream.unwrap(), &content, manner, &ranges);
            }
        });
        server
    }

    fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    fn ranges(&self) -> Vec<String> {
        self.ranges.lock().unwrap().clone()
    }
}

fn answer(
    stream: TcpStream,
    content: &[u8],
    manner: Manner,
    ranges: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut range = String::new();
    for line in BufReader::new(&stream).lines() {
        let line = line?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("range: ") {
            value.clone_into(&mut range);
        }
        if line.is_empty() {
            break;
        }
    }
    ranges.lock().unwrap().push(range.clone());
    let start = match range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')) {
        Some(start) if manner != Manner::WholeOnly => start.parse().unwrap(),
        _ => 0,
    };
    let size = content.len();
    let head = if manner == Manner::NotFound {
        "404 Not Found\r\nContent-Length: 0".to_owned()
    } else if start >= size {
        format!("416 Range Not Satisfiable\r\nContent-Range: bytes */{size}\r\nContent-Length: 0")
    } else if start > 0 {
        format!(
            "206 Partial Content\r\nContent-Range: bytes {start}-{}/{size}\r\nContent-Length: {}",
            size - 1,
            size - start
        )
    } else {
        format!("200 OK\r\nContent-Length: {size}")
    };
    let body = match manner {
        Manner::NotFound => &[],
        Manner::DropsAfter(bytes) => &content[start.min(size)..(start + bytes).min(size)],
        Manner::Ranges | Manner::WholeOnly => &content[start.min(size)..],
    };
    let mut stream = &stream;
    write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(body)
}

fn content() -> Vec<u8> {
    (0..300_000u32).map(|i| (i * i % 251) as u8).collect()
}

/// `drawings.bin` at the server, with the checksum of [`content`].
fn wanted(server: &Server) -> [RemoteFile; 1] {
    let accepted = vec![Checksum::of(&content())];
    [RemoteFile { name: "drawings.bin".to_owned(), url: server.url.clone(), accepted }]
}

fn get(server: &Server, directory: &Path) -> kshot::Result<Vec<Fetched>> {
    fetch_files(&wanted(server), directory, None, &mut |_| {})
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn assert_whole(directory: &Path) {
    assert_eq!(names(directory), ["drawings.bin"]);
    assert!(fs::read(directory.join("drawings.bin")).unwrap() == content());
}

/// A directory with the first `bytes` of the content as a `.part`.
fn with_part(bytes: &[u8]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("drawings.bin.part"), bytes).unwrap();
    directory
}

#[test]
fn a_download_comes_whole_reports_its_progress_and_is_not_repeated() {
    let server = Server::new(content(), Manner::Ranges);
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("new/directory");
    let mut seen = Vec::new();
    let fetched = fetch_files(&wanted(&server), &place, None, &mut |progress| {
        assert_eq!((progress.file, progress.total), ("drawings.bin", Some(300_000)));
        seen.push(progress.done);
    });
    assert_eq!(fetched.unwrap(), [Fetched { path: place.join("drawings.bin"), was_there: false }]);
    assert!(seen.is_sorted() && seen.first() == Some(&0) && seen.last() == Some(&300_000));
    assert_whole(&place);
    assert!(get(&server, &place).unwrap()[0].was_there);
    assert_eq!(server.ranges().len(), 1);
}

#[test]
fn a_download_that_broke_off_is_resumed_where_it_stopped() {
    let server = Server::new(content(), Manner::DropsAfter(100_000));
    let directory = tempfile::tempdir().unwrap();
    let error = get(&server, directory.path()).unwrap_err().to_string();
    assert!(
        error.contains("broke off after 100000 bytes") && error.contains("run the same command again"),
        "{error}"
    );
    assert_eq!(names(directory.path()), ["drawings.bin.part"]);
    server.behave(Manner::Ranges);
    get(&server, directory.path()).unwrap();
    assert_whole(directory.path());
    assert_eq!(server.ranges(), ["", "bytes=100000-"]);
}

#[test]
fn a_server_without_ranges_is_asked_from_the_beginning() {
    let server = Server::new(content(), Manner::WholeOnly);
    let directory = with_part(&content()[..1234]);
    get(&server, directory.path()).unwrap();
    assert_whole(directory.path());
    assert_eq!(server.ranges(), ["bytes=1234-"]);
}

#[test]
fn a_part_that_is_whole_is_only_renamed_and_one_that_is_too_long_is_begun_anew() {
    let server = Server::new(content(), Manner::Ranges);
    let directory = with_part(&content());
    get(&server, directory.path()).unwrap();
    assert_whole(directory.path());
    assert!(server.ranges().is_empty());
    let directory = with_part(&[7; 300_001]);
    get(&server, directory.path()).unwrap();
    assert_whole(directory.path());
}

#[test]
fn a_range_beyond_the_servers_file_is_begun_anew() {
    let server = Server::new(content()[..200_000].to_vec(), Manner::Ranges);
    let directory = with_part(&[7; 250_000]);
    let error = get(&server, directory.path()).unwrap_err().to_string();
    assert!(error.contains("200000 bytes with SHA-256"), "{error}");
    assert_eq!(server.ranges(), ["bytes=250000-", ""]);
}

#[test]
fn corrupt_content_is_refused_and_nothing_is_left_to_resume() {
    let mut corrupt = content();
    corrupt[77_777] ^= 1;
    let server = Server::new(corrupt, Manner::Ranges);
    let directory = tempfile::tempdir().unwrap();
    let error = get(&server, directory.path()).unwrap_err().to_string();
    assert!(error.contains("is not the file it should be") && error.contains("it was removed"), "{error}");
    assert!(names(directory.path()).is_empty());

    let endless = Server::new([content(), content()].concat(), Manner::Ranges);
    let error = get(&endless, directory.path()).unwrap_err().to_string();
    assert!(error.contains("300001 bytes with SHA-256"), "{error}");
    assert!(names(directory.path()).is_empty());
}

#[test]
fn a_missing_file_and_an_unreachable_server_leave_nothing_but_what_was_there() {
    let server = Server::new(content(), Manner::NotFound);
    let directory = tempfile::tempdir().unwrap();
    let error = get(&server, directory.path()).unwrap_err().to_string();
    assert!(
        error.contains("404 Not Found") && error.contains(&server.url) && error.contains("--from"),
        "{error}"
    );
    assert!(names(directory.path()).is_empty());

    let part = with_part(&content()[..500]);
    assert!(get(&server, part.path()).is_err());
    assert_eq!(fs::read(part.path().join("drawings.bin.part")).unwrap(), &content()[..500]);

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let [mut file] = wanted(&server);
    file.url = format!("http://{closed}/drawings.bin");
    let error = fetch_files(&[file], directory.path(), None, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("check the connection"), "{error}");
    assert!(names(directory.path()).is_empty());
}

#[test]
fn local_files_are_copied_under_the_same_check() {
    let server = Server::new(Vec::new(), Manner::NotFound);
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = || fetch_files(&wanted(&server), to.path(), Some(from.path()), &mut |_| {});
    let missing = copy().unwrap_err().to_string();
    assert!(missing.contains("there is no") && missing.contains("drawings.bin"), "{missing}");
    fs::write(from.path().join("drawings.bin"), &content()[1..]).unwrap();
    let wrong = copy().unwrap_err().to_string();
    assert!(wrong.contains("is not the file it should be"), "{wrong}");
    assert!(names(to.path()).is_empty());
    fs::write(from.path().join("drawings.bin"), content()).unwrap();
    copy().unwrap();
    assert_whole(to.path());
    assert!(server.ranges().is_empty());
}

#[test]
fn a_file_that_is_there_but_wrong_is_replaced_only_when_the_new_one_is_whole() {
    let server = Server::new(content(), Manner::DropsAfter(10));
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("drawings.bin");
    fs::write(&place, "old").unwrap();
    assert!(get(&server, directory.path()).is_err());
    assert_eq!(fs::read(&place).unwrap(), b"old");
    server.behave(Manner::Ranges);
    get(&server, directory.path()).unwrap();
    assert_whole(directory.path());
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let server = Server::new(content(), Manner::Ranges);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = get(&server, &file.join("below")).unwrap_err().to_string();
    assert!(error.contains("creating the directory") && error.contains("below"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported_with_the_file_that_was_being_written() {
    let server = Server::new(content(), Manner::Ranges);
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", directory.path().join("drawings.bin.part")).unwrap();
    let error = get(&server, directory.path()).unwrap_err().to_string();
    assert!(error.contains("writing") && error.contains("drawings.bin.part"), "{error}");
    assert!(!directory.path().join("drawings.bin").exists());
}

#[test]
fn only_datasets_with_files_upstream_can_be_fetched() {
    let names: Vec<String> =
        files("omniglot", std::path::Path::new(".")).unwrap().1.into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["images_background.zip", "images_evaluation.zip"]);
    let error = |name| files(name, std::path::Path::new(".")).unwrap_err().to_string();
    assert!(error("glyphs").contains("has no files to get"));
    assert!(error("omniglott").contains("did you mean `omniglot`"));
    // Those who accept ImageNet's terms are told what is read.
    for name in ["mini-imagenet", "tiered-imagenet"] {
        let error = error(name);
        assert!(
            error.contains("https://image-net.org/download")
                && error.contains("a directory of images for each class"),
            "{error}"
        );
    }

    let server = Server::new(content(), Manner::Ranges);
    let base = server.url.trim_end_matches("drawings.bin");
    let directory = tempfile::tempdir().unwrap();
    let error = fetch("omniglot", directory.path(), None, Some(base), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains(&format!("{base}images_background.zip is not the file it should be")), "{error}");
    assert!(names_below(directory.path()).is_empty());
}

fn names_below(directory: &Path) -> Vec<String> {
    names(&directory.join("omniglot"))
}
