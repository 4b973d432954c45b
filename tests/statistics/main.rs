//! Oracle: what SciPy and scikit-learn say, from `statistics.json` in `KSHOT_FIXTURES` (default:
//! `shared/fixtures` above).

mod simulations;

use std::path::{Path, PathBuf};

use kshot::stats::classification::{calibration, confusion, macro_auroc};
use kshot::stats::paired::{holm, paired_t, wilcoxon};
use kshot::stats::ranks::{friedman, groups, nemenyi};
use kshot::stats::{interval95, paired_difference95};
use serde_json::Value;

/// The fixture, or nothing (said on stderr) where there is none.
fn fixture() -> Option<Value> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let beside = above.map(|folder| folder.join("shared/fixtures")).find(|folder| folder.is_dir());
    let folder = std::env::var_os("KSHOT_FIXTURES").map(PathBuf::from).or(beside).unwrap_or_default();
    let path = folder.join("statistics.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: no {}; set KSHOT_FIXTURES", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).expect("JSON"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("numbers").iter().map(number).collect()
}

fn table(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().expect("rows").iter().map(numbers).collect()
}

#[track_caller]
fn agrees(found: f64, expected: f64, relative: f64) {
    assert!((found - expected).abs() <= relative * expected.abs(), "{found}, not {expected}");
}

#[test]
fn intervals_by_students_t() {
    let Some(fixture) = fixture() else { return };
    for n in [2, 3, 5, 10] {
        let expected = &fixture[format!("t_interval_{n}")];
        let interval = interval95(&numbers(&expected["values"])).unwrap();
        agrees(interval.mean, number(&expected["mean"]), 1e-12);
        agrees(interval.ci95, number(&expected["half_width"]), 1e-10);
    }
}

/// The fixture's differences are b − a. Its Wilcoxon is `wilcoxon(a, b, method="asymptotic",
/// correction=False)`.
#[test]
fn paired_tests() {
    let Some(fixture) = fixture() else { return };
    let expected = &fixture["paired"];
    let (a, b) = (numbers(&expected["a"]), numbers(&expected["b"]));
    let paired = paired_t(&b, &a).unwrap();
    assert_eq!(paired.difference, paired_difference95(&b, &a).unwrap());
    agrees(paired.difference.mean, number(&expected["mean"]), 1e-12);
    agrees(paired.difference.ci95, number(&expected["half_width"]), 1e-10);
    agrees(paired.p, number(&expected["t_p"]), 1e-10);
    agrees(wilcoxon(&b, &a).unwrap(), number(&expected["wilcoxon_p"]), 1e-9);
    // The other way round the difference changes its sign and no test its mind.
    agrees(paired_t(&a, &b).unwrap().p, paired.p, 1e-12);
    agrees(wilcoxon(&a, &b).unwrap(), number(&expected["wilcoxon_p"]), 1e-9);
    // In f32, as the evaluator has them.
    let f32s = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<_>>();
    let (a, b) = (f32s(&a), f32s(&b));
    agrees(paired_t(&b, &a).unwrap().p, number(&expected["t_p"]), 1e-5);
    agrees(wilcoxon(&b, &a).unwrap(), number(&expected["wilcoxon_p"]), 1e-9);
}

#[test]
fn adjusted_p_values() {
    let Some(fixture) = fixture() else { return };
    let expected = &fixture["holm"];
    for (found, adjusted) in holm(&numbers(&expected["p"])).into_iter().zip(numbers(&expected["adjusted"])) {
        agrees(found, adjusted, 1e-12);
    }
}

#[test]
fn ranks() {
    let Some(fixture) = fixture() else { return };
    let expected = &fixture["friedman"];
    let settings = table(&expected["accuracy"]);
    let found = friedman(&settings).unwrap();
    assert_eq!(found.mean_ranks, numbers(&expected["mean_ranks"]));
    agrees(found.statistic, number(&expected["statistic"]), 1e-12);
    agrees(found.p, number(&expected["p"]), 1e-12);
    let critical = nemenyi(5, settings.len()).unwrap();
    agrees(critical, number(&expected["nemenyi_cd"]), 1e-9);
    assert_eq!(groups(&found.mean_ranks, critical), [vec![4, 2, 3, 1, 0]], "no two differ");
}

#[test]
fn figures_of_predictions() {
    let Some(fixture) = fixture() else { return };
    let expected = &fixture["classification"];
    let labels: Vec<usize> = numbers(&expected["labels"]).into_iter().map(|label| label as usize).collect();
    let probabilities = table(&expected["probabilities"]).concat();
    let found = confusion(&labels, &probabilities, 4).unwrap();
    let counts: Vec<Vec<f64>> =
        found.counts.iter().map(|row| row.iter().map(|&count| count as f64).collect()).collect();
    assert_eq!(counts, table(&expected["confusion"]));
    agrees(found.macro_f1(), number(&expected["macro_f1"]), 1e-12);
    agrees(found.balanced_accuracy(), number(&expected["balanced_accuracy"]), 1e-12);
    let auroc = number(&expected["macro_auroc_ovr"]);
    agrees(macro_auroc(&labels, &probabilities, 4).unwrap(), auroc, 1e-12);
    let calibrated = calibration(&labels, &probabilities, 4).unwrap();
    agrees(calibrated.ece, number(&expected["ece_15_bins"]), 1e-12);
    assert_eq!(calibrated.bins.iter().map(|bin| bin.count).sum::<u64>(), labels.len() as u64);
    // In f32, as learners give them.
    let f32s: Vec<f32> = probabilities.iter().map(|&p| p as f32).collect();
    agrees(macro_auroc(&labels, &f32s, 4).unwrap(), auroc, 1e-12);
    agrees(calibration(&labels, &f32s, 4).unwrap().ece, number(&expected["ece_15_bins"]), 1e-6);
}

/// The area under the ROC curve of scores for two classes, which verification has too.
#[test]
fn area_of_two_classes() {
    let Some(fixture) = fixture() else { return };
    let expected = &fixture["verification"];
    let labels: Vec<usize> = numbers(&expected["labels"]).into_iter().map(|label| label as usize).collect();
    let scores: Vec<f64> =
        numbers(&expected["scores"]).into_iter().flat_map(|score| [-score, score]).collect();
    agrees(macro_auroc(&labels, &scores, 2).unwrap(), number(&expected["auc"]), 1e-12);
}
