//! Values that were searched: each one's figure on validation tasks, and which was chosen.

use kshot::eval::Measure;

use super::super::gather::{Kept, KeptCell, Unit};
use super::super::html::{Cell, details, number, paragraph, table, text};
use crate::row::Row;
use crate::suite::search::Search;

/// A table for each cell that searched; nothing where none did.
pub(in super::super) fn draw(kept: &Kept) -> String {
    let searches: Vec<(&KeptCell, &Row, &Search)> = kept
        .cells
        .iter()
        .filter_map(|cell| {
            let row = cell.rows.first()?;
            Some((cell, row, row.search.as_ref()?))
        })
        .collect();
    if searches.is_empty() {
        return String::new();
    }
    let tables: String = searches.iter().map(|(cell, row, search)| one(cell, row, search)).collect();
    let told = paragraph(
        "Each combination was trained as usual and judged on validation tasks, by each seed for itself; test tasks were asked of \
         the chosen one only.",
    );
    details("Values that were searched", &(told + &tables), false)
}

fn one(cell: &KeptCell, row: &Row, search: &Search) -> String {
    let line = |(place, trial): (usize, &crate::suite::search::Trial)| -> Vec<Cell> {
        let figure = trial.validation.map(|score| Unit(score.measure).interval(score.interval));
        let figure = figure.or_else(|| trial.failed.clone()).unwrap_or_default();
        let chosen = if place == search.chosen { "★ chosen" } else { "" };
        vec![text(trial.in_words()), number(figure), text(chosen)]
    };
    let lines: Vec<_> = search.tried.iter().enumerate().map(line).collect();
    let measure = match row.evaluation.score.measure {
        Measure::Accuracy => "validation accuracy",
        Measure::Mse => "validation mean squared error",
    };
    let caption = format!("{}: {}", cell.name(), search.why);
    table(&caption, &["values", measure, ""], &lines)
}
