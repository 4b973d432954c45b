//! Images kept decoded on disk: the same bits as from memory, found again by source and options, and never believed blindly.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use image::{Rgb, RgbImage};
use kshot::dataset::{Dataset, DatasetContext, Split, TaskSource};
use kshot::episode::{Count, Episode, TaskSpec};
use kshot::registry::{self, Prepared};
use kshot::{Error, Result};
use kshot_datasets::stores::{kept, remove};
use tempfile::TempDir;

/// Five classes of six images of noise in two sizes, in `trees`; room for a cache beside it.
fn trees() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut state = 1u32;
    for class in ["ash", "birch", "elm", "oak", "yew"] {
        let directory = folder.path().join("trees").join(class);
        fs::create_dir_all(&directory).unwrap();
        for number in 0..6 {
            let mut noise = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            let side = 8 + 4 * (number % 2);
            let image = RgbImage::from_fn(side, 8, |_, _| Rgb([noise(), noise(), noise()]));
            image.save(directory.join(format!("{number}.png"))).unwrap();
        }
    }
    folder
}

const TREES: &str = "path = 'trees'\nimage-size = 6\ncolour = 'rgb'\nfractions = [0.4, 0.2, 0.4]";

fn context(folder: &Path) -> DatasetContext {
    DatasetContext { cache_dir: Some(folder.join("cache")), ..DatasetContext::at(folder) }
}

fn open(context: &DatasetContext, options: &str) -> Result<Box<dyn Dataset>> {
    (registry::dataset("folder")?.open)(context, &toml::from_str(options).unwrap())
}

fn prepare(context: &DatasetContext, options: &str) -> Result<Prepared> {
    let prepare = registry::dataset("folder")?.prepare.unwrap();
    prepare(context, &toml::from_str(options).unwrap(), &AtomicBool::new(false))
}

/// The tasks of all splits that have any.
fn tasks(dataset: &dyn Dataset) -> Vec<Episode> {
    let spec = TaskSpec::FewShot { ways: Count::fixed(2), shots: Count::fixed(1), queries: 2 };
    let mut episodes = Vec::new();
    for split in [Split::Train, Split::Test] {
        let source = dataset.split(split).unwrap();
        let tasks = spec.open(&source, split, 7).unwrap();
        episodes.extend((0..4).map(|index| tasks.episode(index).unwrap()));
    }
    episodes
}

fn store_of(folder: &Path) -> PathBuf {
    let stores = kept(&folder.join("cache")).unwrap();
    assert_eq!(stores.len(), 1);
    stores[0].path.clone()
}

#[test]
fn tasks_from_a_store_are_those_from_memory_bit_for_bit_however_classes_are_divided() {
    let folder = trees();
    let context = context(folder.path());
    let divisions = [
        TREES.to_owned(),
        format!("{TREES}\nseed = 5\nnormalise = 'imagenet'"),
        TREES.replace("[0.4, 0.2, 0.4]", "[0.6, 0.0, 0.4]"),
    ];
    let from_memory: Vec<_> =
        divisions.iter().map(|options| tasks(open(&context, options).unwrap().as_ref())).collect();
    let made = prepare(&context, TREES).unwrap();
    assert!(!made.was_there && made.path.is_file());
    assert_eq!((made.description.images, made.description.shape), (30, [3, 6, 6]));
    assert!(prepare(&context, TREES).unwrap().was_there);
    for (options, expected) in divisions.iter().zip(from_memory) {
        let dataset = open(&context, options).unwrap();
        let TaskSource::Classes(set) = dataset.split(Split::Train).unwrap() else { panic!("classes") };
        assert!(format!("{set:?}").contains("Stored"));
        assert_eq!(tasks(dataset.as_ref()), expected);
    }
    // What makes other bytes is another store.
    let other = open(&context, &TREES.replace("= 6", "= 5")).unwrap();
    assert_eq!(other.input(), [3, 5, 5]);
    for options in ["invert = true", "resize = 'fit'", "background = 'black'"] {
        assert!(!prepare(&context, &format!("{TREES}\n{options}")).unwrap().was_there, "{options}");
    }
    assert_eq!(kept(&folder.path().join("cache")).unwrap().len(), 4);
}

#[test]
fn a_list_and_a_zip_are_prepared_as_the_directory_is() {
    let folder = trees();
    let context = context(folder.path());
    let mut list = "path,label,split,group\n".to_owned();
    let mut zip = zip::ZipWriter::new(fs::File::create(folder.path().join("trees.zip")).unwrap());
    for (number, class) in ["ash", "birch", "elm", "oak", "yew"].iter().enumerate() {
        for image in 0..6 {
            let split = ["train", "train", "val", "test", "test"][number];
            list += &format!("trees/{class}/{image}.png,{class},{split},g{image}\n");
            zip.start_file(format!("{class}/{image}.png"), zip::write::SimpleFileOptions::default()).unwrap();
            let bytes = fs::read(folder.path().join(format!("trees/{class}/{image}.png"))).unwrap();
            std::io::Write::write_all(&mut zip, &bytes).unwrap();
        }
    }
    zip.finish().unwrap();
    fs::write(folder.path().join("list.csv"), list).unwrap();
    for path in ["list.csv", "trees.zip"] {
        let options = TREES.replace("'trees'", &format!("'{path}'"));
        let before = tasks(open(&context, &options).unwrap().as_ref());
        assert!(!prepare(&context, &options).unwrap().was_there);
        let dataset = open(&context, &options).unwrap();
        assert!(dataset.notes().iter().all(|note| !note.contains("store")), "{:?}", dataset.notes());
        assert_eq!(tasks(dataset.as_ref()), before, "{path}");
    }
}

#[test]
fn stores_are_joined_without_being_read_into_memory() {
    let folder = trees();
    let context = context(folder.path());
    let grey = TREES.replace("'rgb'", "'grey'");
    let joined = |one: &str, other: &str| {
        let all = [("a", open(&context, one).unwrap()), ("b", open(&context, other).unwrap())];
        tasks(kshot_datasets::joined(&all).unwrap().as_ref())
    };
    let before = joined(TREES, &grey);
    prepare(&context, TREES).unwrap();
    assert_eq!(joined(TREES, &grey), before);
    prepare(&context, &grey).unwrap();
    assert_eq!(joined(TREES, &grey), before);
}

#[test]
fn a_source_that_changed_is_read_anew_and_said_so() {
    let folder = trees();
    let context = context(folder.path());
    prepare(&context, TREES).unwrap();
    let image = folder.path().join("trees/elm/3.png");
    let old = fs::metadata(&image).unwrap().modified().unwrap();
    // Of the same length, a moment later: only the time tells.
    let touch = fs::File::options().write(true).open(&image).unwrap();
    touch.set_modified(old + std::time::Duration::from_nanos(1)).unwrap();
    let dataset = open(&context, TREES).unwrap();
    let note = dataset.notes().iter().find(|note| note.contains("are not as they were")).unwrap();
    assert!(note.contains("trees") && note.contains("kshot data prepare folder"), "{note}");
    tasks(dataset.as_ref());
    assert!(!prepare(&context, TREES).unwrap().was_there);
    assert!(!open(&context, TREES).unwrap().notes().iter().any(|note| note.contains("are not as they were")));
    fs::remove_file(&image).unwrap();
    assert!(open(&context, TREES).unwrap().notes().iter().any(|note| note.contains("are not as they were")));
    assert_eq!(prepare(&context, TREES).unwrap().description.images, 29);
    assert_eq!(kept(&folder.path().join("cache")).unwrap().len(), 1, "the new one is in place of the old");
}

#[test]
fn a_damaged_store_is_an_error_that_says_what_to_do_and_is_replaced() {
    let folder = trees();
    let context = context(folder.path());
    prepare(&context, TREES).unwrap();
    let store = store_of(folder.path());
    let dataset = open(&context, TREES).unwrap();
    let length = fs::metadata(&store).unwrap().len();
    fs::File::options().write(true).open(&store).unwrap().set_len(length / 2).unwrap();
    let error = open(&context, TREES).err().unwrap().to_string();
    assert!(error.contains(store.to_str().unwrap()) && error.contains("kshot data prepare"), "{error}");
    assert!(kept(&folder.path().join("cache")).unwrap()[0].description.is_err());
    // What had it open says so too.
    let source = dataset.split(Split::Test).unwrap();
    let spec = TaskSpec::FewShot { ways: Count::fixed(2), shots: Count::fixed(1), queries: 2 };
    let tasks = spec.open(&source, Split::Test, 7).unwrap();
    let errors: Vec<String> =
        (0..20).filter_map(|index| tasks.episode(index).err()).map(|error| error.to_string()).collect();
    assert!(errors.iter().any(|error| error.contains(store.to_str().unwrap())), "{errors:?}");
    assert!(!prepare(&context, TREES).unwrap().was_there);
    open(&context, TREES).unwrap();
}

#[test]
fn an_image_that_is_none_is_named_and_nothing_is_kept() {
    let folder = trees();
    let context = context(folder.path());
    fs::write(folder.path().join("trees/oak/2.png"), b"no image").unwrap();
    let error = prepare(&context, TREES).err().unwrap().to_string();
    assert!(error.contains("2.png"), "{error}");
    let stores = kept(&folder.path().join("cache")).unwrap();
    assert!(stores.iter().all(|store| store.description.is_err() && store.bytes == 0));
}

#[test]
fn one_that_is_stopped_leaves_nothing_and_what_was_killed_is_cleared_away() {
    let folder = trees();
    let context = context(folder.path());
    let prepare_until = |stop: bool| {
        let prepare = registry::dataset("folder").unwrap().prepare.unwrap();
        prepare(&context, &toml::from_str(TREES).unwrap(), &AtomicBool::new(stop))
    };
    let error = prepare_until(true).err().unwrap();
    assert!(matches!(&error, Error::Interrupted(_)), "{error}");
    let cache = folder.path().join("cache");
    let begun = kept(&cache).unwrap();
    assert!(begun[0].description.is_err() && begun[0].bytes == 0);
    let left = begun[0].path.with_file_name(".kshot-killed");
    fs::write(&left, b"half of it").unwrap();
    assert!(!prepare_until(false).unwrap().was_there);
    assert!(!left.exists());
    let name = kept(&cache).unwrap()[0].name.clone();
    assert!(remove(&cache, "folder-none").unwrap_err().to_string().contains(&name));
    remove(&cache, &name).unwrap();
    assert!(kept(&cache).unwrap().is_empty());
}

#[test]
fn several_that_prepare_the_same_at_once_end_well() {
    let folder = trees();
    let context = context(folder.path());
    let made: Vec<bool> = std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..4).map(|_| scope.spawn(|| prepare(&context, TREES).unwrap().was_there)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|&&was_there| !was_there).count(), 1, "one writes, the others wait");
    open(&context, TREES).unwrap();
}

#[test]
fn features_and_what_has_no_cache_are_refused() {
    let folder = trees();
    let without = DatasetContext::at(folder.path());
    assert!(prepare(&without, TREES).err().unwrap().to_string().contains("KSHOT_CACHE"));
    fs::write(folder.path().join("e.onnx"), b"").unwrap();
    let error = prepare(
        &context(folder.path()),
        &format!("{TREES}\nencoder = 'e.onnx'").replace("image-size = 6\n", ""),
    );
    assert!(error.err().unwrap().to_string().contains("kept in the cache as they are made"));
    let in_the_way = folder.path().join("file");
    fs::write(&in_the_way, b"").unwrap();
    let context =
        DatasetContext { cache_dir: Some(in_the_way.join("cache")), ..DatasetContext::at(folder.path()) };
    let error = prepare(&context, TREES).err().unwrap().to_string();
    assert!(error.contains("preparing the store") && error.contains("file/cache"), "{error}");
    // Opened from memory all the same.
    open(&context, TREES).unwrap();
}
