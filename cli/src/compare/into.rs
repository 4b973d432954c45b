//! Tables put into a page, between the marks `<!-- kshot compare NAME -->` and `<!-- end -->`, in place of what is there.

use std::fs;
use std::path::Path;

use kshot::{Error, Result, atomic};

const END: &str = "<!-- end -->";

/// Puts a table between the marks of `name` in a page.
///
/// # Errors
/// When the page lacks the marks, or cannot be read or written.
pub(super) fn put(page: &Path, name: &str, table: &str) -> Result<()> {
    let text = fs::read_to_string(page).map_err(|error| Error::io("reading the page", page, error))?;
    let begin = format!("<!-- kshot compare {name} -->");
    let found = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = found.ok_or_else(|| {
        Error::invalid(format!(
            "{} has no `{begin}` with `{END}` after it, where the table is to be",
            page.display()
        ))
    })?;
    let table = table.trim_matches('\n');
    let text = format!("{before}{begin}\n\n{table}\n\n{END}{after}");
    atomic::write(page, text.as_bytes(), "writing the page")
}
