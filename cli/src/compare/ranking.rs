//! Learners over several datasets or settings, by their ranks (Demšar, "Statistical Comparisons of Classifiers over Multiple
//! Data Sets", JMLR 2006).

use kshot::Result;
use kshot::eval::Measure;
use kshot::stats::ranks::{Friedman, friedman, groups, nemenyi};

use super::render::p_in_words;
use super::section::Section;

/// Mean ranks of the learners that every section has.
pub(crate) struct Ranking {
    pub(crate) learners: Vec<String>,
    pub(crate) friedman: Friedman,
    /// Mean ranks further apart than this differ at 5 % (Nemenyi).
    pub(crate) critical_difference: f64,
    /// Learners by number that do not differ from one another.
    pub(crate) groups: Vec<Vec<usize>>,
    settings: usize,
}

/// Of two sections or more with three learners or more in common.
pub(crate) fn ranking(sections: &[Section]) -> Result<Option<Ranking>> {
    let [first, ..] = sections else { return Ok(None) };
    let has = |section: &Section, name: &str| section.lines.iter().any(|line| line.learner == name);
    let learners: Vec<String> = first
        .lines
        .iter()
        .map(|line| line.learner.clone())
        .filter(|name| sections.iter().all(|section| has(section, name)))
        .collect();
    if sections.len() < 2 || learners.len() < 3 {
        return Ok(None);
    }
    let figures: Vec<Vec<f64>> = sections
        .iter()
        .map(|section| {
            // Less error is better.
            let sign = if section.measure == Measure::Accuracy { 1.0 } else { -1.0 };
            let of = |name: &String| section.lines.iter().find(|line| line.learner == *name);
            learners.iter().filter_map(|name| Some(sign * of(name)?.figure.mean)).collect()
        })
        .collect();
    let friedman = friedman(&figures)?;
    let critical_difference = nemenyi(learners.len(), sections.len())?;
    let groups = groups(&friedman.mean_ranks, critical_difference);
    Ok(Some(Ranking { learners, friedman, critical_difference, groups, settings: sections.len() }))
}

impl Ranking {
    /// What the table shows.
    pub(crate) fn title(&self) -> String {
        format!(
            "Mean ranks over {} settings: Friedman's χ² = {:.2}, p {}; mean ranks {:.2} or more apart differ (Nemenyi, 5 %)",
            self.settings,
            self.friedman.statistic,
            p_in_words(self.friedman.p),
            self.critical_difference
        )
    }

    /// The learners from the best, each with the groups of those that it does not differ from.
    pub(crate) fn table(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let mut order: Vec<usize> = (0..self.learners.len()).collect();
        order.sort_by(|&a, &b| self.friedman.mean_ranks[a].total_cmp(&self.friedman.mean_ranks[b]));
        let letters = |learner: usize| -> String {
            let of = |(number, group): (usize, &Vec<usize>)| {
                group.contains(&learner).then(|| char::from(b'a' + (number % 26) as u8))
            };
            self.groups.iter().enumerate().filter_map(of).collect()
        };
        let line = |learner: usize| {
            let rank = format!("{:.2}", self.friedman.mean_ranks[learner]);
            vec![self.learners[learner].clone(), rank, letters(learner)]
        };
        let heads = ["learner", "mean rank", "group"].map(str::to_owned).to_vec();
        (heads, order.into_iter().map(line).collect())
    }
}
