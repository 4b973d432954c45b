//! Bad input is one clear paragraph on stderr and exit code 2; nothing is half-written, nothing panics.

use std::fs;

use super::kshot::{TINY, command, refuse, run, succeed};

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
    refuse(
        &[&["bench", "--shots", "6", "--queries", "15"], TINY].concat(),
        &["class `", "20 examples", "6-shot tasks with 15 queries take 21"],
    );
    refuse(&["bench", "--ways", "0"], &["1 or more"]);
    refuse(&["bench", "--ways", "1"], &["2 `ways` or more"]);
    refuse(&["bench", "--queries", "0"], &["queries"]);
    refuse(&["bench", "--data", "sinusoid", "--learner", "pixels"], &["`pixels` does not fit", "regression"]);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    refuse(&["bench", "--learning-rate", "-1"], &["learning-rate"]);
    refuse(&["bench", "--meta-batch", "0"], &["meta-batch"]);
    refuse(&["train"], &["--learner"]);
    refuse(&["train", "--learner", "pixels"], &["learns nothing"]);
    refuse(&["bench", "--threads", "99999999"], &["threads", "1 to 4096"]);
    refuse(&["bench", "--set", "prototypical.distance=far"], &["`prototypical`", "squared", "`distance`"]);
    refuse(&["train", "/nowhere/experiment.toml"], &["/nowhere/experiment.toml"]);
}

#[test]
fn a_mistake_in_an_experiment_file_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("experiment.toml");
    for (text, words) in [
        ("learner = = 3", &["line 1"][..]),
        ("# a comment\n\nways = \"many\"", &["line 3", "3-8"]),
        ("seed = 1\n[train]\nsteps = \"x\"", &["line 3", "\"x\""]),
        ("train = 3", &["line 1", "[train]"]),
        ("[train]\noptimizer = \"rmsprop\"", &["adamw", "optimizer"]),
    ] {
        fs::write(&file, text).unwrap();
        let ran = refuse(&["train", file.to_str().unwrap(), "--learner", "prototypical"], words);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
}

#[test]
fn a_file_of_settings_that_is_too_deep_or_too_long_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("experiment.toml");
    let deep = 200_000;
    for text in [
        format!("a = {}", "[".repeat(deep)),
        format!("a = {}", "{a=".repeat(deep)),
        format!("{}a = 1", "a.".repeat(deep)),
        format!("[{}a]", "a.".repeat(deep)),
        format!("[[{}a]]", "a.".repeat(deep)),
    ] {
        fs::write(&file, text).unwrap();
        refuse(&["train", file.to_str().unwrap(), "--learner", "prototypical"], &["line 1", "recursion"]);
        refuse(&["run", file.to_str().unwrap()], &["line 1", "recursion"]);
    }
    fs::write(&file, "# long\n".repeat(1_500_000)).unwrap();
    refuse(&["train", file.to_str().unwrap()], &["experiment.toml", "more than the 4194304"]);
    let set = format!("--set=prototypical.distance={}", "[".repeat(50_000));
    refuse(&["bench", &set], &["distance"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_or_a_device_is_refused_and_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let named = |name: &str| {
        let pipe = directory.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        pipe.to_str().unwrap().to_owned()
    };
    refuse(&["train", &named("experiment.toml")], &["experiment.toml: it is a pipe, not a file"]);
    for name in ["x.npz", "x.mat", "x.csv"] {
        let set = format!("--set=arrays.path={}", named(name));
        refuse(&["bench", "--data=arrays", &set, "--learner=pixels"], &[name, "a pipe"]);
    }
    for name in ["trees.zip", "trees.tar.gz", "list.csv"] {
        let set = format!("--set=folder.path={}", named(name));
        refuse(&["bench", "--data=folder", &set, "--learner=pixels"], &[name, "a pipe"]);
    }
    std::os::unix::fs::symlink("/dev/zero", directory.path().join("zero.csv")).unwrap();
    let set = format!("--set=arrays.path={}/zero.csv", directory.path().display());
    refuse(&["bench", "--data=arrays", &set, "--learner=pixels"], &["zero.csv", "a device"]);
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
    let all = "--set=folder.fractions=[0.0, 0.0, 1.0]";
    let folder = ["bench", "--data", "folder", "--set", &set, all, "--learner", "pixels", "--queries", "15"];
    refuse(&folder, &["class `", "3 examples", "1-shot tasks with 15 queries take 16"]);
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
fn an_unwritable_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"in the way").unwrap();
    let below = file.join("run");
    let arguments = ["train", "--learner", "prototypical", "--out", below.to_str().unwrap()];
    refuse(&[&arguments[..], TINY].concat(), &[below.to_str().unwrap()]);
    assert_eq!(fs::read(&file).unwrap(), b"in the way");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_what_was_saved_before_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("run");
    fs::create_dir(&out).unwrap();
    std::os::unix::fs::symlink("/dev/full", out.join("metrics.jsonl")).unwrap();
    // A validation, and so a save, after the first step: before anything else writes out the log.
    let tiny: Vec<&str> = TINY.iter().copied().filter(|flag| !flag.starts_with("--validate-every")).collect();
    let arguments =
        ["train", "--learner", "prototypical", "--validate-every", "1", "--out", out.to_str().unwrap()];
    refuse(&[&arguments[..], &tiny].concat(), &["metrics.jsonl", "No space left"]);
    // The first validation's weights had been saved; nothing temporary is left beside them.
    succeed(&["eval", out.to_str().unwrap(), "--episodes", "10"]);
    let mut names = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.all(|name| !name.to_string_lossy().starts_with('.')));
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_is_full_or_that_nobody_reads_is_no_panic() {
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let status = command(&["learners"]).stdout(full()).status().unwrap();
    assert_eq!(status.code(), Some(2), "a full standard output");
    let status = command(&["bench", "--learner", "none-such"]).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(2), "a full standard error");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command(&["learners"]).stdout(writer).status().unwrap();
    assert_eq!(status.code(), Some(0), "a reader that went away");
}

#[test]
fn a_device_that_this_build_does_not_have_is_refused_before_any_work() {
    refuse(&["bench", "--device", "cuda"], &["--device cuda", "built for the CPU", "--features cuda"]);
    refuse(&["doctor", "--device", "cuda"], &["--device cuda"]);
    assert!(succeed(&["doctor", "--device", "cpu"]).stdout.contains("CPU"));
}
