//! Tables of text: CSV with a header.

use std::path::Path;

use kshot::{Error, Result};

use super::ArraysOptions;
use super::array::{Array, Content, broken, is_missing, out_of_range, read};

/// What a CSV file holds.
pub(super) struct Columns {
    /// `[rows, features]`.
    pub(super) x: Array,
    /// The class of each row, where it is asked for.
    pub(super) y: Option<Array>,
    /// The domain of each, where there is such a column.
    pub(super) domain: Option<Array>,
    /// The group of each, where there is such a column.
    pub(super) group: Option<Array>,
    /// The index left out, in words.
    pub(super) note: Option<String>,
}

/// A column that is neither features nor an index.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Label,
    Domain,
    Group,
    Feature,
    LeftOut,
}

/// A CSV file with a header: the labels (which have to be there if `labelled`) and, where they are there, domains and groups
/// as columns of their own, what is to be left out not read, all others features.
pub(super) fn csv(path: &Path, options: &ArraysOptions, labelled: bool) -> Result<Columns> {
    let ArraysOptions { y: label, domain, group, leave_out: left_out, .. } = options;
    let bytes = read(path)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut reader = csv::Reader::from_reader(bytes);
    let header: Vec<String> = reader
        .headers()
        .map_err(|error| broken(path, error))?
        .iter()
        .map(|name| name.trim().to_owned())
        .collect();
    if let ([only], Some(separator)) = (
        &header[..],
        [';', '\t', '|'].into_iter().find(|&c| header.first().is_some_and(|name| name.contains(c))),
    ) {
        return Err(broken(
            path,
            format!(
                "its columns (`{only}`) are separated by `{}`; save it with commas",
                separator.escape_default()
            ),
        ));
    }
    let known = || header.iter().map(String::as_str);
    for name in labelled.then_some(label).into_iter().chain(left_out) {
        if !header.iter().any(|column| column == name) {
            return Err(Error::unknown("column", name, known()).context(path.display()));
        }
    }
    let mut roles: Vec<Role> = header
        .iter()
        .map(|name| match name {
            name if name == label && labelled => Role::Label,
            name if name == label => Role::LeftOut,
            name if name == domain => Role::Domain,
            name if name == group => Role::Group,
            name if left_out.contains(name) => Role::LeftOut,
            _ => Role::Feature,
        })
        .collect();
    let records: Vec<csv::StringRecord> =
        reader.records().collect::<Result<_, _>>().map_err(|error| broken(path, error))?;
    if records.is_empty() {
        return Err(broken(path, "it has a header and no row"));
    }
    let note = leave_index_out(path, &header, &records, &mut roles)?;
    if !roles.contains(&Role::Feature) {
        return Err(broken(path, format!("it has no feature, only `{}`", header.join("`, `"))));
    }

    let (mut x, mut labels, mut domains, mut groups) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for record in &records {
        let line = record.position().map_or(0, csv::Position::line);
        for ((cell, role), name) in record.iter().map(str::trim).zip(&roles).zip(&header) {
            let wrong = |what: &str| broken(path, format!("line {line}, column `{name}`: {what}"));
            match role {
                Role::LeftOut => {}
                Role::Label | Role::Domain | Role::Group if is_missing(cell) => {
                    return Err(wrong(&format!("`{cell}` is no name; fill it in, or leave the row out")));
                }
                Role::Label => labels.push(cell.to_owned()),
                Role::Domain => domains.push(cell.to_owned()),
                Role::Group => groups.push(cell.to_owned()),
                Role::Feature if cell.is_empty() => {
                    return Err(wrong("the cell is empty; fill it in, or leave the row out"));
                }
                Role::Feature => match cell.parse::<f64>() {
                    Ok(number) if (number as f32).is_finite() => x.push(number),
                    Ok(number) => {
                        return Err(Error::NotFinite(
                            wrong(&format!(
                                "`{cell}` is {}; correct it, or leave the row out",
                                out_of_range(number).trim_start_matches("which is ")
                            ))
                            .to_string(),
                        ));
                    }
                    Err(_) => {
                        return Err(wrong(&format!(
                            "`{cell}` is not a number; name the column as `y`, `domain`, `group` or in `leave-out`"
                        )));
                    }
                },
            }
        }
    }
    let names = |names: Vec<String>| Array { shape: vec![names.len()], content: Content::Names(names) };
    let features = roles.iter().filter(|&&role| role == Role::Feature).count();
    Ok(Columns {
        x: Array { shape: vec![records.len(), features], content: Content::Numbers(x) },
        y: labelled.then(|| names(labels)),
        domain: roles.contains(&Role::Domain).then(|| names(domains)),
        group: roles.contains(&Role::Group).then(|| names(groups)),
        note,
    })
}

/// Leaves out columns without a name that number the rows, as pandas writes its index.
///
/// # Errors
/// For another column without a name, and for one with a name that numbers the rows: it would tell the class of rows that
/// are sorted by it.
fn leave_index_out(
    path: &Path,
    header: &[String],
    records: &[csv::StringRecord],
    roles: &mut [Role],
) -> Result<Option<String>> {
    let mut note = None;
    for (at, (name, role)) in
        header.iter().zip(roles).enumerate().filter(|(_, (_, role))| **role == Role::Feature)
    {
        let numbers = counts_rows(
            records.iter().map(|record| record.get(at).and_then(|cell| cell.trim().parse().ok())),
        );
        let nameless = name.is_empty() || name.starts_with("Unnamed:");
        if nameless && numbers {
            *role = Role::LeftOut;
            note = Some(format!(
                "{}: column {} has no name and numbers the rows, as pandas writes its index: left out",
                path.display(),
                at + 1
            ));
        } else if nameless {
            return Err(broken(
                path,
                format!("column {} has no name (`{name}`): name it as what it is, or take it out", at + 1),
            ));
        } else if numbers {
            return Err(broken(
                path,
                format!(
                    "column `{name}` numbers the rows, and would tell the class of rows sorted by it: name it in \
                     `leave-out`"
                ),
            ));
        }
    }
    Ok(note)
}

/// Whether values number the examples, from 0 or from 1: an index, which tells the class of examples sorted by it.
pub(super) fn counts_rows(values: impl Iterator<Item = Option<f64>>) -> bool {
    let (mut first, mut rows) = (None, 0);
    for (row, value) in values.enumerate() {
        let Some(value) = value else { return false };
        let first = *first.get_or_insert(value);
        if (first != 0.0 && first != 1.0) || value != first + row as f64 {
            return false;
        }
        rows += 1;
    }
    // A few values may do so by chance.
    rows >= 10
}
