//! Image folders, made up in a temporary directory.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use image::{GrayAlphaImage, GrayImage, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};
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
}

#[test]
fn directories_without_an_image_are_left_out_and_named() {
    let folder = five_classes();
    for name in ["fir", "__MACOSX"] {
        fs::create_dir(folder.path().join("trees").join(name)).unwrap();
    }
    let dataset = open(folder.path(), "path = 'trees'\nfractions = [1.0, 0.0, 0.0]").unwrap();
    assert_eq!(set(dataset.as_ref(), Split::Train).classes().len(), 5);
    let [note] = dataset.notes() else { panic!("one note") };
    assert!(note.ends_with("as no image is in them: `fir`"), "{note}");
}

#[test]
fn images_below_a_class_are_of_it_and_names_are_composed() {
    let folder = tempfile::tempdir().unwrap();
    let image = |path: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        GrayImage::from_pixel(4, 4, Luma([9])).save(path).unwrap();
    };
    // e and a combining accent, as one system writes the letter that others write as one.
    image("cafe\u{301}/images/0.png");
    image("cafe\u{301}/1.png");
    image("th\u{e9}/images/a/b/0.png");
    fs::write(folder.path().join("split.toml"), "train = ['caf\u{e9}']\ntest = ['the\u{301}']").unwrap();
    let dataset = open(folder.path(), "path = '.'\nsplit-file = 'split.toml'").unwrap();
    let train = set(dataset.as_ref(), Split::Train);
    assert_eq!((train.classes()[0].name.as_str(), train.classes()[0].images.len()), ("caf\u{e9}", 2));
    let names = set(dataset.as_ref(), Split::Test).example_names();
    assert!(names.contains_key("th\u{e9}/images/a/b/0.png"), "{names:?}");
}

#[cfg(unix)]
#[test]
fn a_directory_whose_name_is_not_utf8_is_a_class() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempfile::tempdir().unwrap();
    for name in [&b"a\xff"[..], b"b"] {
        let class = folder.path().join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir(&class).unwrap();
        GrayImage::from_pixel(4, 4, Luma([9])).save(class.join("0.png")).unwrap();
    }
    let dataset = open(folder.path(), "path = '.'\nfractions = [0.0, 0.0, 1.0]").unwrap();
    assert_eq!(set(dataset.as_ref(), Split::Test).classes().len(), 2);
}

#[test]
fn a_division_by_directories_is_followed_and_a_class_in_two_of_them_refused() {
    let folder = tempfile::tempdir().unwrap();
    let class = |path: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(&path).unwrap();
        GrayImage::from_pixel(4, 4, Luma([9])).save(path.join("0.png")).unwrap();
    };
    ["train/a", "train/b", "valid/c", "test/d"].into_iter().for_each(class);
    let dataset = open(folder.path(), "path = '.'").unwrap();
    let count = |split| set(dataset.as_ref(), split).classes().len();
    assert_eq!([Split::Train, Split::Validation, Split::Test].map(count), [2, 1, 1]);
    assert!(dataset.notes()[0].contains("2 + 1 + 1 classes"));
    class("test/a");
    let twice = error(folder.path(), "path = '.'");
    assert!(twice.contains("the class `a` is both in test and in train"), "{twice}");
}

#[test]
fn what_is_transparent_shows_the_background_and_drawings_that_vanish_on_it_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (class, at) in [("left", 0), ("right", 4)] {
        fs::create_dir(folder.path().join(class)).unwrap();
        // White everywhere, opaque in one half.
        let alpha = |x: u32| if (at..at + 4).contains(&x) { 255 } else { 0 };
        let drawing = RgbaImage::from_fn(8, 8, |x, _| Rgba([255, 255, 255, alpha(x)]));
        drawing.save(folder.path().join(class).join("rgba.png")).unwrap();
        let grey = GrayAlphaImage::from_fn(8, 8, |x, _| LumaA([255, alpha(x)]));
        grey.save(folder.path().join(class).join("grey.png")).unwrap();
    }
    let options = "path = '.'\nimage-size = 8\nfractions = [0.0, 0.0, 1.0]\n";
    let vanished = error(folder.path(), options);
    assert!(vanished.contains("4 of the 4 images") && vanished.contains("`background`"), "{vanished}");
    for colour in ["grey", "rgb"] {
        let dataset =
            open(folder.path(), &format!("{options}background = 'black'\ncolour = '{colour}'")).unwrap();
        let set = set(dataset.as_ref(), Split::Test);
        for (class, lit) in [(0, 0..4), (1, 4..8)] {
            for place in 0..2 {
                let mut image = Vec::new();
                set.push_examples([(class, place)], &mut image);
                let right =
                    |(at, value): (usize, &f32)| *value == f32::from(u8::from(lit.contains(&(at % 8))));
                assert!(image.iter().enumerate().all(right), "{class} {place} {colour}: {image:?}");
            }
        }
    }
}
