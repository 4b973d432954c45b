//! How the figures of the test episodes are distributed.

use super::super::gather::{Kept, from_best, unit};
use super::super::html::{figure, number, table, text};
use super::super::svg::{Axis, Chart};
use crate::compare::section::Section;

/// Learners that are drawn, from the best; the table has all.
const DRAWN: usize = 14;

/// Quantiles of a sorted list, between its values.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (place - low as f64)
}

/// A box for each learner: half of the episodes in the box, nine in ten between the ends.
pub(in super::super) fn draw(kept: &Kept, section: &Section) -> Option<String> {
    let unit = unit(section);
    let mut boxes: Vec<(String, [f64; 5])> = Vec::new();
    for line in from_best(section) {
        let of = kept.of(section, &line.learner);
        let values = of.iter().flat_map(|(_, row)| &row.evaluation.per_episode);
        let mut values: Vec<f64> = values.map(|&value| unit.value(f64::from(value))).collect();
        if values.len() < 5 {
            continue;
        }
        values.sort_by(f64::total_cmp);
        boxes.push((
            line.learner.clone(),
            [0.05, 0.25, 0.5, 0.75, 0.95].map(|share| quantile(&values, share)),
        ));
    }
    if boxes.is_empty() {
        return None;
    }
    let drawn = &boxes[..boxes.len().min(DRAWN)];
    let low = drawn.iter().map(|(_, ends)| ends[0]).fold(f64::INFINITY, f64::min);
    let high = drawn.iter().map(|(_, ends)| ends[4]).fold(f64::NEG_INFINITY, f64::max);
    let axis = match unit.value(1.0) > 1.0 {
        true => Axis::percent(low, high),
        false => Axis::linear(0.0, high),
    };
    let count = drawn.len() as f64;
    let name = format!("Distribution of the test episodes' {}", unit.name());
    let mut chart = Chart::new(&name, 60.0 + 19.0 * count, axis, Axis::linear(0.0, count))
        .with_left(120.0)
        .x_axis(&format!("one test episode's {}", unit.name()));
    for (place, (learner, [low, first, median, third, high])) in drawn.iter().enumerate() {
        let y = count - place as f64 - 0.5;
        let title = format!("{learner}: median {median:.1}, half of the episodes {first:.1} to {third:.1}");
        chart.name(y, &shortened(learner));
        chart.bar((*low, y - 0.06), (*high, y + 0.06), "whisker", &title);
        chart.bar((*first, y - 0.32), (*third, y + 0.32), "box", &title);
        let thin = 0.004 * (axis_width(low, high)).max(1e-9);
        chart.bar((median - thin, y - 0.36), (median + thin, y + 0.36), "middle", &title);
    }
    let lines: Vec<_> = boxes
        .iter()
        .map(|(learner, ends)| {
            let numbers = ends.iter().map(|&end| number(digits(end)));
            std::iter::once(text(learner.as_str())).chain(numbers).collect()
        })
        .collect();
    let heads = ["learner", "5 %", "25 %", "median", "75 %", "95 %"];
    let left = match boxes.len() - drawn.len() {
        0 => String::new(),
        more => format!(" {more} more are in the table."),
    };
    Some(figure(
        "How much do test episodes differ?",
        &chart.finish(),
        &format!(
            "Half of a learner's episodes are in the box, 90 % between the ends of the line, the median at the stroke.{left}"
        ),
        &table("Quantiles over test episodes, all seeds together", &heads, &lines),
    ))
}

fn axis_width(low: &f64, high: &f64) -> f64 {
    (high - low).abs().max(1.0)
}

fn digits(value: f64) -> String {
    if value.abs() >= 10.0 { format!("{value:.1}") } else { format!("{value:.3}") }
}

/// A name that has room beside a row.
pub(super) fn shortened(name: &str) -> String {
    match name.chars().count() > 17 {
        true => name.chars().take(16).chain(['…']).collect(),
        false => name.to_owned(),
    }
}
