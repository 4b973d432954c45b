//! The benchmarks of photographs and those of CIFAR-100: Tiny-ImageNet's real images where they are, the others on made-up archives
//! of the same layout.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{Rgb, RgbImage};
use kshot::conformance;
use kshot::dataset::{ClassSet, Dataset, DatasetContext, Split, TaskSource};
use kshot::registry;
use kshot_datasets as _; // registers the datasets
use std::sync::Arc;

mod common;

const SPLITS: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

fn open(name: &str, data: &Path, options: toml::Table) -> kshot::Result<Box<dyn Dataset>> {
    (registry::dataset(name)?.open)(&DatasetContext::at(data), &options)
}

fn refused(name: &str, data: &Path) -> String {
    open(name, data, toml::Table::new()).err().unwrap().to_string()
}

fn set(dataset: &dyn Dataset, split: Split) -> Arc<ClassSet> {
    match dataset.split(split).unwrap() {
        TaskSource::Classes(set) => set,
        _ => unreachable!("a benchmark has classes"),
    }
}

fn counts(dataset: &dyn Dataset) -> [usize; 3] {
    SPLITS.map(|split| set(dataset, split).classes().len())
}

/// The classes of a benchmark, by the lists that are compiled in.
fn listed(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/benchmarks/splits/{name}.toml"));
    let table: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let names = ["train", "validation", "test"].map(|split| table[split].as_array().unwrap().clone());
    names.concat().into_iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// A small picture; each number has another.
fn picture(path: &Path, number: usize, width: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let colour =
        |x: u32, y: u32| Rgb([(number % 251) as u8, (x * 20) as u8, (y * 20 + number as u32 / 251) as u8]);
    // What is in it decides, not its name.
    RgbImage::from_fn(width, 6, colour).save_with_format(path, image::ImageFormat::Png).unwrap();
}

/// `each` pictures of each class, in `CLASS/NAME.jpg` below `root`.
fn pictures(root: &Path, classes: &[String], each: usize, inner: &str) {
    for (place, class) in classes.iter().enumerate() {
        for number in 0..each {
            picture(
                &root.join(class).join(inner).join(format!("{class}_{number}.JPEG")),
                place * each + number,
                8,
            );
        }
    }
}

/// A directory, packed to a `.tar.gz`.
fn packed(directory: &Path, name: &str, to: &Path) {
    let mut tar = tar::Builder::new(GzEncoder::new(fs::File::create(to).unwrap(), Compression::fast()));
    tar.append_dir_all(name, directory).unwrap();
    tar.into_inner().unwrap().finish().unwrap();
}

#[test]
fn tiny_imagenets_real_images_are_divided_and_told_apart_from_the_whole() {
    let Some(data) = common::data("tiny-imagenet") else { return };
    let dataset = open("tiny-imagenet", &data, toml::toml! { image-size = 16 }).unwrap();
    assert_eq!((counts(dataset.as_ref()), dataset.input()), ([120, 30, 50], [3, 16, 16]));
    assert!(set(dataset.as_ref(), Split::Test).classes().iter().all(|class| class.images.len() == 100));
    // A hundred of each class are here.
    assert!(dataset.notes()[0].contains("20000 images here, but 100000"), "{:?}", dataset.notes());
    // 5-way 1-shot on pixels; chance is 20 %.
    let accuracy = common::pixel_nearest_neighbour(dataset.as_ref());
    assert!((22.0..32.0).contains(&accuracy), "{accuracy}");
}

#[test]
fn mini_imagenet_is_read_by_directories_or_by_the_lists_of_ravi_and_larochelle() {
    let classes = listed("mini-imagenet");
    let plain = tempfile::tempdir().unwrap();
    let missing = refused("mini-imagenet", plain.path());
    assert!(
        missing.contains("mini-imagenet.zip")
            && missing.contains("image-net.org")
            && missing.contains("train.csv"),
        "{missing}"
    );
    pictures(&plain.path().join("mini-imagenet"), &classes, 3, "");
    let by_directory = open("mini-imagenet", plain.path(), toml::Table::new()).unwrap();
    assert_eq!((counts(by_directory.as_ref()), by_directory.input()), ([64, 16, 20], [3, 84, 84]));
    assert!(by_directory.notes()[0].contains("300 images here, but 60000"), "{:?}", by_directory.notes());

    // In train, val and test; which is in which is not asked.
    let divided = tempfile::tempdir().unwrap();
    for (part, classes) in ["train", "val", "test"].iter().zip(classes.chunks(34)) {
        pictures(&divided.path().join("mini-imagenet").join(part), classes, 2, "");
    }
    let in_splits =
        open("mini-imagenet", divided.path(), toml::toml! { colour = "grey" image-size = 6 }).unwrap();
    assert_eq!((counts(in_splits.as_ref()), in_splits.input()), ([64, 16, 20], [1, 6, 6]));
    pictures(&divided.path().join("mini-imagenet/val"), &classes[..1], 1, "");
    let twice = refused("mini-imagenet", divided.path());
    assert!(twice.contains(&format!("the class `{}` is in two of the splits", classes[0])), "{twice}");

    let lists = tempfile::tempdir().unwrap();
    let root = lists.path().join("mini-imagenet");
    for (list, classes) in
        ["train", "val", "test"].iter().zip([&classes[..64], &classes[64..80], &classes[80..]])
    {
        let mut text = "filename,label\n".to_owned();
        for (place, class) in classes.iter().enumerate() {
            for number in 1..3 {
                let name = format!("{class}{number:08}.jpg");
                picture(&root.join("images").join(&name), place, 8);
                text += &format!("{name},{class}\n");
            }
        }
        fs::write(root.join(format!("{list}.csv")), text).unwrap();
    }
    let by_list = open("mini-imagenet", lists.path(), toml::toml! { image-size = 8 }).unwrap();
    assert_eq!(counts(by_list.as_ref()), [64, 16, 20]);
    for split in SPLITS {
        let names = |dataset: &dyn Dataset| {
            set(dataset, split).classes().iter().map(|class| class.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(by_list.as_ref()), names(by_directory.as_ref()));
    }
    let archive = tempfile::tempdir().unwrap();
    packed(&root, "mini", &archive.path().join("mini-imagenet.tar.gz"));
    let of_archive = open("mini-imagenet", archive.path(), toml::toml! { image-size = 8 }).unwrap();
    assert_eq!(counts(of_archive.as_ref()), [64, 16, 20]);

    let gone = format!("{}00000001.jpg", classes[64]);
    fs::remove_file(root.join("images").join(&gone)).unwrap();
    let error = refused("mini-imagenet", lists.path());
    assert!(error.contains("val.csv, line 2") && error.contains(&gone), "{error}");
    fs::remove_file(root.join("val.csv")).unwrap();
    assert!(refused("mini-imagenet", lists.path()).contains("val.csv"));
}

#[test]
fn missing_classes_are_refused_by_name_and_other_ones_are_left_out() {
    let data = tempfile::tempdir().unwrap();
    let root = data.path().join("tiered-imagenet");
    let mut classes = listed("tiered-imagenet");
    let last = classes.pop().unwrap();
    classes.push("n00000000".to_owned());
    pictures(&root, &classes, 2, "");
    let error = refused("tiered-imagenet", data.path());
    assert!(
        error.contains(&format!("1 of the 608 classes of `tiered-imagenet` are not in {}", root.display())),
        "{error}"
    );
    assert!(error.contains(&last) && error.contains("image-net.org"), "{error}");
    pictures(&root, &[last], 2, "");
    let dataset = open("tiered-imagenet", data.path(), toml::toml! { image-size = 8 }).unwrap();
    assert_eq!(counts(dataset.as_ref()), [351, 97, 160]);
    assert!(dataset.notes()[0].contains("n00000000"), "{:?}", dataset.notes());
    fs::write(root.join(&classes[0]).join("broken.JPEG"), b"no picture").unwrap();
    assert!(refused("tiered-imagenet", data.path()).contains("broken.JPEG"));
}

#[test]
fn birds_are_read_from_the_archive_and_cut_to_their_boxes() {
    let data = tempfile::tempdir().unwrap();
    let classes = listed("cub");
    let root = data.path().join("unpacked");
    pictures(&root.join("images"), &classes, 3, "");
    let (mut images, mut boxes) = (String::new(), String::new());
    for (number, class) in (1..).zip(&classes) {
        for place in 0..3 {
            let id = 3 * number + place;
            images += &format!("{id} {class}/{class}_{place}.JPEG\n");
            boxes += &format!("{id} 4.0 0.0 4.0 6.0\n");
        }
    }
    fs::write(root.join("images.txt"), &images).unwrap();
    fs::write(root.join("bounding_boxes.txt"), &boxes).unwrap();
    fs::create_dir(data.path().join("cub")).unwrap();
    packed(&root, "CUB_200_2011", &data.path().join("cub/CUB_200_2011.tgz"));
    let whole = open("cub", data.path(), toml::Table::new()).unwrap();
    assert_eq!((counts(whole.as_ref()), whole.input()), ([100, 50, 50], [3, 84, 84]));
    let cut = |data: &Path| open("cub", data, toml::toml! { image-size = 8 bounding-box = true });
    let (cut_out, whole) =
        (cut(data.path()).unwrap(), open("cub", data.path(), toml::toml! { image-size = 8 }).unwrap());
    // Green grows from left to right; the left half is cut off.
    let mean = |dataset: &dyn Dataset| {
        let examples = set(dataset, Split::Test).first_of_each(1).unwrap();
        examples.inputs().index_axis(ndarray::Axis(1), 1).mean().unwrap()
    };
    let (part, all) = (mean(cut_out.as_ref()), mean(whole.as_ref()));
    assert!((part - 110.0 / 255.0).abs() < 0.01 && (all - 70.0 / 255.0).abs() < 0.01, "{part} {all}");
    assert!(open("cub", data.path(), toml::toml! { bounding-box = true encoder = "net.onnx" }).is_err());

    let entry = registry::dataset("cub").unwrap();
    let options = toml::toml! { image-size = 8 bounding-box = true };
    conformance::dataset(entry, &DatasetContext::at(data.path()), &options).unwrap();

    // Kept on disk, cut and whole.
    let cache = tempfile::tempdir().unwrap();
    let context =
        DatasetContext { cache_dir: Some(cache.path().to_path_buf()), ..DatasetContext::at(data.path()) };
    let first = |context: &DatasetContext, options: &toml::Table| {
        let dataset = (entry.open)(context, options).unwrap();
        let set = set(dataset.as_ref(), Split::Test);
        (format!("{set:?}").contains("Stored"), set.first_of_each(2).unwrap())
    };
    for options in [options, toml::toml! { image-size = 8 }] {
        let (stored, from_memory) = first(&context, &options);
        assert!(!stored);
        let made = (entry.prepare.unwrap())(&context, &options, &false.into()).unwrap();
        assert_eq!(made.description.images, 600);
        assert_eq!(first(&context, &options), (true, from_memory));
    }

    // The directory in the archive does as well.
    let beside = tempfile::tempdir().unwrap();
    fs::rename(&root, beside.path().join("CUB_200_2011")).unwrap();
    let root = beside.path().join("CUB_200_2011");
    assert_eq!(counts(cut(beside.path()).unwrap().as_ref()), [100, 50, 50]);
    let broken = |boxes: &str, expected: &str| {
        fs::write(root.join("bounding_boxes.txt"), boxes).unwrap();
        let error = cut(beside.path()).err().unwrap().to_string();
        assert!(error.contains(expected) && error.contains("bounding_boxes.txt"), "{error}");
    };
    broken(&boxes.replacen(" 4.0\n", "\n", 1).replacen("6.0\n", "\n", 1), "line 1");
    broken(&boxes.lines().skip(1).collect::<Vec<_>>().join("\n"), "has no box within");
    broken(&boxes.replacen("4.0 0.0", "9.0 0.0", 1), "has no box within");
}

/// CIFAR-100's files with `each` images of each class in training, and one in test.
fn cifar(folder: &Path, each: usize) {
    fs::create_dir_all(folder).unwrap();
    let mut names = listed("fc100");
    names.sort();
    fs::write(folder.join("fine_label_names.txt"), names.join("\n") + "\n").unwrap();
    for (file, each, blue) in [("train.bin", each, 0), ("test.bin", 1, 9)] {
        let mut bytes = Vec::new();
        for number in 0..100 * each {
            bytes.extend([0, (number % 100) as u8]);
            // Red as its number, green by row, blue by file.
            bytes.extend([number as u8; 1024]);
            bytes.extend((0..1024).map(|at| (at / 32) as u8));
            bytes.extend([blue; 1024]);
        }
        fs::write(folder.join(file), bytes).unwrap();
    }
}

#[test]
fn cifar_100_is_divided_in_two_ways_from_its_archive_or_directory() {
    let data = tempfile::tempdir().unwrap();
    let missing = refused("fc100", data.path());
    assert!(missing.contains("cifar-100-binary.tar.gz") && missing.contains("kshot data get"), "{missing}");
    let folder = data.path().join("cifar-100/cifar-100-binary");
    cifar(&folder, 2);
    let open_both = |options: &toml::Table| {
        ["cifar-fs", "fc100"].map(|name| open(name, data.path(), options.clone()).unwrap())
    };
    let of_directory = open_both(&toml::Table::new());
    packed(&folder, "cifar-100-binary", &data.path().join("cifar-100/cifar-100-binary.tar.gz"));
    fs::rename(&folder, data.path().join("elsewhere")).unwrap();
    let of_archive = open_both(&toml::Table::new());
    for dataset in of_directory.iter().chain(&of_archive) {
        assert_eq!(dataset.input(), [3, 32, 32]);
        assert!(dataset.notes()[0].contains("300 images here, but 60000"), "{:?}", dataset.notes());
        let test = set(dataset.as_ref(), Split::Test);
        assert!(test.classes().iter().all(|class| class.images.len() == 3));
        let image = test.first_of_each(1).unwrap();
        let pixel = |channel, y, x| (image.inputs()[[0, channel, y, x]] * 255.0).round();
        let number = test.classes()[0].images[0] as f32;
        assert_eq!([pixel(0, 0, 0), pixel(1, 5, 3), pixel(2, 9, 9)], [number, 5.0, 0.0]);
    }
    let [cifar_fs, fc100] = &of_archive;
    assert_eq!(counts(cifar_fs.as_ref()), [64, 16, 20]);
    assert_eq!(counts(fc100.as_ref()), [60, 20, 20]);
    let [small, _] = open_both(&toml::toml! { image-size = 8 colour = "grey" });
    assert_eq!(small.input(), [1, 8, 8]);
    for name in ["cifar-fs", "fc100"] {
        let entry = registry::dataset(name).unwrap();
        conformance::dataset(entry, &DatasetContext::at(data.path()), &toml::Table::new()).unwrap();
    }
}

#[test]
fn broken_cifar_files_are_refused_with_what_is_wrong() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("cifar-100-binary");
    cifar(&folder, 1);
    let broken = |file: &str, bytes: &[u8], expected: &str| {
        let path = folder.join(file);
        let before = fs::read(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let error = refused("cifar-fs", data.path());
        assert!(error.contains(expected) && error.contains("kshot data get cifar-fs"), "{error}");
        fs::write(path, before).unwrap();
    };
    let train = fs::read(folder.join("train.bin")).unwrap();
    broken("train.bin", &train[..train.len() - 7], "train.bin is cut off");
    broken("test.bin", b"", "test.bin is cut off");
    let mut other = train.clone();
    other[1] = 100;
    broken("train.bin", &other, "image 0 (counted from 0) of train.bin is of class 100");
    broken(
        "fine_label_names.txt",
        fs::read_to_string(folder.join("fine_label_names.txt")).unwrap().replace("apple", "pomme").as_bytes(),
        "apple",
    );
    fs::remove_file(folder.join("test.bin")).unwrap();
    let error = refused("cifar-fs", data.path());
    assert!(error.contains("reading") && error.contains("test.bin: No such file"), "{error}");
    fs::remove_dir_all(&folder).unwrap();
    let archive = data.path().join("cifar-100-binary.tar.gz");
    cifar(&data.path().join("some"), 1);
    fs::remove_file(data.path().join("some/train.bin")).unwrap();
    packed(&data.path().join("some"), "cifar-100-binary", &archive);
    assert!(refused("cifar-fs", data.path()).contains("it has no train.bin"));
    let whole = fs::read(&archive).unwrap();
    fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
    assert!(refused("cifar-fs", data.path()).contains("cifar-100-binary.tar.gz"));
    fs::write(&archive, b"\x1f\x8b").unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(&archive).unwrap();
    file.write_all(b"nothing").unwrap();
    assert!(refused("fc100", data.path()).contains("cifar-100-binary.tar.gz"));
}
