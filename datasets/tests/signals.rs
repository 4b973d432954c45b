//! Signals of machines: the simulated bearing, and the real records where they are.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use kshot::dataset::{Dataset, DatasetContext, Domains, Split, TaskSource};
use kshot::registry;
use kshot_datasets as _; // registers the datasets

fn open(name: &str, data_dir: &Path, options: &str) -> kshot::Result<Box<dyn Dataset>> {
    let context = DatasetContext::at(data_dir);
    (registry::dataset(name)?.open)(&context, &options.parse().unwrap())
}

fn domains(dataset: &dyn Dataset) -> Arc<Domains> {
    match dataset.split(Split::Test).unwrap() {
        TaskSource::Domains(domains) => domains,
        _ => panic!("it has domains"),
    }
}

#[test]
fn a_bearing_is_the_same_again_and_other_with_another_seed() {
    let values = |options: &str| {
        let dataset = open("bearing", Path::new(""), options).unwrap();
        let domains = domains(dataset.as_ref());
        let mut out = Vec::new();
        domains.named("load2").unwrap().test.push_examples([(1, 0), (6, 2)], &mut out).unwrap();
        (dataset.input(), out)
    };
    assert_eq!(values("windows = 3"), values("windows = 3"));
    assert_ne!(values("windows = 3"), values("windows = 3\nseed = 1"));
    for (view, shape) in [("raw", [1, 1, 2048]), ("spectrum", [1024, 1, 1]), ("spectrogram", [1, 32, 32])] {
        let (input, out) = values(&format!("windows = 3\nview = \"{view}\""));
        assert_eq!(input, shape);
        // Standardised.
        let (one, n) = (&out[..out.len() / 2], out.len() as f64 / 2.0);
        let mean = one.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let square = one.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 1e-4 && (square - 1.0).abs() < 1e-3, "{view}: {mean} {square}");
    }
    let error = open("bearing", Path::new(""), "windows = 0").err().unwrap().to_string();
    assert!(error.contains("`windows`"), "{error}");
}

#[test]
fn windows_of_the_real_records_never_cross_from_training_to_test() {
    let Some(data) = common::data("cwru") else { return };
    let dataset = open("cwru", &data, "stride = 512").unwrap();
    let domains = domains(dataset.as_ref());
    assert_eq!(domains.domains().len(), 4);
    for domain in domains.domains() {
        // `FAULT_load@START`: the last start of training and the first of test are a window apart.
        let starts = |set: &kshot::dataset::ClassSet| {
            let names = set.example_names();
            let starts: Vec<(String, usize)> = names
                .keys()
                .map(|name| name.split_once('@').unwrap())
                .map(|(record, start)| (record.to_owned(), start.parse().unwrap()))
                .collect();
            starts
        };
        let (train, test) = (starts(&domain.train), starts(&domain.test));
        assert!(domain.train.classes().len() == 9 && train.len() > 9 * 50);
        for (record, start) in &test {
            let clash = train.iter().any(|(other, from)| other == record && from + 2048 > *start);
            assert!(!clash, "{record}@{start}");
        }
    }
    let error = open("cwru", Path::new("/nowhere"), "").err().unwrap().to_string();
    assert!(error.contains("bearingdatacenter"), "{error}");
}

#[test]
fn the_plant_has_its_transposed_run_and_disjoint_classes() {
    let Some(data) = common::data("tep") else { return };
    let dataset = open("tep", &data, "").unwrap();
    assert_eq!(dataset.input(), [52, 1, 16]);
    let mut seen = HashSet::new();
    for split in [Split::Train, Split::Validation, Split::Test] {
        let TaskSource::Classes(set) = dataset.split(split).unwrap() else { panic!("classes") };
        for class in set.classes() {
            // 480 samples of training and 800 of test; the normal plant has 500 and 960.
            assert_eq!(class.images.len(), if class.name == "normal" { 31 + 60 } else { 30 + 50 });
            assert!(seen.insert(class.name.clone()));
        }
    }
    assert_eq!(seen.len(), 22);
}
