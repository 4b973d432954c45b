//! The table of a comparison between domains: a line for each pair, a column for each learner.

use kshot::dataset::Published;

use crate::job::Job;
use crate::row::Row;
use crate::setting::{Pair, Setting};
use crate::table;
use crate::words::{figure, plural, seeds};

/// One part for each kind of task, with published figures beside where there are any.
pub(crate) fn text(job: &Job, rows: &[Row]) -> String {
    let kind = |setting: &Setting| {
        (setting.ways, setting.shots, setting.pair.as_ref().map(|pair| pair.target_shots))
    };
    let mut kinds: Vec<&Setting> = Vec::new();
    for row in rows {
        if kinds.iter().all(|seen| kind(seen) != kind(&row.setting)) {
            kinds.push(&row.setting);
        }
    }
    let mut text = String::new();
    for setting in kinds {
        let part: Vec<&Row> = rows.iter().filter(|row| kind(&row.setting) == kind(setting)).collect();
        let queries = job.experiment.queries.map_or("all".to_owned(), |queries| queries.to_string());
        let episodes = part[0].evaluation.per_episode.len();
        text += &format!(
            "\n{}, {}, {queries} queries a class, {} a pair, {}; accuracy in %\n\n",
            job.experiment.data(),
            setting.in_words(job.problem()),
            plural(episodes, "test episode"),
            seeds(job.experiment.seed(), part[0].seeds)
        );
        text += &part_text(job.published(), &part);
    }
    text
}

fn part_text(published: &[Published], rows: &[&Row]) -> String {
    let (mut pairs, mut columns): (Vec<&Pair>, Vec<String>) = Default::default();
    for row in rows {
        if let Some(pair) = row.setting.pair.as_ref().filter(|pair| !pairs.contains(pair)) {
            pairs.push(pair);
        }
        if !columns.contains(&row.label()) {
            columns.push(row.label());
        }
    }
    let found = |pair: &Pair, name: &str| {
        rows.iter().find(|row| row.setting.pair.as_ref() == Some(pair) && row.label() == name)
    };
    let given = |pair: &Pair, method: &Published| {
        let same =
            |(source, target, _): &&(&str, &str, f64)| *source == pair.source && *target == pair.target;
        method.accuracies.iter().find(same).map(|(.., accuracy)| *accuracy)
    };
    let published: Vec<&Published> =
        published.iter().filter(|method| pairs.iter().any(|pair| given(pair, method).is_some())).collect();
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
    let mut lines: Vec<Vec<String>> = Vec::new();
    for pair in &pairs {
        let mut line = vec![format!("{} → {}", pair.source, pair.target)];
        line.extend(columns.iter().map(|name| {
            let text = found(pair, name).map_or("–".to_owned(), |row| figure(&row.evaluation));
            text.trim_end_matches(" %").to_owned()
        }));
        line.extend(published.iter().map(|method| number(given(pair, method))));
        lines.push(line);
    }
    if pairs.len() > 1 {
        // A mean of what is there would compare different tasks.
        let mean = |values: Vec<Option<f64>>| {
            let all: Option<Vec<f64>> = values.into_iter().collect();
            number(all.map(|all| all.iter().sum::<f64>() / all.len() as f64))
        };
        let own = |name: &String| {
            pairs.iter().map(|pair| Some(100.0 * found(pair, name)?.evaluation.score.interval.mean)).collect()
        };
        let mut line = vec!["mean".to_owned()];
        line.extend(columns.iter().map(|name| mean(own(name))));
        line.extend(
            published.iter().map(|method| mean(pairs.iter().map(|pair| given(pair, method)).collect())),
        );
        lines.push(line);
    }
    let heads: Vec<String> = std::iter::once("source → target".to_owned())
        .chain(columns)
        .chain(published.iter().map(|method| format!("{} *", method.method)))
        .collect();
    let mut text = table::render(&heads.iter().map(String::as_str).collect::<Vec<_>>(), &lines, 1);
    let mut papers: Vec<&str> = published.iter().map(|method| method.paper).collect();
    papers.dedup();
    if !papers.is_empty() {
        text += &format!("* as published: {}\n", papers.join("; "));
    }
    text
}
