//! Bad input is one clear paragraph on stderr and exit code 2; nothing is half-written, nothing panics.

use std::fs;

use super::kshot::{TINY, refuse, run};

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    refuse(&["bench", "--learner", "prototypicl"], &["prototypicl", "did you mean `prototypical`"]);
    refuse(&["bench", "--data", "omnoglot"], &["did you mean `omniglot`"]);
    refuse(&["bench", "--set", "prototypical.distanc=cosine"], &["did you mean `distance`"]);
    refuse(&["bench", "--set", "backbone.width=wide"], &["backbone"]);
    refuse(&["bench", "--set", "width"], &["NAME.KEY=VALUE"]);
    let typo = run(&["bnech"]);
    assert_eq!(typo.code, Some(2));
    assert!(typo.stderr.contains("bench"), "{}", typo.stderr);
}

#[test]
fn tasks_that_cannot_be_drawn_say_which_class_or_how_many() {
    refuse(&[&["bench", "--ways", "11"], TINY].concat(), &["11", "10", "ways"]);
    refuse(&[&["bench", "--shots", "6"], TINY].concat(), &["class `", "20 examples", "6 shots + 15 queries"]);
    refuse(&["bench", "--ways", "0"], &["1 or more"]);
    refuse(&["bench", "--queries", "0"], &["queries"]);
    refuse(&["bench", "--data", "sinusoid", "--learner", "pixels"], &["`pixels` does not fit", "regression"]);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    refuse(&["bench", "--learning-rate", "-1"], &["learning-rate"]);
    refuse(&["bench", "--meta-batch", "0"], &["meta-batch"]);
    refuse(&["train"], &["--learner"]);
    refuse(&["train", "--learner", "pixels"], &["learns nothing"]);
    refuse(&["train", "/nowhere/experiment.toml"], &["/nowhere/experiment.toml"]);
}

#[test]
fn a_missing_or_truncated_zip_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let omniglot = ["bench", "--data", "omniglot", "--data-dir", path];
    refuse(&omniglot, &["images_background.zip", "kshot data get omniglot"]);
    fs::write(directory.path().join("images_background.zip"), b"PK\x03\x04 and then nothing").unwrap();
    fs::write(directory.path().join("images_evaluation.zip"), b"PK\x03\x04 and then nothing").unwrap();
    refuse(&omniglot, &["images_background.zip"]);
}

#[test]
fn a_folder_with_a_file_that_is_no_image_or_too_small_a_class_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for class in ["a", "b", "c", "d", "e", "f"] {
        let class = directory.path().join(class);
        fs::create_dir(&class).unwrap();
        for number in 0..3 {
            fs::write(class.join(format!("{number}.pgm")), b"P2 2 2 9 0 1 2 3 ").unwrap();
        }
    }
    let set = format!("folder.path={}", directory.path().display());
    let folder = ["bench", "--data", "folder", "--set", &set, "--ways", "1", "--learner", "pixels"];
    refuse(&folder, &["class `", "3 examples", "1 shots + 15 queries"]);
    fs::write(directory.path().join("c/1.pgm"), b"not an image").unwrap();
    refuse(&folder, &["1.pgm"]);
    refuse(&["bench", "--data", "folder", "--set", "folder.path=/nowhere"], &["/nowhere"]);
}

// That the last good checkpoint is kept is tested in the engine, where a learner can be made to diverge late.
#[test]
fn a_loss_that_is_not_finite_names_step_and_episode_and_leaves_no_checkpoint_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("run");
    let diverging = ["--optimizer", "sgd", "--learning-rate", "1e38", "--out", out.to_str().unwrap()];
    let ran =
        refuse(&[&["train", "--learner", "prototypical"], TINY, &diverging].concat(), &["step", "episode"]);
    assert!(!out.join("best.safetensors").exists(), "{}", ran.stderr);
}

#[test]
fn an_unwritable_directory_and_a_full_disk_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"in the way").unwrap();
    let below = file.join("run");
    let arguments = ["train", "--learner", "prototypical", "--out", below.to_str().unwrap()];
    refuse(&[&arguments[..], TINY].concat(), &[below.to_str().unwrap()]);
    assert_eq!(fs::read(&file).unwrap(), b"in the way");
}
