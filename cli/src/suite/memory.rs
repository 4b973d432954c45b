//! What a cell takes of memory, estimated from above before it is begun.

use std::fmt;
use std::str::FromStr;

use kshot::Result;
use kshot::episode::{Episode, Tasks};
use kshot::learner::Learner;
use kshot::registry::LearnerEntry;

use super::Cell;
use crate::job::Job;
use crate::setting::Setting;

/// A number of bytes: `8GB`, `500 MB`, `1.5GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bytes(pub(crate) u64);

const UNITS: [(&str, f64); 7] = [
    ("GiB", 1073741824.0),
    ("MiB", 1048576.0),
    ("kiB", 1024.0),
    ("GB", 1e9),
    ("MB", 1e6),
    ("kB", 1e3),
    ("B", 1.0),
];

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        let unit = UNITS
            .iter()
            .find_map(|(unit, size)| Some((lower.strip_suffix(&unit.to_ascii_lowercase())?, size)));
        let bytes = unit.and_then(|(number, size)| Some(number.trim().parse::<f64>().ok()? * size));
        let bytes = bytes.filter(|bytes| *bytes >= 1.0 && *bytes < 1e18);
        bytes
            .map(|bytes| Self(bytes as u64))
            .ok_or_else(|| "must be a number with its unit, as 8GB, 500MB or 1.5GiB".to_owned())
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        if bytes < 999.5e6 {
            write!(f, "{:.0} MB", (bytes / 1e6).ceil())
        } else {
            write!(f, "{:.1} GB", bytes / 1e9)
        }
    }
}

/// What this process holds at the moment, where the system tells.
pub(crate) fn resident() -> Option<Bytes> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes = line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?;
    Some(Bytes(1024 * kilobytes))
}

/// Episodes that are looked at for their size, which may vary.
const LOOKED_AT: u64 = 8;
/// Copies of θ beside those of episodes: itself, its update, two moments, the best, the last as it is written, and some.
const COPIES: f64 = 8.0;
/// Copies of θ that an episode in work has: gradients, products, what it adapts.
const COPIES_AN_EPISODE: f64 = 6.0;
/// Bytes of each number of an example: as it is and as a network gets it; in rows of double precision, several times, for what works on rows.
const IN_NETWORKS: f64 = 16.0;
const IN_ROWS: f64 = 68.0;
/// What is taken besides: code, logs, the heap's own.
const BESIDES: f64 = 8e6;

/// What a cell takes on so many threads beside the program and its datasets, from above.
///
/// # Errors
/// When its tasks cannot be opened.
pub(crate) fn estimate(cell: &Cell<'_>, threads: usize) -> Result<Bytes> {
    let Cell { job, entry, settings } = *cell;
    let mut most = 0.0f64;
    for job in job.variants(entry) {
        most = most.max(of_one(&job, entry, settings, threads)?);
    }
    Ok(Bytes(most as u64))
}

fn of_one(job: &Job, entry: &LearnerEntry, settings: &[Setting], threads: usize) -> Result<f64> {
    let Some(first) = settings.first() else { return Ok(0.0) };
    let mut learner = job.build(entry, &job.setup(entry, first)?)?;
    let embeds = entry.training.is_some() || job.experiment.options(entry.name).contains_key("features");
    let network = if embeds { job.backbone(entry)?.architecture()?.activations() as f64 } else { 0.0 };
    let (mut weights, mut at_once) = (0.0, 0.0f64);
    if let Some(trainable) = learner.trainable() {
        let (theta, config) = (trainable.learned().theta.values().len() as f64, job.train_config(entry)?);
        let parallel = config.meta_batch.min(threads as u64) as f64;
        let episodes = COPIES_AN_EPISODE * parallel.max(threads as f64) + config.meta_batch as f64;
        weights = 4.0 * theta * (COPIES + episodes);
        let tasks = job.training(trainable, first)?;
        at_once =
            parallel * largest(tasks.as_ref(), LOOKED_AT, |episode| in_work(episode, network, IN_NETWORKS))?;
    }
    let bytes_a_number = if entry.training.is_some() { IN_NETWORKS } else { IN_ROWS };
    for setting in settings {
        let (tasks, episodes) = job.test(setting)?;
        let of = |episode: &Episode| {
            in_work(episode, network, bytes_a_number) + matrices(learner.as_ref(), episode)
        };
        let parallel = episodes.min(threads as u64) as f64;
        at_once = at_once.max(parallel * largest(tasks.as_ref(), LOOKED_AT.min(episodes), of)?);
    }
    Ok(BESIDES + weights + at_once)
}

/// The most that one of the first episodes takes.
fn largest(tasks: &dyn Tasks, episodes: u64, bytes: impl Fn(&Episode) -> f64) -> Result<f64> {
    let there = tasks.limit().map_or(episodes, |limit| limit.min(episodes));
    (0..there).try_fold(0.0f64, |most, number| Ok(most.max(bytes(&tasks.episode(number)?))))
}

/// Bytes of an episode's examples, and of what a network makes of them.
fn in_work(episode: &Episode, network: f64, bytes_a_number: f64) -> f64 {
    let (support, query) = (episode.support.inputs(), episode.query.inputs());
    let examples = (support.dim().0 + query.dim().0) as f64;
    bytes_a_number * (support.len() + query.len()) as f64 + 4.0 * examples * network
}

/// Bytes of the matrices between all examples that a learner makes.
fn matrices(learner: &dyn Learner, episode: &Episode) -> f64 {
    learner.aligner().map_or(0.0, |aligner| aligner.bytes(&episode.support, &episode.query.examples) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in
            [("8GB", 8_000_000_000), ("1.5 GiB", 1_610_612_736), ("500mb", 500_000_000), ("12B", 12)]
        {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["8", "GB", "-1GB", "8 pounds", "nanGB", ""] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
        assert_eq!(
            (Bytes(1_610_612_736).to_string(), Bytes(30_200_000).to_string()),
            ("1.6 GB".into(), "31 MB".into())
        );
    }
}
