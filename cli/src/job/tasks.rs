//! The tasks of an experiment: those that choose weights, those of the test, batches and galleries to compare all with all.

use kshot::dataset::{Split, TaskSource};
use kshot::episode::{Count, FewShot, Labelled, Sampling, Shift, SupportViews, TaskSpec, Tasks};
use kshot::registry::{LearnerEntry, Problem};
use kshot::{Error, Result};

use super::{Job, SHOTS_OF_ALL};
use crate::experiment::WAYS;
use crate::output::complain;
use crate::setting::{Pair, Setting};

/// Examples that are compared with one another, at most.
const GALLERY: usize = 5000;

impl Job {
    /// The tasks that choose the best weights; none if they are not wanted.
    pub(crate) fn validation(
        &self,
        entry: &LearnerEntry,
        setting: &Setting,
    ) -> Result<Option<Box<dyn Tasks>>> {
        if self.train_config(entry)?.validation_episodes == 0 {
            return Ok(None);
        }
        let tasks = match (&self.test, &setting.pair) {
            // Nothing of the target may choose: the source's own test examples do.
            (TaskSource::Domains(_), Some(pair)) => {
                if !self.is_validated(setting) {
                    return Ok(None);
                }
                let within = Pair { target: pair.source.clone(), target_shots: 0, ..pair.clone() };
                let shots = setting.shots.unwrap_or(Count::fixed(SHOTS_OF_ALL));
                let setting = Setting { shots: Some(shots), pair: Some(within), ..setting.clone() };
                self.sampled(&setting, Split::Validation)
            }
            _ => {
                let source = match self.dataset.split(Split::Validation) {
                    Ok(source) => source,
                    Err(_) if !self.experiment.train.0.contains_key("validation-episodes") => {
                        complain(
                            "note: the last weights are kept, as there are no validation classes to choose by",
                        );
                        return Ok(None);
                    }
                    Err(error) => return Err(error),
                };
                // Fewer classes choose as well.
                let there = source.class_count();
                let ways = setting.ways.map(|ways| if there < 2 { ways } else { ways.at_most(there) });
                self.sampled(&Setting { ways, ..setting.clone() }, Split::Validation)
            }
        };
        tasks
            .map(Some)
            .map_err(|error| error.context("validation (`--validation-episodes 0` trains without)"))
    }

    /// Whether there is anything to choose by: validation classes; between domains a test side of the source's own, as long as
    /// those examples are not what is asked.
    pub(crate) fn is_validated(&self, setting: &Setting) -> bool {
        match (&self.test, &setting.pair) {
            (TaskSource::Domains(domains), Some(pair)) => {
                let divided = domains.named(&pair.source).is_ok_and(|source| !source.is_undivided());
                divided && pair.target != pair.source
            }
            _ => self.dataset.split(Split::Validation).is_ok(),
        }
    }

    /// The test tasks, and how many.
    pub(crate) fn test(&self, setting: &Setting) -> Result<(Box<dyn Tasks>, u64)> {
        let wanted = self.experiment.episodes();
        match &self.experiment.manifest {
            None => {
                let tasks = self.sampled(setting, Split::Test)?;
                let episodes = tasks.limit().map_or(wanted, |limit| limit.min(wanted));
                Ok((self.with_views(tasks)?, episodes))
            }
            Some(path) => {
                let source = self.dataset.split(Split::Test)?;
                let tasks = TaskSpec::Manifest { path: path.clone() }.open(
                    &source,
                    Split::Test,
                    self.experiment.seed(),
                )?;
                let there = tasks.limit().unwrap_or(wanted);
                let episodes = self.experiment.episodes.unwrap_or(there);
                Ok((self.with_views(tasks)?, episodes))
            }
        }
    }

    /// Test tasks with as many views of their support as were asked for.
    pub(crate) fn with_views(&self, tasks: Box<dyn Tasks>) -> Result<Box<dyn Tasks>> {
        SupportViews::of(tasks, &self.augment, &self.test, self.experiment.seed())
    }

    /// Test tasks with this many classes more than asked for.
    pub(crate) fn few_shot(&self, setting: &Setting, more: usize) -> Result<FewShot> {
        let TaskSource::Classes(set) = &self.test else {
            return Err(Error::invalid(format!(
                "the tasks of `{}` are not drawn from classes that only the test has, as these have to be",
                self.experiment.data()
            )));
        };
        let one = Count::fixed(1);
        let (ways, shots) = (setting.ways.unwrap_or(Count::fixed(WAYS)), setting.shots.unwrap_or(one));
        let ways = Count::range(ways.min() + more, ways.max() + more)?;
        let (queries, seed) = (self.queries(setting), self.experiment.seed());
        match setting.sampling {
            Sampling::NWayKShot => FewShot::new(set.clone(), ways, shots, queries, Split::Test, seed),
            Sampling::MetaDataset => FewShot::meta_dataset(set.clone(), ways, queries, Split::Test, seed),
        }
    }

    /// Every example of the test classes, as far as there are no more than [`GALLERY`]: else as many of each class as fit.
    pub(crate) fn gallery(&self) -> Result<Labelled> {
        let TaskSource::Classes(set) = &self.test else { return Err(only_classes()) };
        let most = GALLERY / set.classes().len().max(1);
        let examples = set.classes().iter().map(|class| class.images.len());
        let all: usize = examples.clone().sum();
        let per_class = if all > GALLERY { most } else { usize::MAX };
        if all > GALLERY {
            complain(&format!(
                "note: {most} examples a class, as {all} are more than the {GALLERY} of a gallery"
            ));
        }
        set.first_of_each(per_class)
    }

    /// Batches of up to 50 classes × 10 examples, to compare all with all.
    pub(crate) fn batches(&self, split: Split) -> Result<Box<dyn Tasks>> {
        let source = self.dataset.split(split)?;
        let TaskSource::Classes(set) = &source else {
            return Err(only_classes());
        };
        let fewest = set.classes().iter().map(|class| class.images.len()).min().unwrap_or(0);
        TaskSpec::PkBatch { classes: set.classes().len().min(50), per_class: fewest.min(10) }.open(
            &source,
            split,
            self.experiment.seed(),
        )
    }

    fn queries(&self, setting: &Setting) -> usize {
        setting.queries.unwrap_or_else(|| self.experiment.queries())
    }

    fn sampled(&self, setting: &Setting, split: Split) -> Result<Box<dyn Tasks>> {
        let queries = self.queries(setting);
        let (ways, shots) =
            (setting.ways.unwrap_or(Count::fixed(WAYS)), setting.shots.unwrap_or(Count::fixed(1)));
        let spec = match (&setting.pair, self.problem()) {
            (Some(Pair { source, target, target_shots }), _) => TaskSpec::DomainShift {
                source: source.clone(),
                target: target.clone(),
                shift: Shift {
                    ways: setting.ways,
                    shots: setting.shots,
                    target_shots: *target_shots,
                    queries: setting.queries,
                },
            },
            (None, Problem::Classification) => match setting.sampling {
                Sampling::NWayKShot => TaskSpec::FewShot { ways, shots, queries },
                Sampling::MetaDataset => TaskSpec::MetaDataset { ways, queries },
            },
            (None, Problem::Regression) => TaskSpec::Regression { shots: shots.max(), queries },
        };
        spec.open(&self.dataset.split(split)?, split, self.experiment.seed())
    }
}

fn only_classes() -> Error {
    Error::invalid("verification compares classes that were not trained on, which this dataset has none of")
}
