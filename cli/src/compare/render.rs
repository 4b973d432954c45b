//! A comparison as a table: for a terminal, Markdown, LaTeX or CSV.

use kshot::dataset::Published;
use kshot::eval::Measure;
use kshot::registry::Problem;
use kshot::stats::Interval;

use super::domains;
use super::ranking::Ranking;
use super::section::{Line, Section};
use crate::table;
use crate::words::{plural, seeds_of};

/// How it is written.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Form {
    Terminal,
    Markdown,
    Latex,
    Csv,
}

/// Sections and, where there are several, the ranks over them; sections between several domains are one table, with what is
/// published of them.
pub(crate) fn render(
    sections: &[Section],
    ranking: Option<&Ranking>,
    published: &[Published],
    form: Form,
) -> String {
    if form == Form::Csv {
        return csv(sections);
    }
    let mut text = String::new();
    let mut compared = false;
    for group in domains::groups(sections) {
        text += &match group.as_slice() {
            [section] if domains::shown(&group, published).is_empty() => {
                compared |= section.lines.len() > 1;
                let lines: Vec<Vec<String>> = section.lines.iter().map(|line| cells(section, line)).collect();
                table(form, &title(section), &heads(section), &lines, 3, &searches(section))
            }
            several => {
                let (heads, lines) = domains::table(several, published);
                let notes = domains::notes(several, published);
                table(form, &domains::title(several), &heads, &lines, 1, &notes)
            }
        };
    }
    if let Some(ranking) = ranking {
        let (heads, lines) = ranking.table();
        text += &table(form, &ranking.title(), &heads, &lines, 1, &[]);
    }
    text + &foot(sections, compared, form)
}

/// A table under its title, the first columns to the left, with what has to be known of it below.
fn table(
    form: Form,
    title: &str,
    heads: &[String],
    lines: &[Vec<String>],
    left: usize,
    notes: &[String],
) -> String {
    match form {
        Form::Latex => {
            let notes: String = notes.iter().map(|note| format!("% {note}\n")).collect();
            format!("{}{notes}", latex(title, heads, lines, left))
        }
        Form::Markdown => {
            let notes: String = notes.iter().map(|note| format!("\n{note}\n")).collect();
            format!("**{title}**\n\n{}{notes}\n", markdown(heads, lines))
        }
        _ => {
            let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
            let notes: String = notes.iter().map(|note| format!("{note}\n")).collect();
            format!("\n{title}\n\n{}{notes}", table::render(&heads, lines, left))
        }
    }
}

/// `omniglot, 5-way 1-shot, 15 queries a class, 600 episodes, seeds 0–2`.
pub(crate) fn title(section: &Section) -> String {
    let from = section.setting.pair.as_ref();
    let from = from.map_or(String::new(), |pair| format!(", {} to {}", pair.source, pair.target));
    format!(
        "{}{from}, {}, {}, {}, {}",
        section.data_in_words(),
        section.setting.in_words(section.problem()),
        queries_in_words(section),
        plural(section.episodes, "test episode"),
        seeds_of(&section.seeds)
    )
}

/// `15 queries a class`, `1 query a class`, `all queries a class`, `10 queries`.
pub(super) fn queries_in_words(section: &Section) -> String {
    let queries = match section.setting.queries {
        None => "all queries".to_owned(),
        Some(1) => "1 query".to_owned(),
        Some(queries) => format!("{queries} queries"),
    };
    let of = if section.problem() == Problem::Classification { " a class" } else { "" };
    format!("{queries}{of}")
}

/// What was chosen on validation classes, a line for each learner of which values were searched.
pub(crate) fn searches(section: &Section) -> Vec<String> {
    let one = |line: &Line| {
        let chosen = line.chosen.as_ref()?;
        Some(format!("{}, chosen on validation classes: {chosen}.", line.learner))
    };
    section.lines.iter().filter_map(one).collect()
}

fn heads(section: &Section) -> Vec<String> {
    let measure = match section.measure {
        Measure::Accuracy => "accuracy in %",
        Measure::Mse => "mse",
    };
    let fixed = ["family", "learner", "transductive", measure].map(str::to_owned).into_iter();
    let compared = [section.difference_from(), "p".to_owned()].into_iter();
    let rest = ["training", "evaluation"].map(str::to_owned).into_iter();
    // Of one learner alone there is no difference.
    fixed.chain(compared.filter(|_| section.lines.len() > 1)).chain(rest).collect()
}

/// A figure in the units of its table: accuracies in percent.
pub(super) fn number(section: &Section, value: f64) -> String {
    match section.measure {
        Measure::Accuracy => format!("{:.2}", 100.0 * value),
        Measure::Mse => format!("{value:.3}"),
    }
}

pub(super) fn interval(section: &Section, interval: Interval) -> String {
    match interval.ci95.is_nan() {
        true => number(section, interval.mean),
        false => format!("{} ± {}", number(section, interval.mean), number(section, interval.ci95)),
    }
}

fn cells(section: &Section, line: &Line) -> Vec<String> {
    let compared = match line.difference {
        None => ["–".to_owned(), "–".to_owned()],
        Some((pair, holm)) => {
            let mark = if line.differs() { " *" } else { "" };
            [format!("{}{mark}", signed(&interval(section, pair.difference))), probability(holm)]
        }
    };
    let fixed = [
        line.family.name().to_owned(),
        line.learner.clone(),
        if line.transductive { "yes" } else { "no" }.to_owned(),
        interval(section, line.figure),
    ];
    let rest = [
        line.training.map_or("none".to_owned(), |seconds| format!("{seconds:.1} s")),
        if line.rate.is_finite() { format!("{:.0} episodes/s", line.rate) } else { "–".to_owned() },
    ];
    let compared = compared.into_iter().filter(|_| section.lines.len() > 1);
    fixed.into_iter().chain(compared).chain(rest).collect()
}

/// With a true minus, and a plus where there is none.
pub(crate) fn signed(text: &str) -> String {
    text.strip_prefix('-').map_or_else(|| format!("+{text}"), |rest| format!("−{rest}"))
}

/// As tables show a p-value.
pub(crate) fn probability(p: f64) -> String {
    if p < 0.001 { "<0.001".to_owned() } else { format!("{p:.3}") }
}

/// `= 0.012`, or `< 0.001`.
pub(crate) fn p_in_words(p: f64) -> String {
    match probability(p).strip_prefix('<') {
        Some(bound) => format!("< {bound}"),
        None => format!("= {}", probability(p)),
    }
}

/// What the figures are; with the differences, where a table has some.
fn foot(sections: &[Section], compared: bool, form: Form) -> String {
    let uncertain = |section: &Section| section.lines.iter().any(|line| !line.figure.ci95.is_nan());
    if sections.iter().all(|section| section.lines.len() < 2 || !(compared || uncertain(section))) {
        return String::new();
    }
    let several = sections.iter().any(|section| section.seeds.len() > 1);
    let over = if several { "seeds" } else { "episodes" };
    let mut lines = match compared {
        false => vec![format!("± is a 95 % interval over {over} (Student's t).")],
        true => vec![
            format!(
                "± is a 95 % interval over {over} (Student's t). Differences are paired, on identical episodes;"
            ),
            "p is Holm's over the table, * is below 0.05. Who was chosen for being the best is favoured by"
                .to_owned(),
            "chance: for a claim, name the one to compare with beforehand (--against).".to_owned(),
        ],
    };
    if sections.iter().any(|section| (2..5).contains(&section.seeds.len())) {
        lines.push(
            "Over so few seeds only steady differences are sure: `--seeds 5` or more tell more apart."
                .to_owned(),
        );
    }
    let begin = if form == Form::Latex { "% " } else { "" };
    let text: String = lines.iter().map(|line| format!("{begin}{line}\n")).collect();
    if form == Form::Latex { text } else { format!("\n{text}") }
}

fn markdown(heads: &[String], lines: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(heads);
    text += &format!("|{}\n", " --- |".repeat(heads.len()));
    lines.iter().for_each(|cells| text += &line(cells));
    text
}

/// A table in the manner of the package booktabs.
fn latex(title: &str, heads: &[String], lines: &[Vec<String>], left: usize) -> String {
    let escaped = |text: &str| -> String {
        let one = |letter: char| match letter {
            '%' | '&' | '_' | '#' | '$' => format!("\\{letter}"),
            '±' => "$\\pm$".to_owned(),
            '−' => "$-$".to_owned(),
            '–' => "--".to_owned(),
            '<' => "$<$".to_owned(),
            '→' => "$\\to$".to_owned(),
            letter => letter.to_string(),
        };
        text.chars().map(one).collect()
    };
    let row =
        |cells: &[String]| cells.iter().map(|cell| escaped(cell)).collect::<Vec<_>>().join(" & ") + " \\\\\n";
    let mut text = format!(
        "% {title}\n\\begin{{tabular}}{{{}{}}}\n\\toprule\n{}\\midrule\n",
        "l".repeat(left),
        "r".repeat(heads.len() - left),
        row(heads)
    );
    lines.iter().for_each(|cells| text += &row(cells));
    text + "\\bottomrule\n\\end{tabular}\n\n"
}

/// Every number as it is: accuracies 0–1.
fn csv(sections: &[Section]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let heads = [
        "dataset",
        "setting",
        "source",
        "target",
        "seeds",
        "episodes",
        "family",
        "learner",
        "transductive",
        "measure",
        "mean",
        "ci95",
        "against",
        "difference",
        "difference_ci95",
        "p",
        "p_holm",
        "train_seconds",
        "chosen",
    ];
    let number =
        |value: Option<f64>| value.filter(|value| !value.is_nan()).map_or(String::new(), |v| v.to_string());
    // Into memory, nothing fails.
    let _ = writer.write_record(heads);
    for section in sections {
        let pair = section.setting.pair.as_ref();
        for line in &section.lines {
            let paired = line.difference;
            let _ = writer.write_record([
                section.dataset.clone(),
                section.setting.in_a_name(),
                pair.map_or(String::new(), |pair| pair.source.clone()),
                pair.map_or(String::new(), |pair| pair.target.clone()),
                section.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(" "),
                section.episodes.to_string(),
                line.family.name().to_owned(),
                line.learner.clone(),
                line.transductive.to_string(),
                section.measure.name().to_owned(),
                number(Some(line.figure.mean)),
                number(Some(line.figure.ci95)),
                section.against.clone(),
                number(paired.map(|(pair, _)| pair.difference.mean)),
                number(paired.map(|(pair, _)| pair.difference.ci95)),
                number(paired.map(|(pair, _)| pair.p)),
                number(paired.map(|(_, holm)| holm)),
                number(line.training),
                line.chosen.clone().unwrap_or_default(),
            ]);
        }
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}
