//! Omniglot, the real one; skipped where it is absent.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use kshot::dataset::{ClassSet, Dataset, DatasetContext, Split, TaskSource};
use kshot::registry;
use kshot_datasets as _; // registers the datasets

/// Opens Omniglot in `data_dir` with options written as TOML.
fn open(data_dir: &Path, options: &str) -> kshot::Result<Box<dyn Dataset>> {
    let context = DatasetContext::at(data_dir);
    (registry::dataset("omniglot")?.open)(&context, &toml::from_str(options).unwrap())
}

fn set(dataset: &dyn Dataset, split: Split) -> Arc<ClassSet> {
    match dataset.split(split).unwrap() {
        TaskSource::Classes(set) => set,
        _ => panic!("Omniglot has classes"),
    }
}

/// Characters (not counting rotations) of each split.
fn characters(dataset: &dyn Dataset) -> [HashSet<String>; 3] {
    [Split::Train, Split::Validation, Split::Test].map(|split| {
        let set = set(dataset, split);
        set.classes().iter().map(|class| class.name.split("/rot").next().unwrap().to_owned()).collect()
    })
}

#[test]
fn vinyals_splits_are_the_published_lists_with_four_rotations_of_20_drawings_each() {
    let Some(data) = common::data("omniglot") else { return };
    let start = Instant::now();
    let dataset = open(&data, "").unwrap();
    println!("omniglot opened in {:?}", start.elapsed());
    assert_eq!(dataset.input(), [1, 28, 28]);
    for (split, file) in [(Split::Train, "train"), (Split::Validation, "val"), (Split::Test, "test")] {
        let set = set(dataset.as_ref(), split);
        assert!(set.classes().iter().all(|class| class.images.len() == 20));
        let Some(lists) = common::data("splits") else { continue };
        let list = lists.join(format!("splits/protonets-omniglot-vinyals/{file}.txt"));
        let listed = fs::read_to_string(list).unwrap();
        assert!(set.classes().iter().map(|class| class.name.as_str()).eq(listed.lines()), "{split:?}");
    }
    assert_eq!(characters(dataset.as_ref()).map(|names| names.len()), [1028, 172, 423]);
}

#[test]
fn lake_keeps_the_evaluation_alphabets_for_the_test_and_shares_no_alphabet_between_splits() {
    let Some(data) = common::data("omniglot") else { return };
    let dataset = open(&data, "split = 'lake'\nrotations = false\nimage-size = 7").unwrap();
    let characters = characters(dataset.as_ref());
    let counts = [0, 1, 2].map(|i| characters[i].len());
    println!("lake: {counts:?} characters");
    assert_eq!((counts[0] + counts[1], counts[2]), (964, 659));
    let alphabets = characters
        .map(|names| names.iter().map(|n| n.split('/').next().unwrap().to_owned()).collect::<HashSet<_>>());
    assert_eq!([0, 1, 2].map(|i| alphabets[i].len()), [25, 5, 20]);
    assert!(alphabets[0].is_disjoint(&alphabets[1]) && alphabets[2].is_disjoint(&alphabets[0]));
}

#[test]
fn pixels_score_what_is_known_of_omniglot_and_the_same_bits_come_from_any_number_of_threads() {
    let Some(data) = common::data("omniglot") else { return };
    let open_on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let start = Instant::now();
        let dataset = pool.install(|| open(&data, "")).unwrap();
        println!("omniglot opened in {:?} on {threads} threads", start.elapsed());
        dataset
    };
    let (one, two) = (open_on(1), open_on(2));
    let accuracy = common::pixel_nearest_neighbour(two.as_ref());
    println!("omniglot: pixel 1-NN {accuracy:.1} %");
    assert!((42.0..=45.5).contains(&accuracy), "{accuracy:.1} %");
    let image = |dataset: &dyn Dataset, class| {
        let mut image = Vec::new();
        set(dataset, Split::Train).push_examples([(class, 11)], &mut image).unwrap();
        image
    };
    for class in (0..4112).step_by(97) {
        assert_eq!(image(one.as_ref(), class), image(two.as_ref(), class));
    }
}

#[test]
fn an_extracted_folder_reads_as_the_zip_does_and_its_faults_are_named() {
    let Some(data) = common::data("omniglot") else { return };
    let folder = tempfile::tempdir().unwrap();
    for part in ["images_background", "images_evaluation"] {
        let zip = fs::File::open(data.join("omniglot").join(format!("{part}.zip"))).unwrap();
        zip::ZipArchive::new(zip).unwrap().extract(folder.path()).unwrap();
    }
    let (zipped, extracted) = (open(&data, "").unwrap(), open(folder.path(), "").unwrap());
    let (zipped, extracted) = (set(zipped.as_ref(), Split::Test), set(extracted.as_ref(), Split::Test));
    assert_eq!(zipped.classes(), extracted.classes());
    assert_eq!(zipped.example_names(), extracted.example_names());
    let image = |set: &ClassSet| {
        let mut image = Vec::new();
        set.push_examples([(1001, 7)], &mut image).unwrap();
        image
    };
    assert_eq!(image(&zipped), image(&extracted));

    let error = || open(folder.path(), "").err().unwrap().to_string();
    let character = folder.path().join("images_background/Greek/character03");
    let mut files: Vec<PathBuf> =
        fs::read_dir(&character).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    fs::write(&files[4], "a shopping list").unwrap();
    let message = error();
    assert!(
        message.contains("Greek/character03/0394_05.png") || message.contains("Greek/character03/"),
        "{message}"
    );
    assert!(message.contains("is not a drawing of Omniglot"), "{message}");
    fs::remove_file(&files[4]).unwrap();
    assert!(error().contains("19 drawings of Greek/character03, but there should be 20"), "{}", error());
    fs::remove_dir_all(&character).unwrap();
    assert!(error().contains("963 characters, but there should be 964"), "{}", error());
}

#[test]
fn a_missing_or_truncated_zip_is_one_clear_paragraph() {
    let folder = tempfile::tempdir().unwrap();
    let error = || open(folder.path(), "").err().unwrap().to_string();
    let missing = error();
    assert!(
        missing.contains("images_background.zip was not found")
            && missing.contains("kshot data get omniglot")
    );
    assert!(
        missing.contains("--data-dir") && missing.contains(&folder.path().display().to_string()),
        "{missing}"
    );

    fs::write(folder.path().join("images_evaluation.zip"), "").unwrap();
    let zip = match common::data("omniglot") {
        Some(data) => fs::read(data.join("omniglot/images_background.zip")).unwrap(),
        None => b"PK\x03\x04 and nothing after".to_vec(),
    };
    fs::write(folder.path().join("images_background.zip"), &zip[..zip.len() / 2]).unwrap();
    let truncated = error();
    assert!(truncated.contains("images_background.zip is not a whole zip file"), "{truncated}");
}

#[test]
fn an_impossible_image_size_and_an_unknown_split_are_refused() {
    let error = |options| open(Path::new("."), options).err().unwrap().to_string();
    assert!(error("image-size = 0").contains("must be 1 to 105"));
    assert!(error("split = 'snell'").contains("vinyals"), "{}", error("split = 'snell'"));
    assert!(error("rotation = true").contains("did you mean `rotations`"));
}

#[cfg(feature = "download")]
#[test]
fn the_zips_pass_the_check_of_a_download_and_open_from_where_it_puts_them() {
    let Some(data) = common::data("omniglot") else { return };
    let folder = tempfile::tempdir().unwrap();
    let from = data.join("omniglot");
    let get = || kshot_datasets::download::fetch("omniglot", folder.path(), Some(&from), None, &mut |_| {});
    assert!(get().unwrap().iter().all(|file| !file.was_there));
    assert!(get().unwrap().iter().all(|file| file.was_there));
    assert!(open(folder.path(), "image-size = 5").is_ok());
}
