//! Images that a CSV file lists: `path,label[,split][,group]`, paths from where the file lies.

use std::collections::HashMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use kshot::{Error, Result, file};
use rayon::prelude::*;
use unicode_normalization::UnicodeNormalization as _;

use super::entries::{file_name, paths_in};
use super::layout::{ClassFiles, ImageFile, Layout, by_splits, split_named};
use crate::stamp::Stamp;

/// The classes of a list, divided as its column `split` says, if it has one.
pub(super) fn read(file: &Path, notes: &mut Vec<String>) -> Result<Layout> {
    let (splits, divided) = listed(file, file.parent().unwrap_or(Path::new("")))?;
    if divided {
        return by_splits(file, splits, notes).map(Layout::Divided);
    }
    let [classes, ..] = splits;
    Ok(Layout::Classes(classes))
}

/// The classes of a list whose paths lead from `folder`, in the splits of its column `split`; all in the first, and `false`,
/// where it has none.
///
/// # Errors
/// When it is no such list, or names a file that is not there: with the line.
pub(crate) fn listed(file: &Path, folder: &Path) -> Result<([Vec<ClassFiles>; 3], bool)> {
    let wrong = |what: String| Error::invalid(format!("the list {}{what}", file.display()));
    let at = |line: u64, what: String| wrong(format!(", line {line}: {what}"));
    let broken = |error: csv::Error| wrong(format!(" cannot be read: {error}"));
    let reader = BufReader::new(file::open(file, "reading the list")?);
    let mut rows = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(reader);
    let head = rows.headers().map_err(broken)?.clone();
    let column = |name: &str| head.iter().position(|column| column.trim_start_matches('\u{feff}') == name);
    let (Some(path), Some(label)) = (column("path").or(column("filename")), column("label")) else {
        return Err(wrong(format!(
            " has the columns {}, but must have `path` and `label` (and may have `split` and `group`)",
            head.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        )));
    };
    let (split, group) = (column("split"), column("group"));
    let mut seen: HashMap<String, u64> = HashMap::new();
    let mut places = Places::default();
    // Without a column `split`, all are in the first.
    let mut splits: [Vec<ClassFiles>; 3] = Default::default();
    let rows: Vec<csv::StringRecord> = rows.records().collect::<Result<_, _>>().map_err(broken)?;
    // In parallel, as asking for a million files takes long.
    let written: Vec<Option<(PathBuf, Stamp)>> =
        rows.par_iter().map(|row| there(folder.join(row.get(path).unwrap_or_default()))).collect();
    // A class's place in its split.
    let mut known: HashMap<(usize, String), usize> = HashMap::new();
    for (row, written) in rows.iter().zip(written) {
        let line = row.position().map_or(0, csv::Position::line);
        let cell = |column: usize| row.get(column).unwrap_or_default();
        let (name, label): (String, String) = (cell(path).to_owned(), cell(label).nfc().collect());
        if name.is_empty() || label.is_empty() {
            return Err(at(line, format!("the {} is empty", if name.is_empty() { "path" } else { "label" })));
        }
        let (image, stamp) = written
            .or_else(|| places.find(folder, &name))
            .ok_or_else(|| at(line, format!("there is no file {}", folder.join(&name).display())))?;
        if let Some(before) = seen.insert(name.clone(), line) {
            return Err(at(line, format!("`{name}` is also in line {before}")));
        }
        let number = match split.map(cell) {
            None => 0,
            Some(word) => split_named(word)
                .ok_or_else(|| at(line, format!("`{word}` is no split: write train, val or test")))?,
        };
        let group = match group.map(cell) {
            Some("") => return Err(at(line, "the group is empty".to_owned())),
            group => group.unwrap_or_default().to_owned(),
        };
        let image = ImageFile { group, ..ImageFile::new(name, image, stamp) };
        let classes = splits.get_mut(number).ok_or_else(|| at(line, "there are three splits".to_owned()))?;
        let place = known.entry((number, label)).or_insert_with_key(|(_, label)| {
            classes.push(ClassFiles { name: label.clone(), images: Vec::new() });
            classes.len() - 1
        });
        if let Some(class) = classes.get_mut(*place) {
            class.images.push(image);
        }
    }
    if splits.iter().all(Vec::is_empty) {
        return Err(wrong(" lists no image".to_owned()));
    }
    for classes in &mut splits {
        classes.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok((splits, split.is_some()))
}

/// A file, with its size and time; none where there is no file.
fn there(path: PathBuf) -> Option<(PathBuf, Stamp)> {
    let metadata = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some((path, Stamp::from(&metadata)))
}

/// What directories hold, by names in composed form (NFC): an editor may write `é` as one letter, a file system as two.
#[derive(Default)]
struct Places(HashMap<PathBuf, HashMap<String, PathBuf>>);

impl Places {
    /// The file of this name in a folder or below, where it is not there as it is written.
    fn find(&mut self, folder: &Path, name: &str) -> Option<(PathBuf, Stamp)> {
        if name.is_ascii() {
            return None;
        }
        let mut path = folder.to_path_buf();
        for part in Path::new(name).components() {
            let next = path.join(part);
            path = match next.exists() {
                true => next,
                false => {
                    let part: String = part.as_os_str().to_str()?.nfc().collect();
                    self.of(&path).get(&part)?.clone()
                }
            };
        }
        there(path)
    }

    fn of(&mut self, folder: &Path) -> &HashMap<String, PathBuf> {
        self.0.entry(folder.to_path_buf()).or_insert_with(|| {
            let paths = paths_in(folder).unwrap_or_default();
            paths.into_iter().map(|path| (file_name(&path).nfc().collect(), path)).collect()
        })
    }
}
