//! Figures of several datasets joined, one by one: accuracy on the tasks of each, and the mean over the datasets.

use kshot::Result;
use kshot::dataset::TaskSource;
use kshot::stats::{Interval, interval95};
use serde_json::{Value, json};

use crate::job::Job;
use crate::row::Row;
use crate::table::render;

/// Accuracy on the tasks of each dataset, of rows that are the same but for the seed, each with its job; none where there is one
/// dataset.
fn by_source(jobs: &[Job], rows: &[&Row]) -> Result<Vec<(String, Interval)>> {
    let names: Vec<String> = match jobs.first().map(Job::test_source) {
        Some(TaskSource::Classes(set)) => set.sources().map(|(name, _)| name.to_owned()).collect(),
        _ => Vec::new(),
    };
    let mut figures: Vec<Vec<f32>> = vec![Vec::new(); names.len()];
    for row in rows {
        let Some(job) = jobs.iter().find(|job| job.experiment.seed() == row.seed) else { continue };
        let (tasks, _) = job.test(&row.setting)?;
        for (episode, &figure) in (0..).zip(&row.evaluation.per_episode) {
            if let Some(source) = tasks.source(episode) {
                figures[source].push(figure);
            }
        }
    }
    if figures.iter().all(Vec::is_empty) {
        return Ok(Vec::new());
    }
    // Of a dataset that no two tasks were drawn of, there is no figure.
    let none = Interval { mean: f64::NAN, ci95: f64::NAN };
    let interval = |figures: &Vec<f32>| interval95(figures).unwrap_or(none);
    Ok(names.into_iter().zip(figures.iter().map(interval)).collect())
}

/// The mean over datasets, each as much as any other, and its interval: they are independent.
fn mean(by_source: &[(String, Interval)]) -> Interval {
    let count = by_source.len() as f64;
    let mean = by_source.iter().map(|(_, interval)| interval.mean).sum::<f64>() / count;
    let ci95 = by_source.iter().map(|(_, interval)| interval.ci95.powi(2)).sum::<f64>().sqrt() / count;
    Interval { mean, ci95 }
}

/// A table, a row a learner and setting, of rows of one experiment; empty for one dataset.
pub(crate) fn text(jobs: &[Job], rows: &[Row]) -> Result<String> {
    let mut groups: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|group| group[0].is_as(row)) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    let (mut header, mut lines) = (Vec::new(), Vec::new());
    for group in &groups {
        let figures = by_source(jobs, group)?;
        if figures.is_empty() {
            return Ok(String::new());
        }
        let cell =
            |interval: Interval| format!("{:.2} ± {:.2}", 100.0 * interval.mean, 100.0 * interval.ci95);
        let mean = mean(&figures);
        let mut line = vec![group[0].label(), group[0].setting.in_words(jobs[0].problem())];
        line.extend(figures.iter().map(|(_, interval)| cell(*interval)).chain([cell(mean)]));
        lines.push(line);
        header = figures.into_iter().map(|(name, _)| name).collect();
    }
    let header: Vec<&str> = ["learner", "tasks"]
        .into_iter()
        .chain(header.iter().map(String::as_str))
        .chain(["mean over datasets"])
        .collect();
    Ok(match lines.is_empty() {
        true => String::new(),
        false => format!("\naccuracy in %, by dataset\n\n{}", render(&header, &lines, 2)),
    })
}

/// The same of a row, for JSON: a key for each dataset; `None` for one dataset.
pub(crate) fn json(jobs: &[Job], row: &Row, rows: &[Row]) -> Result<Option<Value>> {
    let same: Vec<&Row> = rows.iter().filter(|other| other.is_as(row)).collect();
    let figures = by_source(jobs, &same)?;
    let each = figures.iter().map(|(name, interval)| (name.clone(), json!(interval)));
    Ok((!figures.is_empty()).then(|| Value::Object(each.collect())))
}
