//! The table of a comparison between domains: a line for each pair, a column for each learner.

use kshot::dataset::Published;
use kshot::eval::Measure;

use super::render::{interval, number, queries_in_words, searches};
use super::section::Section;
use crate::setting::Pair;
use crate::words::{plural, seeds_of};

/// Sections that differ in from where to where only; a section without domains is alone.
pub(super) fn groups(sections: &[Section]) -> Vec<Vec<&Section>> {
    let mut groups: Vec<Vec<&Section>> = Vec::new();
    for section in sections {
        let found = groups.iter_mut().find(|group| group[0].differs_in_its_pair_only(section));
        match found {
            Some(group) => group.push(section),
            None => groups.push(vec![section]),
        }
    }
    groups
}

/// `office-caltech10-surf, all classes, all of the source, 0 labelled of the target, …; accuracy in %`.
pub(super) fn title(group: &[&Section]) -> String {
    let first = group[0];
    let measure = if first.measure == Measure::Accuracy { "accuracy in %" } else { "mse" };
    format!(
        "{}, {}, {}, {} a pair, {}; {measure}",
        first.data_in_words(),
        first.setting.in_words(first.problem()),
        queries_in_words(first),
        plural(first.episodes, "test episode"),
        seeds_of(&first.seeds)
    )
}

/// Heads and lines, with published figures beside where there are any, and the mean over all pairs.
pub(super) fn table(group: &[&Section], published: &[Published]) -> (Vec<String>, Vec<Vec<String>>) {
    let mut columns: Vec<&str> = Vec::new();
    for line in group.iter().flat_map(|section| &section.lines) {
        if !columns.contains(&line.learner.as_str()) {
            columns.push(&line.learner);
        }
    }
    let pairs: Vec<(&Section, &Pair)> =
        group.iter().filter_map(|section| Some((*section, section.setting.pair.as_ref()?))).collect();
    let given = |pair: &Pair, method: &Published| {
        let same =
            |(source, target, _): &&(&str, &str, f64)| *source == pair.source && *target == pair.target;
        method.accuracies.iter().find(same).map(|(.., accuracy)| *accuracy)
    };
    let published: Vec<&Published> = shown(group, published);
    let percent = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
    let own = |section: &Section, name: &str| {
        section.lines.iter().find(|line| line.learner == name).map(|line| line.figure)
    };
    let mut lines: Vec<Vec<String>> = Vec::new();
    for (section, pair) in &pairs {
        let mut line = vec![format!("{} → {}", pair.source, pair.target)];
        let figure =
            |name: &&str| own(section, name).map_or("–".to_owned(), |figure| interval(section, figure));
        line.extend(columns.iter().map(figure));
        line.extend(published.iter().map(|method| percent(given(pair, method))));
        lines.push(line);
    }
    if pairs.len() > 1 {
        // A mean of what is there would compare different tasks.
        let mean = |values: Option<Vec<f64>>| values.map(|all| all.iter().sum::<f64>() / all.len() as f64);
        let of = |name: &&str| {
            let means = pairs.iter().map(|(section, _)| Some(own(section, name)?.mean)).collect();
            mean(means).map_or("–".to_owned(), |mean| number(group[0], mean))
        };
        let mut line = vec!["mean".to_owned()];
        line.extend(columns.iter().map(of));
        line.extend(
            published
                .iter()
                .map(|method| percent(mean(pairs.iter().map(|(_, pair)| given(pair, method)).collect()))),
        );
        lines.push(line);
    }
    let heads = std::iter::once("source → target".to_owned())
        .chain(columns.iter().map(|name| (*name).to_owned()))
        .chain(published.iter().map(|method| format!("{} *", method.method)));
    (heads.collect(), lines)
}

/// What has to be known of it, a sentence a line.
pub(super) fn notes(group: &[&Section], published: &[Published]) -> Vec<String> {
    let mut seeing: Vec<&str> = Vec::new();
    for line in group.iter().flat_map(|section| &section.lines).filter(|line| line.transductive) {
        if !seeing.contains(&line.learner.as_str()) {
            seeing.push(&line.learner);
        }
    }
    let mut notes = Vec::new();
    if !seeing.is_empty() {
        notes.push(format!("Transductive, all queries of a task at once: {}.", seeing.join(", ")));
    }
    for section in group {
        let pair = section.setting.pair.as_ref();
        let of = pair.map_or(String::new(), |pair| format!("{} → {}: ", pair.source, pair.target));
        notes.extend(searches(section).into_iter().map(|note| format!("{of}{note}")));
    }
    let mut papers: Vec<&str> = shown(group, published).iter().map(|method| method.paper).collect();
    papers.dedup();
    if !papers.is_empty() {
        notes.push(format!("* as published: {}", papers.join("; ")));
    }
    notes
}

/// The methods of which something is published for one of these pairs.
pub(super) fn shown<'a>(group: &[&Section], published: &'a [Published]) -> Vec<&'a Published> {
    let has = |method: &&Published| {
        let pairs = group.iter().filter_map(|section| section.setting.pair.as_ref());
        let mut pairs = pairs.map(|pair| (pair.source.as_str(), pair.target.as_str()));
        pairs.any(|pair| method.accuracies.iter().any(|(source, target, _)| (*source, *target) == pair))
    };
    published.iter().filter(has).collect()
}
