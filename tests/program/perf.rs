//! `kshot perf`.

use serde_json::Value;

use super::kshot::{Ran, command, refuse, succeed};

fn lines(arguments: &[&str]) -> Vec<Value> {
    let ran = succeed(&[&["perf", "--reps", "1"], arguments].concat());
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_row_is_a_json_line_with_its_settings() {
    let rows = lines(&["--threads", "2", "--only", "sample"]);
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(row["bench"], "sample");
    assert_eq!(row["threads"], 1, "sampling is timed on one thread, whatever is asked");
    for (key, value) in [("episodes", 100), ("ways", 5), ("shots", 1), ("query", 15)] {
        assert_eq!(row[key], value, "{row}");
    }
    let number = |key: &str| row[key].as_f64().unwrap();
    assert!(number("min_ms") > 0.0 && number("min_ms") <= number("ms"), "{row}");
    assert!(row["gflops"].is_null(), "{row}");
    if cfg!(target_os = "linux") {
        assert!((1.0..100.0).contains(&number("rss_mb")), "{row}");
    }
}

#[test]
fn learners_are_trained_and_evaluated_and_the_machines_limit_is_known() {
    for (name, settings) in [("proto_train", 2), ("proto_eval", 2), ("conv_peak", 1), ("fma_peak", 1)] {
        let rows = lines(&["--threads", "1", "--only", name]);
        assert_eq!(rows.len(), settings, "{rows:?}");
        for row in &rows {
            assert_eq!(row["bench"], name);
            assert_eq!(row["threads"], 1, "{row}");
            assert!(row["gflops"].as_f64().unwrap() > 0.0, "{row}");
        }
    }
}

#[test]
fn augmentation_is_timed() {
    let rows = lines(&["--threads", "2", "--only", "augment"]);
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert!(row["side"] == 84 && row["threads"] == 2 && row["ms"].as_f64().unwrap() > 0.0, "{row}");
}

#[test]
fn an_unknown_row_is_answered_with_the_nearest() {
    refuse(&["perf", "--only", "proto_trian"], &["proto_trian", "did you mean `proto_train`"]);
    refuse(&["perf", "--threads", "0"], &["--threads", "1 or more"]);
    refuse(&["perf", "--reps", "many"], &["reps"]);
}

#[test]
fn the_kernels_of_another_instruction_set_can_be_asked_for() {
    let with =
        |isa: &str, arguments: &[&str]| Ran::from(command(arguments).env("KSHOT_ISA", isa).output().unwrap());
    let ran = with("portable", &["doctor"]);
    assert!(ran.stdout.lines().any(|line| line == "kernels   portable"), "{}", ran.stdout);
    let ran = with("portable", &["perf", "--reps", "1", "--only", "sinusoid_maml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let ran = with("sse", &["perf", "--only", "fma_peak"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("KSHOT_ISA is `sse`") && ran.stderr.contains("portable"), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}
