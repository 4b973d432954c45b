//! `kshot train` and `kshot eval`: determinism, resuming, experiment files.

use std::fs;
use std::path::Path;

use super::kshot::{TINY, command, refuse, succeed};

fn train(out: &Path, more: &[&str]) {
    let arguments = ["train", "--learner", "prototypical", "--out", out.to_str().unwrap()];
    succeed(&[&arguments[..], TINY, more].concat());
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_one_thread_and_on_two_and_another_seed_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[&str]| {
        let out = directory.path().join(name);
        train(&out, &[more, &["--meta-batch", "2"]].concat());
        (fs::read(out.join("metrics.jsonl")).unwrap(), fs::read(out.join("best.safetensors")).unwrap())
    };
    let one = run("one", &["--threads", "1"]);
    assert!(!one.0.is_empty());
    assert!(one == run("two", &["--threads", "2"]), "two threads");
    assert!(one == run("again", &["--threads", "2"]), "a second run");
    assert!(one.0 != run("other", &["--threads", "2", "--seed", "1"]).0, "another seed");
}

#[test]
fn a_resumed_run_ends_where_an_uninterrupted_one_does() {
    let directory = tempfile::tempdir().unwrap();
    let (whole, parts) = (directory.path().join("whole"), directory.path().join("parts"));
    train(&whole, &[]);
    let tiny: Vec<&str> = TINY.iter().copied().filter(|flag| !flag.starts_with("--steps")).collect();
    let arguments = ["train", "--learner", "prototypical", "--out", parts.to_str().unwrap()];
    // As a queue gives it: the same command from the first time on. It was killed when it had its first weights only.
    fs::create_dir(&parts).unwrap();
    fs::write(parts.join("best.safetensors"), "half").unwrap();
    succeed(&[&arguments[..], &tiny, &["--steps", "10", "--resume"]].concat());
    succeed(&[&arguments[..], &tiny, &["--steps", "20", "--resume"]].concat());
    for file in ["metrics.jsonl", "last.safetensors"] {
        assert!(fs::read(whole.join(file)).unwrap() == fs::read(parts.join(file)).unwrap(), "{file} differs");
    }
}

#[test]
fn an_experiment_file_says_the_same_as_flags_and_its_checkpoint_can_be_evaluated() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("experiment.toml");
    fs::write(
        &file,
        "learner = \"prototypical\"\nepisodes = 40\n[train]\nsteps = 20\nvalidate-every = 10\nvalidation-episodes = 20\n\
         [set.backbone]\nwidth = 8\n[set.glyphs]\ntrain-classes = 40\nvalidation-classes = 10\ntest-classes = 10\n\
         [set.prototypical]\ntrain-ways = 5\n",
    )
    .unwrap();
    let (by_file, by_flags) = (directory.path().join("file"), directory.path().join("flags"));
    let trained = succeed(&["train", file.to_str().unwrap(), "--out", by_file.to_str().unwrap()]);
    train(&by_flags, &[]);
    let metrics = |out: &Path| fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics(&by_file), metrics(&by_flags));

    // The checkpoint builds its learner and dataset by itself.
    let json = directory.path().join("eval.json");
    let evaluated =
        succeed(&["eval", by_file.to_str().unwrap(), "--episodes", "40", "--json", json.to_str().unwrap()]);
    let figure =
        |text: &str| text.split("accuracy ").nth(1).unwrap().split(" over").next().unwrap().to_owned();
    assert_eq!(figure(&trained.stdout), figure(&evaluated.stdout));
    let value: serde_json::Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert_eq!(value["per_episode"].as_array().unwrap().len(), 40);
}

/// The head of the base classes is part of a checkpoint, but not of a task.
#[test]
fn a_fine_tuned_run_is_evaluated_where_there_are_other_numbers_of_training_classes() {
    let directory = tempfile::tempdir().unwrap();
    for head in ["linear", "cosine"] {
        let out = directory.path().join(head);
        let path = out.to_str().unwrap();
        let head = format!("--set=finetune.head={head}");
        succeed(&[&["train", "--learner", "finetune", "--out", path, &head], TINY].concat());
        for classes in ["10", "60"] {
            let classes = format!("--set=glyphs.train-classes={classes}");
            succeed(&["eval", path, &classes, "--episodes", "5"]);
        }
    }
}

#[test]
fn a_run_is_not_overwritten_and_a_broken_checkpoint_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("run");
    train(&out, &[]);
    let path = out.to_str().unwrap();
    refuse(
        &[&["train", "--learner", "prototypical", "--out", path], TINY].concat(),
        &["already holds a run", path],
    );
    let best = out.join("best.safetensors");
    let bytes = fs::read(&best).unwrap();
    fs::write(&best, &bytes[..bytes.len() / 2]).unwrap();
    refuse(&["eval", path], &["best.safetensors"]);
    refuse(&["eval", directory.path().join("none").to_str().unwrap()], &["none"]);
}

/// A training without end in this directory, once it has a checkpoint; and its process.
#[cfg(unix)]
fn endless(out: &Path) -> std::process::Child {
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    let arguments =
        ["train", "--learner", "prototypical", "--steps", "1000000", "--out", out.to_str().unwrap()];
    let tiny: Vec<&str> = TINY.iter().copied().filter(|flag| !flag.starts_with("--steps")).collect();
    let child = command(&[&arguments[..], &tiny].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !out.join("last.safetensors").exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "no checkpoint after a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

/// The end of a process: its exit code and what it complained of.
#[cfg(unix)]
fn end(child: std::process::Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[cfg(unix)]
#[test]
fn ctrl_c_and_sigterm_save_the_run_and_say_how_to_resume() {
    for signal in ["-INT", "-TERM"] {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("run");
        let child = endless(&out);
        let sent =
            std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let (code, stderr) = end(child);
        assert_eq!(code, Some(130), "{signal}: {stderr}");
        assert!(stderr.contains("--resume"), "{signal}: {stderr}");
        assert!(out.join("best.safetensors").exists());
    }
}

#[cfg(unix)]
#[test]
fn a_run_whose_directory_goes_away_ends_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("run");
    let child = endless(&out);
    // It may write a file in between.
    while fs::remove_dir_all(&out).is_err() {}
    let (code, stderr) = end(child);
    assert_eq!(code, Some(2), "{stderr}");
    let said = stderr.lines().find(|line| line.starts_with("kshot: ")).unwrap();
    assert!(said.contains("writing") && said.contains(out.to_str().unwrap()), "{said}");
}

#[test]
fn an_evaluation_is_logged_for_tensorboard() {
    let directory = tempfile::tempdir().unwrap();
    let out = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let run = out("run");
    succeed(&[&["train", "--learner", "prototypical", "--out", &run], TINY].concat());
    succeed(&["eval", &run, "--episodes=20", "--log", &out("log")]);
    let names: Vec<String> = std::fs::read_dir(out("log"))
        .unwrap()
        .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().any(|name| name.starts_with("events.out.tfevents")), "{names:?}");
    assert!(names.iter().any(|name| name == "projector_config.pbtxt"), "{names:?}");
}
