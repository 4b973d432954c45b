//! Learning curves: the figure on validation tasks over the steps of a training; where none was asked for, the training loss.

use kshot::learner::Family;

use super::super::gather::{Curve, Kept, from_best, unit};
use super::super::html::{absent, figure, number, side_by_side, table, text};
use super::super::svg::{Axis, Chart, legend};
use crate::compare::section::Section;

/// A point: step, mean, and the ends of what is about it.
type Point = (f64, f64, f64, f64);

/// A learner's curve.
type Named = (String, Vec<Point>);

/// The mean over seeds at the steps that all have, with the lowest and the highest seed; of one seed its own interval.
fn over_seeds(curves: &[Vec<Point>]) -> Vec<Point> {
    let [first, rest @ ..] = curves else { return Vec::new() };
    if rest.is_empty() {
        return first.clone();
    }
    let of = |&(step, ..): &Point| {
        let values: Vec<f64> = curves
            .iter()
            .map(|curve| curve.iter().find(|point| point.0 == step).map(|point| point.1))
            .collect::<Option<_>>()?;
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some((step, values.iter().sum::<f64>() / values.len() as f64, low, high))
    };
    first.iter().filter_map(of).collect()
}

/// A learner's validation, in the order of its steps.
pub(in super::super) fn validation(kept: &Kept, section: &Section, learner: &str) -> Vec<Point> {
    let of = kept.of(section, learner);
    over_seeds(&of.iter().map(|(cell, _)| cell.curve.validation.clone()).collect::<Vec<_>>())
}

fn loss(curve: &Curve) -> Vec<Point> {
    curve.loss.iter().map(|&(step, value)| (step, value, value, value)).collect()
}

/// A chart for each family of trained learners.
pub(in super::super) fn draw(kept: &Kept, section: &Section) -> String {
    let unit = unit(section);
    let validated = section.lines.iter().any(|line| validation(kept, section, &line.learner).len() > 1);
    let mut families: Vec<(Family, Vec<Named>)> = Vec::new();
    for line in from_best(section) {
        let curve = match validated {
            true => validation(kept, section, &line.learner),
            false => {
                let of = kept.of(section, &line.learner);
                over_seeds(&of.iter().map(|(cell, _)| loss(&cell.curve)).collect::<Vec<_>>())
            }
        };
        if curve.len() < 2 {
            continue;
        }
        // Inner steps on a task share one training.
        let named = (line.learner.split(", ").next().unwrap_or_default().to_owned(), curve);
        match families.iter_mut().find(|(family, _)| *family == line.family) {
            Some((_, curves)) if curves.iter().all(|known| known.0 != named.0) => curves.push(named),
            Some(_) => {}
            None => families.push((line.family, vec![named])),
        }
    }
    if families.is_empty() {
        return absent(
            "No learner here keeps a curve: nothing was trained, or it was trained for a single step.",
        );
    }
    let name = if validated { format!("validation {}", unit.name()) } else { "training loss".to_owned() };
    let scaled = |value: f64| if validated { unit.value(value) } else { value };
    let all = || families.iter().flat_map(|(_, curves)| curves).flat_map(|(_, curve)| curve);
    let low = all().map(|point| scaled(point.2)).fold(f64::INFINITY, f64::min);
    let high = all().map(|point| scaled(point.3)).fold(f64::NEG_INFINITY, f64::max);
    let steps = all().map(|point| point.0).fold(0.0, f64::max);
    let mut figures = Vec::new();
    for (family, curves) in &families {
        let y = match validated && unit.value(1.0) > 1.0 {
            true => Axis::percent(low, high),
            // Losses of two families are not of one scale.
            false => {
                let of = curves.iter().flat_map(|(_, curve)| curve).map(|point| scaled(point.3));
                Axis::linear(0.0, of.fold(0.0, f64::max))
            }
        };
        let title = format!("{}: {name}", family.name());
        let mut chart = Chart::new(&title, 270.0, Axis::linear(0.0, steps), y).axes("training steps", &name);
        let (mut names, mut lines) = (Vec::new(), Vec::new());
        for (number_of, (learner, curve)) in curves.iter().enumerate() {
            let band: Vec<_> =
                curve.iter().map(|&(x, _, low, high)| (x, scaled(low), scaled(high))).collect();
            let line: Vec<_> = curve.iter().map(|&(x, mean, ..)| (x, scaled(mean))).collect();
            if validated {
                chart.band(&band, number_of);
            }
            chart.line(&line, number_of);
            if let Some(&(x, y)) = line.last() {
                chart.mark(x, y, number_of, &format!("{learner}: {y:.2} at step {x:.0}"));
            }
            names.push((learner.clone(), number_of));
            lines.extend(curve.iter().map(|&(step, mean, low, high)| {
                let numbers = [mean, low, high].map(|value| number(format!("{:.3}", scaled(value))));
                [text(learner.as_str()), number(format!("{step:.0}"))].into_iter().chain(numbers).collect()
            }));
        }
        let about = match (validated, section.seeds.len()) {
            (false, _) => "Means over neighbouring steps. Losses of different learners do not compare.",
            (true, 1) => "The band is the 95 % interval over validation episodes.",
            (true, _) => "The mean over seeds; the band goes from the lowest seed to the highest.",
        };
        figures.push(figure(
            &title,
            &(legend(&names, true) + &chart.finish()),
            about,
            &table(&title, &["learner", "step", "mean", "low", "high"], &lines),
        ));
    }
    let missing = match validated {
        true => String::new(),
        false => absent(
            "No training here was validated more than once, so these are training losses: `--validate-every` gives the accuracy.",
        ),
    };
    missing + &side_by_side(&figures)
}

/// In a sentence, of one learner: where it came from and whether it had come to an end.
pub(in super::super) fn in_words(kept: &Kept, section: &Section, learner: &str) -> String {
    let of = kept.of(section, learner);
    let Some(trained) = of.iter().find_map(|(_, row)| row.trained.as_ref()) else {
        return "It learns nothing before the task, so there is no curve.".to_owned();
    };
    let (unit, curve) = (unit(section), validation(kept, section, learner));
    let best = format!("The weights of step {} of {} were kept.", trained.best_step, trained.steps);
    let percent = if unit.value(1.0) > 1.0 { " %" } else { "" };
    let ([first, .., last], true) = (curve.as_slice(), curve.len() > 2) else {
        let validated = curve.last().map_or(String::new(), |&(step, mean, ..)| {
            format!(" On validation tasks {}{percent} at step {step:.0}.", unit.number(mean))
        });
        return format!(
            "Trained for {} steps.{validated} {best} `--validate-every` gives a curve.",
            trained.steps
        );
    };
    let two_thirds = curve[curve.len() * 2 / 3 - usize::from(curve.len() < 4)];
    let gain = if unit.better(1.0, 0.0) { last.1 - two_thirds.1 } else { two_thirds.1 - last.1 };
    let spread = ((last.3 - last.2) / 2.0).abs();
    let end = match gain > spread.max(if unit.value(1.0) > 1.0 { 0.005 } else { 0.0 }) {
        true => "It was still gaining in the last third: more steps may help.",
        false => "The last third of the training brought no gain beyond its spread.",
    };
    format!(
        "On validation tasks from {}{percent} at step {:.0} to {}{percent} at step {:.0}. {end} {best}",
        unit.number(first.1),
        first.0,
        unit.number(last.1),
        last.0
    )
}
