//! The table by family, with the differences from the best, and how the test episodes are distributed.

use kshot::learner::Family;

use super::super::gather::{Kept, Unit, best, colour, from_best, unit};
use super::super::html::{Cell, number, paragraph, table, text};
use crate::compare::render::{probability, searches, signed, title};
use crate::compare::section::{Line, Section};

/// A section's learners by family, those of the best first.
pub(in super::super) fn by_family(kept: &Kept, section: &Section) -> String {
    let unit = unit(section);
    let order = from_best(section);
    let mut families: Vec<Family> = Vec::new();
    for line in &order {
        if !families.contains(&line.family) {
            families.push(line.family);
        }
    }
    let range = range(&order);
    let mut lines = Vec::new();
    for family in families {
        lines.push(vec![Cell::Strong(family.name().to_owned())]);
        for line in order.iter().filter(|line| line.family == family) {
            lines.push(cells(kept, section, line, unit, range));
        }
    }
    let measure = unit.name();
    let against = section.difference_from();
    let heads = [
        "learner",
        measure,
        "95 % interval",
        against.as_str(),
        "p (Holm)",
        "sees all queries",
        "training",
        "evaluation",
    ];
    let chosen = searches(section).iter().map(|note| paragraph(note)).collect::<String>();
    table(&title(section), &heads, &lines) + &chosen
}

/// From the lowest to the highest end of all intervals.
fn range(lines: &[&Line]) -> (f64, f64) {
    let half = |line: &Line| if line.figure.ci95.is_finite() { line.figure.ci95 } else { 0.0 };
    lines
        .iter()
        .filter(|line| line.figure.mean.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), line| {
            (low.min(line.figure.mean - half(line)), high.max(line.figure.mean + half(line)))
        })
}

fn cells(kept: &Kept, section: &Section, line: &Line, unit: Unit, range: (f64, f64)) -> Vec<Cell> {
    let best = line.learner == best(section);
    let (difference, p) = match line.difference {
        None => ("–".to_owned(), "–".to_owned()),
        Some((pair, holm)) => {
            let mark = if line.differs() { " *" } else { "" };
            let difference = unit.interval(pair.difference).replace(" %", "");
            (format!("{}{mark}", signed(&difference)), probability(holm))
        }
    };
    let seeds = kept.of(section, &line.learner).len();
    let name = match seeds < section.seeds.len() {
        true => format!("{} ({seeds} of {} seeds)", line.learner, section.seeds.len()),
        false => line.learner.clone(),
    };
    vec![
        text(if best { format!("★ {name}") } else { name }),
        number(unit.interval(line.figure).replace(" %", "")),
        Cell::Html(spark(line, unit, range)),
        number(difference),
        number(p),
        text(if line.transductive { "yes" } else { "no" }),
        number(line.training.map_or("none".to_owned(), |seconds| format!("{seconds:.1} s"))),
        number(match line.rate.is_finite() {
            true => format!("{:.0} episodes/s", line.rate),
            false => "–".to_owned(),
        }),
    ]
}

/// The interval as a small picture, all of a table on one scale.
fn spark(line: &Line, unit: Unit, (low, high): (f64, f64)) -> String {
    let width = if high > low { high - low } else { 1.0 };
    let place = |value: f64| 6.0 + 178.0 * ((value - low) / width).clamp(0.0, 1.0);
    let half = if line.figure.ci95.is_finite() { line.figure.ci95 } else { 0.0 };
    if !line.figure.mean.is_finite() {
        return String::new();
    }
    let at = place(line.figure.mean);
    format!(
        r#"<svg class="spark" viewBox="0 0 190 16" role="img" aria-label="{}"><line class="grid" x1="6" x2="184" y1="8" y2="8"/><line class="line s{c}" x1="{:.1}" x2="{:.1}" y1="8" y2="8"/><circle class="f{c}" cx="{at:.1}" cy="8" r="4"/></svg>"#,
        unit.interval(line.figure),
        place(line.figure.mean - half),
        place(line.figure.mean + half),
        c = colour(line),
    )
}
