//! Every learner on tasks and data out of the ordinary: a figure or a reason, never a panic, never no number.

use std::fmt::Write as _;
use std::path::Path;

use super::kshot::run;

/// Data and tasks to try.
#[derive(Clone, Copy)]
struct Case {
    /// Of each class.
    examples: usize,
    /// What all values are multiplied by.
    scale: f64,
    /// Whether all values are 1.
    constant: bool,
    /// Flags.
    tasks: &'static [&'static str],
    /// How many of the learners may have a reason instead of a figure.
    missing: usize,
}

/// Twenty-four classes of six features, of which two tell the class apart.
fn table(path: &Path, case: &Case) {
    let Case { examples, scale, constant, .. } = *case;
    let mut text = "a,b,c,d,e,f,y\n".to_owned();
    for row in 0..24 * examples {
        let class = row % 24;
        for feature in 0..6 {
            let own = if feature < 2 { ((class * (feature + 3)) % 11) as f64 } else { 0.0 };
            let noise = ((row * 6 + feature) as f64 * 12.9898).sin();
            let value = if constant { 1.0 } else { scale * (own + noise) };
            write!(text, "{value:e},").unwrap();
        }
        writeln!(text, "k{class}").unwrap();
    }
    std::fs::write(path, text).unwrap();
}

#[test]
fn every_learner_gives_a_figure_or_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let csv = directory.path().join("table.csv");
    let json = directory.path().join("rows.json");
    let set = format!("--set=arrays.path={}", csv.display());
    let bench = ["bench", "--data=arrays", &set, "--json", json.to_str().unwrap()];
    let tiny = [
        "--set=arrays.fractions=[0.5, 0.25, 0.25]",
        "--set=backbone.kind=mlp",
        "--steps=3",
        "--validation-episodes=2",
        "--episodes=3",
        "--threads=2",
    ];
    let plain: &[&str] = &["--ways=3", "--shots=2", "--queries=4"];
    let like = Case { examples: 20, scale: 1.0, constant: false, tasks: plain, missing: 0 };
    assert!(kshot::registry::learners().len() >= 27, "the learners are linked in");
    let cases = [
        ("two ways", Case { tasks: &["--ways=2", "--shots=2", "--queries=4"], ..like }),
        ("one query", Case { tasks: &["--ways=3", "--shots=2", "--queries=1"], ..like }),
        ("unequal shots", Case { tasks: &["--ways=3", "--shots=1-4", "--queries=4"], ..like }),
        ("six examples a class", Case { examples: 6, tasks: &[], ..like }),
        ("constant input", Case { constant: true, ..like }),
        ("huge values", Case { scale: 1e12, missing: 7, ..like }),
        ("tiny values", Case { scale: 1e-12, ..like }),
        ("values that no float holds", Case { scale: 1e40, missing: 99, ..like }),
    ];
    for (what, case) in cases {
        table(&csv, &case);
        let _ = std::fs::remove_file(&json);
        let ran = run(&[&bench[..], &tiny, case.tasks].concat());
        println!("{what}: {:?}\n{}", ran.code, ran.stderr);
        assert!(matches!(ran.code, Some(0 | 2)) && !ran.stderr.contains("panic"), "{what}: {}", ran.stderr);
        let rows = std::fs::read(&json).map_or(Vec::new(), |text| {
            let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
            value["rows"].as_array().unwrap().clone()
        });
        assert!(
            rows.len() + case.missing >= kshot::registry::learners().len(),
            "{what}: {} figures\n{}",
            rows.len(),
            ran.stderr
        );
        if what == "huge values" {
            assert!(ran.stderr.contains("huge ones want standardising"), "{}", ran.stderr);
        }
        for row in &rows {
            assert!((0.0..=1.0).contains(&row["accuracy"].as_f64().unwrap()), "{what}: {row}");
        }
        if rows.is_empty() {
            assert!(ran.stderr.lines().last().unwrap().starts_with("kshot: "), "{what}: {}", ran.stderr);
            continue;
        }
        for entry in kshot::registry::learners() {
            assert!(
                rows.iter().any(|row| row["learner"] == entry.name)
                    || ran.stderr.contains(&format!("`{}", entry.name)),
                "{what}: neither figure nor reason for {}: {}",
                entry.name,
                ran.stderr
            );
        }
    }
}
