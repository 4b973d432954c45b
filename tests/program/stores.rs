//! `kshot data prepare`, `list` and `remove`: what comes of a training is the same, and nothing is left half-written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::kshot::{Ran, command, refuse};

/// Fifteen classes of `each` images, noise of 12×12 pixels, in `trees`.
fn trees(each: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut state = 1u64;
    for class in 0..15 {
        let directory = folder.path().join(format!("trees/class{class:02}"));
        fs::create_dir_all(&directory).unwrap();
        for number in 0..each {
            let mut image = b"P6 12 12 255 ".to_vec();
            image.extend((0..12 * 12 * 3).map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 56) as u8
            }));
            fs::write(directory.join(format!("{number:04}.ppm")), image).unwrap();
        }
    }
    folder
}

/// The program with a cache in the folder.
fn kshot(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = command(arguments);
    command.env("KSHOT_CACHE", folder.join("cache"));
    command
}

fn ran(folder: &Path, arguments: &[&str]) -> Ran {
    kshot(folder, arguments).output().unwrap().into()
}

fn prepare(folder: &Path, side: usize) -> Vec<String> {
    let set = [format!("--set=folder.path={}/trees", folder.display()), format!("--image-size={side}")];
    [&["data", "prepare", "folder", "--set=folder.colour=rgb"].map(str::to_owned)[..], &set].concat()
}

fn strings(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// All files below the stores but locks, and their bytes.
fn stored(folder: &Path) -> Vec<(PathBuf, u64)> {
    let stores = fs::read_dir(folder.join("cache/stores")).into_iter().flatten().flatten();
    let files = stores.flat_map(|store| fs::read_dir(store.path()).unwrap().flatten());
    files
        .filter(|file| file.file_name() != "lock")
        .map(|file| (file.path(), file.metadata().unwrap().len()))
        .collect()
}

/// Trains and evaluates; weights, figures and those of every episode.
fn trained(folder: &Path, out: &str) -> Vec<Vec<u8>> {
    let (path, out) = (format!("--set=folder.path={}/trees", folder.display()), folder.join(out));
    let tiny = ["--set=backbone.width=8", "--steps=10", "--validate-every=5", "--validation-episodes=10"];
    let data = ["--data=folder", &path, "--set=folder.colour=rgb", "--image-size=12"];
    let task = ["--ways=2", "--shots=1", "--queries=2", "--episodes=20"];
    let run = ["bench", "--learner=prototypical", "--out", out.to_str().unwrap()];
    let ran = ran(folder, &[&run[..], &data, &task, &tiny, &["--set=prototypical.train-ways=2"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let cell = fs::read_dir(out.join("cells")).unwrap().next().unwrap().unwrap().path();
    let files = ["best.safetensors", "metrics.jsonl", "result.json", "episodes.npz"];
    files.map(|name| fs::read(cell.join(name)).unwrap()).into()
}

#[test]
fn a_training_and_an_evaluation_from_a_store_are_those_from_memory_bit_for_bit() {
    let folder = trees(4);
    let from_memory = trained(folder.path(), "memory");
    let done = ran(folder.path(), &strings(&prepare(folder.path(), 12)));
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(
        done.stdout.contains("60 images of 3×12×12") && done.stdout.contains("prepared in"),
        "{}",
        done.stdout
    );
    let again = ran(folder.path(), &strings(&prepare(folder.path(), 12)));
    assert!(again.stdout.contains("was prepared before"), "{}", again.stdout);
    // So that it is seen that no image is decoded: what is broken now is of the same length and time.
    let image = folder.path().join("trees/class00/0000.ppm");
    let (length, time) =
        (fs::metadata(&image).unwrap().len(), fs::metadata(&image).unwrap().modified().unwrap());
    fs::write(&image, vec![0; length as usize]).unwrap();
    fs::File::options().write(true).open(&image).unwrap().set_modified(time).unwrap();
    assert!(trained(folder.path(), "store") == from_memory, "the bytes differ");

    let listed = ran(folder.path(), &["data", "list"]);
    assert!(listed.stdout.contains("trees") && listed.stdout.contains("12×12 rgb"), "{}", listed.stdout);
    let name = listed.stdout.lines().nth(2).unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(ran(folder.path(), &["data", "remove", "folder-0"]).stderr.contains(&name));
    assert_eq!(ran(folder.path(), &["data", "remove", &name]).code, Some(0));
    assert!(ran(folder.path(), &["data", "list"]).stdout.contains("no store"));
    assert!(!folder.path().join("cache/stores").join(&name).exists());
}

#[test]
fn what_has_nothing_to_prepare_is_refused_by_name() {
    refuse(&["data", "prepare", "glyphs"], &["`glyphs` has nothing to prepare", "no image files"]);
    refuse(&["data", "prepare", "omniglot"], &["`omniglot`", "read as they are", "`folder`"]);
    refuse(&["data", "prepare", "fodler"], &["did you mean `folder`"]);
    refuse(&["data", "prepare", "folder", "--set=glyphs.seed=1"], &["`glyphs`"]);
    refuse(&["data", "prepare", "folder"], &["`path`"]);
    refuse(&["data", "prepare", "mini-imagenet"], &["image-net.org"]);
    // No cache at all.
    refuse(&["data", "list"], &["KSHOT_CACHE"]);
    let folder = trees(1);
    refuse(&strings(&prepare(folder.path(), 12)), &["KSHOT_CACHE"]);
}

#[cfg(unix)]
#[test]
fn a_full_disk_and_a_directory_that_cannot_be_written_are_named_and_nothing_is_left() {
    let folder = trees(4);
    let words = strings(&prepare(folder.path(), 12)).join("' '");
    let limited = format!("ulimit -f 20; exec '{}' '{words}'", env!("CARGO_BIN_EXE_kshot"));
    let mut shell = Command::new("sh");
    let full: Ran =
        shell.args(["-c", &limited]).env("KSHOT_CACHE", folder.path().join("cache")).output().unwrap().into();
    assert_eq!(full.code, Some(2), "{}", full.stderr);
    assert!(
        full.stderr.contains("writing the store") && full.stderr.contains("too large"),
        "{}",
        full.stderr
    );
    assert!(stored(folder.path()).is_empty());
    for cache in ["trees/class00/0000.ppm", "/proc"] {
        let mut refused = kshot(folder.path(), &strings(&prepare(folder.path(), 12)));
        let refused: Ran = refused.env("KSHOT_CACHE", folder.path().join(cache)).output().unwrap().into();
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(
            refused.stderr.contains("preparing the store") && refused.stderr.contains(cache),
            "{}",
            refused.stderr
        );
    }
}

#[cfg(unix)]
#[test]
fn a_request_to_stop_leaves_nothing_and_the_same_command_begins_again() {
    let folder = trees(150);
    // 2,250 images of 3 MB: seconds.
    let large = prepare(folder.path(), 1024);
    for signal in ["INT", "TERM"] {
        let mut running =
            kshot(folder.path(), &strings(&large)).stderr(std::process::Stdio::piped()).spawn().unwrap();
        while stored(folder.path()).iter().all(|(_, bytes)| *bytes < 1 << 20) {
            assert!(running.try_wait().unwrap().is_none(), "it ended before it was stopped");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let id = running.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
        let stopped: Ran = running.wait_with_output().unwrap().into();
        assert_eq!(stopped.code, Some(130), "{}", stopped.stderr);
        assert!(stopped.stderr.contains("begins again"), "{}", stopped.stderr);
        assert!(stored(folder.path()).is_empty(), "{:?}", stored(folder.path()));
    }
    assert_eq!(ran(folder.path(), &strings(&prepare(folder.path(), 12))).code, Some(0));
}

#[cfg(unix)]
#[test]
fn two_processes_prepare_at_once_and_one_that_is_killed_costs_nothing() {
    let folder = trees(20);
    let mut killed = kshot(folder.path(), &strings(&prepare(folder.path(), 512))).spawn().unwrap();
    while stored(folder.path()).is_empty() && killed.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let both: Vec<_> = (0..2)
        .map(|_| {
            let mut one = kshot(folder.path(), &strings(&prepare(folder.path(), 512)));
            one.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for one in both {
        let one: Ran = one.wait_with_output().unwrap().into();
        assert_eq!(one.code, Some(0), "{}", one.stderr);
    }
    let stores = stored(folder.path());
    assert_eq!(stores.len(), 1, "what was killed is cleared away: {stores:?}");
    assert!(stores[0].1 > 300 * 512 * 512 * 3);
}

#[cfg(target_os = "linux")]
#[test]
fn what_exceeds_the_memory_is_refused_until_it_is_prepared() {
    let folder = trees(20);
    let path = format!("folder.path={}/trees", folder.path().display());
    // 300 images of 3 MB are 0.94 GB.
    let bench = "bench --data folder --set folder.colour=rgb --image-size 1024 --ways 2 --queries 1 --episodes 2 --learner \
                 pixels --threads 2";
    let limited = format!("ulimit -v 900000; exec '{}' {bench} --set '{path}'", env!("CARGO_BIN_EXE_kshot"));
    let run = || -> Ran {
        let mut shell = Command::new("sh");
        shell.args(["-c", &limited]).env("KSHOT_CACHE", folder.path().join("cache")).output().unwrap().into()
    };
    let refused = run();
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    for word in ["0.9 GB of memory", "kshot data prepare folder"] {
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
    }
    assert_eq!(ran(folder.path(), &strings(&prepare(folder.path(), 1024))).code, Some(0));
    let done = run();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stdout.contains("pixels"), "{}", done.stdout);
}

#[test]
fn a_store_that_is_cut_short_in_use_is_an_error_that_names_it() {
    let folder = trees(4);
    assert_eq!(ran(folder.path(), &strings(&prepare(folder.path(), 12))).code, Some(0));
    let (store, bytes) = stored(folder.path()).remove(0);
    let path = format!("--set=folder.path={}/trees", folder.path().display());
    let bench =
        ["bench", "--data=folder", &path, "--set=folder.colour=rgb", "--image-size=12", "--learner=pixels"];
    let task = ["--ways=2", "--queries=2", "--episodes=20"];
    // A byte in the middle, which is looked at only when its image is drawn.
    let mut whole = fs::read(&store).unwrap();
    (0..60).for_each(|image| whole[bytes as usize - 4 - 240 - 432 * image - 1] ^= 1);
    fs::write(&store, &whole).unwrap();
    let damaged = ran(folder.path(), &[&bench[..], &task].concat());
    assert_eq!(damaged.code, Some(2), "{}", damaged.stderr);
    assert!(damaged.stderr.contains(store.to_str().unwrap()), "{}", damaged.stderr);
    assert!(damaged.stderr.contains("is not as it was written") && !damaged.stderr.contains("panicked"));
    fs::File::options().write(true).open(&store).unwrap().set_len(bytes / 2).unwrap();
    let cut = ran(folder.path(), &[&bench[..], &task].concat());
    assert_eq!(cut.code, Some(2), "{}", cut.stderr);
    assert!(cut.stderr.contains(store.to_str().unwrap()) && cut.stderr.contains("kshot data remove"));
}
