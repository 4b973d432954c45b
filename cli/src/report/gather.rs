//! What suites and runs have kept, read for a report.

use std::path::{Path, PathBuf};

use kshot::eval::Measure;
use kshot::stats::Interval;
use kshot::{Result, file};
use serde_json::Value;

use crate::compare::ranking::{Ranking, ranking};
use crate::compare::section::{Line, Section, sections};
use crate::row::Row;
use crate::suite::{cells_of, kept};

/// Points of a curve that are drawn, at most.
const POINTS: usize = 60;

/// A cell as it is kept.
pub(super) struct KeptCell {
    pub(super) path: PathBuf,
    pub(super) rows: Vec<Row>,
    pub(super) failed: Vec<String>,
    /// `config.toml`, as it is.
    pub(super) config: String,
    /// `env.json`.
    pub(super) environment: Value,
    pub(super) curve: Curve,
}

/// How a training went.
#[derive(Default)]
pub(super) struct Curve {
    /// Step, figure and the ends of its interval, on validation tasks.
    pub(super) validation: Vec<(f64, f64, f64, f64)>,
    /// Step and loss on training tasks, in means over neighbouring steps.
    pub(super) loss: Vec<(f64, f64)>,
}

/// All of a report.
pub(super) struct Kept {
    pub(super) cells: Vec<KeptCell>,
    /// Cells that are listed and not measured yet.
    pub(super) missing: usize,
    pub(super) sections: Vec<Section>,
    pub(super) ranking: Option<Ranking>,
    /// Whom others are compared with, if that was said beforehand.
    pub(super) against: Option<String>,
}

impl Kept {
    /// Reads the cells of all directories.
    ///
    /// # Errors
    /// When one is no directory of a suite or a run, what it keeps cannot be read, or nobody is called `against`.
    pub(super) fn read(paths: &[PathBuf], against: Option<String>) -> Result<Self> {
        let (mut cells, mut missing) = (Vec::new(), 0);
        for path in paths {
            for path in cells_of(path)? {
                match kept::read(&path)? {
                    Some((rows, failed)) => cells.push(KeptCell::read(path, rows, failed)),
                    None => missing += 1,
                }
            }
        }
        let rows: Vec<Row> = cells.iter().flat_map(|cell| cell.rows.clone()).collect();
        let sections = sections(&rows, against.as_deref())?;
        let ranking = ranking(&sections)?;
        Ok(Self { cells, missing, sections, ranking, against })
    }

    /// A learner's cells in a section, each seed once, with the row.
    pub(super) fn of<'a>(&'a self, section: &Section, learner: &str) -> Vec<(&'a KeptCell, &'a Row)> {
        let mut found: Vec<(&KeptCell, &Row)> = Vec::new();
        for cell in &self.cells {
            for row in &cell.rows {
                let same = (&row.dataset, &row.setting) == (&section.dataset, &section.setting)
                    && row.evaluation.score.measure == section.measure
                    && row.label() == learner;
                if same && found.iter().all(|(_, known)| known.seed != row.seed) {
                    found.push((cell, row));
                }
            }
        }
        found.sort_by_key(|(_, row)| row.seed);
        found
    }
}

impl KeptCell {
    fn read(path: PathBuf, rows: Vec<Row>, failed: Vec<String>) -> Self {
        let text = |name: &str| file::text(&path.join(name), file::MOST_BYTES, "reading").unwrap_or_default();
        let environment = serde_json::from_str(&text("env.json")).unwrap_or_default();
        let (config, curve) = (text("config.toml"), Curve::of(&text("metrics.jsonl")));
        Self { path, rows, failed, config, environment, curve }
    }

    /// What it is called.
    pub(super) fn name(&self) -> String {
        Path::new(&self.path).file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl Curve {
    /// The curve of a `metrics.jsonl`; lines that are none are passed over.
    fn of(text: &str) -> Self {
        let (mut validation, mut loss) = (Vec::new(), Vec::new());
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let of = |key: &str| line.get(key).and_then(Value::as_f64);
            let Some(step) = of("step") else { continue };
            for name in [Measure::Accuracy.name(), Measure::Mse.name()] {
                if let Some(mean) = of(&format!("validation/{name}")) {
                    let end = |end: &str| of(&format!("validation/{name}_{end}")).unwrap_or(mean);
                    validation.push((step, mean, end("low"), end("high")));
                }
            }
            if let Some(value) = of("train/loss") {
                loss.push((step, value));
            }
        }
        let stride = loss.len().div_ceil(POINTS).max(1);
        let loss = loss
            .chunks(stride)
            .map(|part| {
                let mean = part.iter().map(|&(_, value)| value).sum::<f64>() / part.len() as f64;
                (part[part.len() / 2].0, mean)
            })
            .collect();
        let stride = validation.len().div_ceil(POINTS).max(1);
        let last = validation.len().saturating_sub(1);
        let kept = |at: &usize| at.is_multiple_of(stride) || *at == last;
        let validation = (0..validation.len()).filter(kept).map(|at| validation[at]).collect();
        Self { validation, loss }
    }
}

/// How a section's figures are written.
#[derive(Clone, Copy)]
pub(super) struct Unit(pub(super) Measure);

impl Unit {
    /// As axes have it: accuracies in per cent.
    pub(super) fn value(self, figure: f64) -> f64 {
        if self.0 == Measure::Accuracy { 100.0 * figure } else { figure }
    }

    /// What an axis of it is called.
    pub(super) fn name(self) -> &'static str {
        if self.0 == Measure::Accuracy { "accuracy in %" } else { "mean squared error" }
    }

    /// `97.31`, or `0.532`.
    pub(super) fn number(self, figure: f64) -> String {
        if self.0 == Measure::Accuracy { format!("{:.2}", 100.0 * figure) } else { format!("{figure:.3}") }
    }

    /// `97.31 ± 0.25 %`, or `0.532 ± 0.041`.
    pub(super) fn interval(self, interval: Interval) -> String {
        let percent = if self.0 == Measure::Accuracy { " %" } else { "" };
        match interval.ci95.is_nan() {
            true => format!("{}{percent}", self.number(interval.mean)),
            false => format!("{} ± {}{percent}", self.number(interval.mean), self.number(interval.ci95)),
        }
    }

    /// Whether `a` is better than `b`.
    pub(super) fn better(self, a: f64, b: f64) -> bool {
        if self.0 == Measure::Accuracy { a > b } else { a < b }
    }
}

/// Of a section: its unit, and what it asks.
pub(super) fn unit(section: &Section) -> Unit {
    Unit(section.measure)
}

/// `glyphs, 5-way 1-shot`.
pub(super) fn short_title(section: &Section) -> String {
    let from = section.setting.pair.as_ref();
    let from = from.map_or(String::new(), |pair| format!(", {} to {}", pair.source, pair.target));
    format!("{}{from}, {}", section.dataset, section.setting.in_words(section.problem()))
}

/// The learners of a section from the best.
pub(super) fn from_best(section: &Section) -> Vec<&Line> {
    let mut lines: Vec<&Line> = section.lines.iter().collect();
    let sign = if section.measure == Measure::Accuracy { -1.0 } else { 1.0 };
    lines.sort_by(|a, b| (sign * a.figure.mean).total_cmp(&(sign * b.figure.mean)));
    lines
}

/// Who is the best of a section.
pub(super) fn best(section: &Section) -> &str {
    from_best(section).first().map_or("", |line| &line.learner)
}

/// The best of each family, from the best.
pub(super) fn best_of_families(section: &Section) -> Vec<&Line> {
    let mut best: Vec<&Line> = Vec::new();
    for line in from_best(section) {
        if best.iter().all(|known| known.family != line.family) {
            best.push(line);
        }
    }
    best
}

/// Families have a colour each, the same in all figures.
pub(super) fn colour(line: &Line) -> usize {
    use kshot::learner::Family;
    match line.family {
        Family::Metric => 0,
        Family::Optimization => 1,
        Family::ModelTransfer => 2,
        Family::FeatureTransfer => 3,
        Family::Model => 4,
        Family::Baseline => 5,
    }
}
