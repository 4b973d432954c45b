//! Tasks fixed in a JSON file, so that another program's episodes can be repeated.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::seq::SliceRandom as _;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use super::few_shot::{Pick, Picks, gather};
use super::{Count, Episode, FewShot, Tasks};
use crate::dataset::ClassSet;
use crate::rng::stream;
use crate::{Error, Result, atomic, file};

/// Some 20 million examples.
const MOST_BYTES: u64 = 1 << 30;

/// The file: `{"episodes": [{"support": [{"file": "CLASS/FILE", "label": 0}, …], "query": […]}, …]}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestFile {
    episodes: Vec<ManifestEpisode>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestEpisode {
    support: Vec<ManifestExample>,
    query: Vec<ManifestExample>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestExample {
    file: String,
    label: usize,
}

/// How many examples each label has.
fn of_each_class(picks: &[Pick]) -> Vec<usize> {
    let mut counts = Vec::new();
    for &(_, _, label) in picks {
        counts.resize(counts.len().max(label + 1), 0);
        if let Some(count) = counts.get_mut(label) {
            *count += 1;
        }
    }
    counts
}

/// Tasks read from a manifest, resolved against a class set.
pub struct Manifest {
    path: PathBuf,
    set: Arc<ClassSet>,
    episodes: Vec<(Vec<Pick>, Vec<Pick>)>,
}

impl Manifest {
    /// Reads a manifest and looks up every file it names.
    ///
    /// # Errors
    /// When it cannot be read or parsed, names a file the set lacks, has an episode without support, or labels that
    /// skip a number or are asked of a query only.
    pub fn read(path: &Path, set: Arc<ClassSet>) -> Result<Self> {
        let text = file::text(path, MOST_BYTES, "reading the manifest")?;
        let file: ManifestFile = serde_json::from_str(&text).map_err(|error| {
            Error::invalid(format!("the manifest {} is not as expected: {error}", path.display()))
        })?;
        let names = set.example_names();
        let place = |number: usize, example: &ManifestExample| {
            // A file system or an editor may write `é` as two letters, the names here have it as one.
            let composed = || names.get(&example.file.nfc().collect::<String>());
            names.get(&example.file).or_else(composed).map(|&(class, place)| (class, place, example.label)).ok_or_else(|| {
                Error::invalid(format!(
                    "the manifest {}, episode {number}: there is no `{}` in this split; names are CLASS/FILE as in `{}`",
                    path.display(),
                    example.file,
                    names.keys().min().map_or("", String::as_str)
                ))
            })
        };
        let mut episodes = Vec::with_capacity(file.episodes.len());
        for (number, episode) in file.episodes.iter().enumerate() {
            let picks = |examples: &[ManifestExample]| {
                examples.iter().map(|e| place(number, e)).collect::<Result<Vec<_>>>()
            };
            let (support, query) = (picks(&episode.support)?, picks(&episode.query)?);
            let mut labels: Vec<usize> = support.iter().map(|pick| pick.2).collect();
            labels.sort_unstable();
            labels.dedup();
            let ways = labels.len();
            let missing = (0..ways).zip(labels).find_map(|(label, there)| (label != there).then_some(label));
            let wrong = match (ways, missing, query.iter().find(|pick| pick.2 >= ways)) {
                (0, ..) => Some("has no support".to_owned()),
                (_, Some(label), _) => {
                    Some(format!("labels must be 0, 1, 2 …, but no support example has {label}"))
                }
                (_, _, Some(pick)) => {
                    Some(format!("a query has label {}, which no support example has", pick.2))
                }
                _ => None,
            };
            if let Some(wrong) = wrong {
                return Err(Error::invalid(format!(
                    "the manifest {}, episode {number}: {wrong}",
                    path.display()
                )));
            }
            episodes.push((support, query));
        }
        if episodes.is_empty() {
            return Err(Error::invalid(format!("the manifest {} has no episodes", path.display())));
        }
        Ok(Self { path: path.to_path_buf(), set, episodes })
    }

    /// Writes the tasks `0..episodes` of a distribution, for [`Manifest::read`] or another program.
    ///
    /// # Errors
    /// When a task cannot be drawn, or the file cannot be written; what was there before is untouched then.
    pub fn write(path: &Path, tasks: &FewShot, episodes: u64) -> Result<()> {
        let set = tasks.set();
        let named = |picks: Vec<Pick>| {
            let example =
                |(class, place, label)| ManifestExample { file: set.example_name(class, place), label };
            picks.into_iter().map(example).collect()
        };
        let episode = |index| {
            let Picks { support, query, .. } = tasks.picks(index)?;
            Ok(ManifestEpisode { support: named(support), query: named(query) })
        };
        let file = ManifestFile { episodes: (0..episodes).map(episode).collect::<Result<_>>()? };
        let mut json = serde_json::to_vec(&file).map_err(|error| Error::invalid(error.to_string()))?;
        json.push(b'\n');
        atomic::write(path, &json, "writing the tasks to")
    }

    /// Classes of its tasks.
    pub fn ways(&self) -> Count {
        self.range(|(support, _)| vec![support.iter().map(|pick| pick.2 + 1).max().unwrap_or(0)])
    }

    /// Labelled examples of each class.
    pub fn shots(&self) -> Count {
        self.range(|(support, _)| of_each_class(support))
    }

    /// Queries of each class.
    pub fn queries(&self) -> Count {
        self.range(|(_, query)| of_each_class(query))
    }

    fn range(&self, counts: impl Fn(&(Vec<Pick>, Vec<Pick>)) -> Vec<usize>) -> Count {
        let all: Vec<usize> = self.episodes.iter().flat_map(counts).collect();
        Count::spanning(&all)
    }
}

impl Tasks for Manifest {
    fn episode(&self, index: u64) -> Result<Episode> {
        let (support, query) = self.episodes.get(index as usize).ok_or_else(|| {
            Error::invalid(format!(
                "the manifest {} has {} episodes, episode {index} was asked for; lower --episodes",
                self.path.display(),
                self.episodes.len()
            ))
        })?;
        let ways = support.iter().map(|pick| pick.2 + 1).max().unwrap_or(0);
        let classes = (0..ways)
            .filter_map(|label| support.iter().find(|pick| pick.2 == label))
            .map(|pick| pick.0)
            .collect();
        // Listed in order of their classes, a query's place would tell its label.
        let mut query = query.clone();
        query.shuffle(&mut stream(0, "manifest", index));
        Ok(Episode {
            index,
            support: gather(&self.set, support)?,
            query: gather(&self.set, &query)?,
            classes,
        })
    }

    fn limit(&self) -> Option<u64> {
        Some(self.episodes.len() as u64)
    }
}
