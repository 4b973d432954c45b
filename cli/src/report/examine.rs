//! Learners asked again: restored from their checkpoints, on the first test tasks, for what figures alone do not show.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use kshot::dataset::TaskSource;
use kshot::episode::{Episode, Targets, Tasks};
use kshot::eval::{Answer, Watch, evaluate};
use kshot::learner::{Learner, Prediction};
use kshot::train::{read_run, restored};
use kshot::{Error, Result};

use super::gather::{Kept, KeptCell, best_of_families};
use super::space::Space;
use super::tally::Tally;
use crate::compare::section::Section;
use crate::experiment::{self, Experiment};
use crate::job::{Job, with_test_steps};
use crate::row::Row;

/// Test tasks that are asked again, at most.
const EPISODES: u64 = 100;
/// Seconds that a learner is given for them, by how long its evaluation took.
const SECONDS: f64 = 15.0;
/// Classes whose examples are looked at, from either end.
pub(super) const ENDS: usize = 5;
/// Confused pairs that are shown.
pub(super) const PAIRS: usize = 8;
/// Classes of the map and of the similarities, and examples of each.
const MAPPED: usize = 8;
const COMPARED: usize = 20;
const EXAMPLES: usize = 20;

/// What was found in one setting.
pub(super) struct Examination {
    /// Names of the classes, by number.
    pub(super) names: Vec<String>,
    /// Shape of an example.
    pub(super) shape: [usize; 3],
    /// The best learner first, then the best of other families.
    pub(super) learners: Vec<Examined>,
    /// Why others are not there.
    pub(super) skipped: Vec<String>,
    /// Examples of the classes that are shown.
    pub(super) examples: BTreeMap<u32, Vec<Vec<f32>>>,
}

/// One learner, asked again.
pub(super) struct Examined {
    pub(super) learner: String,
    pub(super) episodes: usize,
    pub(super) tally: Tally,
    /// The worst task, the one in the middle, the best; of the best learner only.
    pub(super) samples: Vec<Sample>,
    /// How it sees the test classes, if it compares.
    pub(super) space: Option<Space>,
}

/// A task with its answers.
pub(super) struct Sample {
    pub(super) figure: f32,
    pub(super) episode: Episode,
    pub(super) prediction: Prediction,
}

/// Asks the best learner of a section again, and the best of each other family. `job` is what is open from before, if that is of
/// the same data, and what is open after.
///
/// # Errors
/// When the dataset cannot be opened, or no learner can be asked.
pub(super) fn examine(
    kept: &Kept,
    section: &Section,
    data_dir: Option<&PathBuf>,
    job: &mut Option<Job>,
) -> Result<Examination> {
    let mut found: Option<Examination> = None;
    let mut skipped = Vec::new();
    for line in best_of_families(section) {
        let of = kept.of(section, &line.learner);
        let Some((cell, row)) = of.first() else { continue };
        let opened = match open(job.take(), cell, data_dir) {
            Ok(opened) => opened,
            Err(error) if found.is_none() => return Err(error),
            Err(error) => {
                skipped.push(format!("{} was not asked again: {error}", line.learner));
                continue;
            }
        };
        match ask(&opened, cell, row, found.as_mut()) {
            Ok(Asked::First(first)) => found = Some(*first),
            Ok(Asked::Other) => {}
            Err(error) => skipped.push(format!("{} was not asked again: {error}", line.learner)),
        }
        *job = Some(opened);
    }
    let mut found = found.ok_or_else(|| Error::invalid(skipped.join(" ")))?;
    found.skipped = skipped;
    Ok(found)
}

/// The job of a cell, on the dataset that is open already, if it is the same.
fn open(job: Option<Job>, cell: &KeptCell, data_dir: Option<&PathBuf>) -> Result<Job> {
    let (keys, _) = experiment::read(&cell.path.join("config.toml"))?;
    let experiment: Experiment =
        keys.try_into().map_err(|error: toml::de::Error| Error::invalid(error.to_string()))?;
    let experiment = Experiment { data_dir: data_dir.cloned(), ..experiment };
    let data =
        |experiment: &Experiment| (experiment.data().to_owned(), experiment.options(experiment.data()));
    match job {
        Some(job) if data(&job.experiment) == data(&experiment) => Ok(job.with(experiment)),
        _ => Job::open(experiment),
    }
}

enum Asked {
    First(Box<Examination>),
    Other,
}

/// The learner of a cell as it was tested.
fn learner(job: &Job, cell: &KeptCell, row: &Row) -> Result<Box<dyn Learner>> {
    let entry = row.entry;
    let (mut learner, setup, options) = match row.trained {
        Some(_) => {
            let (checkpoint, description) = read_run(&cell.path)?;
            let origin = description.origin;
            let (mut setup, options) = (origin.setup, origin.options);
            setup.backbone.input = job.input();
            (restored(&checkpoint, entry, &setup, &options)?, setup, options)
        }
        None => {
            let setup = job.setup(entry, &row.setting)?;
            let options = job.experiment.options(entry.name);
            (job.build(entry, &setup)?, setup, options)
        }
    };
    match row.test_steps {
        Some(steps) => with_test_steps(entry, &setup, options, learner.as_mut(), steps),
        None => Ok(learner),
    }
}

fn ask(job: &Job, cell: &KeptCell, row: &Row, found: Option<&mut Examination>) -> Result<Asked> {
    let learner = learner(job, cell, row)?;
    let (tasks, there) = job.test(&row.setting)?;
    let each = row.evaluation.seconds / row.evaluation.per_episode.len().max(1) as f64;
    let affordable = if each.is_finite() { (SECONDS / each.max(1e-6)) as u64 } else { EPISODES };
    let episodes = EPISODES.min(affordable.max(5)).min(there);
    let evaluation = evaluate(learner.as_ref(), tasks.as_ref(), episodes, &Watch::default())?;
    let answers: Vec<Vec<Answer>> = evaluation.details.map(|details| details.answers).unwrap_or_default();
    let tally = Tally::of(&answers);
    let mut examined = Examined {
        learner: row.label(),
        episodes: evaluation.per_episode.len(),
        tally,
        samples: Vec::new(),
        space: None,
    };
    if let Some(found) = found {
        examined.space = space(learner.as_ref(), found, &examined)?;
        found.learners.push(examined);
        return Ok(Asked::Other);
    }
    examined.samples = samples(learner.as_ref(), tasks.as_ref(), &evaluation.per_episode)?;
    let names = match job.test_source() {
        TaskSource::Classes(set) => set.classes().iter().map(|class| class.name.clone()).collect(),
        TaskSource::Domains(domains) => domains.class_names().into_iter().map(str::to_owned).collect(),
        TaskSource::Functions(_) => Vec::new(),
    };
    let examples = examples(tasks.as_ref(), episodes, &shown(&examined.tally))?;
    let mut found =
        Examination { names, shape: job.input(), learners: Vec::new(), skipped: Vec::new(), examples };
    examined.space = space(learner.as_ref(), &found, &examined)?;
    found.learners.push(examined);
    Ok(Asked::First(Box::new(found)))
}

/// The worst task, the one in the middle, and the best, of those that were asked.
fn samples(learner: &dyn Learner, tasks: &dyn Tasks, figures: &[f32]) -> Result<Vec<Sample>> {
    let mut order: Vec<usize> = (0..figures.len()).collect();
    order.sort_by(|&a, &b| figures[a].total_cmp(&figures[b]).then(a.cmp(&b)));
    let mut chosen = vec![0, order.len() / 2, order.len().saturating_sub(1)];
    chosen.dedup();
    let mut samples = Vec::new();
    for place in chosen {
        let Some(&number) = order.get(place) else { continue };
        let episode = tasks.episode(number as u64)?;
        let prediction = learner.answer(&episode.support, &episode.query.examples)?;
        samples.push(Sample { figure: figures[number], episode, prediction });
    }
    Ok(samples)
}

/// Classes whose examples are wanted: the hardest, the easiest, the confused, and some of all.
fn shown(tally: &Tally) -> BTreeSet<u32> {
    let order = tally.hardest_first();
    let ends = order.iter().take(ENDS).chain(order.iter().rev().take(ENDS)).copied();
    let confused = tally.confused().into_iter().take(PAIRS).flat_map(|pair| [pair.class, pair.taken_for]);
    let some = order.iter().copied().step_by(order.len().div_ceil(COMPARED).max(1));
    ends.chain(confused).chain(some).collect()
}

/// Different queries of these classes.
fn examples(
    tasks: &dyn Tasks,
    episodes: u64,
    classes: &BTreeSet<u32>,
) -> Result<BTreeMap<u32, Vec<Vec<f32>>>> {
    let mut examples: BTreeMap<u32, Vec<Vec<f32>>> = BTreeMap::new();
    for number in 0..episodes {
        if classes.is_empty() {
            break;
        }
        let episode = tasks.episode(number)?;
        let Targets::Classes(labels) = &episode.query.targets else { break };
        for (input, &label) in episode.query.inputs().outer_iter().zip(labels) {
            let class = episode.classes.get(label).copied().unwrap_or(label) as u32;
            let of_class = examples.entry(class).or_default();
            if !classes.contains(&class) || of_class.len() == EXAMPLES {
                continue;
            }
            let values: Vec<f32> = input.iter().copied().collect();
            if !of_class.contains(&values) {
                of_class.push(values);
            }
        }
    }
    examples.retain(|_, of_class| !of_class.is_empty());
    Ok(examples)
}

/// How a learner that compares sees the classes that are hardest and easiest for the best, and some of all.
fn space(learner: &dyn Learner, found: &Examination, examined: &Examined) -> Result<Option<Space>> {
    let Some(comparer) = learner.comparer() else { return Ok(None) };
    let tally = found.learners.first().map_or(&examined.tally, |best| &best.tally);
    let order: Vec<u32> =
        tally.hardest_first().into_iter().filter(|class| found.examples.contains_key(class)).collect();
    let half = (MAPPED / 2).min(order.len() / 2);
    let mapped = order[..half].iter().chain(&order[order.len() - half..]).copied().collect();
    let compared = order.iter().copied().step_by(order.len().div_ceil(COMPARED).max(1)).collect();
    Space::of(comparer, found.shape, &found.examples, mapped, compared).map(Some)
}
