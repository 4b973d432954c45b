//! Dividing the classes of a directory into train, validation and test.

use std::collections::HashMap;
use std::path::Path;

use kshot::rng::stream;
use kshot::{Error, Result, file};
use rand::seq::SliceRandom as _;
use serde::Deserialize;
use unicode_normalization::UnicodeNormalization as _;

/// Names of the classes of train, validation and test.
pub(crate) type Division = [Vec<String>; 3];

/// The file `split-file` names.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SplitFile {
    train: Vec<String>,
    validation: Vec<String>,
    test: Vec<String>,
}

/// The division a file lists; classes it does not name are left out.
pub(crate) fn by_file(file: &Path, classes: &[String]) -> Result<Division> {
    let text = file::text(file, file::MOST_SETTINGS, "reading the class split")?;
    let division = parse(&text).map_err(|why| {
        Error::invalid(format!(
            "the class split {} is not as expected ({why}); it is TOML with lists of class names: train = [\"…\"], \
             validation = [\"…\"], test = [\"…\"]",
            file.display(),
        ))
    })?;
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (split, names) in division.iter().enumerate() {
        for name in names {
            if !classes.contains(name) {
                return Err(Error::unknown("class", name, classes.iter().map(String::as_str))
                    .context(format!("the class split {}", file.display())));
            }
            if seen.insert(name, split).is_some() {
                return Err(Error::invalid(format!(
                    "the class split {} names `{name}` twice; splits must not share a class",
                    file.display()
                )));
            }
        }
    }
    Ok(division)
}

/// The division that the text of a split file lists.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Division, String> {
    let split: SplitFile = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    // The names of directories are composed (NFC); an editor may have written them otherwise.
    let composed =
        |names: Vec<String>| names.iter().map(|name| name.nfc().collect()).collect::<Vec<String>>();
    Ok([split.train, split.validation, split.test].map(composed))
}

/// The shares of classes for training, validation and test where nothing else is said.
pub(crate) const FRACTIONS: [f64; 3] = [0.6, 0.2, 0.2];

/// [`by_fractions`], with what whoever reads the figures should know: all classes are for test where they are too few for the
/// default shares.
pub(crate) fn by_fractions_or_all(
    fractions: [f64; 3],
    seed: u64,
    classes: &[String],
    notes: &mut Vec<String>,
) -> Result<Division> {
    if fractions == FRACTIONS && (1..3).contains(&classes.len()) {
        notes.push(format!(
            "all {} classes are for test, as they are too few to divide (`fractions` divides otherwise)",
            classes.len()
        ));
        return Ok([Vec::new(), Vec::new(), classes.to_vec()]);
    }
    let division = by_fractions(fractions, seed, classes)?;
    let [train, validation, test] = &division;
    if train.len() + validation.len() > 0 && !test.is_empty() {
        notes.push(format!(
            "{} + {} + {} classes for training, validation and test, by `fractions` and its `seed`; for test: {}",
            train.len(),
            validation.len(),
            test.len(),
            first_of(test)
        ));
    }
    Ok(division)
}

/// The first names, and how many more there are.
pub(crate) fn first_of(names: &[impl AsRef<str>]) -> String {
    const NAMED: usize = 8;
    let first: Vec<&str> = names.iter().take(NAMED).map(AsRef::as_ref).collect();
    let more = names.len() - first.len();
    first.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

/// A random division into these shares. A share above 0 gets at least one class, and two where there are enough.
#[expect(clippy::indexing_slicing, reason = "three splits")]
pub(crate) fn by_fractions(fractions: [f64; 3], seed: u64, classes: &[String]) -> Result<Division> {
    let whole = (fractions.iter().sum::<f64>() - 1.0).abs() < 1e-6;
    if !whole || fractions.iter().any(|share| !(0.0..=1.0).contains(share)) {
        return Err(Error::invalid(format!(
            "option `fractions` is {fractions:?}, but must be three shares from 0 to 1 (training, validation, \
             test) that add up to 1"
        )));
    }
    let mut counts = fractions.map(|share| usize::from(share > 0.0));
    let mut least = counts.iter().sum::<usize>();
    if classes.len() < least {
        return Err(Error::invalid(format!(
            "{} classes cannot be divided into {least} splits; add classes, or set shares of `fractions` to 0",
            classes.len()
        )));
    }
    // A split of one class has no task.
    if classes.len() >= 2 * least {
        (counts, least) = (counts.map(|count| 2 * count), 2 * least);
    }
    for _ in least..classes.len() {
        // The split that is furthest below its share gets the next class; the first of equals.
        let missing = |i: usize| fractions[i] * classes.len() as f64 - counts[i] as f64;
        let next = (1..3).fold(0, |best, i| if missing(i) > missing(best) { i } else { best });
        counts[next] += 1;
    }
    let mut order: Vec<&String> = classes.iter().collect();
    order.shuffle(&mut stream(seed, "folder/classes", 0));
    let mut order = order.into_iter().cloned();
    Ok(counts.map(|count| {
        let mut names: Vec<String> = order.by_ref().take(count).collect();
        names.sort();
        names
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("class{i:02}")).collect()
    }

    #[test]
    fn fractions_divide_every_class_once_and_the_same_way_for_the_same_seed() {
        let division = by_fractions([0.6, 0.2, 0.2], 3, &classes(50)).unwrap();
        assert_eq!([0, 1, 2].map(|i| division[i].len()), [30, 10, 10]);
        let mut all = division.concat();
        all.sort();
        assert_eq!(all, classes(50));
        assert_eq!(division, by_fractions([0.6, 0.2, 0.2], 3, &classes(50)).unwrap());
        assert_ne!(division, by_fractions([0.6, 0.2, 0.2], 4, &classes(50)).unwrap());
    }

    #[test]
    fn every_share_above_zero_gets_a_class_where_there_are_enough() {
        let counts = |fractions, n| {
            by_fractions(fractions, 0, &classes(n)).map(|division| division.map(|names| names.len()))
        };
        assert_eq!(counts([0.6, 0.2, 0.2], 3).unwrap(), [1, 1, 1]);
        assert_eq!(counts([0.9, 0.05, 0.05], 5).unwrap(), [3, 1, 1]);
        assert_eq!(counts([0.6, 0.2, 0.2], 8).unwrap(), [4, 2, 2]);
        assert_eq!(counts([0.0, 0.0, 1.0], 4).unwrap(), [0, 0, 4]);
        assert!(counts([0.6, 0.2, 0.2], 2).unwrap_err().to_string().contains("2 classes cannot be divided"));
    }

    #[test]
    fn too_few_classes_for_the_default_shares_are_all_for_test_and_test_classes_are_named() {
        let with = |fractions, n| {
            let mut notes = Vec::new();
            let division = by_fractions_or_all(fractions, 0, &classes(n), &mut notes);
            (division.map(|division| division.map(|names| names.len())), notes)
        };
        let (few, notes) = with(FRACTIONS, 2);
        assert_eq!(few.unwrap(), [0, 0, 2]);
        assert!(notes[0].starts_with("all 2 classes are for test"));
        assert!(with([0.5, 0.25, 0.25], 2).0.is_err());
        let (_, notes) = with(FRACTIONS, 60);
        assert!(
            notes[0].starts_with("36 + 12 + 12 classes") && notes[0].ends_with(" and 4 more"),
            "{notes:?}"
        );
        assert!(with([0.0, 0.0, 1.0], 9).1.is_empty());
    }

    #[test]
    fn shares_that_do_not_add_up_are_refused() {
        for fractions in [[0.5, 0.2, 0.2], [1.2, -0.1, -0.1], [f64::NAN, 0.5, 0.5]] {
            let error = by_fractions(fractions, 0, &classes(9)).unwrap_err().to_string();
            assert!(error.contains("add up to 1"), "{error}");
        }
    }
}
