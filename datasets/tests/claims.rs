//! Files whose heads say more than they hold: refused for what they are, before room is made for what they say.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::Write as _;
use std::path::Path;

use kshot::dataset::DatasetContext;
use kshot::registry;
use kshot_datasets as _; // registers the datasets

fn refused(dataset: &str, folder: &Path, options: &str, words: &[&str]) {
    let open = registry::dataset(dataset).unwrap().open;
    let error = open(&DatasetContext::at(folder), &options.parse().unwrap()).err().unwrap().to_string();
    for word in words {
        assert!(error.contains(word), "no `{word}` in: {error}");
    }
}

/// A `.npy` file with this head and 64 bytes.
fn npy(to: &Path, kind: &str, shape: &str) {
    let head = format!("{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = u32::try_from(head.len()).unwrap().to_le_bytes();
    fs::write(to, [b"\x93NUMPY\x02\0", &length[..], head.as_bytes(), &[0; 64]].concat()).unwrap();
}

#[test]
fn an_array_that_says_it_is_longer_than_its_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (x, y) = (folder.path().join("X.npy"), folder.path().join("y.npy"));
    let refused = |words: &[&str]| refused("arrays", folder.path(), "path = '.'", words);
    npy(&y, "'<i8'", "(2,)");
    for shape in ["(1073741824, 1073741824)", "(4294967296, 4294967296)", "(2, 18446744073709551615)", "(9,)"]
    {
        npy(&x, "'<f8'", shape);
        refused(&["X.npy cannot be read", "is cut off"]);
    }
    // A head that no array has: 4 GiB long, or of brackets whose parsing takes twice as long with each.
    fs::write(&x, b"\x93NUMPY\x02\0\xff\xff\xff\xff{'descr").unwrap();
    refused(&["X.npy", "a head that no array has"]);
    for bracket in ["(", "[", "{"] {
        npy(&x, &bracket.repeat(60), "(2,)");
        refused(&["X.npy", "a head that no array has"]);
    }
    for short in [0, 6, 9, 11] {
        fs::write(&x, &b"\x93NUMPY\x01\0\x76\0{'d"[..short]).unwrap();
        refused(&["X.npy", "too short"]);
    }
    npy(&x, "'<f8'", "(2, 4)");
    // Words without a letter take room too, and four bytes a letter come to none where they are counted modulo 2⁶⁴.
    for (kind, shape) in
        [("'<U0'", "(1099511627776,)"), ("'<U4611686018427387904'", "(2,)"), ("'|S0'", "(999,)")]
    {
        npy(&y, kind, shape);
        refused(&["y.npy cannot be read"]);
    }
}

#[test]
fn drawings_that_are_not_there_are_not_made_room_for() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("quickdraw")).unwrap();
    let path = folder.path().join("quickdraw/cat.npy");
    npy(&path, "'|u1'", "(288230376151711744, 784)");
    refused("quickdraw", folder.path(), "per-class = 4611686018427387904", &["cat.npy", "cut off"]);
    npy(&path, "'|u1'", "(1, 784)");
    refused("quickdraw", folder.path(), "", &["cat.npy", "cut off"]);
    npy(&path, "'<f8'", "(1, 784)");
    refused("quickdraw", folder.path(), "", &["cat.npy"]);
}

/// An element of a `.mat` file.
fn element(kind: u32, data: &[u8]) -> Vec<u8> {
    let padding = vec![0; data.len().next_multiple_of(8) - data.len()];
    [&kind.to_le_bytes()[..], &u32::try_from(data.len()).unwrap().to_le_bytes(), data, &padding].concat()
}

/// A variable of this class and shape, its size as 64-bit numbers.
fn variable(name: &str, class: u8, shape: &[u64], values: &[Vec<u8>]) -> Vec<u8> {
    let flags = element(6, &[class, 0, 0, 0, 0, 0, 0, 0]);
    let shape = element(13, &shape.iter().flat_map(|size| size.to_le_bytes()).collect::<Vec<_>>());
    element(14, &[flags, shape, element(1, name.as_bytes()), values.concat()].concat())
}

fn mat(to: &Path, elements: &[Vec<u8>]) {
    let mut head = vec![b' '; 124];
    head.extend([0, 1, b'I', b'M']);
    fs::write(to, [head, elements.concat()].concat()).unwrap();
}

fn doubles(values: &[f64]) -> Vec<u8> {
    element(9, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())
}

#[test]
fn a_matlab_variable_that_says_it_is_larger_than_it_is_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.mat");
    let refused = |words: &[&str]| refused("arrays", folder.path(), "path = 'd.mat'", words);
    let x = variable("X", 6, &[2, 1], &[doubles(&[1.0, 2.0])]);
    mat(
        &path,
        &[
            variable("X", 6, &[1 << 32, 1 << 32], &[doubles(&[1.0])]),
            variable("y", 6, &[1, 1], &[doubles(&[1.0])]),
        ],
    );
    refused(&["d.mat", "`X` has 1 values, but the shape"]);
    // As many words as one likes, of no letter.
    mat(&path, &[x.clone(), variable("y", 4, &[u64::MAX, 0], &[element(16, b"")])]);
    refused(&["`y` of", "1 values"]);
    // 8 GiB of zeros, of a hundred bytes.
    let y = variable("y", 6, &[1, 1], &[doubles(&[1.0])]);
    for (shape, columns) in [
        ([1 << 30, 1], &[0.0, 1.0][..]),
        ([1 << 20, u64::MAX], &[]),
        ([2, 1], &[0.0, 9e18]),
        ([2, 1], &[0.0, -1.0]),
    ] {
        let parts = [doubles(&[0.0]), doubles(columns), doubles(&[3.0])];
        mat(&path, &[variable("X", 5, &shape, &parts), y.clone()]);
        refused(&["d.mat", "X"]);
    }
    // 300 MB of zeros in 0.3 MB.
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..300 {
        packed.write_all(&[0; 1 << 20]).unwrap();
    }
    mat(&path, &[element(15, &packed.finish().unwrap())]);
    refused(&["d.mat", "a variable cannot be unpacked", "bytes long unpacked"]);
}

#[test]
fn digits_that_are_not_there_are_not_made_room_for() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("mnist")).unwrap();
    let file = |name: &str, bytes: &[u8]| fs::write(folder.path().join("mnist").join(name), bytes).unwrap();
    for part in ["train", "t10k"] {
        let images = [b"\0\0\x08\x03\xff\xff\xff\xff\0\0\0\x1c\0\0\0\x1c".as_slice(), &[0; 784]].concat();
        file(&format!("{part}-images-idx3-ubyte"), &images);
        file(&format!("{part}-labels-idx1-ubyte"), b"\0\0\x08\x01\0\0\0\x01\0");
    }
    refused("mnist", folder.path(), "", &["train-images-idx3-ubyte", "4294967295 items, but has 784 bytes"]);
}

#[test]
fn an_image_that_says_it_is_vast_is_refused_and_a_narrow_one_is_scaled() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    let options = "path = '.'\nimage-size = 64\nresize = 'crop'\nfractions = [0.0, 0.0, 1.0]";
    let image = folder.path().join("a/1.pgm");
    for (width, height) in [(4_000_000_000u32, 4_000_000_000u32), (40_000, 40_000), (100_000_000, 1)] {
        fs::write(&image, format!("P5 {width} {height} 255\n")).unwrap();
        refused("folder", folder.path(), options, &["1.pgm", "cannot be read as an image"]);
    }
    // Scaled until it covers 64×64, it would be 3.8 million pixels long.
    fs::write(&image, [b"P5 60000 1 255\n".as_slice(), &[9; 60_000]].concat()).unwrap();
    let open = registry::dataset("folder").unwrap().open;
    open(&DatasetContext::at(folder.path()), &options.parse().unwrap()).unwrap();
}
