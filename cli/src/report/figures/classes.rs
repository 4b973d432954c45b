//! Which classes are hard, and which are taken for which.

use super::super::examine::{ENDS, Examination, PAIRS};
use super::super::html::{Cell, details, escaped, number, paragraph, table, text};
use super::super::picture::picture;
use super::super::tally::Tally;

/// Examples shown of a class.
const SHOWN: usize = 4;
/// Classes of the confusion matrix, at most.
const MATRIX: usize = 12;

fn name(found: &Examination, class: u32) -> String {
    found.names.get(class as usize).cloned().unwrap_or_else(|| class.to_string())
}

fn pictures(found: &Examination, class: u32, count: usize) -> Cell {
    let of_class = found.examples.get(&class).map_or(&[][..], Vec::as_slice);
    let shots = of_class.iter().take(count).map(|values| {
        let words = format!("an example of {}", name(found, class));
        format!(r#"<span class="shot">{}</span>"#, picture(found.shape, values, &words))
    });
    Cell::Html(shots.collect())
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// `the only test task`, or `the first 100 test tasks`.
fn first_of(episodes: usize) -> String {
    match episodes {
        1 => "the only test task".to_owned(),
        several => format!("the first {several} test tasks"),
    }
}

/// In a sentence: the hardest classes, and the pair that is confused most.
pub(in super::super) fn in_words(found: &Examination) -> Option<String> {
    let tally = &found.learners.first()?.tally;
    let order = tally.hardest_first();
    let of = |class: u32| format!("{} ({})", name(found, class), percent(tally.classes[&class].accuracy()));
    let hardest: Vec<String> = order.iter().take(2).map(|&class| of(class)).collect();
    if hardest.is_empty() {
        return None;
    }
    let confused = tally.confused().first().map_or(String::new(), |pair| {
        format!(
            " Most often {} was taken for {}: {} of {} queries.",
            name(found, pair.class),
            name(found, pair.taken_for),
            pair.times,
            pair.of
        )
    });
    Some(format!("Hardest classes: {}.{confused}", hardest.join(", ")))
}

/// Hardest and easiest classes, confused pairs, and the matrix, of the best learner.
pub(in super::super) fn draw(found: &Examination) -> String {
    let Some(best) = found.learners.first().filter(|best| !best.tally.classes.is_empty()) else {
        return String::new();
    };
    let order = best.tally.hardest_first();
    let easiest = order.iter().rev().take(ENDS.min(order.len().saturating_sub(ENDS)));
    let asked = || best.tally.classes.values().map(|of| of.asked);
    let mut html = paragraph(&format!(
        "{} was asked {} again, with {} to {} queries of a class. A figure of few queries is rough.",
        best.learner,
        first_of(best.episodes),
        asked().min().unwrap_or(0),
        asked().max().unwrap_or(0)
    ));
    html += &of_classes(found, "Hardest classes", order.iter().take(ENDS).copied());
    html += &of_classes(found, "Easiest classes", easiest.copied());
    html += &details(
        "All classes",
        &of_classes(found, "All classes, from the hardest", order.iter().copied()),
        false,
    );
    html += &pairs(found, &best.tally);
    html + &matrix(found, &best.tally)
}

fn of_classes(found: &Examination, title: &str, classes: impl Iterator<Item = u32>) -> String {
    let with_pictures = !title.starts_with("All");
    let mut lines = Vec::new();
    for class in classes {
        let mut line = vec![text(name(found, class))];
        for (place, examined) in found.learners.iter().enumerate() {
            let of = examined.tally.classes.get(&class).copied().unwrap_or_default();
            line.push(number(if of.asked == 0 { "–".to_owned() } else { percent(of.accuracy()) }));
            if place == 0 {
                line.push(number(of.asked.to_string()));
                line.extend(with_pictures.then(|| pictures(found, class, SHOWN)));
            }
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return String::new();
    }
    let mut heads = vec!["class"];
    for (place, examined) in found.learners.iter().enumerate() {
        heads.push(&examined.learner);
        if place == 0 {
            heads.push("queries");
            heads.extend(with_pictures.then_some("examples"));
        }
    }
    table(&format!("{title}: share of queries answered right"), &heads, &lines)
}

fn pairs(found: &Examination, tally: &Tally) -> String {
    let lines: Vec<_> = tally
        .confused()
        .into_iter()
        .take(PAIRS)
        .map(|pair| {
            vec![
                text(name(found, pair.class)),
                pictures(found, pair.class, 2),
                text(name(found, pair.taken_for)),
                pictures(found, pair.taken_for, 2),
                number(format!("{} of {}", pair.times, pair.of)),
                number(percent(pair.share())),
            ]
        })
        .collect();
    if lines.is_empty() {
        return paragraph("No query was answered wrong.");
    }
    let heads = ["class", "", "taken for", "", "times", "share"];
    table("Most confused pairs, counted where both were in the task", &heads, &lines)
}

/// Shares of the classes that are confused most, as a table whose cells are the darker the larger the share.
fn matrix(found: &Examination, tally: &Tally) -> String {
    let mut classes: Vec<u32> = match tally.classes.len() <= MATRIX {
        true => tally.classes.keys().copied().collect(),
        false => {
            let mut classes = Vec::new();
            for class in tally.confused().into_iter().flat_map(|pair| [pair.class, pair.taken_for]) {
                if classes.len() < MATRIX && !classes.contains(&class) {
                    classes.push(class);
                }
            }
            classes
        }
    };
    classes.sort_unstable();
    if classes.len() < 2 {
        return String::new();
    }
    let mut html = String::from(
        r#"<p class="caption">Row: the class. Column: what it was taken for, in % of its queries in tasks that had both; empty where no task had both.</p><div class="wide" role="region" tabindex="0" aria-label="Confusion matrix"><table class="heat"><thead><tr><td></td>"#,
    );
    for place in 1..=classes.len() {
        html += &format!(r#"<th scope="col">{place}</th>"#);
    }
    html += "</tr></thead><tbody>";
    for (place, &class) in classes.iter().enumerate() {
        html += &format!(r#"<tr><th scope="row">{} {}</th>"#, place + 1, escaped(&name(found, class)));
        for &other in &classes {
            let pair = tally.pair(class, other);
            html += &match pair.of {
                0 => "<td></td>".to_owned(),
                _ => format!(
                    r#"<td style="background:rgba(var(--heat),{:.2})">{:.0}</td>"#,
                    0.55 * pair.share(),
                    100.0 * pair.share()
                ),
            };
        }
        html += "</tr>";
    }
    html += "</tbody></table></div>";
    let title = match tally.classes.len() > classes.len() {
        true => format!("Confusion of the {} classes that are confused most", classes.len()),
        false => "Confusion".to_owned(),
    };
    details(&title, &html, true)
}
