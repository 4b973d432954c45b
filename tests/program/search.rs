//! Values of options chosen on validation classes: kept, gone on with after a kill, never by test figures.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::kshot::{command, refuse, succeed};
use super::schema::Schema;

/// A learner that is trained, of whose four combinations one cannot stay finite, and one that is not trained, twice each.
const SUITE: &str = r#"
learner = ["prototypical", "logistic"]
episodes = 20
queries = 5
seeds = 2

[train]
steps = 12
validate-every = 4
validation-episodes = 6
optimizer = "sgd"

[set.backbone]
width = 4

[set.glyphs]
train-classes = 20
validation-classes = 8
test-classes = 8

[search.prototypical]
distance = ["squared", "cosine"]

[search.train]
learning-rate = [0.01, 1e38]

[search.logistic]
c = [0.001, 1, 100]
"#;

fn written(root: &Path, name: &str, text: &str) -> String {
    let file = root.join(name);
    fs::write(&file, text).unwrap();
    file.to_string_lossy().into_owned()
}

fn cells(suite: &Path) -> Vec<PathBuf> {
    let mut cells: Vec<PathBuf> =
        fs::read_dir(suite.join("cells")).unwrap().map(|cell| cell.unwrap().path()).collect();
    cells.sort();
    cells
}

fn result(cell: &Path) -> Value {
    serde_json::from_slice(&fs::read(cell.join("result.json")).unwrap()).unwrap()
}

/// What the seed determines below a directory.
fn determined(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut left = vec![directory.to_path_buf()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap().to_string_lossy().into_owned();
            let of_the_clock =
                ["tim", "env", "events", "suite", "."].iter().any(|begin| name.starts_with(begin));
            if entry.is_dir() {
                left.push(entry);
            } else if !of_the_clock {
                files.insert(entry.strip_prefix(directory).unwrap().to_path_buf(), fs::read(&entry).unwrap());
            }
        }
    }
    files
}

#[test]
fn the_best_on_validation_is_tested_and_a_kill_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let suite = written(root, "search.toml", SUITE);
    let at = |name: &str| root.join(name).to_string_lossy().into_owned();
    let whole = succeed(&["run", &suite, "--out", &at("whole")]);
    assert!(whole.stdout.contains("chosen on validation classes: distance="), "{}", whole.stdout);
    assert!(whole.stderr.contains("on validation tasks"), "{}", whole.stderr);

    let schema = Schema::printed(&["schema", "result"]);
    let whole_cells = cells(&root.join("whole"));
    assert_eq!(whole_cells.len(), 4);
    for cell in &whole_cells {
        let kept = result(cell);
        assert_eq!(schema.check(&kept), Ok(()));
        let search = &kept["search"];
        let tried = search["tried"].as_array().unwrap();
        let figures: Vec<f64> = tried
            .iter()
            .map(|trial| trial["validation"]["mean"].as_f64().unwrap_or(f64::NEG_INFINITY))
            .collect();
        let chosen = search["chosen"].as_u64().unwrap() as usize;
        let most = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // The first of the best.
        assert_eq!(chosen, figures.iter().position(|figure| *figure == most).unwrap(), "{search}");
        assert!(search["why"].as_str().unwrap().contains("6 validation episodes"));
        let trained = kept["rows"][0]["learner"] == "prototypical";
        assert_eq!(tried.len(), if trained { 4 } else { 3 });
        if trained {
            assert!(tried[1]["failed"].as_str().unwrap().contains("not a finite number"), "{search}");
            let of = |name: &str| fs::read(cell.join(name)).unwrap();
            let folders = fs::read_dir(cell.join("search")).unwrap().map(|trial| trial.unwrap().path());
            let own = folders.into_iter().find(|trial| {
                trial.file_name().unwrap().to_string_lossy().starts_with(&format!("{chosen}-"))
            });
            assert!(of("best.safetensors") == fs::read(own.unwrap().join("best.safetensors")).unwrap());
            // It is its own experiment, with the chosen values set.
            let config = cell.join("config.toml").to_string_lossy().into_owned();
            assert!(!fs::read_to_string(&config).unwrap().contains("search"));
            let one = root.join("one");
            succeed(&["train", &config, "--out", one.to_str().unwrap()]);
            for name in ["episodes.npz", "metrics.jsonl", "config.toml"] {
                assert!(of(name) == fs::read(one.join(name)).unwrap(), "{name} differs");
            }
            fs::remove_dir_all(one).unwrap();
        }
    }

    // Killed a moment after each new file, until it comes to its end.
    let files = || if root.join("again").exists() { determined(&root.join("again")).len() } else { 0 };
    let mut kills = 0;
    loop {
        let before = files();
        let mut child = command(&["run", &suite, "--out", &at("again")])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if kills < 6 && files() > before + kills {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        match ended {
            Some(status) => break assert!(status.success()),
            None => kills += 1,
        }
    }
    assert!(kills > 0);
    let (found, expected) = (determined(&root.join("again")), determined(&root.join("whole")));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, bytes) in &found {
        assert!(*bytes == expected[name], "{} differs", name.display());
    }

    let csv = succeed(&["compare", &at("whole"), "--csv"]).stdout;
    assert!(csv.contains("of 4 tried") && csv.contains("distance="), "{csv}");
    let page = at("report.html");
    succeed(&["report", &at("whole"), "-o", &page]);
    let page = fs::read_to_string(page).unwrap();
    for words in ["Values that were searched", "★ chosen", "of equals the first", "of 4 tried"] {
        assert!(page.contains(words), "{words}");
    }
    refuse(&["train", &suite, "--learner=prototypical"], &["is of suites"]);
}

#[test]
fn test_figures_cannot_choose() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let chosen = |name: &str, test: &str| {
        // Only what is tested differs.
        let text = SUITE.replace("test-classes = 8", test).replace("seeds = 2", "seeds = 1");
        let suite = written(root, &format!("{name}.toml"), &text);
        let out = root.join(name);
        succeed(&["run", &suite, "--out", out.to_str().unwrap()]);
        let kept: Vec<Value> = cells(&out).iter().map(|cell| result(cell)).collect();
        let searches: Vec<Value> = kept.iter().map(|kept| kept["search"].clone()).collect();
        let figures: Vec<Value> = kept.iter().map(|kept| kept["rows"][0]["mean"].clone()).collect();
        (searches, figures)
    };
    let (first, first_figures) = chosen("first", "test-classes = 8");
    let (other, other_figures) = chosen("other", "test-classes = 30");
    assert_ne!(first_figures, other_figures);
    assert_eq!(first, other);
}

#[test]
fn a_search_that_nothing_can_judge_is_refused_before_any_work() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let cases = [
        ("learner = \"matching\"\n[search.matchin]\nsharpness = [5]", "did you mean `matching`"),
        ("learner = \"matching\"\n[search.matching]\nsharpnes = [5]", "did you mean `sharpness`"),
        ("learner = \"pixels\"\n[search.matching]\nsharpness = [5]", "no experiment measures `matching`"),
        (
            "learner = \"matching\"\n[search.matching]\nsharpness = [5]\n[train]\nvalidation-episodes = 0",
            "`validation-episodes` is 0",
        ),
        ("learner = \"prototypical\"\n[search.backbone]\nwidht = [4, 8]", "did you mean `width`"),
        (
            "data = \"sinusoid\"\nlearner = \"maml\"\n[search.maml]\ntest-steps = [1, 2]",
            "`test-steps` are searched, and asked for",
        ),
    ];
    for (text, expected) in cases {
        let suite = written(root, "s.toml", text);
        let out = root.join("out");
        refuse(&["run", &suite, "--out", out.to_str().unwrap()], &[expected]);
        assert!(!out.exists() || cells(&out).is_empty(), "{text}");
    }
    // Two classes to train on, two to test on, none between.
    let mut table = String::from("a,b,y\n");
    for row in 0..60 {
        table += &format!("{}.5,{}.25,class{}\n", row % 7, row % 5, row % 4);
    }
    fs::write(root.join("own.csv"), table).unwrap();
    let text = format!(
        "data = \"arrays\"\nways = 2\nlearner = \"logistic\"\n[search.logistic]\nc = [1, 9]\n[set.arrays]\npath = \"{}\"\n\
         fractions = [0.5, 0.0, 0.5]\n",
        root.join("own.csv").display()
    );
    let suite = written(root, "s.toml", &text);
    refuse(
        &["run", &suite, "--out", root.join("out").to_str().unwrap()],
        &["`arrays` has none here", "divide some off"],
    );
}
