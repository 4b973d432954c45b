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

/// Datasets whose learners are asked again, at most.
const EXAMINED: usize = 3;

pub(crate) fn run(args: &ReportArgs) -> Result<()> {
    writable(&args.out)?;
    let kept = Kept::read(&args.paths)?;
    if kept.sections.is_empty() {
        return Err(Error::invalid("there are no figures to report yet"));
    }
    let examined = examinations(&kept, args);
    let names: Vec<String> = args
        .paths
        .iter()
        .map(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            name.unwrap_or_else(|| path.display().to_string())
        })
        .collect();
    let page = page(&kept, &examined, &names.join(", "));
    atomic::write(&args.out, page.as_bytes(), "writing the report to")?;
    print(&format!(
        "{}: {} of {}, {:.1} MB\n",
        args.out.display(),
        plural(kept.sections.len(), "table"),
        plural(kept.cells.len(), "cell"),
        page.len() as f64 / 1e6
    ))
}

/// Of a section: what its learners answered when asked again, or in a sentence why they were not.
type Outcome<'a> = (&'a Section, Result<Examination, String>);

/// Asks the learners of the first setting of each dataset again.
fn examinations<'a>(kept: &'a Kept, args: &ReportArgs) -> Vec<Outcome<'a>> {
    if args.kept_only {
        return Vec::new();
    }
    let mut found: Vec<Outcome<'a>> = Vec::new();
    for section in &kept.sections {
        let known = found.iter().any(|(other, _)| other.dataset == section.dataset);
        if known || found.len() == EXAMINED {
            continue;
        }
        let outcome = examine(kept, section, args.place.data_dir.as_ref()).map_err(|error| {
            let why = format!("No learner was asked again on {}: {error}", section.dataset);
            complain(&format!("note: {why}"));
            why
        });
        found.push((section, outcome));
    }
    found
}

fn page(kept: &Kept, examined: &[Outcome<'_>], names: &str) -> String {
    let first = examined.first().and_then(|(_, outcome)| outcome.as_ref().ok());
    let parts = [
        ("results", "Which learner is best, and is that sure?", tables(kept)),
        ("cost", "What does it cost?", each(kept, "There is no training to weigh.", cost::draw)),
        ("failures", "Where does it fail?", failures(kept, examined)),
        ("learning", "How does it learn?", curves(kept)),
        ("run", "What exactly was run?", ran::draw(kept)),
    ];
    let mut content = format!("<header>{}{}", answers::head(kept, names), answers::cards(kept, first));
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
    html += &format!(
        r#"<p class="note">± is a 95 % interval over {over} (Student's t). Differences are paired, on identical episodes; p is after Holm over the table, * is below 0.05. ★ is the best, and was chosen for being so: chance favours it. For a claim, name the learner to compare with beforehand (<code>kshot compare --against</code>).</p>"#
    );
    html += &settings::draw(kept);
    match &kept.ranking {
        Some(ranking) => html + &html::side_by_side(&[ranks::draw(ranking)]),
        None => html,
    }
}

fn failures(kept: &Kept, examined: &[Outcome<'_>]) -> String {
    let mut html = String::new();
    for (part, outcome) in examined {
        html += &format!("<h3>{}</h3>", escaped(&short_title(part)));
        match outcome {
            Err(why) => html += &absent(why),
            Ok(found) => {
                html += &classes::draw(found);
                html += &tasks::draw(found);
                html += &embedding::draw(found);
                html += &found.skipped.iter().map(|why| absent(why)).collect::<String>();
            }
        }
    }
    if examined.is_empty() {
        html += &absent(
            "No learner was asked again (`--kept-only`): no classes, tasks and embeddings are shown.",
        );
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
