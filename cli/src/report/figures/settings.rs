//! Figures against the number of labelled examples, and against the number of classes.

use kshot::episode::Count;

use super::super::gather::{Kept, best_of_families, colour, short_title, unit};
use super::super::html::{figure, number, side_by_side, table, text};
use super::super::svg::{Axis, Chart, legend};
use crate::compare::section::{Line, Section};

/// What else a setting has: ways or shots, and both domains.
type Rest = (Option<Count>, Option<(String, String)>);

/// One of the numbers that a setting has.
struct Direction {
    /// What it is called.
    name: &'static str,
    of: fn(&Section) -> Option<f64>,
    /// What else two sections must share to be of one chart.
    rest: fn(&Section) -> Rest,
}

fn largest(count: Option<Count>) -> Option<f64> {
    count.map(|count| count.max() as f64)
}

fn domains(section: &Section) -> Option<(String, String)> {
    section.setting.pair.as_ref().map(|pair| (pair.source.clone(), pair.target.clone()))
}

const DIRECTIONS: [Direction; 3] = [
    Direction {
        name: "shots",
        of: |section| largest(section.setting.shots),
        rest: |section| (section.setting.ways, domains(section)),
    },
    Direction {
        name: "ways",
        of: |section| largest(section.setting.ways),
        rest: |section| (section.setting.shots, domains(section)),
    },
    Direction {
        name: "labelled target examples a class",
        of: |section| section.setting.pair.as_ref().map(|pair| pair.target_shots as f64),
        rest: |section| (section.setting.shots, domains(section)),
    },
];

/// A chart for each direction in which there are several settings; nothing where there are none.
pub(in super::super) fn draw(kept: &Kept) -> String {
    let mut figures = Vec::new();
    for direction in &DIRECTIONS {
        let mut groups: Vec<Vec<&Section>> = Vec::new();
        for section in kept.sections.iter().filter(|section| (direction.of)(section).is_some()) {
            let same = |group: &&mut Vec<&Section>| {
                group[0].dataset == section.dataset
                    && group[0].measure == section.measure
                    && (direction.rest)(group[0]) == (direction.rest)(section)
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.push(section),
                None => groups.push(vec![section]),
            }
        }
        for group in &mut groups {
            group.sort_by(|a, b| {
                (direction.of)(a).partial_cmp(&(direction.of)(b)).unwrap_or(std::cmp::Ordering::Equal)
            });
            group.dedup_by(|a, b| (direction.of)(a) == (direction.of)(b));
            if group.len() > 1 {
                figures.push(chart(group, direction));
            }
        }
    }
    if figures.is_empty() { String::new() } else { side_by_side(&figures) }
}

fn chart(group: &[&Section], direction: &Direction) -> String {
    let (unit, last) = (unit(group[0]), group[group.len() - 1]);
    let at = |section: &Section| (direction.of)(section).unwrap_or(0.0);
    let drawn: Vec<&Line> = best_of_families(last);
    let of = |section: &Section, learner: &str| {
        let line = section.lines.iter().find(|line| line.learner == learner)?;
        let half = if line.figure.ci95.is_finite() { line.figure.ci95 } else { 0.0 };
        Some((unit.value(line.figure.mean), unit.value(half)))
    };
    let points = |learner: &str| -> Vec<(f64, f64, f64)> {
        let place = |section: &&Section| of(section, learner).map(|(mean, half)| (at(section), mean, half));
        group.iter().filter_map(place).collect()
    };
    let all: Vec<_> = drawn.iter().flat_map(|line| points(&line.learner)).collect();
    let low = all.iter().map(|point| point.1 - point.2).fold(f64::INFINITY, f64::min);
    let high = all.iter().map(|point| point.1 + point.2).fold(f64::NEG_INFINITY, f64::max);
    let x = Axis::counts(at(group[0]), at(last));
    let y = if unit.value(1.0) > 1.0 { Axis::percent(low, high) } else { Axis::linear(0.0, high) };
    let title = format!("{}: {} against {}", group[0].dataset, unit.name(), direction.name);
    let mut chart = Chart::new(&title, 280.0, x, y).axes(direction.name, unit.name());
    for line in &drawn {
        let points = points(&line.learner);
        let means: Vec<(f64, f64)> = points.iter().map(|&(x, mean, _)| (x, mean)).collect();
        chart.line(&means, colour(line));
        for (x, mean, half) in points {
            chart.interval(x, mean - half, mean + half, colour(line));
            chart.mark(x, mean, colour(line), &format!("{}: {mean:.2} ± {half:.2}", line.learner));
        }
    }
    let names: Vec<(String, usize)> = drawn
        .iter()
        .map(|line| (format!("{} ({})", line.learner, line.family.name()), colour(line)))
        .collect();
    let mut lines = Vec::new();
    for line in &last.lines {
        let figures = group.iter().map(|section| {
            let found = section.lines.iter().find(|other| other.learner == line.learner);
            number(found.map_or("–".to_owned(), |line| unit.interval(line.figure)))
        });
        lines.push(std::iter::once(text(line.learner.as_str())).chain(figures).collect());
    }
    let titles: Vec<String> = group.iter().map(|section| short_title(section)).collect();
    let heads: Vec<&str> = std::iter::once("learner").chain(titles.iter().map(String::as_str)).collect();
    figure(
        &title,
        &(legend(&names, true) + &chart.finish()),
        "The best of each family at the largest number, with 95 % intervals. The table has all learners.",
        &table(&title, &heads, &lines),
    )
}
