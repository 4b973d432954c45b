//! The map of embeddings, and histograms of similarities.

use super::super::examine::Examination;
use super::super::html::{details, figure, number, side_by_side, table, text};
use super::super::space::Space;
use super::super::svg::{Axis, Chart, legend};

const BINS: usize = 30;

/// The figures of each learner that compares.
pub(in super::super) fn draw(found: &Examination) -> String {
    let mut html = String::new();
    for examined in &found.learners {
        let Some(space) = &examined.space else { continue };
        if space.points.len() < 3 || space.same.is_empty() || space.other.is_empty() {
            continue;
        }
        let pair = side_by_side(&[map(&examined.learner, space, found), alike(&examined.learner, space)]);
        let title = format!("How {} sees the test classes", examined.learner);
        html += &details(&title, &pair, html.is_empty());
    }
    html
}

fn letter(place: usize) -> String {
    char::from(b'A' + (place % 26) as u8).to_string()
}

fn map(learner: &str, space: &Space, found: &Examination) -> String {
    let ends = |of: fn(&(f64, f64, usize)) -> f64| {
        let low = space.points.iter().map(of).fold(f64::INFINITY, f64::min);
        let high = space.points.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
        let margin = 0.04 * (high - low);
        Axis::linear(low - margin, high + margin)
    };
    let title = format!("Map of the embeddings of {learner}");
    let [first, second] = space.explained.map(|share| format!("{:.0} % of the variance", 100.0 * share));
    let mut chart =
        Chart::new(&title, 360.0, ends(|point| point.0), ends(|point| point.1)).axes(&first, &second);
    for &(x, y, place) in &space.points {
        chart.letter(x, y, &letter(place), place);
    }
    let name = |class: u32| found.names.get(class as usize).cloned().unwrap_or_else(|| class.to_string());
    let names: Vec<String> = space
        .mapped
        .iter()
        .enumerate()
        .map(|(place, &class)| {
            format!(
                r#"<li><strong class="k{}">{}</strong> {}</li>"#,
                place % super::super::svg::COLOURS,
                letter(place),
                super::super::html::escaped(&name(class))
            )
        })
        .collect();
    let lines: Vec<_> = space
        .points
        .iter()
        .map(|&(x, y, place)| {
            let class = format!("{} {}", letter(place), name(space.mapped[place]));
            vec![text(class), number(format!("{x:.3}")), number(format!("{y:.3}"))]
        })
        .collect();
    figure(
        &title,
        &format!(r#"<ul class="legend">{}</ul>{}"#, names.concat(), chart.finish()),
        "Each letter is a test example: first the hardest classes, then the easiest. Two principal \
         components; what is apart here is apart, what meets may be apart in other directions.",
        &table(&title, &["class", "first", "second"], &lines),
    )
}

fn alike(learner: &str, space: &Space) -> String {
    let ends = |list: &[f64]| (list.first().copied().unwrap_or(0.0), list.last().copied().unwrap_or(1.0));
    let ((a, b), (c, d)) = (ends(&space.same), ends(&space.other));
    let (low, high) = (a.min(c), b.max(d).max(a.min(c) + 1e-9));
    let width = (high - low) / BINS as f64;
    let counts = |list: &[f64]| {
        let mut shares = [0.0; BINS];
        for value in list {
            shares[(((value - low) / width) as usize).min(BINS - 1)] += 100.0 / list.len() as f64;
        }
        shares
    };
    let (same, other) = (counts(&space.same), counts(&space.other));
    let most = same.iter().chain(&other).copied().fold(0.0, f64::max);
    let title = format!("Similarities by {learner}: ROC AUC {:.1} %", 100.0 * space.auc());
    let mut chart = Chart::new(&title, 320.0, Axis::linear(low, high), Axis::linear(0.0, most))
        .axes("similarity, higher is more alike", "share of pairs in %");
    for (shares, class, what) in [(&other, "second", "different classes"), (&same, "first", "one class")] {
        for (bin, &share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let left = low + bin as f64 * width;
            chart.bar((left, 0.0), (left + width, share), class, &format!("{share:.1} % of pairs of {what}"));
        }
    }
    let names = [("pairs of one class".to_owned(), 0), ("pairs of two classes".to_owned(), 1)];
    let lines: Vec<_> = (0..BINS)
        .map(|bin| {
            let from = low + bin as f64 * width;
            [format!("{from:.3}"), format!("{:.2}", same[bin]), format!("{:.2}", other[bin])]
                .map(number)
                .into()
        })
        .collect();
    figure(
        &title,
        &(legend(&names, false) + &chart.finish()),
        &format!(
            "{} pairs of one class and {} of two. The less both overlap, the better one threshold tells them apart.",
            space.same.len(),
            space.other.len()
        ),
        &table(&title, &["from", "one class in %", "two classes in %"], &lines),
    )
}
