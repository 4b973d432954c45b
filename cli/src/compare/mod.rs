//! `kshot compare`: learners on identical episodes, with paired differences and ranks, from what runs and suites have kept.

mod domains;
mod into;
pub(crate) mod ranking;
pub(crate) mod render;
pub(crate) mod section;

use kshot::{Error, Result};

use crate::args::CompareArgs;
use crate::output::{complain, print};
use crate::suite::{cells_of, kept};
use crate::words::plural;
use ranking::ranking;
use render::{Form, render};
use section::sections;

pub(crate) fn run(args: &CompareArgs) -> Result<()> {
    let (mut rows, mut missing) = (Vec::new(), 0);
    for path in &args.paths {
        for cell in cells_of(path)? {
            match kept::read(&cell)? {
                Some((own, failed)) => {
                    rows.extend(own);
                    failed.iter().for_each(|why| complain(&format!("note: no figure: {why}")));
                }
                None => missing += 1,
            }
        }
    }
    if missing > 0 {
        complain(&format!("note: {} not measured yet: `kshot run` goes on", plural(missing, "cell")));
    }
    if rows.is_empty() {
        return Err(Error::invalid("there are no figures to compare yet"));
    }
    let sections = sections(&rows, args.against.as_deref())?;
    let form = match (args.markdown, args.latex, args.csv) {
        (true, ..) => Form::Markdown,
        (_, true, _) => Form::Latex,
        (.., true) => Form::Csv,
        _ => Form::Terminal,
    };
    let text = render(&sections, ranking(&sections)?.as_ref(), &[], form);
    let Some(page) = &args.into else { return print(&text) };
    let name = args.paths[0].file_name().unwrap_or_default().to_string_lossy();
    match form {
        Form::Terminal => into::put(page, &name, &format!("```\n{}\n```", text.trim_matches('\n'))),
        _ => into::put(page, &name, &text),
    }
}
