//! Image folders, made up in a temporary directory.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use image::{GrayImage, Luma, Rgb, RgbImage};
use kshot::dataset::{ClassSet, Dataset, DatasetContext, Split, TaskSource};
use kshot::registry;
use kshot_datasets as _; // registers the datasets
use tempfile::TempDir;

/// Five classes of three images in three formats and sizes; class `i` is of grey level 40 i.
fn five_classes() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (i, class) in ["ash", "birch", "elm", "oak", "yew"].iter().enumerate() {
        let directory = folder.path().join("trees").join(class);
        fs::create_dir_all(&directory).unwrap();
        let level = 40 * i as u8;
        GrayImage::from_pixel(9, 9, Luma([level])).save(directory.join("a.png")).unwrap();
        GrayImage::from_pixel(30, 20, Luma([level])).save(directory.join("b.pgm")).unwrap();
        RgbImage::from_pixel(40, 64, Rgb([level; 3])).save(directory.join("c.JPG")).unwrap();
        fs::write(directory.join("notes.txt"), "not an image").unwrap();
        fs::write(directory.join(".hidden.png"), "not an image either").unwrap();
    }
    folder
}

fn open(folder: &Path, options: &str) -> kshot::Result<Box<dyn Dataset>> {
    let context = DatasetContext { data_dir: folder.to_path_buf() };
    (registry::dataset("folder")?.open)(&context, &toml::from_str(options).unwrap())
}

fn error(folder: &Path, options: &str) -> String {
    open(folder, options).err().unwrap().to_string()
}

fn set(dataset: &dyn Dataset, split: Split) -> Arc<ClassSet> {
    match dataset.split(split).unwrap() {
        TaskSource::Classes(set) => set,
        _ => panic!("a folder has classes"),
    }
}

#[test]
fn images_of_all_formats_and_sizes_become_one_size_and_belong_to_their_class() {
    let folder = five_classes();
    let dataset = open(folder.path(), "path = 'trees'\nimage-size = 9\nfractions = [1.0, 0.0, 0.0]").unwrap();
    assert_eq!(dataset.input(), [1, 9, 9]);
    let set = set(dataset.as_ref(), Split::Train);
    assert_eq!(set.classes().len(), 5);
    for (class, details) in set.classes().iter().enumerate() {
        assert_eq!(details.images.len(), 3);
        for place in 0..3 {
            let mut image = Vec::new();
            set.push_examples([(class, place)], &mut image);
            assert!(
                image.iter().all(|value| (value * 255.0 - 40.0 * class as f32).abs() < 2.0),
                "{details:?}"
            );
        }
    }
    assert!(set.example_names().contains_key("oak/c.JPG"));
    assert!(dataset.split(Split::Test).err().unwrap().to_string().contains("has no classes"));
}

#[test]
fn rgb_images_have_one_plane_for_each_channel() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("one")).unwrap();
    RgbImage::from_pixel(4, 4, Rgb([255, 102, 51])).save(folder.path().join("one/a.png")).unwrap();
    let dataset =
        open(folder.path(), "path = '.'\nimage-size = 2\ncolour = 'rgb'\nfractions = [0.0, 0.0, 1.0]")
            .unwrap();
    assert_eq!(dataset.input(), [3, 2, 2]);
    let mut image = Vec::new();
    set(dataset.as_ref(), Split::Test).push_examples([(0, 0)], &mut image);
    let planes: Vec<f32> = [1.0, 0.4, 0.2].into_iter().flat_map(|level| [level; 4]).collect();
    assert!(image.iter().zip(planes).all(|(a, b)| (a - b).abs() < 1e-6), "{image:?}");
}

#[test]
fn a_split_file_names_the_classes_of_each_split_and_leaves_out_the_others() {
    let folder = five_classes();
    let file = folder.path().join("split.toml");
    let options = "path = 'trees'\nsplit-file = 'split.toml'";
    fs::write(&file, "train = ['yew', 'ash']\nvalidation = ['elm']\ntest = ['oak']").unwrap();
    let dataset = open(folder.path(), options).unwrap();
    let names = |split| {
        set(dataset.as_ref(), split).classes().iter().map(|class| class.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(Split::Train), ["yew", "ash"]);
    assert_eq!(names(Split::Validation), ["elm"]);
    assert_eq!(names(Split::Test), ["oak"]);

    fs::write(&file, "train = ['brich']").unwrap();
    assert!(
        error(folder.path(), options).contains("did you mean `birch`"),
        "{}",
        error(folder.path(), options)
    );
    fs::write(&file, "train = ['elm']\ntest = ['elm']").unwrap();
    assert!(error(folder.path(), options).contains("names `elm` twice"));
    fs::write(&file, "training = ['elm']").unwrap();
    assert!(error(folder.path(), options).contains("train = ["), "{}", error(folder.path(), options));
}

#[test]
fn what_is_wrong_with_a_folder_is_named() {
    let folder = five_classes();
    assert!(error(folder.path(), "").contains("needs its option `path`"));
    assert!(
        error(folder.path(), "path = 'treees'").contains("treees, but there is no such file or directory")
    );
    assert!(error(folder.path(), "path = 'trees/elm/a.png'").contains("a.png is not a directory"));
    assert!(error(folder.path(), "path = 'trees/elm'").contains("has no classes"));
    assert!(error(folder.path(), "path = 'trees'\nimage-size = 0").contains("must be 1 to 1024"));

    fs::write(folder.path().join("trees/oak/d.png"), "not an image").unwrap();
    let unreadable = error(folder.path(), "path = 'trees'");
    assert!(unreadable.contains("d.png cannot be read as an image"), "{unreadable}");
    fs::create_dir(folder.path().join("trees/fir")).unwrap();
    let empty = error(folder.path(), "path = 'trees'");
    assert!(empty.contains("fir is empty"), "{empty}");
}
