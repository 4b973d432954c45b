//! `kshot report`: one file that holds all it shows.

use std::fs;
use std::path::Path;

use super::kshot::{refuse, succeed};

/// Two families on drawings with two shots, and a regression.
const SUITE: &str = r#"
episodes = 12
queries = 4
seeds = 2

[train]
steps = 12
validate-every = 4
validation-episodes = 4

[[experiment]]
learner = ["pixels", "prototypical", "maml"]
shots = [1, 2]

[experiment.set.backbone]
width = 4

[experiment.set.glyphs]
train-classes = 20
validation-classes = 6
test-classes = 6

[[experiment]]
data = "sinusoid"
learner = ["reptile", "maml"]
shots = 5
"#;

/// The report of a directory.
fn report(directory: &Path, more: &[&str]) -> String {
    let out = directory.with_extension("html");
    let arguments = ["report", directory.to_str().unwrap(), "-o", out.to_str().unwrap()];
    succeed(&[&arguments[..], more].concat());
    fs::read_to_string(out).unwrap()
}

/// Asserts that every tag is closed, in order, and that nothing is loaded from elsewhere.
fn check(page: &str) {
    const VOID: [&str; 3] = ["meta", "img", "br"];
    let (mut open, mut rest) = (Vec::new(), page.strip_prefix("<!DOCTYPE html>").unwrap());
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>') || open.last() == Some(&"style"), "a stray > in {:.80}", rest);
        rest = &rest[at + 1..];
        let mut quoted = false;
        let end = rest.find(|letter| {
            quoted ^= letter == '"';
            letter == '>' && !quoted
        });
        let (tag, after) = rest.split_at(end.unwrap_or_else(|| panic!("not closed: {rest:.80}")));
        rest = &after[1..];
        assert!(!tag.replace("data:image/png", "").contains("://"), "{tag:.80}");
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "before {rest:.80}"),
            None if tag.ends_with('/') => {}
            None => {
                let name = tag.split_whitespace().next().unwrap();
                assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "<{tag:.80}");
                assert!(!VOID.contains(&name), "<{tag:.80} closes itself");
                open.push(name);
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
    for source in page.split("src=\"").skip(1) {
        assert!(source.starts_with("data:"), "{source:.40}");
    }
    for word in ["http://", "https://", "<script", "url(", "@import", "<link"] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn a_report_answers_its_five_questions_in_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("small.toml");
    fs::write(&file, SUITE).unwrap();
    let suite = directory.path().join("suite");
    succeed(&["run", file.to_str().unwrap(), "--out", suite.to_str().unwrap()]);
    let page = report(&suite, &[]);
    check(&page);
    for id in ["results", "cost", "failures", "learning", "run"] {
        assert!(page.contains(&format!("<section id=\"{id}\">")), "{id}");
    }
    for words in [
        "Which learner is best, and is that sure?",
        "after Holm",
        "glyphs: accuracy in % against shots",
        "Pareto front",
        "metric: validation accuracy in %",
        "Reliability of",
        "Hardest classes",
        "Most confused pairs",
        "The hardest task of 12",
        "Map of the embeddings of prototypical",
        "Similarities by prototypical",
        "data:image/png;base64,",
        "MSE",
        "No figure failed",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(page.len() < 1_000_000, "{}", page.len());
    assert!(report(&suite, &[]) == page, "the same input gives another page");
    // Each setting is examined, the first one at sight.
    for title in ["glyphs, 5-way 1-shot", "glyphs, 5-way 2-shot", "sinusoid, 5 points"] {
        assert!(page.contains(&format!("<summary>{title}</summary>")), "{title}");
    }
    assert_eq!(page.matches("class=\"caption\">Hardest classes: ").count(), 2);
    let against = report(&suite, &["--against", "prototypical"]);
    check(&against);
    for words in [
        "Against prototypical, as was asked for",
        "are compared with prototypical, as was asked for",
        "− prototypical",
    ] {
        assert!(against.contains(words), "{words}");
    }
    refuse(&["report", suite.to_str().unwrap(), "--against", "pixel"], &["did you mean `pixels`"]);
    // Without the weights and the dataset there is still all that was kept.
    let kept = report(&suite, &["--kept-only"]);
    check(&kept);
    assert!(!kept.contains("data:image/png") && kept.contains("Pareto front"));
    for cell in fs::read_dir(suite.join("cells")).unwrap() {
        let _ = fs::remove_file(cell.unwrap().path().join("best.safetensors"));
    }
    let without = report(&suite, &[]);
    check(&without);
    assert!(without.contains("was not asked again"), "nothing says that weights are gone");
}

#[test]
fn what_comes_from_files_is_escaped_and_a_dataset_that_is_gone_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let table = directory.path().join("own.csv");
    let mut text = String::from("a,b,c,y\n");
    for (class, name) in ["\"<b>&\"\"\"", "two", "three"].iter().enumerate() {
        for example in 0..12 {
            let value = |feature: usize| ((class * 7 + example * 3 + feature * 5) % 11) as f32 / 10.0;
            text += &format!("{},{},{},{name}\n", value(0), value(1), value(2));
        }
    }
    fs::write(&table, text).unwrap();
    let suite = directory.path().join("<i>suite");
    let path = format!("--set=arrays.path={}", table.display());
    let learners = "--learner=pixels,no-adaptation";
    let fractions = "--set=arrays.fractions=[0.0, 0.0, 1.0]";
    succeed(&[
        "bench",
        "--data=arrays",
        &path,
        fractions,
        learners,
        "--episodes=20",
        "--queries=4",
        "--out",
        suite.to_str().unwrap(),
    ]);
    let page = report(&suite, &[]);
    check(&page);
    assert!(
        page.contains("&lt;b&gt;&amp;&quot;")
            && page.contains("&lt;i&gt;suite")
            && page.contains("class=\"trace\"")
    );
    assert!(!page.contains("<b>") && !page.contains("<i>"));
    fs::remove_file(&table).unwrap();
    let gone = report(&suite, &[]);
    check(&gone);
    assert!(gone.contains("No learner was asked again on arrays"));
    refuse(&["report", directory.path().to_str().unwrap()], &["holds no figures"]);
}
