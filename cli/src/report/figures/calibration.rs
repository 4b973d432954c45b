//! Whether confidence is to be trusted: reliability diagrams (Guo et al. 2017).

use kshot::stats::classification::Bin;

use super::super::gather::{Kept, best_of_families};
use super::super::html::{figure, number, side_by_side, table, text};
use super::super::svg::{Axis, Chart};
use crate::compare::section::Section;

/// Diagrams that are drawn: of the best of each family.
const DRAWN: usize = 4;

/// The bins of all seeds together.
fn pooled(kept: &Kept, section: &Section, learner: &str) -> Option<Vec<Bin>> {
    let mut pooled: Vec<Bin> = Vec::new();
    for (_, row) in kept.of(section, learner) {
        for (place, bin) in row.classification.as_ref()?.calibration.bins.iter().enumerate() {
            let Some(sum) = pooled.get_mut(place) else {
                pooled.push(*bin);
                continue;
            };
            let (a, b) = (sum.count as f64, bin.count as f64);
            if a + b > 0.0 {
                let mean = |x: f64, y: f64| (a * x + b * y) / (a + b);
                sum.confidence = mean(sum.confidence, bin.confidence);
                sum.accuracy = mean(sum.accuracy, bin.accuracy);
                sum.count += bin.count;
            }
        }
    }
    (!pooled.is_empty()).then_some(pooled)
}

/// Expected calibration error, and how much confidence is above accuracy, both 0–1.
fn errors(bins: &[Bin]) -> (f64, f64) {
    let all = bins.iter().map(|bin| bin.count).sum::<u64>().max(1) as f64;
    let over = |of: fn(f64) -> f64| {
        bins.iter().map(|bin| bin.count as f64 * of(bin.confidence - bin.accuracy)).sum::<f64>() / all
    };
    (over(f64::abs), over(|gap| gap))
}

/// In a sentence, of one learner.
pub(in super::super) fn in_words(kept: &Kept, section: &Section, learner: &str) -> Option<String> {
    let (ece, above) = errors(&pooled(kept, section, learner)?);
    let which = match above {
        above if above > 0.02 => "it is surer than it is right",
        above if above < -0.02 => "it is right more often than it is sure",
        _ => "its confidence is about its accuracy",
    };
    Some(format!("Calibration error (ECE) {:.1} %: {which}.", 100.0 * ece))
}

/// Diagrams of the best of families, and a table of all learners.
pub(in super::super) fn draw(kept: &Kept, section: &Section) -> Option<String> {
    let mut figures = Vec::new();
    for line in best_of_families(section).into_iter().take(DRAWN) {
        let Some(bins) = pooled(kept, section, &line.learner) else { continue };
        let all = bins.iter().map(|bin| bin.count).sum::<u64>().max(1) as f64;
        let (ece, _) = errors(&bins);
        let axis = Axis::linear(0.0, 100.0);
        let title = format!("Reliability of {}: ECE {:.1} %", line.learner, 100.0 * ece);
        let mut chart = Chart::new(&title, 300.0, axis, axis).axes("confidence in %", "accuracy in %");
        let width = 100.0 / bins.len() as f64;
        for (place, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.count > 0) {
            let left = place as f64 * width;
            let words = format!(
                "confidence {:.0} %, accuracy {:.0} %: {} queries",
                100.0 * bin.confidence,
                100.0 * bin.accuracy,
                bin.count
            );
            // A bar as wide as its bin is full, but to be seen.
            let half = width * (0.12 + 0.36 * (bin.count as f64 / all / 0.15).min(1.0));
            let middle = left + width / 2.0;
            chart.bar((middle - half, 0.0), (middle + half, 100.0 * bin.accuracy), "box", &words);
            chart.mark(100.0 * bin.confidence, 100.0 * bin.accuracy, 0, &words);
        }
        chart.guide((0.0, 0.0), (100.0, 100.0));
        let lines: Vec<_> = bins
            .iter()
            .map(|bin| {
                let percent = |share: f64| number(format!("{:.1}", 100.0 * share));
                vec![number(bin.count.to_string()), percent(bin.confidence), percent(bin.accuracy)]
            })
            .collect();
        figures.push(figure(
            &title,
            &chart.finish(),
            "On the dashed line confidence is accuracy; below it the learner is too sure. Wide bars hold many queries.",
            &table(&title, &["queries", "confidence in %", "accuracy in %"], &lines),
        ));
    }
    if figures.is_empty() {
        return None;
    }
    let lines: Vec<_> = section
        .lines
        .iter()
        .filter_map(|line| {
            let (ece, above) = errors(&pooled(kept, section, &line.learner)?);
            let points = |share: f64| number(format!("{:.1}", 100.0 * share));
            Some(vec![text(line.learner.as_str()), points(ece), points(above)])
        })
        .collect();
    let heads = ["learner", "ECE in %", "confidence − accuracy, in points"];
    let all = table("Calibration of all learners", &heads, &lines);
    Some(side_by_side(&figures) + &super::super::html::details("Calibration of all learners", &all, false))
}
