//! Charts as inline SVG. Colours are classes (`s0` strokes, `f0` fills), so that the page's style decides them in light and in
//! dark.

use std::fmt::Write as _;

use super::html::escaped;

/// Width of a chart in its own units; a page shows it about as wide in pixels, so that its letters stay readable.
pub(super) const WIDTH: f64 = 440.0;

/// Number of colours that are told apart, also by those who do not see all (Okabe & Ito).
pub(super) const COLOURS: usize = 8;

/// Room for what stands beside the plot.
const LEFT: f64 = 50.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 42.0;

/// One direction of a chart.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// Of counts: no numbers between whole ones.
    whole: bool,
}

impl Axis {
    /// From `low` to `high`, a little more where they are the same.
    pub(super) fn linear(low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, logarithmic: false, whole: false }
    }

    /// The same of counts.
    pub(super) fn counts(low: f64, high: f64) -> Self {
        Self { whole: true, ..Self::linear(low, high) }
    }

    /// The same by factors, for positive values.
    pub(super) fn logarithmic(low: f64, high: f64) -> Self {
        let low = low.max(1e-12);
        let high = if high > low { high } else { low * 2.0 };
        Self { low, high, logarithmic: true, whole: false }
    }

    /// Accuracies in %: from the ten below to the ten above.
    pub(super) fn percent(low: f64, high: f64) -> Self {
        let (low, high) = (low.clamp(0.0, 100.0), high.clamp(0.0, 100.0));
        Self::linear((low / 10.0).floor() * 10.0, ((high / 10.0).ceil() * 10.0).max(10.0))
    }

    /// 0 at the low end, 1 at the high one.
    fn share(self, value: f64) -> f64 {
        let share = match self.logarithmic {
            false => (value - self.low) / (self.high - self.low),
            true => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
        };
        share.clamp(0.0, 1.0)
    }

    /// Round values to write beside it.
    fn ticks(self) -> Vec<f64> {
        let inside = |value: &f64| *value >= self.low * (1.0 - 1e-9) && *value <= self.high * (1.0 + 1e-9);
        if self.logarithmic {
            let decades = (self.low.log10().floor() as i32)..=(self.high.log10().ceil() as i32);
            let few = self.high / self.low > 200.0;
            let steps: &[f64] = if few { &[1.0] } else { &[1.0, 2.0, 5.0] };
            return decades
                .flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)))
                .filter(inside)
                .collect();
        }
        let rough = (self.high - self.low) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|&step| step >= rough * 0.999);
        let step = step.unwrap_or(10.0 * power).max(if self.whole { 1.0 } else { 0.0 });
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|n| n as f64 * step).collect()
    }
}

/// A value as short as it can be told on an axis.
pub(super) fn short(value: f64) -> String {
    let text = match value.abs() {
        0.0 => return "0".to_owned(),
        size if size >= 1e6 => format!("{value:.0e}"),
        size if size >= 10.0 => format!("{value:.0}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A chart that is being drawn.
pub(super) struct Chart {
    name: String,
    height: f64,
    left: f64,
    x: Axis,
    y: Axis,
    body: String,
    /// Where words stand already: left, right, height.
    taken: Vec<(f64, f64, f64)>,
}

impl Chart {
    /// An empty chart; `name` is what a screen reader says of it.
    pub(super) fn new(name: &str, height: f64, x: Axis, y: Axis) -> Self {
        Self { name: name.to_owned(), height, left: LEFT, x, y, body: String::new(), taken: Vec::new() }
    }

    /// With this much room to the left, for names.
    pub(super) fn with_left(self, left: f64) -> Self {
        Self { left, ..self }
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.across(x), self.down(y))
    }

    fn across(&self, x: f64) -> f64 {
        self.left + self.x.share(x) * (WIDTH - self.left - RIGHT)
    }

    fn down(&self, y: f64) -> f64 {
        self.height - BOTTOM - self.y.share(y) * (self.height - BOTTOM - TOP)
    }

    fn push(&mut self, part: std::fmt::Arguments<'_>) {
        // Into memory, nothing fails.
        let _ = self.body.write_fmt(part);
    }

    /// The grid and the numbers of both axes, with what they are.
    pub(super) fn axes(mut self, x_name: &str, y_name: &str) -> Self {
        self = self.x_axis(x_name);
        for tick in self.y.ticks() {
            let (left, y) = (self.left, self.down(tick));
            self.push(format_args!(
                r#"<line class="grid" x1="{left:.1}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/><text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                WIDTH - RIGHT,
                left - 5.0,
                y + 4.0,
                short(tick)
            ));
        }
        let middle = (self.height - BOTTOM + TOP) / 2.0;
        self.push(format_args!(
            r#"<text transform="translate(12 {middle:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
            escaped(y_name)
        ));
        self
    }

    /// The numbers below, with what they are.
    pub(super) fn x_axis(mut self, name: &str) -> Self {
        let bottom = self.height - BOTTOM;
        for tick in self.x.ticks() {
            let x = self.across(tick);
            self.push(format_args!(
                r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom:.1}"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 16.0,
                short(tick)
            ));
        }
        let middle = (self.left + WIDTH - RIGHT) / 2.0;
        self.push(format_args!(
            r#"<text x="{middle:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            self.height - 6.0,
            escaped(name)
        ));
        self
    }

    /// A line through points; its dashes, too, tell it from others.
    pub(super) fn line(&mut self, points: &[(f64, f64)], colour: usize) {
        self.path(points, colour, "");
    }

    /// A thin straight line that means "as it should be", or a border.
    pub(super) fn guide(&mut self, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (self.at(from.0, from.1), self.at(to.0, to.1));
        self.push(format_args!(
            r#"<line class="guide" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        ));
    }

    fn path(&mut self, points: &[(f64, f64)], colour: usize, more: &str) {
        let places: Vec<String> = points
            .iter()
            .map(|&(x, y)| {
                let (x, y) = self.at(x, y);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        self.push(format_args!(
            r#"<polyline class="line {}"{more} points="{}"/>"#,
            stroke(colour),
            places.join(" ")
        ));
    }

    /// What lies between two lines over the same places: (x, low, high).
    pub(super) fn band(&mut self, points: &[(f64, f64, f64)], colour: usize) {
        let there = points.iter().map(|&(x, low, _)| (x, low));
        let back = points.iter().rev().map(|&(x, _, high)| (x, high));
        let places: Vec<String> = there
            .chain(back)
            .map(|(x, y)| {
                let (x, y) = self.at(x, y);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        self.push(format_args!(
            r#"<polygon class="band f{}" points="{}"/>"#,
            colour % COLOURS,
            places.join(" ")
        ));
    }

    /// An interval up and down.
    pub(super) fn interval(&mut self, x: f64, low: f64, high: f64, colour: usize) {
        let ((x, low), (_, high)) = (self.at(x, low), self.at(x, high));
        self.push(format_args!(
            r#"<line class="thin s{}" x1="{x:.1}" x2="{x:.1}" y1="{low:.1}" y2="{high:.1}"/>"#,
            colour % COLOURS
        ));
    }

    /// A mark, of another shape for each colour; `title` shows where a pointer rests on it.
    pub(super) fn mark(&mut self, x: f64, y: f64, colour: usize, title: &str) {
        let (x, y) = self.at(x, y);
        let shape = shape(x, y, colour);
        self.push(format_args!(
            r#"<g class="mark f{}"><title>{}</title>{shape}</g>"#,
            colour % COLOURS,
            escaped(title)
        ));
    }

    /// A letter as a mark.
    pub(super) fn letter(&mut self, x: f64, y: f64, letter: &str, colour: usize) {
        let (x, y) = self.at(x, y);
        self.push(format_args!(
            r#"<text class="letter f{}" x="{x:.1}" y="{:.1}" text-anchor="middle">{letter}</text>"#,
            colour % COLOURS,
            y + 4.0
        ));
    }

    /// A box between two corners.
    pub(super) fn bar(&mut self, from: (f64, f64), to: (f64, f64), class: &str, title: &str) {
        let ((x1, y1), (x2, y2)) = (self.at(from.0, from.1), self.at(to.0, to.1));
        self.push(format_args!(
            r#"<rect class="{class}" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}"><title>{}</title></rect>"#,
            x1.min(x2),
            y1.min(y2),
            (x2 - x1).abs(),
            (y2 - y1).abs(),
            escaped(title)
        ));
    }

    /// Words beside a point, moved by so much; to the other side where there is no room, and up where other words stand.
    pub(super) fn words(&mut self, x: f64, y: f64, by: (f64, f64), words: &str) {
        let (x, y) = self.at(x, y);
        let room = 6.6 * words.chars().count() as f64;
        let (x, anchor, ends) = match x + by.0 + room > WIDTH {
            true => (x - by.0, "end", (x - by.0 - room, x - by.0)),
            false => (x + by.0, "start", (x + by.0, x + by.0 + room)),
        };
        let mut y = y + by.1 + 4.0;
        let meets = |y: f64, &(left, right, other): &(f64, f64, f64)| {
            ends.0 < right && left < ends.1 && (other - y).abs() < 13.0
        };
        while y > TOP + 12.0 && self.taken.iter().any(|other| meets(y, other)) {
            y -= 2.0;
        }
        y = y.max(TOP + 8.0);
        self.taken.push((ends.0, ends.1, y));
        self.push(format_args!(
            r#"<text class="words" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#,
            escaped(words)
        ));
    }

    /// A name at the left border, at this height.
    pub(super) fn name(&mut self, y: f64, words: &str) {
        let (x, y) = (self.left - 6.0, self.down(y));
        self.push(format_args!(
            r#"<text x="{x:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            y + 4.0,
            escaped(words)
        ));
    }

    /// The whole element.
    pub(super) fn finish(self) -> String {
        let name = escaped(&self.name);
        format!(
            r#"<svg class="chart" viewBox="0 0 {WIDTH} {:.0}" role="img" aria-label="{name}">{}</svg>"#,
            self.height, self.body
        )
    }
}

fn stroke(colour: usize) -> String {
    format!("s{} d{}", colour % COLOURS, (colour / 2) % 4)
}

/// Circle, square, triangle, diamond, cross and the like, by number.
fn shape(x: f64, y: f64, number: usize) -> String {
    let polygon = |points: &[(f64, f64)]| {
        let places: Vec<String> =
            points.iter().map(|(dx, dy)| format!("{:.1},{:.1}", x + dx, y + dy)).collect();
        format!(r#"<polygon points="{}"/>"#, places.join(" "))
    };
    match number % 6 {
        0 => format!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="4.5"/>"#),
        1 => format!(r#"<rect x="{:.1}" y="{:.1}" width="8" height="8"/>"#, x - 4.0, y - 4.0),
        2 => polygon(&[(0.0, -5.5), (5.0, 4.0), (-5.0, 4.0)]),
        3 => polygon(&[(0.0, -6.0), (6.0, 0.0), (0.0, 6.0), (-6.0, 0.0)]),
        4 => polygon(&[(0.0, 5.5), (5.0, -4.0), (-5.0, -4.0)]),
        _ => polygon(&[(-6.0, -2.0), (6.0, -2.0), (6.0, 2.0), (-6.0, 2.0)]),
    }
}

/// What tells the lines or marks of a chart apart, in words: (name, number of its colour).
pub(super) fn legend(names: &[(String, usize)], lines: bool) -> String {
    let mut text = String::from(r#"<ul class="legend">"#);
    for (name, colour) in names {
        let sample = match lines {
            true => format!(
                r#"<polyline class="line {}" points="1,7 25,7"/><g class="mark f{}">{}</g>"#,
                stroke(*colour),
                colour % COLOURS,
                shape(13.0, 7.0, *colour)
            ),
            false => format!(r#"<g class="mark f{}">{}</g>"#, colour % COLOURS, shape(13.0, 7.0, *colour)),
        };
        let _ = write!(
            text,
            r#"<li><svg class="key" viewBox="0 0 26 14" aria-hidden="true">{sample}</svg>{}</li>"#,
            escaped(name)
        );
    }
    text + "</ul>"
}
