//! Directories with links that lead back, and names that are written in more than one way.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use kshot::dataset::{ClassSet, DatasetContext, Split, TaskSource};
use kshot::episode::Manifest;
use kshot::registry;
use kshot_datasets as _; // registers the datasets
use kshot_datasets::folder::{classes_in, images_below};

/// A directory of so many images.
fn class(directory: &Path, images: usize) {
    fs::create_dir_all(directory).unwrap();
    for number in 0..images {
        fs::write(directory.join(format!("{number}.pgm")), b"P2 2 2 9 0 1 2 3 ").unwrap();
    }
}

fn test_set(folder: &Path, options: &str) -> Arc<ClassSet> {
    let open = registry::dataset("folder").unwrap().open;
    let dataset = open(&DatasetContext::at(folder), &options.parse().unwrap()).unwrap();
    match dataset.split(Split::Test).unwrap() {
        TaskSource::Classes(set) => set,
        _ => panic!("a folder is of classes"),
    }
}

#[test]
fn a_link_that_leads_back_adds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    class(&root.join("oak/old"), 3);
    class(&root.join("elm"), 2);
    // Each of these doubles what is below, without end.
    for (to, name) in
        [("..", "oak/up"), (".", "oak/self"), ("old", "oak/again"), ("../..", "oak/old/top"), (".", "all")]
    {
        symlink(to, root.join(name)).unwrap();
    }
    symlink("/", root.join("everything")).unwrap();
    let classes = classes_in(root).unwrap();
    let counts: Vec<_> = classes.iter().map(|class| (class.name.as_str(), class.images.len())).collect();
    assert_eq!(counts, [("elm", 2), ("oak", 3)]);
    assert_eq!(images_below(root).unwrap().len(), 5);
}

#[test]
fn pipes_and_devices_among_images_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    class(&folder.path().join("oak"), 2);
    let pipe = folder.path().join("oak/pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    symlink("/dev/zero", folder.path().join("oak/zero.png")).unwrap();
    assert_eq!(images_below(folder.path()).unwrap().len(), 2);
}

#[test]
fn a_name_is_the_same_in_one_letter_or_in_two() {
    const COMPOSED: &str = "caf\u{e9}";
    const DECOMPOSED: &str = "cafe\u{301}";
    for (disk, text) in [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        class(&root.join(disk), 1);
        class(&root.join("tea"), 1);
        fs::rename(root.join(disk).join("0.pgm"), root.join(disk).join(format!("{disk}.pgm"))).unwrap();
        fs::write(root.join("split.toml"), format!("test = ['{text}', 'tea']")).unwrap();
        let set = test_set(root, "path = '.'\nsplit-file = 'split.toml'");
        assert!(set.classes().iter().any(|class| class.name == COMPOSED));
        let example = |file: &str, label: usize| format!("{{\"file\": \"{file}\", \"label\": {label}}}");
        let both = [example(&format!("{text}/{text}.pgm"), 0), example("tea/0.pgm", 1)].join(",");
        let manifest = format!("{{\"episodes\": [{{\"support\": [{both}], \"query\": [{both}]}}]}}");
        fs::write(root.join("manifest.json"), manifest).unwrap();
        Manifest::read(&root.join("manifest.json"), set).unwrap();
        let list = format!("path,label,split\n{text}/{text}.pgm,{text},test\ntea/0.pgm,tea,test\n");
        fs::write(root.join("list.csv"), list).unwrap();
        assert_eq!(test_set(root, "path = 'list.csv'").classes().len(), 2);
    }
}

#[test]
fn labels_of_a_manifest_are_not_counted_up_to() {
    let folder = tempfile::tempdir().unwrap();
    class(&folder.path().join("oak"), 2);
    let set = test_set(folder.path(), "path = '.'\nfractions = [0.0, 0.0, 1.0]");
    for label in [u64::MAX, u64::MAX - 1, 1 << 40] {
        let example = format!("{{\"file\": \"oak/0.pgm\", \"label\": {label}}}");
        let manifest = format!("{{\"episodes\": [{{\"support\": [{example}], \"query\": []}}]}}");
        fs::write(folder.path().join("manifest.json"), manifest).unwrap();
        let error =
            Manifest::read(&folder.path().join("manifest.json"), set.clone()).err().unwrap().to_string();
        assert!(error.contains("no support example has 0"), "{error}");
    }
}

#[test]
fn names_that_are_not_utf_8_are_read_or_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let latin = |bytes: &[u8]| folder.path().join(OsStr::from_bytes(bytes));
    class(&latin(b"caf\xe9"), 2);
    class(&folder.path().join("tea"), 2);
    let set = test_set(folder.path(), "path = '.'\nfractions = [0.0, 0.0, 1.0]");
    assert_eq!(set.classes().len(), 2);
    class(&latin(b"caf\xe8"), 2);
    let error = classes_in(folder.path()).unwrap_err().to_string();
    assert!(error.contains("two directories whose names read `caf\u{fffd}`"), "{error}");
}
