//! Learners on the same tasks: each one's figure, and its difference from the one that it is compared with.

use std::collections::BTreeSet;

use kshot::eval::Measure;
use kshot::learner::Family;
use kshot::registry::Problem;
use kshot::stats::paired::{Paired, holm, paired_t};
use kshot::stats::variance::of_seeds;
use kshot::stats::{Interval, interval95};
use kshot::{Error, Result};

use crate::row::Row;
use crate::setting::Setting;
use crate::words::seeds_in_words;

/// The learners of one dataset and setting.
pub(crate) struct Section {
    pub(crate) dataset: String,
    /// What was set of it.
    pub(crate) data_options: String,
    pub(crate) setting: Setting,
    pub(crate) measure: Measure,
    /// Episodes of each seed.
    pub(crate) episodes: usize,
    pub(crate) seeds: Vec<u64>,
    /// What the others are compared with.
    pub(crate) against: String,
    pub(crate) lines: Vec<Line>,
}

impl Section {
    /// What is asked.
    pub(crate) fn problem(&self) -> Problem {
        match self.measure {
            Measure::Accuracy => Problem::Classification,
            Measure::Mse => Problem::Regression,
        }
    }

    /// The dataset, with what was set of it.
    pub(crate) fn data_in_words(&self) -> String {
        match self.data_options.as_str() {
            "" => self.dataset.clone(),
            options => format!("{} ({options})", self.dataset),
        }
    }

    /// The heading of differences; a long list of what was set of the other is left to its own line.
    pub(crate) fn difference_from(&self) -> String {
        match self.against.split_once(" (") {
            Some((name, _)) if self.against.len() > 24 => format!("− {name} (…)"),
            _ => format!("− {}", self.against),
        }
    }

    /// Whether both are between domains, and alike but for which.
    pub(crate) fn differs_in_its_pair_only(&self, other: &Self) -> bool {
        let kind = |section: &Self| {
            let target_shots = section.setting.pair.as_ref().map(|pair| pair.target_shots);
            (
                section.setting.ways,
                section.setting.shots,
                target_shots,
                section.setting.queries,
                section.episodes,
            )
        };
        let data = |section: &Self| (section.data_in_words(), section.measure, section.seeds.clone());
        self.setting.pair.is_some() && kind(self) == kind(other) && data(self) == data(other)
    }
}

/// One learner.
pub(crate) struct Line {
    pub(crate) family: Family,
    pub(crate) learner: String,
    pub(crate) transductive: bool,
    /// Over seeds where there are several, else over episodes.
    pub(crate) figure: Interval,
    /// From the one it is compared with, on identical episodes; with p as it is, and by Holm over the lines. None of that one
    /// itself, and where there is one episode only.
    pub(crate) difference: Option<(Paired, f64)>,
    /// Seconds of training, the mean over seeds; none of what is not trained.
    pub(crate) training: Option<f64>,
    /// Test episodes a second, the mean over seeds.
    pub(crate) rate: f64,
    /// What was chosen on validation classes, if anything was: `sharpness=10 (seeds 0, 2), sharpness=5 (seed 1); of 4 tried`.
    pub(crate) chosen: Option<String>,
}

impl Line {
    /// Whether it differs from the one it is compared with, at 5 % over all lines together.
    pub(crate) fn differs(&self) -> bool {
        self.difference.is_some_and(|(_, holm)| holm < 0.05)
    }
}

/// The sections of rows in any order, each learner and seed once; compared with the learner called `against`, else with the
/// best of each section.
///
/// # Errors
/// When no section has that learner.
pub(crate) fn sections(rows: &[Row], against: Option<&str>) -> Result<Vec<Section>> {
    let mut parts: Vec<Vec<&Row>> = Vec::new();
    let same = |a: &Row, b: &Row| {
        a.setting == b.setting
            && a.is_of_the_data_of(b)
            && a.evaluation.score.measure == b.evaluation.score.measure
    };
    for row in rows {
        match parts.iter_mut().find(|part| same(part[0], row)) {
            Some(part) => part.push(row),
            None => parts.push(vec![row]),
        }
    }
    let sections = parts.iter().map(|part| section(part, against)).collect::<Result<Vec<_>>>()?;
    match against {
        Some(name) if sections.iter().all(|section| section.against != name) => {
            let lines = sections.iter().flat_map(|section| &section.lines);
            let all: BTreeSet<&str> = lines.map(|line| line.learner.as_str()).collect();
            Err(Error::unknown("learner to compare with", name, all.into_iter()))
        }
        _ => Ok(sections),
    }
}

fn section(rows: &[&Row], against: Option<&str>) -> Result<Section> {
    // A learner's rows, in order of their seeds.
    let mut learners: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        let found = learners.iter_mut().find(|learner| learner[0].is_as(row));
        match found {
            Some(learner) if learner.iter().all(|known| known.seed != row.seed) => learner.push(row),
            // The same figure of another directory.
            Some(_) => {}
            None => learners.push(vec![row]),
        }
    }
    learners.iter_mut().for_each(|learner| learner.sort_by_key(|row| row.seed));
    let labels = labels(&learners);
    let first = rows[0];
    let measure = first.evaluation.score.measure;
    let mean = |learner: &[&Row]| {
        learner.iter().map(|row| row.evaluation.score.interval.mean).sum::<f64>() / learner.len() as f64
    };
    let better = |a: f64, b: f64| if measure == Measure::Accuracy { a > b } else { a < b };
    let best = (1..learners.len())
        .fold(0, |best, at| if better(mean(&learners[at]), mean(&learners[best])) { at } else { best });
    let named = labels.iter().position(|label| against == Some(label.as_str()));
    let baseline = named.unwrap_or(best);
    let mut pairs: Vec<Option<Paired>> =
        learners.iter().map(|learner| paired(learner, &learners[baseline])).collect();
    pairs[baseline] = None;
    let p: Vec<f64> = pairs.iter().flatten().map(|pair| pair.p).collect();
    let mut adjusted = holm(&p).into_iter();
    let mut lines = Vec::new();
    for ((learner, pair), label) in learners.iter().zip(pairs).zip(&labels) {
        let row = learner[0];
        let means: Vec<f64> = learner.iter().map(|row| row.evaluation.score.interval.mean).collect();
        let figure = match means.as_slice() {
            [_] => row.evaluation.score.interval,
            several => interval95(several)?,
        };
        let seconds: Vec<f64> =
            learner.iter().filter_map(|row| row.trained.as_ref()).map(|trained| trained.seconds).collect();
        lines.push(Line {
            family: row.entry.family,
            learner: label.clone(),
            transductive: row.transductive,
            figure,
            difference: pair.and_then(|pair| Some((pair, adjusted.next()?))),
            rate: learner.iter().map(|row| row.evaluation.episodes_per_second()).sum::<f64>()
                / learner.len() as f64,
            chosen: chosen(learner),
            training: (!seconds.is_empty()).then(|| seconds.iter().sum::<f64>() / seconds.len() as f64),
        });
    }
    let mut seeds: Vec<u64> = rows.iter().map(|row| row.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    Ok(Section {
        dataset: first.dataset.clone(),
        data_options: first.data_options.clone(),
        setting: first.setting.clone(),
        measure,
        episodes: first.evaluation.per_episode.len(),
        seeds,
        against: labels[baseline].clone(),
        lines,
    })
}

/// What was chosen of a learner, seed by seed.
fn chosen(learner: &[&Row]) -> Option<String> {
    let mut choices: Vec<(String, Vec<u64>)> = Vec::new();
    for row in learner {
        let choice = row.search.as_ref()?.choice()?.in_words();
        match choices.iter_mut().find(|(known, _)| *known == choice) {
            Some((_, seeds)) => seeds.push(row.seed),
            None => choices.push((choice, vec![row.seed])),
        }
    }
    let tried = learner.first()?.search.as_ref()?.tried.len();
    let one = |(choice, seeds): &(String, Vec<u64>)| match learner.len() {
        1 => choice.clone(),
        _ => format!("{choice} ({})", seeds_in_words(seeds)),
    };
    let choices: Vec<String> = choices.iter().map(one).collect();
    Some(format!("{}; of {tried} tried", choices.join(", ")))
}

/// Names of the learners; where a name is of several, with what was set of each but not of all of them.
fn labels(learners: &[Vec<&Row>]) -> Vec<String> {
    let label = |learner: &Vec<&Row>| {
        let label = learner[0].label();
        let namesakes: Vec<Vec<&str>> = learners
            .iter()
            .filter(|other| other[0].label() == label)
            .map(|other| parts(&other[0].options))
            .collect();
        if namesakes.len() == 1 {
            return label;
        }
        let of_all = |part: &str| namesakes.iter().all(|other| other.contains(&part));
        let own: Vec<&str> = parts(&learner[0].options).into_iter().filter(|part| !of_all(part)).collect();
        let own = if own.is_empty() { "as it is".to_owned() } else { own.join(", ") };
        format!("{label} ({own})")
    };
    learners.iter().map(label).collect()
}

/// The options of `widths=[16, 32], kind=resnet12`, one by one: a comma in brackets parts nothing.
fn parts(options: &str) -> Vec<&str> {
    let mut depth = 0;
    let split = move |c: char| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    };
    options.split(split).map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// The difference of two learners on the episodes that both were asked: over seeds where both have several, else over
/// episodes.
fn paired(a: &[&Row], b: &[&Row]) -> Option<Paired> {
    let both: Vec<(&Row, &Row)> =
        a.iter().filter_map(|a| Some((*a, *b.iter().find(|b| b.seed == a.seed)?))).collect();
    let episodes = |row: &Row| row.evaluation.per_episode.clone();
    match both.as_slice() {
        [] => None,
        [(a, b)] => paired_t(&a.evaluation.per_episode, &b.evaluation.per_episode).ok(),
        several => {
            let (a, b): (Vec<_>, Vec<_>) = several.iter().map(|(a, b)| (episodes(a), episodes(b))).unzip();
            of_seeds(&a, &b).ok()
        }
    }
}
