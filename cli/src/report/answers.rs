//! The first screen: the answer in words, and five questions with theirs.

use super::examine::Examination;
use super::figures::{calibration, classes, cost, learning, tasks};
use super::gather::{self, Kept, from_best, short_title, unit};
use super::html::{escaped, paragraph};
use crate::compare::render::p_in_words;
use crate::compare::section::{Line, Section};
use crate::words::{duration, plural, seeds_of};

/// Settings with a line of their own in the head, at most.
const LINES: usize = 6;
/// A training is cheaper that takes no more than this share.
const CHEAPER: f64 = 0.7;
/// Seeds up to which a test over seeds can hardly be sure.
const FEW: usize = 4;

/// Which learner is best in a section, and whether that is sure.
pub(super) fn best(section: &Section) -> String {
    let (unit, order) = (unit(section), from_best(section));
    let Some(best) = order.first() else { return String::new() };
    let figure = unit.interval(best.figure);
    let Some(next) = order.get(1) else {
        return format!("{} has {figure}; there is no other to compare with.", best.learner);
    };
    format!("{} is best with {figure}. {}", best.learner, compared(section, best, next))
}

fn compared(section: &Section, best: &Line, next: &Line) -> String {
    let unit = unit(section);
    if section.against != best.learner {
        return against(section, best);
    }
    let by = unit.number((best.figure.mean - next.figure.mean).abs());
    let points = if unit.value(1.0) > 1.0 { " points" } else { "" };
    match next.difference {
        None => format!(
            "The next, {}, is {by}{points} behind; without paired episodes that is not tested.",
            next.learner
        ),
        Some((_, holm)) if next.differs() => format!(
            "It differs from the next, {}, by {by}{points} (paired test, p {} after Holm): that is sure at 5 %.",
            next.learner,
            p_in_words(holm)
        ),
        Some((_, holm)) => {
            let unsure =
                section.lines.iter().filter(|line| line.difference.is_some() && !line.differs()).count();
            let others = match unsure {
                1 => String::new(),
                more => format!(" {more} of {} others are not told apart from it.", section.lines.len() - 1),
            };
            format!(
                "Whether it differs from the next, {}, is not sure: {by}{points}, paired test, p {} after Holm.{others}",
                next.learner,
                p_in_words(holm)
            )
        }
    }
}

/// How the best stands to whom it is compared with.
fn against(section: &Section, best: &Line) -> String {
    let (name, unit) = (&section.against, unit(section));
    match best.difference {
        None => format!("Without paired episodes it is not tested against {name}."),
        Some((pair, holm)) => format!(
            "Against {name}, as was asked for, it differs by {} (paired test, p {} after Holm): that is {}sure at 5 %.",
            unit.interval(pair.difference).replace(" %", if unit.value(1.0) > 1.0 { " points" } else { "" }),
            p_in_words(holm),
            if best.differs() { "" } else { "not " }
        ),
    }
}

/// A learner that sees all queries at once answers an easier question: who is best of those that do not.
fn inductive(section: &Section) -> Option<String> {
    let order = from_best(section);
    if !order.first()?.transductive {
        return None;
    }
    let other = order.iter().find(|line| !line.transductive)?;
    Some(format!(
        "It sees all queries of a task at once. The best that does not is {} with {}.",
        other.learner,
        unit(section).interval(other.figure)
    ))
}

/// The head of the page.
pub(super) fn head(kept: &Kept, names: &str) -> String {
    let sections = &kept.sections;
    let mut html = format!(r#"<p class="kicker">kshot report of {}</p>"#, escaped(names));
    if let [one] = sections.as_slice() {
        html += &format!("<h1>{}</h1>", escaped(&headline(one)));
        let title = crate::compare::render::title(one);
        html += &format!(r#"<p class="lead">On {}.</p>"#, escaped(&title));
        return html;
    }
    let mut winners: Vec<(&str, usize)> = Vec::new();
    for section in sections {
        match winners.iter_mut().find(|(name, _)| *name == gather::best(section)) {
            Some((_, count)) => *count += 1,
            None => winners.push((gather::best(section), 1)),
        }
    }
    winners.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let most = winners.first().map_or(String::new(), |(name, count)| {
        format!("Best: {name}, in {count} of {} settings", sections.len())
    });
    html += &format!("<h1>{}</h1><ul>", escaped(&most));
    for section in sections.iter().take(LINES) {
        html += &format!(
            "<li><strong>{}:</strong> {}</li>",
            escaped(&short_title(section)),
            escaped(&best(section))
        );
    }
    html += "</ul>";
    if sections.len() > LINES {
        html += &paragraph(&format!("{} more settings are in the tables below.", sections.len() - LINES));
    }
    html
}

fn headline(section: &Section) -> String {
    let order = from_best(section);
    let Some(best) = order.first() else { return String::new() };
    let sure = match order.get(1) {
        None => "the only learner".to_owned(),
        Some(_) if section.against != best.learner => {
            format!(
                "{} {}",
                if best.differs() { "surely better than" } else { "not surely better than" },
                section.against
            )
        }
        Some(next) if next.differs() => "a sure lead".to_owned(),
        Some(_) => "no sure lead".to_owned(),
    };
    format!("Best: {}, {}, {sure}", best.learner, unit(section).interval(best.figure))
}

/// Five questions and their answers, of the first section.
pub(super) fn cards(kept: &Kept, found: Option<&Examination>) -> String {
    let Some(section) = kept.sections.first() else { return String::new() };
    let of = match kept.sections.len() {
        1 => String::new(),
        _ => format!("<p class=\"note\">These answers are of {}.</p>", escaped(&short_title(section))),
    };
    let mut which = vec![best(section)];
    which.extend(inductive(section));
    if (2..=FEW).contains(&section.seeds.len()) {
        which.push(format!(
            "The test is over {} seeds, and with so few only very steady differences are sure. `--seeds 5` or more tell more apart.",
            section.seeds.len()
        ));
    }
    if section.seeds.len() == 1 && section.lines.iter().any(|line| line.training.is_some()) {
        which.push(
            "Of one seed, this is about these weights. Whether the methods differ when trained anew is for `--seeds 5`."
                .to_owned(),
        );
    }
    let mut fails = Vec::new();
    fails.extend(found.and_then(classes::in_words).or_else(|| found.and_then(tasks::in_words)));
    fails.extend(calibration::in_words(kept, section, gather::best(section)));
    if fails.is_empty() {
        fails.push("See how its test episodes differ.".to_owned());
    }
    let questions = [
        ("results", "Which learner is best, and is that sure?", which),
        ("cost", "What does it cost?", price(section)),
        ("failures", "Where does it fail?", fails),
        ("learning", "How does it learn?", vec![learning::in_words(kept, section, gather::best(section))]),
        ("run", "What exactly was run?", run(kept)),
    ];
    let mut html = of + r#"<ul class="answers">"#;
    for (id, question, answers) in questions {
        let answers: String = answers.iter().map(|answer| paragraph(answer)).collect();
        html += &format!(r##"<li><h3><a href="#{id}">{question}</a></h3>{answers}</li>"##);
    }
    html + "</ul>"
}

fn price(section: &Section) -> Vec<String> {
    let (unit, order) = (unit(section), from_best(section));
    let Some(best) = order.first() else { return Vec::new() };
    let trained = |line: &Line| {
        line.training.map_or("no training".to_owned(), |seconds| match seconds < 90.0 {
            true => format!("{seconds:.1} s of training"),
            false => format!("{} of training", duration(seconds)),
        })
    };
    let rate = match best.rate.is_finite() {
        true => format!(", then {:.0} test episodes/s", best.rate),
        false => String::new(),
    };
    let mut answers = vec![format!("{}: {}{rate}.", best.learner, trained(best))];
    let front = cost::front(section);
    let most = CHEAPER * best.training.unwrap_or(0.0);
    if let Some(cheaper) = front.iter().rev().find(|line| line.training.unwrap_or(0.0) < most) {
        answers.push(format!(
            "The best with much less: {}, {}, {}.",
            cheaper.learner,
            unit.interval(cheaper.figure),
            trained(cheaper)
        ));
    }
    answers
}

fn run(kept: &Kept) -> Vec<String> {
    let Some(section) = kept.sections.first() else { return Vec::new() };
    let lines = kept.sections.iter().flat_map(|section| &section.lines);
    // Not each number of inner steps for itself.
    let mut learners: Vec<&str> = lines.filter_map(|line| line.learner.split(", ").next()).collect();
    learners.sort_unstable();
    learners.dedup();
    let mut datasets: Vec<&str> = kept.sections.iter().map(|section| section.dataset.as_str()).collect();
    datasets.sort_unstable();
    datasets.dedup();
    let failed = kept.cells.iter().filter(|cell| !cell.failed.is_empty()).count();
    let lost = match (failed, kept.missing) {
        (0, 0) => "none failed".to_owned(),
        (failed, 0) => format!("{failed} with failures"),
        (failed, missing) => format!("{failed} with failures, {missing} not measured yet"),
    };
    let version = kept.cells.iter().find_map(|cell| cell.environment.get("kshot")?.as_str());
    let version = version.map_or(String::new(), |version| format!(", kshot {version}"));
    let seeds = seeds_of(&section.seeds);
    vec![
        format!(
            "{} on {} in {}: {}, {}.",
            plural(learners.len(), "learner"),
            datasets.join(", "),
            plural(kept.sections.len(), "setting"),
            plural(kept.cells.len(), "cell"),
            lost
        ),
        format!(
            "{}, {}{version}.",
            plural(section.episodes, "test episode"),
            seeds.trim_start_matches("± over ")
        ),
    ]
}
