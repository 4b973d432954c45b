//! What was run: experiments, machines, what failed.

use serde_json::Value;

use super::gather::{Kept, KeptCell};
use super::html::{Cell, absent, details, escaped, number, paragraph, table, text};
use crate::words::plural;

/// The section's content.
pub(super) fn draw(kept: &Kept) -> String {
    let mut html = String::new();
    let failed: Vec<(&KeptCell, &String)> =
        kept.cells.iter().flat_map(|cell| cell.failed.iter().map(move |why| (cell, why))).collect();
    if kept.missing > 0 {
        html += &absent(&format!(
            "{} not measured yet: `kshot run` with the same file goes on.",
            plural(kept.missing, "cell")
        ));
    }
    html += &match failed.is_empty() {
        true => paragraph("No figure failed."),
        false => {
            let items: String = failed
                .iter()
                .map(|(cell, why)| format!("<li>{}: {}</li>", escaped(&cell.name()), escaped(why)))
                .collect();
            let count = match failed.len() {
                1 => "One figure failed".to_owned(),
                several => format!("{several} figures failed"),
            };
            format!("<p>{count}:</p><ul>{items}</ul>")
        }
    };
    html += &machines(kept);
    html += &details(&format!("All {}", plural(kept.cells.len(), "cell")), &cells(kept), false);
    html += &paragraph(
        "Each experiment below measures its cell again: save it as a file, and `kshot bench FILE --out DIR`. Figures and weights \
         follow from it and the version; seconds do not.",
    );
    // Cells that differ in the seed only have one file.
    let mut known: Vec<(String, String)> = Vec::new();
    for cell in &kept.cells {
        let without_seed: Vec<&str> =
            cell.config.lines().filter(|line| !line.starts_with("seed = ")).collect();
        let without_seed = without_seed.join("\n");
        if known.iter().all(|(other, _)| *other != without_seed) {
            let content = format!("<pre>{}</pre>", escaped(&cell.config));
            known.push((without_seed, details(&cell.name(), &content, false)));
        }
    }
    let files: String = known.into_iter().map(|(_, html)| html).collect();
    html + &details("Experiments, one for each cell but for the seed", &files, false)
}

/// What measured: one line for each machine or version.
fn machines(kept: &Kept) -> String {
    let mut known: Vec<(&Value, usize)> = Vec::new();
    for cell in &kept.cells {
        match known.iter_mut().find(|(value, _)| *value == &cell.environment) {
            Some((_, count)) => *count += 1,
            None => known.push((&cell.environment, 1)),
        }
    }
    let keys = ["kshot", "system", "cpu", "kernels", "device", "threads"];
    let lines: Vec<_> = known
        .into_iter()
        .map(|(value, count)| {
            let of = |key: &str| match value.get(key) {
                Some(Value::String(words)) => words.clone(),
                Some(other) => other.to_string(),
                None => "not known".to_owned(),
            };
            keys.iter().map(|key| text(of(key))).chain([number(count.to_string())]).collect()
        })
        .collect();
    let heads = ["kshot", "system", "CPU", "kernels", "device", "threads", "cells"];
    table("What it was measured with", &heads, &lines)
}

fn cells(kept: &Kept) -> String {
    let line = |cell: &KeptCell| -> Vec<Cell> {
        let trained = cell.rows.iter().find_map(|row| row.trained.as_ref());
        let (steps, best) = match trained {
            Some(trained) => (trained.steps.to_string(), trained.best_step.to_string()),
            None => ("none".to_owned(), "–".to_owned()),
        };
        let seed = cell.rows.first().map_or("–".to_owned(), |row| row.seed.to_string());
        let failed = if cell.failed.is_empty() { String::new() } else { cell.failed.len().to_string() };
        vec![
            text(cell.name()),
            number(seed),
            number(steps),
            number(best),
            number(cell.rows.len().to_string()),
            number(failed),
        ]
    };
    let lines: Vec<_> = kept.cells.iter().map(line).collect();
    let heads = ["cell", "seed", "training steps", "weights of step", "figures", "failed"];
    table("Cells", &heads, &lines)
}
