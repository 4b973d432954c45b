//! `kshot data get`, from local files and from a server on loopback.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;

use super::kshot::{real_data, refuse, succeed};

const FILES: [&str; 2] = ["images_background.zip", "images_evaluation.zip"];

#[test]
fn local_files_are_checked_and_put_where_the_dataset_is_looked_for() {
    let Some(data) = real_data("omniglot") else { return };
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (data.join("omniglot"), directory.path().to_str().unwrap());
    let get = ["data", "get", "omniglot", "--data-dir", to, "--from", from.to_str().unwrap()];
    assert!(succeed(&get).stdout.contains("is there now"));
    assert!(succeed(&get).stdout.contains("was there"));
    assert!(succeed(&["doctor", "--data-dir", to]).stdout.contains("found at"));
}

#[test]
fn the_digits_packed_by_others_are_known_by_their_checksums() {
    let Some(data) = real_data("mnist") else { return };
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (data.join("mnist"), directory.path().to_str().unwrap());
    succeed(&["data", "get", "mnist", "--data-dir", to, "--from", from.to_str().unwrap()]);
    assert!(succeed(&["doctor", "--data-dir", to]).stdout.contains("found at"));
    // A hundred images of each class are not the archive.
    refuse(
        &[
            "data",
            "get",
            "tiny-imagenet",
            "--data-dir",
            to,
            "--from",
            data.join("tiny-imagenet").to_str().unwrap(),
        ],
        &["is not the file it should be", "tiny-imagenet-200.zip"],
    );
}

#[test]
fn what_is_not_the_dataset_is_refused_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("from");
    fs::create_dir(&from).unwrap();
    for file in FILES {
        fs::write(from.join(file), b"something else").unwrap();
    }
    let to = directory.path().join("to");
    let arguments =
        ["data", "get", "omniglot", "--data-dir", to.to_str().unwrap(), "--from", from.to_str().unwrap()];
    refuse(&arguments, &["images_background.zip"]);
    assert!(!to.join("omniglot").join(FILES[0]).exists());
    refuse(&["data", "get", "glyphs"], &["glyphs"]);
    refuse(
        &["data", "get", "mini-imagenet", "--data-dir", to.to_str().unwrap()],
        &["image-net.org", "train.csv"],
    );
}

#[test]
fn a_mirror_on_loopback_serves_the_files() {
    let Some(data) = real_data("omniglot") else { return };
    let address = serve(data.join("omniglot"));
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().to_str().unwrap();
    succeed(&["data", "get", "omniglot", "--data-dir", to, "--mirror", &address]);
    for file in FILES {
        let (got, there) = (directory.path().join("omniglot").join(file), data.join("omniglot").join(file));
        assert_eq!(fs::read(got).unwrap(), fs::read(there).unwrap());
    }
}

/// Serves the files of a directory, one request a connection, until the test ends.
fn serve(directory: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().take(8) {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let name = request.split_whitespace().nth(1).unwrap().trim_start_matches('/').to_owned();
            let body = fs::read(directory.join(name)).unwrap();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    address
}
