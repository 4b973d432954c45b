//! Test tasks as the learner saw them, with its answers.

use kshot::episode::{Episode, Targets};
use kshot::learner::Prediction;

use super::super::examine::{Examination, Examined, Sample};
use super::super::html::{details, escaped, figure, number, side_by_side, table};
use super::super::picture::picture;
use super::super::svg::{Axis, Chart, legend};

/// Classes, labelled examples and queries of each that are shown.
const WAYS: usize = 8;
const SHOTS: usize = 3;
const QUERIES: usize = 8;

/// The sample tasks of the best learner.
pub(in super::super) fn draw(found: &Examination) -> String {
    let Some(best) = found.learners.first() else { return String::new() };
    let regression = best.samples.iter().any(|sample| matches!(sample.prediction, Prediction::Values(_)));
    if regression { functions(found, best) } else { classifications(found, best) }
}

/// In a sentence, of a regression: how far the worst task is from the one in the middle.
pub(in super::super) fn in_words(found: &Examination) -> Option<String> {
    let best = found.learners.first()?;
    let [_, middle, worst] = best.samples.as_slice() else { return None };
    let Prediction::Values(_) = worst.prediction else { return None };
    Some(format!(
        "In the hardest of {} test tasks its MSE is {:.3}, in the one in the middle {:.3}.",
        best.episodes, worst.figure, middle.figure
    ))
}

/// Which of the samples it is; they come from the lowest figure.
fn which(place: usize, best: &Examined, higher_is_better: bool) -> String {
    let ends = if higher_is_better { ["hardest", "easiest"] } else { ["easiest", "hardest"] };
    match (place, place + 1 == best.samples.len()) {
        (0, true) => "The only task".to_owned(),
        (0, false) => format!("The {} task of {}", ends[0], best.episodes),
        (_, true) => format!("The {} task of {}", ends[1], best.episodes),
        _ => format!("The task in the middle of {}", best.episodes),
    }
}

fn classifications(found: &Examination, best: &Examined) -> String {
    let mut html = String::new();
    for (place, sample) in best.samples.iter().enumerate() {
        let title = format!(
            "{}, number {}: {:.0} % right",
            which(place, best, true),
            sample.episode.index,
            100.0 * sample.figure
        );
        html += &details(&title, &one(found, sample), place == 0);
    }
    html
}

fn letter(label: usize) -> char {
    char::from(b'A' + (label % 26) as u8)
}

fn shot(class: &str, picture: &str, under: &str) -> String {
    format!(r#"<span class="shot {class}">{picture}{}</span>"#, escaped(under))
}

fn one(found: &Examination, sample: &Sample) -> String {
    let Episode { support, query, classes, .. } = &sample.episode;
    let (Targets::Classes(learned), Targets::Classes(asked)) = (&support.targets, &query.targets) else {
        return String::new();
    };
    let predicted = sample.prediction.classes();
    let ways = learned.iter().max().map_or(0, |most| most + 1);
    let mut html = String::from(
        r#"<div class="wide"><table><thead><tr><th scope="col">class</th><th scope="col">support</th><th scope="col">queries</th></tr></thead><tbody>"#,
    );
    for label in 0..ways.min(WAYS) {
        let class = classes.get(label).copied().unwrap_or(label);
        let name = found.names.get(class).cloned().unwrap_or_else(|| class.to_string());
        let known: String = support
            .inputs()
            .outer_iter()
            .zip(learned)
            .filter(|(_, of)| **of == label)
            .take(SHOTS)
            .map(|(input, _)| {
                let values: Vec<f32> = input.iter().copied().collect();
                shot("", &picture(found.shape, &values, &format!("labelled {name}")), "")
            })
            .collect();
        // Wrong answers first: they are what one looks for.
        let mut queries: Vec<(usize, usize)> =
            (0..asked.len()).filter(|&n| asked[n] == label).map(|n| (n, predicted[n])).collect();
        queries.sort_by_key(|&(n, taken)| (taken == label, n));
        let answered: String = queries
            .into_iter()
            .take(QUERIES)
            .map(|(n, taken)| {
                let values: Vec<f32> =
                    query.inputs().index_axis(ndarray::Axis(0), n).iter().copied().collect();
                match taken == label {
                    true => shot("right", &picture(found.shape, &values, "a query, answered right"), "✓"),
                    false => {
                        let words = format!("a query, taken for {}", letter(taken));
                        shot("wrong", &picture(found.shape, &values, &words), &format!("✗ {}", letter(taken)))
                    }
                }
            })
            .collect();
        html += &format!(
            r#"<tr><th scope="row">{} {}</th><td>{known}</td><td>{answered}</td></tr>"#,
            letter(label),
            escaped(&name)
        );
    }
    html += "</tbody></table></div>";
    let more =
        if ways > WAYS { format!(" {} more classes are not shown.", ways - WAYS) } else { String::new() };
    format!(
        r#"{html}<p class="note">✓ right; ✗ and a letter: taken for that class. Wrong answers come first.{more}</p>"#
    )
}

/// Regressions of one value by one: points, what they are and what was said of them.
fn functions(found: &Examination, best: &Examined) -> String {
    if found.shape != [1, 1, 1] {
        return String::new();
    }
    let mut figures = Vec::new();
    for (place, sample) in best.samples.iter().enumerate() {
        let Episode { support, query, index, .. } = &sample.episode;
        let (Targets::Values(known), Targets::Values(truth), Prediction::Values(said)) =
            (&support.targets, &query.targets, &sample.prediction)
        else {
            continue;
        };
        let points = |inputs: ndarray::ArrayView4<'_, f32>, values: &ndarray::Array2<f32>| {
            let mut points: Vec<(f64, f64)> =
                inputs.iter().zip(values.column(0)).map(|(&x, &y)| (f64::from(x), f64::from(y))).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            points
        };
        let lists =
            [points(query.inputs(), truth), points(query.inputs(), said), points(support.inputs(), known)];
        let ends = |of: fn(&(f64, f64)) -> f64| {
            let all = || lists.iter().flatten().map(of);
            Axis::linear(all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max))
        };
        let title = format!("{}, number {index}: MSE {:.3}", which(place, best, false), sample.figure);
        let mut chart =
            Chart::new(&title, 270.0, ends(|point| point.0), ends(|point| point.1)).axes("x", "y");
        chart.line(&lists[0], 2);
        chart.line(&lists[1], 0);
        lists[2].iter().for_each(|&(x, y)| chart.mark(x, y, 1, "a labelled point"));
        let names = [
            ("queries".to_owned(), 2),
            (format!("predicted by {}", best.learner), 0),
            ("support".to_owned(), 1),
        ];
        let lines: Vec<_> = lists[0]
            .iter()
            .zip(&lists[1])
            .map(|((x, y), (_, said))| [x, y, said].map(|value| number(format!("{value:.3}"))).into())
            .collect();
        figures.push(figure(
            &title,
            &(legend(&names, true) + &chart.finish()),
            "The learner saw the squares, and was asked along the line.",
            &table(&title, &["x", "y", "predicted"], &lines),
        ));
    }
    side_by_side(&figures)
}
