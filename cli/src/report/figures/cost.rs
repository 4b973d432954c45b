//! Seconds of training against the figure: what is best for its time.

use super::super::gather::{colour, unit};
use super::super::html::{figure, number, table, text};
use super::super::svg::{Axis, Chart, legend};
use crate::compare::section::{Line, Section};

fn seconds(line: &Line) -> f64 {
    line.training.unwrap_or(0.0)
}

/// Those that nothing beats that is trained as shortly: from the shortest training.
pub(in super::super) fn front(section: &Section) -> Vec<&Line> {
    let unit = unit(section);
    let mut lines: Vec<&Line> = section.lines.iter().filter(|line| line.figure.mean.is_finite()).collect();
    lines.sort_by(|a, b| {
        let sign = if unit.better(1.0, 0.0) { -1.0 } else { 1.0 };
        let figures = (sign * a.figure.mean).total_cmp(&(sign * b.figure.mean));
        seconds(a).total_cmp(&seconds(b)).then(figures)
    });
    let mut front: Vec<&Line> = Vec::new();
    for line in lines {
        if front.last().is_none_or(|best| unit.better(line.figure.mean, best.figure.mean)) {
            front.push(line);
        }
    }
    front
}

/// The chart; those on the front have their names beside them.
pub(in super::super) fn draw(section: &Section) -> Option<String> {
    let (unit, front) = (unit(section), front(section));
    let times: Vec<f64> = section.lines.iter().map(seconds).filter(|&time| time > 0.0).collect();
    if times.is_empty() {
        return None;
    }
    let least = times.iter().copied().fold(f64::INFINITY, f64::min);
    let most = times.iter().copied().fold(0.0, f64::max);
    // What is not trained stands at the left border.
    let untrained = least / 4.0;
    let low = if times.len() < section.lines.len() { untrained } else { least / 1.3 };
    let x = Axis::logarithmic(low, most * 1.3);
    let values: Vec<f64> = section.lines.iter().map(|line| unit.value(line.figure.mean)).collect();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let y = match unit.value(1.0) > 1.0 {
        true => Axis::percent(least, highest),
        // One that diverged would leave no room for the others.
        false if highest > 50.0 * least => Axis::logarithmic(least, highest * 1.1),
        false => Axis::linear(0.0, highest * 1.05),
    };
    let place = |line: &Line| if seconds(line) > 0.0 { seconds(line) } else { untrained };
    let title = format!("Training time against {}", unit.name());
    let mut chart =
        Chart::new(&title, 300.0, x, y).axes("seconds of training (left border: none)", unit.name());
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for line in &front {
        if let Some(&(_, before)) = steps.last() {
            steps.push((place(line), before));
        }
        steps.push((place(line), unit.value(line.figure.mean)));
    }
    for pair in steps.windows(2) {
        chart.guide(pair[0], pair[1]);
    }
    for line in &section.lines {
        let words = format!(
            "{}: {}, {}",
            line.learner,
            unit.interval(line.figure),
            line.training.map_or("not trained".to_owned(), |seconds| format!("{seconds:.1} s of training"))
        );
        chart.mark(place(line), unit.value(line.figure.mean), colour(line), &words);
    }
    // From the best: names that meet move up.
    for line in front.iter() {
        chart.words(place(line), unit.value(line.figure.mean), (8.0, -8.0), &line.learner);
    }
    let mut families: Vec<(String, usize)> = Vec::new();
    for line in &section.lines {
        let name = (line.family.name().to_owned(), colour(line));
        if !families.contains(&name) {
            families.push(name);
        }
    }
    let on_front = |line: &Line| front.iter().any(|other| other.learner == line.learner);
    let lines: Vec<_> = section
        .lines
        .iter()
        .map(|line| {
            vec![
                text(line.learner.as_str()),
                number(line.training.map_or("none".to_owned(), |seconds| format!("{seconds:.2}"))),
                number(unit.interval(line.figure)),
                text(if on_front(line) { "yes" } else { "" }),
            ]
        })
        .collect();
    Some(figure(
        &title,
        &(legend(&families, false) + &chart.finish()),
        "Named learners are on the Pareto front, the dashed line: no other is as good with as little training. Seconds are of \
         the machine that measured.",
        &table(&title, &["learner", "training in s", unit.name(), "on the front"], &lines),
    ))
}
