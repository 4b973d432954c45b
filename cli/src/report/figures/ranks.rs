//! The critical-difference diagram (Demšar 2006, figure 1).

use super::super::html::{figure, number, table, text};
use super::super::svg::{Axis, Chart};
use super::episodes::shortened;
use crate::compare::ranking::Ranking;

/// Mean ranks on a line, and under it a stroke over those that do not differ.
pub(in super::super) fn draw(ranking: &Ranking) -> String {
    let ranks = &ranking.friedman.mean_ranks;
    let mut order: Vec<usize> = (0..ranks.len()).collect();
    order.sort_by(|&a, &b| ranks[a].total_cmp(&ranks[b]));
    let (count, strokes) = (ranks.len() as f64, ranking.groups.len() as f64);
    let rows = count + 1.0 + 0.6 * strokes;
    let (x, y) = (Axis::counts(1.0, count), Axis::linear(0.0, rows));
    let mut chart = Chart::new("Critical-difference diagram", 60.0 + 18.0 * rows, x, y)
        .with_left(120.0)
        .x_axis("mean rank, 1 is best");
    for (place, &learner) in order.iter().enumerate() {
        let y = rows - place as f64 - 0.5;
        let title = format!("{}: mean rank {:.2}", ranking.learners[learner], ranks[learner]);
        chart.name(y, &shortened(&ranking.learners[learner]));
        chart.guide((1.0, y), (ranks[learner], y));
        chart.mark(ranks[learner], y, 0, &title);
    }
    for (place, group) in ranking.groups.iter().enumerate() {
        let y = rows - count - 0.6 * place as f64 - 0.4;
        let low = group.iter().map(|&learner| ranks[learner]).fold(f64::INFINITY, f64::min);
        let high = group.iter().map(|&learner| ranks[learner]).fold(f64::NEG_INFINITY, f64::max);
        chart.bar((low, y - 0.1), (high, y + 0.1), "middle", "these do not differ");
    }
    let (heads, lines) = ranking.table();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let lines: Vec<_> = lines
        .into_iter()
        .map(|line| {
            let cell = |(place, words): (usize, String)| if place == 1 { number(words) } else { text(words) };
            line.into_iter().enumerate().map(cell).collect()
        })
        .collect();
    figure(
        "Who ranks first over all settings?",
        &chart.finish(),
        &format!(
            "{}. Learners whose ranks one stroke spans do not differ. With few settings only large differences show.",
            ranking.title()
        ),
        &table(&ranking.title(), &heads, &lines),
    )
}
