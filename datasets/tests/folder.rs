//! Image folders, made up in a temporary directory.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use image::{GrayAlphaImage, GrayImage, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};
use kshot::dataset::{ClassSet, Dataset, DatasetContext, Split, TaskSource};
use kshot::episode::{Count, FewShot, Manifest, Shift, TaskSpec};
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
    let context = DatasetContext::at(folder);
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
            set.push_examples([(class, place)], &mut image).unwrap();
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
    set(dataset.as_ref(), Split::Test).push_examples([(0, 0)], &mut image).unwrap();
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
    assert!(twice.contains("the class `a`") && twice.contains("`d` is in test only"), "{twice}");
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
                set.push_examples([(class, place)], &mut image).unwrap();
                let right =
                    |(at, value): (usize, &f32)| *value == f32::from(u8::from(lit.contains(&(at % 8))));
                assert!(image.iter().enumerate().all(right), "{class} {place} {colour}: {image:?}");
            }
        }
    }
}

/// The values of the example at `place` of class 0 of the test split.
fn values(dataset: &dyn Dataset, place: usize) -> Vec<f32> {
    let mut values = Vec::new();
    set(dataset, Split::Test).push_examples([(0, place)], &mut values).unwrap();
    values
}

#[test]
fn what_is_not_square_is_stretched_fitted_in_or_cut() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("one")).unwrap();
    // 16 × 8: black in the middle half, white at both ends.
    let bar = |x| if (4..12).contains(&x) { 0 } else { 255 };
    GrayImage::from_fn(16, 8, |x, _| Luma([bar(x)])).save(folder.path().join("one/a.png")).unwrap();
    let with = |options: &str| {
        let all = format!("path = '.'\nimage-size = 8\nfractions = [0.0, 0.0, 1.0]\n{options}");
        values(open(folder.path(), &all).unwrap().as_ref(), 0)
    };
    let (stretched, cut) = (with(""), with("resize = 'crop'"));
    for y in 0..8 {
        assert_eq!((stretched[8 * y], stretched[8 * y + 3], stretched[8 * y + 7]), (1.0, 0.0, 1.0));
        assert!(cut[8 * y..8 * y + 8].iter().all(|&value| value == 0.0), "{cut:?}");
    }
    // 8 × 4 in the middle, the background above and below.
    let fitted = with("resize = 'fit'\nbackground = '#333333'");
    for (at, value) in fitted.iter().enumerate() {
        match at / 8 {
            0 | 1 | 6 | 7 => assert!((value - 0.2).abs() < 1e-6, "{fitted:?}"),
            _ if at % 8 == 3 => assert_eq!(*value, 0.0),
            _ => {}
        }
    }
    let inverted = with("resize = 'crop'\ninvert = true");
    assert!(inverted.iter().all(|&value| value == 1.0));
    let normalised = with("resize = 'crop'\nnormalise = '0.5,0,0/0.25,1,1'");
    assert!(normalised.iter().all(|&value| value == -2.0), "{normalised:?}");
    let wrong = error(folder.path(), "path = '.'\nbackground = 'green'");
    assert!(wrong.contains("`white`, `black` or `#rrggbb`"), "{wrong}");
    let wrong = error(folder.path(), "path = '.'\nnormalise = '1,2'");
    assert!(wrong.contains("three means and three deviations"), "{wrong}");
}

#[test]
fn a_zip_and_a_tar_hold_what_the_directory_does() {
    let folder = five_classes();
    let all = |path: &str, cache: Option<&Path>| {
        let context =
            DatasetContext { cache_dir: cache.map(Path::to_path_buf), ..DatasetContext::at(folder.path()) };
        let options =
            toml::from_str(&format!("path = '{path}'\nimage-size = 9\nfractions = [0.0, 0.0, 1.0]")).unwrap();
        let dataset = (registry::dataset("folder").unwrap().open)(&context, &options).unwrap();
        let set = set(dataset.as_ref(), Split::Test);
        let mut values = Vec::new();
        let counts = set.classes().iter().map(|class| class.images.len());
        set.push_examples(
            counts.enumerate().flat_map(|(c, n)| (0..n).map(move |place| (c, place))),
            &mut values,
        )
        .unwrap();
        let mut names: Vec<String> = set.example_names().into_keys().collect();
        names.sort();
        (names, values)
    };
    let expected = all("trees", None);
    let files: Vec<_> =
        expected.0.iter().map(|name| (name, folder.path().join("trees").join(name))).collect();
    let mut zip = zip::ZipWriter::new(fs::File::create(folder.path().join("trees.zip")).unwrap());
    let compressed = flate2::write::GzEncoder::new(
        fs::File::create(folder.path().join("trees.tar.gz")).unwrap(),
        flate2::Compression::fast(),
    );
    let mut tar = tar::Builder::new(compressed);
    for (name, file) in &files {
        let inside = format!("upper/trees/{name}");
        zip.start_file(inside.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&fs::read(file).unwrap()).unwrap();
        tar.append_path_with_name(file, inside).unwrap();
    }
    zip.finish().unwrap();
    tar.into_inner().unwrap().finish().unwrap();
    let cache = tempfile::tempdir().unwrap();
    for archive in ["trees.zip", "trees.tar.gz"] {
        assert_eq!(all(archive, None), expected, "{archive}");
        assert_eq!(all(archive, Some(cache.path())), expected, "{archive}");
        assert_eq!(all(archive, Some(cache.path())), expected, "{archive}, again");
    }
    assert_eq!(fs::read_dir(cache.path().join("unpacked")).unwrap().count(), 2);
    fs::write(folder.path().join("broken.zip"), "no zip").unwrap();
    assert!(error(folder.path(), "path = 'broken.zip'").contains("broken.zip"));
}

#[test]
fn a_list_names_images_their_labels_splits_and_groups() {
    let folder = five_classes();
    let list = |text: &str| fs::write(folder.path().join("trees/list.csv"), text).unwrap();
    let options = "path = 'trees/list.csv'\nimage-size = 9";
    list(
        "path,label,split\nash/a.png,dark,train\nbirch/a.png,dark,train\nelm/a.png,mid,val\noak/a.png,light,test\n",
    );
    let dataset = open(folder.path(), options).unwrap();
    let count =
        |split| set(dataset.as_ref(), split).classes().iter().map(|c| c.images.len()).collect::<Vec<_>>();
    assert_eq!([Split::Train, Split::Validation, Split::Test].map(count), [vec![2], vec![1], vec![1]]);
    assert!(set(dataset.as_ref(), Split::Train).example_names().contains_key("dark/ash/a.png"));

    // Without a split, classes are divided; of four patients, none is on both sides of a task.
    let mut text = "group,path,label\n".to_owned();
    for (number, class) in ["ash", "birch", "elm", "oak"].iter().enumerate() {
        for (place, image) in ["a.png", "b.pgm", "c.JPG"].iter().enumerate() {
            text += &format!("p{place},{class}/{image},{}\n", if number < 2 { "ill" } else { "well" });
        }
    }
    list(&text);
    let dataset = open(folder.path(), &format!("{options}\nfractions = [0.0, 0.0, 1.0]")).unwrap();
    let spec = TaskSpec::FewShot { ways: Count::fixed(2), shots: Count::fixed(1), queries: 2 };
    let source = dataset.split(Split::Test).unwrap();
    let tasks = spec.open(&source, Split::Test, 0).unwrap();
    let file = folder.path().join("tasks.json");
    let TaskSource::Classes(classes) = source else { panic!("classes") };
    let few = FewShot::new(classes, Count::fixed(2), Count::fixed(1), 2, Split::Test, 0).unwrap();
    Manifest::write(&file, &few, 50).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for (number, episode) in json["episodes"].as_array().unwrap().iter().enumerate() {
        let patients = |side: &str| -> HashSet<String> {
            let examples = episode[side].as_array().unwrap();
            let of = |example: &serde_json::Value| {
                let name = example["file"].as_str().unwrap().split_once('/').unwrap().1.to_owned();
                let line = text.lines().find(|line| line.contains(&format!(",{name},"))).unwrap();
                line.split(',').next().unwrap().to_owned()
            };
            examples.iter().map(of).collect()
        };
        assert!(patients("support").is_disjoint(&patients("query")), "episode {number}");
        let episode = tasks.episode(number as u64).unwrap();
        assert_eq!((episode.support.len(), episode.query.len()), (2, 4));
    }

    let cases = [
        ("file,label\na,b\n", "must have `path` and `label`"),
        ("path,label\nash/a.png,\n", "line 2: the label is empty"),
        ("path,label\nash/a.png,x\nash/z.png,y\n", "line 3: there is no file"),
        ("path,label\nash/a.png,x\nash/a.png,y\n", "line 3: `ash/a.png` is also in line 2"),
        ("path,label,split\nash/a.png,x,tset\n", "`tset` is no split"),
        ("path,label,group\nash/a.png,x,\n", "the group is empty"),
        ("path,label\n", "lists no image"),
    ];
    for (text, expected) in cases {
        list(text);
        let why = error(folder.path(), options);
        assert!(why.contains(expected), "{expected}: {why}");
    }
}

#[test]
fn the_same_classes_in_training_and_test_are_two_sides() {
    let folder = tempfile::tempdir().unwrap();
    for (path, count) in [("train/ok", 6), ("train/bad", 4), ("val/ok", 2), ("test/ok", 3), ("test/bad", 2)] {
        let directory = folder.path().join("parts").join(path);
        fs::create_dir_all(&directory).unwrap();
        let level = if path.starts_with("test") { 200 } else { 100 };
        for number in 0..count {
            GrayImage::from_pixel(4, 4, Luma([level])).save(directory.join(format!("{number}.png"))).unwrap();
        }
    }
    let dataset = open(folder.path(), "path = 'parts'\nimage-size = 4").unwrap();
    let source = dataset.split(Split::Test).unwrap();
    let TaskSource::Domains(domains) = &source else { panic!("sides of a domain") };
    let [domain] = domains.domains() else { panic!("one domain") };
    let counts =
        |set: &ClassSet| set.classes().iter().map(|c| (c.name.clone(), c.images.len())).collect::<Vec<_>>();
    assert_eq!(domain.name, "parts");
    assert_eq!(counts(&domain.train), [("bad".to_owned(), 4), ("ok".to_owned(), 8)]);
    assert_eq!(counts(&domain.test), [("bad".to_owned(), 2), ("ok".to_owned(), 3)]);
    let shift = Shift { ways: None, shots: Some(Count::fixed(3)), target_shots: 0, queries: Some(2) };
    let task = TaskSpec::DomainShift { source: "parts".to_owned(), target: "parts".to_owned(), shift };
    let episode = task.open(&source, Split::Test, 0).unwrap().episode(0).unwrap();
    assert!(episode.support.inputs().iter().all(|&value| (value - 100.0 / 255.0).abs() < 1e-6));
    assert!(episode.query.inputs().iter().all(|&value| (value - 200.0 / 255.0).abs() < 1e-6));
    assert_eq!((episode.support.len(), episode.query.len()), (6, 4));
    assert!(dataset.notes().iter().any(|note| note.contains("validation")), "{:?}", dataset.notes());
}
