//! Arrays of one's own, made up in a temporary directory.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

use kshot::dataset::{ClassSet, Dataset, DatasetContext, Split, TaskSource};
use kshot::registry;
use kshot_datasets as _; // registers the datasets
use npyz::WriterBuilder as _;

fn open(folder: &Path, options: &str) -> kshot::Result<Box<dyn Dataset>> {
    let context = DatasetContext::at(folder);
    (registry::dataset("arrays")?.open)(&context, &options.parse().unwrap())
}

fn error(folder: &Path, options: &str) -> String {
    open(folder, options).err().unwrap().to_string()
}

fn npy<T: npyz::AutoSerialize + Copy>(shape: &[u64], values: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer =
        npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes).begin_nd().unwrap();
    writer.extend(values.iter().copied()).unwrap();
    writer.finish().unwrap();
    bytes
}

/// All values of a class's examples.
fn values(set: &ClassSet, class: &str) -> Vec<f32> {
    let number = set.classes().iter().position(|known| known.name == class).unwrap();
    let mut out = Vec::new();
    set.push_examples((0..set.classes()[number].images.len()).map(|place| (number, place)), &mut out)
        .unwrap();
    out
}

const CSV: &str = "speed,y,torque,domain\n1,oak,10,a\n2,ash,20,a\n3,oak,30,b\n4,ash,40,b\n5,ash,50,b\n";

#[test]
fn a_table_with_domains_gives_each_its_classes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("t.csv"), CSV).unwrap();
    let dataset = open(folder.path(), "path = \"t.csv\"").unwrap();
    assert_eq!(dataset.input(), [2, 1, 1]);
    let TaskSource::Domains(domains) = dataset.split(Split::Test).unwrap() else { panic!("domains") };
    assert_eq!(domains.class_names(), ["ash", "oak"]);
    assert_eq!(values(&domains.named("b").unwrap().train, "ash"), [4.0, 40.0, 5.0, 50.0]);
    assert!(domains.named("a").unwrap().is_undivided());

    let scaled = open(folder.path(), "path = \"t.csv\"\nstandardise = true").unwrap();
    let TaskSource::Domains(domains) = scaled.split(Split::Test).unwrap() else { panic!("domains") };
    assert_eq!(values(&domains.named("a").unwrap().train, "ash"), [1.0, 1.0]);
}

#[test]
fn numpy_arrays_without_domains_give_classes_of_their_own_to_each_split() {
    let folder = tempfile::tempdir().unwrap();
    let x: Vec<f32> = (0..10 * 2 * 3).map(|value| value as f32).collect();
    let y: Vec<i64> = (0..10).map(|i| i / 2).collect();
    let directory = folder.path().join("signals");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("X.npy"), npy(&[10, 2, 3], &x)).unwrap();
    fs::write(directory.join("y.npy"), npy(&[10], &y)).unwrap();
    let loose = open(folder.path(), "path = \"signals\"").unwrap();

    let mut zip = zip::ZipWriter::new(fs::File::create(folder.path().join("signals.npz")).unwrap());
    for (name, bytes) in [("data.npy", npy(&[10, 2, 3], &x)), ("labels.npy", npy(&[10], &y))] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut zip, &bytes).unwrap();
    }
    zip.finish().unwrap();
    let zipped = open(folder.path(), "path = \"signals.npz\"\nx = \"data\"\ny = \"labels\"").unwrap();

    let mut seen = Vec::new();
    for dataset in [&loose, &zipped] {
        assert_eq!(dataset.input(), [2, 1, 3]);
        for split in [Split::Train, Split::Validation, Split::Test] {
            let TaskSource::Classes(set) = dataset.split(split).unwrap() else { panic!("classes") };
            for class in set.classes() {
                let first: f32 = class.name.parse::<f32>().unwrap() * 12.0;
                assert_eq!(values(&set, &class.name)[..3], [first, first + 1.0, first + 2.0]);
                seen.push(class.name.clone());
            }
        }
    }
    seen.sort();
    assert_eq!(seen, ["0", "0", "1", "1", "2", "2", "3", "3", "4", "4"]);
}

#[test]
fn what_cannot_be_used_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    for (text, wrong) in [
        ("x,y,domain\n1,a,s\nnan,a,t\n", "line 3, column `x`: `nan` is not a finite number"),
        ("x,y,site\n1,a,here\n", "line 2, column `site`: `here` is not a number"),
        ("x,label\n1,a\n", "there is no column called `y`"),
        ("x,y\n1,a\n1,a,3\n", "t.csv cannot be read"),
        ("x,y\n", "a header and no row"),
        ("x,y\n1,a\n2,\n", "line 3, column `y`: `` is no name"),
        ("x,y,domain\n1,a,s\n2,a,NaN\n", "line 3, column `domain`: `NaN` is no name"),
        ("x,y\n1,a\n1e300,a\n", "`1e300` is beyond 3.4e38"),
        ("x,y\n1e20,a\n2e20,b\n3e20,c\n", "bring them to a scale near 1"),
        ("y\na\n", "no feature"),
        ("x\ty\n1\ta\n", "separated by `\\t`"),
    ] {
        fs::write(folder.path().join("t.csv"), text).unwrap();
        let error = error(folder.path(), "path = \"t.csv\"");
        assert!(error.contains(wrong), "{text}: {error}");
    }

    let npz = folder.path().join("t.npz");
    fs::write(&npz, "no zip").unwrap();
    assert!(error(folder.path(), "path = \"t.npz\"").contains("t.npz cannot be read"));
    fs::write(folder.path().join("t.mat"), b"MATLAB 7.3 MAT-file").unwrap();
    assert!(error(folder.path(), "path = \"t.mat\"").contains("save it with"));
    let directory = folder.path().join("d");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("X.npy"), npy(&[3, 2], &[0.0f64; 6])).unwrap();
    fs::write(directory.join("y.npy"), npy(&[2], &[0i32, 1])).unwrap();
    let lengths = error(folder.path(), "path = \"d\"");
    assert!(lengths.contains("has 2 values, but there are 3 examples"), "{lengths}");
    fs::write(directory.join("y.npy"), npy(&[3], &[0.0, 0.5, 1.0])).unwrap();
    assert!(
        error(folder.path(), "path = \"d\"")
            .contains("is 0.5 at example 1 (counted from 0), which is no whole number")
    );
    assert!(error(folder.path(), "path = \"nowhere\"").contains("no such file or directory"));
    assert!(error(folder.path(), "").contains("needs its option `path`"));
}

/// A table of 12 rows, sorted by class, with a column before the others.
fn indexed(name: &str, index: impl Fn(usize) -> String) -> String {
    let row = |i: usize| format!("{},{},{}\n", index(i), i % 5, ["a", "b", "c"][i / 4]);
    format!("{name},x,y\n") + &(0..12).map(row).collect::<String>()
}

#[test]
fn a_column_that_numbers_the_rows_is_no_feature() {
    let folder = tempfile::tempdir().unwrap();
    let write = |text: &str| fs::write(folder.path().join("t.csv"), text).unwrap();
    for name in ["", "Unnamed: 0"] {
        write(&indexed(name, |i| i.to_string()));
        let dataset = open(folder.path(), "path = \"t.csv\"").unwrap();
        assert_eq!(dataset.input(), [1, 1, 1]);
        assert!(dataset.notes()[0].contains("numbers the rows"), "{:?}", dataset.notes());
    }
    write(&indexed("", |i| (i * i).to_string()));
    assert!(error(folder.path(), "path = \"t.csv\"").contains("column 1 has no name"));
    write(&indexed("id", |i| (i + 1).to_string()));
    let named = error(folder.path(), "path = \"t.csv\"");
    assert!(named.contains("column `id` numbers the rows") && named.contains("`leave-out`"), "{named}");
    let left_out = open(folder.path(), "path = \"t.csv\"\nleave-out = [\"id\"]").unwrap();
    assert_eq!(left_out.input(), [1, 1, 1]);
    write(&indexed("word", |i| format!("w{i}")));
    assert!(open(folder.path(), "path = \"t.csv\"\nleave-out = [\"word\"]").is_ok());
    assert!(error(folder.path(), "path = \"t.csv\"\nleave-out = [\"wrd\"]").contains("did you mean `word`"));

    // The same in an array of numbers.
    let x: Vec<f64> = (0..12).flat_map(|i| [0.5, i as f64]).collect();
    fs::write(folder.path().join("X.npy"), npy(&[12, 2], &x)).unwrap();
    fs::write(folder.path().join("y.npy"), npy(&[12], &(0..12).map(|i| i / 4).collect::<Vec<i32>>()))
        .unwrap();
    let numbers = error(folder.path(), "path = \".\"");
    assert!(numbers.contains("feature 1 (counted from 0) numbers the examples"), "{numbers}");
}

#[test]
fn a_header_that_promises_more_than_the_file_holds_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut header =
        "{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 3), }".to_owned();
    header += &" ".repeat(118 - header.len() - 1);
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    fs::write(folder.path().join("X.npy"), bytes).unwrap();
    let cut = error(folder.path(), "path = \".\"");
    assert!(cut.contains("is cut off"), "{cut}");
}

#[test]
fn an_array_that_is_not_asked_for_need_not_be_one_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut zip = zip::ZipWriter::new(fs::File::create(folder.path().join("t.npz")).unwrap());
    let x: Vec<f32> = (0..24).map(|i| (i % 7) as f32).collect();
    let y: Vec<i32> = (0..12).map(|i| i / 4).collect();
    let files =
        [("X.npy", npy(&[12, 2], &x)), ("y.npy", npy(&[12], &y)), ("meta.npy", b"an object".to_vec())];
    for (name, bytes) in files {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut zip, &bytes).unwrap();
    }
    zip.finish().unwrap();
    assert_eq!(open(folder.path(), "path = \"t.npz\"").unwrap().input(), [2, 1, 1]);
    let asked = error(folder.path(), "path = \"t.npz\"\nx = \"meta\"");
    assert!(asked.contains("t.npz cannot be read: `meta`"), "{asked}");
}
