//! MNIST and Quick, Draw!: the real digits where they are, and made-up files of the same layout.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use kshot::conformance;
use kshot::dataset::{Class, Dataset, DatasetContext, Split, TaskSource};
use kshot::registry;
use kshot_datasets as _; // registers the datasets

mod common;

fn open(name: &str, data: &Path, options: toml::Table) -> kshot::Result<Box<dyn Dataset>> {
    (registry::dataset(name)?.open)(&DatasetContext::at(data), &options)
}

fn refused(name: &str, data: &Path, options: toml::Table) -> String {
    open(name, data, options).err().unwrap().to_string()
}

fn classes(dataset: &dyn Dataset, split: Split) -> Vec<Class> {
    match dataset.split(split) {
        Ok(TaskSource::Classes(set)) => set.classes().to_vec(),
        _ => Vec::new(),
    }
}

fn idx(sizes: &[usize], items: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    sizes.iter().for_each(|&size| bytes.extend((size as u32).to_be_bytes()));
    bytes.extend(items);
    bytes
}

/// A packed file.
fn packed(path: &Path, bytes: &[u8]) {
    let mut encoder = GzEncoder::new(fs::File::create(path).unwrap(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap();
}

/// 40 digits of training, packed, and 20 of test, not packed; each is a square as light as its number.
fn digits(data: &Path) {
    let folder = data.join("mnist");
    fs::create_dir_all(&folder).unwrap();
    for (part, count) in [("train", 40), ("t10k", 20)] {
        let labels: Vec<u8> = (0..count).map(|number| (number % 10) as u8).collect();
        let pixels: Vec<u8> = (0..count * 784).map(|at| (at / 784 + at % 784 / 28) as u8).collect();
        let files = [
            (format!("{part}-images-idx3-ubyte"), idx(&[count, 28, 28], &pixels)),
            (format!("{part}-labels-idx1-ubyte"), idx(&[count], &labels)),
        ];
        for (name, bytes) in files {
            match part {
                "train" => packed(&folder.join(format!("{name}.gz")), &bytes),
                _ => fs::write(folder.join(name), bytes).unwrap(),
            }
        }
    }
}

#[test]
fn the_real_digits_are_70000_all_for_test() {
    let Some(data) = common::data("mnist") else { return };
    let dataset = open("mnist", &data, toml::Table::new()).unwrap();
    let digits = classes(dataset.as_ref(), Split::Test);
    // The counts of LeCun's training and test labels.
    let counts: Vec<usize> = digits.iter().map(|digit| digit.images.len()).collect();
    assert_eq!(counts, [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]);
    assert!(dataset.split(Split::Train).is_err());
    // 5-way 1-shot; chance is 20 %.
    let accuracy = common::pixel_nearest_neighbour(dataset.as_ref());
    assert!((40.0..60.0).contains(&accuracy), "{accuracy}");
    let divided = open("mnist", &data, toml::toml! { fractions = [0.4, 0.2, 0.4] image-size = 14 }).unwrap();
    let counts =
        [Split::Train, Split::Validation, Split::Test].map(|split| classes(divided.as_ref(), split).len());
    assert_eq!((counts, divided.input()), ([4, 2, 4], [1, 14, 14]));
    conformance::dataset(registry::dataset("mnist").unwrap(), &DatasetContext::at(data), &toml::Table::new())
        .unwrap();
}

#[test]
fn digits_are_read_packed_or_not_in_any_size_and_colour() {
    let data = tempfile::tempdir().unwrap();
    digits(data.path());
    let dataset = open("mnist", data.path(), toml::Table::new()).unwrap();
    let seven = &classes(dataset.as_ref(), Split::Test)[7];
    assert_eq!((seven.name.as_str(), seven.images.as_slice()), ("7", &[7, 17, 27, 37, 47, 57][..]));
    let colour = open("mnist", data.path(), toml::toml! { colour = "rgb" image-size = 7 }).unwrap();
    assert_eq!(colour.input(), [3, 7, 7]);
    let TaskSource::Classes(set) = colour.split(Split::Test).unwrap() else { unreachable!() };
    let first = set.first_of_each(1).unwrap();
    let image = first.inputs().index_axis_move(ndarray::Axis(0), 0);
    assert_eq!(image.index_axis(ndarray::Axis(0), 0), image.index_axis(ndarray::Axis(0), 2));
}

#[test]
fn broken_digits_are_refused_with_the_file_and_what_is_wrong() {
    let data = tempfile::tempdir().unwrap();
    let missing = refused("mnist", data.path(), toml::Table::new());
    assert!(
        missing.contains("train-images-idx3-ubyte") && missing.contains("kshot data get mnist"),
        "{missing}"
    );
    digits(data.path());
    let (images, labels) = ("mnist/t10k-images-idx3-ubyte", "mnist/t10k-labels-idx1-ubyte");
    let whole = fs::read(data.path().join(images)).unwrap();
    let mut magic = whole.clone();
    magic[2] = 9;
    let cases = [
        (images, magic, "it begins with [0, 0, 9, 3]"),
        (images, whole[..whole.len() - 1].to_vec(), "says it has 20 items, but has 15679 bytes"),
        (images, vec![0, 0], "is no IDX file"),
        (images, idx(&[5, 16, 16], &[0; 5 * 256]), "has items of [16, 16], not [28, 28]"),
        (images, idx(&[u32::MAX as usize, 28, 28], &[0; 784]), "but has 784 bytes"),
        (labels, idx(&[19], &[1; 19]), "has 19 labels"),
        (labels, idx(&[20], &[10; 20]), "is 10, which is no digit"),
    ];
    for (file, bytes, expected) in cases {
        let path = data.path().join(file);
        let before = fs::read(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let error = refused("mnist", data.path(), toml::Table::new());
        assert!(error.contains(expected) && error.contains("t10k"), "{error}");
        fs::write(&path, before).unwrap();
    }
    fs::write(data.path().join("mnist/train-images-idx3-ubyte.gz"), b"no gzip").unwrap();
    assert!(refused("mnist", data.path(), toml::Table::new()).contains("train-images-idx3-ubyte.gz"));
}

/// A `.npy` file of bytes `[drawings, 784]`.
fn drawings(path: &Path, count: usize, dtype: &str, values: &[u8]) {
    let head = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({count}, 784), }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((head.len() as u16).to_le_bytes());
    bytes.extend(head.as_bytes());
    bytes.extend(values);
    fs::write(path, bytes).unwrap();
}

#[test]
fn drawings_are_as_many_of_each_category_as_asked_for_and_categories_without_file_are_left_out() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("quickdraw");
    fs::create_dir(&folder).unwrap();
    let missing = refused("quickdraw", data.path(), toml::Table::new());
    assert!(missing.contains("kshot data get quickdraw"), "{missing}");
    for (place, name) in ["The%20Eiffel%20Tower", "cat", "ant", "angel", "yoga", "my own"].iter().enumerate()
    {
        let values: Vec<u8> = (0..12 * 784).map(|at| (place * 40 + at / 784) as u8).collect();
        drawings(&folder.join(format!("{name}.npy")), 12, "|u1", &values);
    }
    let dataset = open("quickdraw", data.path(), toml::toml! { per-class = 10 }).unwrap();
    let names = |split| {
        classes(dataset.as_ref(), split)
            .into_iter()
            .map(|class| (class.name, class.images.len()))
            .collect::<Vec<_>>()
    };
    let ten = |name: &str| (name.to_owned(), 10);
    assert_eq!(names(Split::Train), [ten("The Eiffel Tower"), ten("cat")]);
    assert_eq!(names(Split::Validation), [ten("ant")]);
    assert_eq!(names(Split::Test), [ten("angel"), ten("yoga")]);
    let notes = dataset.notes().join("\n");
    assert!(notes.contains("340 of the 345 categories") && notes.contains("`my own`"), "{notes}");
    let entry = registry::dataset("quickdraw").unwrap();
    conformance::dataset(entry, &DatasetContext::at(data.path()), &toml::Table::new()).unwrap();

    drawings(&folder.join("ant.npy"), 12, "|u1", &[0; 11 * 784]);
    assert!(refused("quickdraw", data.path(), toml::Table::new()).contains("ant.npy"));
    drawings(&folder.join("ant.npy"), 12, "<f4", &[0; 12 * 784 * 4]);
    assert!(refused("quickdraw", data.path(), toml::Table::new()).contains("ant.npy"));
}
