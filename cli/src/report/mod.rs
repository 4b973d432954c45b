//! `kshot report`: what suites and runs have kept, as one HTML file that needs nothing else.

mod answers;
mod examine;
mod figures;
mod gather;
mod html;
mod picture;
mod ran;
mod space;
mod svg;
mod tally;

use kshot::{Error, Result, atomic};

use crate::args::ReportArgs;
use crate::compare::section::Section;
use crate::output::{complain, print, writable};
use crate::words::plural;
use examine::{Examination, examine};
use figures::{
    calibration, classes, cost, embedding, episodes, learning, ranks, results, searches, settings, tasks,
};
use gather::{Kept, short_title};
use html::{absent, details, escaped, paragraph, section};

/// Settings whose learners are asked again, at most; and bytes of what is shown of them, beyond which no other is.
const EXAMINED: usize = 12;
const LARGE: usize = 1_500_000;

pub(crate) fn run(args: &ReportArgs) -> Result<()> {
    writable(&args.out)?;
    let kept = Kept::read(&args.paths, args.against.clone())?;
    if kept.sections.is_empty() {
        return Err(Error::invalid("there are no figures to report yet"));
    }
    let asked = ask(&kept, args);
    let names: Vec<String> = args
        .paths
        .iter()
        .map(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            name.unwrap_or_else(|| path.display().to_string())
        })
        .collect();
    let page = page(&kept, &asked, &names.join(", "));
    atomic::write(&args.out, page.as_bytes(), "writing the report to")?;
    print(&format!(
        "{}: {} of {}, {:.1} MB\n",
        args.out.display(),
        plural(kept.sections.len(), "table"),
        plural(kept.cells.len(), "cell"),
        page.len() as f64 / 1e6
    ))
}

/// What the learners answered when they were asked again.
#[derive(Default)]
struct Asked {
    /// In the first setting, if they could be.
    first: Option<Examination>,
    /// Of each setting its title and what is shown, or in a sentence why nothing is.
    drawn: Vec<(String, String)>,
    /// Settings that are left out.
    left: usize,
}

/// Asks the learners of each setting again, as long as the page does not grow too large.
fn ask(kept: &Kept, args: &ReportArgs) -> Asked {
    let mut asked = Asked::default();
    if args.kept_only {
        return asked;
    }
    let (mut job, mut size, mut said) = (None, 0, String::new());
    for (place, section) in kept.sections.iter().enumerate() {
        if asked.drawn.len() == EXAMINED || size > LARGE {
            asked.left = kept.sections.len() - place;
            break;
        }
        let title = short_title(section);
        let html = match examine(kept, section, args.place.data_dir.as_ref(), &mut job) {
            Ok(found) => {
                let html = drawn(&found);
                if place == 0 {
                    asked.first = Some(found);
                }
                html
            }
            Err(error) => {
                let why = error.to_string();
                if why != said {
                    complain(&format!("note: no learner was asked again on {title}: {why}"));
                }
                let html = absent(&format!("No learner was asked again on {title}: {why}"));
                said = why;
                html
            }
        };
        size += html.len();
        asked.drawn.push((title, html));
    }
    asked
}

/// Classes, tasks and embeddings of a setting.
fn drawn(found: &Examination) -> String {
    let skipped: String = found.skipped.iter().map(|why| absent(why)).collect();
    classes::draw(found) + &tasks::draw(found) + &embedding::draw(found) + &skipped
}

fn page(kept: &Kept, asked: &Asked, names: &str) -> String {
    let parts = [
        ("results", "Which learner is best, and is that sure?", tables(kept)),
        ("cost", "What does it cost?", each(kept, "There is no training to weigh.", cost::draw)),
        ("failures", "Where does it fail?", failures(kept, asked)),
        ("learning", "How does it learn?", curves(kept)),
        ("run", "What exactly was run?", ran::draw(kept)),
    ];
    let mut content =
        format!("<header>{}{}", answers::head(kept, names), answers::cards(kept, asked.first.as_ref()));
    content += "</header>";
    for (id, title, part) in parts {
        content += &section(id, title, &part);
    }
    html::page(&format!("kshot report: {names}"), &content)
}

/// Something of each section; behind a click where there are several, the first one open.
fn each(kept: &Kept, none: &str, draw: impl Fn(&Section) -> Option<String>) -> String {
    let drawn: Vec<(&Section, String)> =
        kept.sections.iter().filter_map(|part| Some((part, draw(part)?))).collect();
    match drawn.as_slice() {
        [] => absent(none),
        [(_, one)] => one.clone(),
        several => {
            let behind = several
                .iter()
                .enumerate()
                .map(|(place, (part, html))| details(&short_title(part), html, place == 0));
            behind.collect()
        }
    }
}

fn tables(kept: &Kept) -> String {
    let mut html = each(kept, "There are no figures.", |part| Some(results::by_family(kept, part)));
    html += &searches::draw(kept);
    let over = match kept.sections.iter().any(|part| part.seeds.len() > 1) {
        true => "seeds",
        false => "episodes",
    };
    let claim = match &kept.against {
        Some(name) => format!("The others are compared with {}, as was asked for.", escaped(name)),
        None => {
            "For a claim, name the learner to compare with beforehand (<code>--against</code>).".to_owned()
        }
    };
    html += &format!(
        r#"<p class="note">± is a 95 % interval over {over} (Student's t). Differences are paired, on identical episodes; p is after Holm over the table, * is below 0.05. ★ is the best, and was chosen for being so: chance favours it. {claim}</p>"#
    );
    html += &settings::draw(kept);
    match &kept.ranking {
        Some(ranking) => html + &html::side_by_side(&[ranks::draw(ranking)]),
        None => html,
    }
}

fn failures(kept: &Kept, asked: &Asked) -> String {
    let mut html = String::new();
    match asked.drawn.as_slice() {
        [] => {
            html += &absent(
                "No learner was asked again (`--kept-only`): no classes, tasks and embeddings are shown.",
            );
        }
        [(title, one)] => html += &format!("<h3>{}</h3>{one}", escaped(title)),
        several => {
            for (place, (title, one)) in several.iter().enumerate() {
                html += &details(title, one, place == 0);
            }
        }
    }
    if asked.left > 0 {
        html += &absent(&format!(
            "{} left out, so that the page does not grow too large.",
            plural(asked.left, "more setting")
        ));
    }
    html += "<h3>Episodes</h3>";
    html += &each(kept, "There are too few episodes to tell.", |part| episodes::draw(kept, part));
    if kept.sections.iter().any(|part| calibration::draw(kept, part).is_some()) {
        html += "<h3>Is its confidence to be trusted?</h3>";
        html += &each(kept, "", |part| calibration::draw(kept, part));
    }
    html
}

fn curves(kept: &Kept) -> String {
    let curves = each(kept, "", |part| Some(learning::draw(kept, part)));
    paragraph("Weights are chosen on validation tasks, never on test tasks.") + &curves
}
