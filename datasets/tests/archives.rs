//! Archives made to do harm: each is refused with the entry and the reason, and nothing is written elsewhere.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::ImageFormat;
use kshot::dataset::DatasetContext;
use kshot::registry;
use kshot_datasets as _; // registers the datasets
use tar::EntryType;
use zip::write::SimpleFileOptions;

fn opened(archive: &Path) -> Result<(), String> {
    let context = DatasetContext::at(archive.parent().unwrap());
    let options = toml::Table::from_iter([
        ("path".to_owned(), archive.to_str().unwrap().into()),
        ("fractions".to_owned(), vec![0.0, 0.0, 1.0].into()),
    ]);
    let open = registry::dataset("folder").unwrap().open;
    open(&context, &options).map(drop).map_err(|error| error.to_string())
}

fn refused(archive: &Path, words: &[&str]) {
    let error = opened(archive).unwrap_err();
    for word in words.iter().chain([&archive.file_name().unwrap().to_str().unwrap()]) {
        assert!(error.contains(word), "no `{word}` in: {error}");
    }
}

fn drawing() -> Vec<u8> {
    let mut png = Cursor::new(Vec::new());
    image::GrayImage::new(4, 4).write_to(&mut png, ImageFormat::Png).unwrap();
    png.into_inner()
}

/// A zip of entries by name.
fn zip(to: &Path, entries: &[(&str, &[u8])]) {
    let mut zip = zip::ZipWriter::new(fs::File::create(to).unwrap());
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// A tar of one entry, its name as it is given.
fn tar(to: &Path, kind: EntryType, name: &[u8], bytes: &[u8], size: u64) {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    if kind == EntryType::Symlink {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_size(size);
    header.set_cksum();
    let mut file = fs::File::create(to).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.write_all(bytes).unwrap();
    file.write_all(&vec![0; 1024 + (512 - bytes.len() % 512) % 512]).unwrap();
}

#[test]
fn an_entry_that_leads_out_of_the_archive_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let png = drawing();
    for name in ["../out.png", "a/../../out.png", "/tmp/out.png", "a\\..\\..\\out.png", "C:\\out.png"] {
        let archive = folder.path().join("slip.zip");
        zip(&archive, &[("a/fine.png", &png), (name, &png)]);
        refused(&archive, &["out.png` would be written elsewhere"]);
        let archive = folder.path().join("slip.tar");
        tar(&archive, EntryType::Regular, name.as_bytes(), &png, png.len() as u64);
        refused(&archive, &["out.png` would be written elsewhere"]);
    }
    assert!(!folder.path().join("out.png").exists());
}

#[test]
fn links_devices_and_files_with_holes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("link.zip");
    let mut zip = zip::ZipWriter::new(fs::File::create(&archive).unwrap());
    zip.add_symlink("a/1.png", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    zip.finish().unwrap();
    refused(&archive, &["`a/1.png` is a link or a device", "pack the files"]);
    for (kind, what) in [
        (EntryType::Symlink, "a link"),
        (EntryType::Link, "a link"),
        (EntryType::Fifo, "a pipe"),
        (EntryType::Char, "a device"),
    ] {
        let archive = folder.path().join("kind.tar");
        tar(&archive, kind, b"a/1.png", b"", 0);
        refused(&archive, &["`a/1.png` is", what]);
    }
}

#[test]
fn a_name_that_is_not_utf_8_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("latin.tar");
    tar(&archive, EntryType::Regular, b"caf\xe9/1.png", &drawing(), drawing().len() as u64);
    refused(&archive, &["`caf\u{fffd}/1.png` has a name that is not UTF-8"]);
    // The bytes of a name are in the zip twice: before the entry, and in the directory at the end.
    let archive = folder.path().join("latin.zip");
    zip(&archive, &[("cafX/1.png", &drawing())]);
    let mut bytes = fs::read(&archive).unwrap();
    while let Some(at) = bytes.windows(4).position(|name| name == b"cafX") {
        bytes[at + 3] = 0xe9;
    }
    fs::write(&archive, bytes).unwrap();
    refused(&archive, &["has a name that is not UTF-8"]);
}

#[test]
fn names_that_a_mac_writes_without_saying_that_they_are_utf_8_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("mac.zip");
    zip(&archive, &[("cafXX/1.png", &drawing()), ("cafXX/2.png", &drawing()), ("tea/1.png", &drawing())]);
    let mut bytes = fs::read(&archive).unwrap();
    while let Some(at) = bytes.windows(5).position(|name| name == b"cafXX") {
        bytes[at + 3..at + 5].copy_from_slice("é".as_bytes());
    }
    fs::write(&archive, bytes).unwrap();
    opened(&archive).unwrap();
}

#[test]
fn what_unpacks_to_far_more_than_it_is_packed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    // 300 MB of zeros in 0.3 MB, in one entry that is not even asked for.
    let archive = folder.path().join("bomb.tar.gz");
    let mut tar = tar::Builder::new(GzEncoder::new(fs::File::create(&archive).unwrap(), Compression::best()));
    let mut header = tar::Header::new_gnu();
    header.set_size(300 << 20);
    tar.append_data(&mut header, "zeros.bin", std::io::Read::take(std::io::repeat(0), 300 << 20)).unwrap();
    tar.into_inner().unwrap().finish().unwrap();
    refused(&archive, &["`zeros.bin` is too much"]);
    // The same by a name: 300 MB long.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(300 << 20);
    header.set_cksum();
    let mut packed = GzEncoder::new(fs::File::create(&archive).unwrap(), Compression::best());
    packed.write_all(header.as_bytes()).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(b'a'), 300 << 20), &mut packed).unwrap();
    packed.finish().unwrap();
    refused(&archive, &["entry number 1", "longer than any"]);

    let archive = folder.path().join("bomb.zip");
    let zeros = vec![0; 300 << 20];
    zip(&archive, &[("a/1.png", &zeros)]);
    refused(&archive, &["`a/1.png` is too much", "unpack it yourself"]);
}

#[test]
fn an_entry_that_is_not_as_long_as_it_says_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("lies.zip");
    zip(&archive, &[("a/1.png", &[7; 5000])]);
    let whole = fs::read(&archive).unwrap();
    let directory = whole.windows(4).position(|magic| magic == b"PK\x01\x02").unwrap();
    for (said, words) in
        [(100u32, "longer than the 100"), (u32::MAX - 1, "is too much"), (9000, "not the 9000")]
    {
        let mut bytes = whole.clone();
        bytes[directory + 24..directory + 28].copy_from_slice(&said.to_le_bytes());
        fs::write(&archive, bytes).unwrap();
        refused(&archive, &["`a/1.png`", words]);
    }
    let archive = folder.path().join("lies.tar");
    tar(&archive, EntryType::Regular, b"a/1.png", b"short", 1 << 20);
    refused(&archive, &["`a/1.png`", "not the 1048576"]);
    tar(&archive, EntryType::Regular, b"a/1.png", b"short", 1 << 60);
    refused(&archive, &["`a/1.png` is too much"]);
}

#[test]
fn directories_that_are_never_found_do_not_take_forever() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("ends.zip");
    // Each might be the end of a zip, its one entry somewhere between the start and itself.
    let end = b"PK\x05\x06\0\0\0\0\x01\0\x01\0\0\0\0\0\0\0\0\0\0\0".repeat(200_000);
    fs::write(&archive, end).unwrap();
    refused(&archive, &[]);
}
