//! The picture of a comparison: accuracy against the number of labelled examples, a line for each learner.

use std::path::Path;

use kshot::eval::Measure;
use kshot::{Error, Result, atomic};
use plotters::prelude::*;

use crate::row::Row;

/// Width and height in pixels.
const SIZE: (u32, u32) = (760, 480);

/// Room for the names to the right.
const NAMES: u32 = 140;

/// Colours that are told apart on white, in turn.
fn colour(number: usize) -> RGBColor {
    const COLOURS: [(u8, u8, u8); 10] = [
        (31, 119, 180),
        (214, 39, 40),
        (44, 160, 44),
        (255, 127, 14),
        (148, 103, 189),
        (140, 86, 75),
        (227, 119, 194),
        (110, 110, 110),
        (160, 150, 20),
        (23, 170, 190),
    ];
    let (red, green, blue) = COLOURS[number % COLOURS.len()];
    RGBColor(red, green, blue)
}

/// One learner's points: labelled examples of each class, the figure, and the half-width of its interval.
struct Line {
    learner: String,
    points: Vec<(f64, f64, f64)>,
}

/// Writes the picture as SVG.
///
/// # Errors
/// When there is nothing to draw, or the file cannot be written.
pub(crate) fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let svg = draw(rows).map_err(|why| Error::invalid(format!("drawing {}: {why}", path.display())))?;
    atomic::write(path, svg.as_bytes(), "writing the picture to")
}

/// The lines: the mean over all pairs of domains, where there are several.
fn lines(rows: &[Row], scale: f64) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut counts: Vec<Vec<f64>> = Vec::new();
    for row in rows {
        let shots = row.setting.shots.map_or(0.0, |shots| shots.max() as f64);
        let at = row.setting.pair.as_ref().map_or(shots, |pair| pair.target_shots as f64);
        let learner = row.label();
        let number = lines.iter().position(|line| line.learner == learner).unwrap_or_else(|| {
            lines.push(Line { learner, points: Vec::new() });
            counts.push(Vec::new());
            lines.len() - 1
        });
        let (line, counts) = (&mut lines[number], &mut counts[number]);
        let place = line.points.iter().position(|point| point.0 == at).unwrap_or_else(|| {
            line.points.push((at, 0.0, 0.0));
            counts.push(0.0);
            counts.len() - 1
        });
        let interval = row.evaluation.score.interval;
        let (_, mean, half) = &mut line.points[place];
        counts[place] += 1.0;
        *mean += (scale * interval.mean - *mean) / counts[place];
        let own = if interval.ci95.is_nan() { 0.0 } else { scale * interval.ci95 };
        *half += (own - *half) / counts[place];
    }
    lines.iter_mut().for_each(|line| line.points.sort_by(|a, b| a.0.total_cmp(&b.0)));
    lines
}

fn draw(rows: &[Row]) -> Result<String, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let first = rows.first().ok_or("there are no figures")?;
    let accuracy = first.evaluation.score.measure == Measure::Accuracy;
    let lines = lines(rows, if accuracy { 100.0 } else { 1.0 });
    let points = || lines.iter().flat_map(|line| &line.points);
    let right = points().map(|point| point.0).fold(1.0, f64::max);
    let (low, high) = points().fold((f64::INFINITY, 0.0_f64), |(low, high), &(_, mean, half)| {
        (low.min(mean - half), high.max(mean + half))
    });
    let (low, high) = if accuracy {
        // Few seeds give intervals beyond what an accuracy can be.
        ((low.max(0.0) / 10.0).floor() * 10.0, (high.min(100.0) / 10.0).ceil() * 10.0)
    } else {
        (0.0, high * 1.05)
    };
    let axis = if first.setting.pair.is_some() { "labelled target examples a class" } else { "shots" };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|e| text(&e))?;
        let mut chart = ChartBuilder::on(&area)
            .margin(16)
            .margin_right(NAMES)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d(-0.02 * right..1.02 * right, low..high)
            .map_err(|e| text(&e))?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .max_light_lines(1)
            .x_desc(axis)
            .y_desc(if accuracy { "accuracy in %" } else { "mean squared error" })
            .label_style(("sans-serif", 14))
            .axis_desc_style(("sans-serif", 15))
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| if accuracy { format!("{y:.0}") } else { format!("{y:.2}") })
            .draw()
            .map_err(|e| text(&e))?;
        // Names stand beside the ends of their lines, moved apart where they would meet.
        let mut ends: Vec<(f64, usize)> =
            lines.iter().enumerate().filter_map(|(n, line)| Some((line.points.last()?.1, n))).collect();
        ends.sort_by(|a, b| b.0.total_cmp(&a.0));
        let gap = (high - low) / 22.0;
        let mut last = f64::INFINITY;
        for (end, number) in ends {
            let (line, colour) = (&lines[number], colour(number));
            let curve = line.points.iter().map(|&(x, y, _)| (x, y));
            chart.draw_series(LineSeries::new(curve, colour.stroke_width(2))).map_err(|e| text(&e))?;
            let bars = line.points.iter().map(|&(x, y, half)| {
                PathElement::new(
                    vec![(x, (y - half).max(low)), (x, (y + half).min(high))],
                    colour.stroke_width(1),
                )
            });
            chart.draw_series(bars).map_err(|e| text(&e))?;
            let dots = line.points.iter().map(|&(x, y, _)| Circle::new((x, y), 3, colour.filled()));
            chart.draw_series(dots).map_err(|e| text(&e))?;
            last = end.min(last - gap);
            let (x, y) = chart.backend_coord(&(1.02 * right, last));
            let style = ("sans-serif", 14).into_font().color(&colour);
            area.draw(&Text::new(line.learner.clone(), (x + 8, y - 8), style)).map_err(|e| text(&e))?;
        }
        area.present().map_err(|e| text(&e))?;
    }
    Ok(svg)
}
