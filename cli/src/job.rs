//! What an experiment asks for, opened and checked: dataset, tasks, learners.

use std::path::PathBuf;

use kshot::dataset::{Dataset, DatasetContext, Split, TaskSource};
use kshot::episode::{Count, TaskSpec, Tasks};
use kshot::learner::Learner;
use kshot::registry::{self, LearnerEntry, Problem, Setup};
use kshot::{Error, Result};

use crate::experiment::Experiment;

/// An experiment with its dataset open.
pub(crate) struct Job {
    pub(crate) experiment: Experiment,
    dataset: Box<dyn Dataset>,
    train: TaskSource,
}

/// One setting of ways and shots.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) ways: Count,
    pub(crate) shots: Count,
}

/// The option of learners that take inner steps on a task.
const TEST_STEPS: &str = "test-steps";

/// Where datasets lie: the flag, else `KSHOT_DATA`, else the user's data directory.
pub(crate) fn data_dir(flag: Option<&PathBuf>) -> PathBuf {
    flag.cloned()
        .or_else(|| std::env::var_os("KSHOT_DATA").filter(|value| !value.is_empty()).map(PathBuf::from))
        .or_else(|| {
            let user = etcetera::base_strategy::choose_native_strategy().ok()?;
            Some(etcetera::BaseStrategy::data_dir(&user).join("kshot"))
        })
        .unwrap_or_else(|| PathBuf::from("data"))
}

impl Job {
    /// Opens the dataset and sets the number of threads.
    pub(crate) fn open(experiment: Experiment) -> Result<Self> {
        if let Some(threads) = experiment.threads {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build_global()
                .map_err(|error| Error::invalid(format!("`threads`: cannot start {threads}: {error}")))?;
        }
        experiment.backbone()?;
        let entry = registry::dataset(experiment.data())?;
        let context = DatasetContext { data_dir: data_dir(experiment.data_dir.as_ref()) };
        let dataset = (entry.open)(&context, &experiment.options(entry.name))?;
        let train = dataset.split(Split::Train)?;
        Ok(Self { experiment, dataset, train })
    }

    /// What the dataset's tasks ask.
    pub(crate) fn problem(&self) -> Problem {
        match self.train {
            TaskSource::Classes(_) => Problem::Classification,
            TaskSource::Functions(_) => Problem::Regression,
        }
    }

    /// All settings of ways and shots.
    pub(crate) fn shapes(&self) -> Vec<Shape> {
        let list = |asked: &Option<crate::experiment::List<Count>>, default| match asked {
            Some(list) => list.as_slice().to_vec(),
            None => vec![Count::fixed(default)],
        };
        let default_shots = if self.problem() == Problem::Regression { 10 } else { 1 };
        let (ways, shots) = (list(&self.experiment.ways, 5), list(&self.experiment.shots, default_shots));
        ways.iter().flat_map(|&ways| shots.iter().map(move |&shots| Shape { ways, shots })).collect()
    }

    /// The learners asked for, or all that fit the dataset.
    pub(crate) fn learners(&self) -> Result<Vec<&'static LearnerEntry>> {
        let fits = |entry: &&'static LearnerEntry| entry.solves.contains(&self.problem());
        let chosen = match &self.experiment.learner {
            None => registry::learners().into_iter().filter(fits).collect(),
            Some(names) => {
                let entries = names
                    .as_slice()
                    .iter()
                    .map(|name| registry::learner(name))
                    .collect::<Result<Vec<_>>>()?;
                if let Some(entry) = entries.iter().find(|entry| !fits(entry)) {
                    return Err(Error::invalid(format!(
                        "the learner `{}` does not fit the dataset `{}`: one classifies, the other is a regression",
                        entry.name,
                        self.experiment.data()
                    )));
                }
                entries
            }
        };
        if chosen.is_empty() {
            return Err(Error::invalid(format!("no learner fits the dataset `{}`", self.experiment.data())));
        }
        Ok(chosen)
    }

    /// The one learner asked for.
    pub(crate) fn learner(&self) -> Result<&'static LearnerEntry> {
        match (&self.experiment.learner, self.learners()?.as_slice()) {
            (Some(_), [one]) => Ok(one),
            _ => Err(Error::invalid(
                "name the one learner to train, as in `--learner prototypical`; `kshot learners` lists them",
            )),
        }
    }

    /// The numbers of inner steps that a learner is asked for on test tasks; one `None` for its own.
    pub(crate) fn test_steps(&self, entry: &LearnerEntry) -> Vec<Option<usize>> {
        let adapts = (entry.options)().contains_key(TEST_STEPS);
        match &self.experiment.test_steps {
            Some(list) if adapts => list.as_slice().iter().copied().map(Some).collect(),
            None if adapts && self.problem() == Problem::Regression => [0, 1, 5, 10].map(Some).to_vec(),
            _ => vec![None],
        }
    }

    /// The learner with the weights of `trained`, taking this many inner steps on a task.
    pub(crate) fn with_test_steps(
        &self,
        entry: &LearnerEntry,
        shape: Shape,
        trained: &dyn Learner,
        steps: usize,
    ) -> Result<Box<dyn Learner>> {
        let mut options = self.experiment.options(entry.name);
        options.insert(TEST_STEPS.to_owned(), toml::Value::Integer(steps as i64));
        let mut learner = (entry.build)(&self.setup(shape)?, &options)?;
        *learner.params_mut() = trained.params().clone();
        Ok(learner)
    }

    /// Builds a learner with fresh weights.
    pub(crate) fn build(&self, entry: &LearnerEntry, shape: Shape) -> Result<Box<dyn Learner>> {
        (entry.build)(&self.setup(shape)?, &self.experiment.options(entry.name))
    }

    fn setup(&self, shape: Shape) -> Result<Setup> {
        Ok(Setup {
            input: self.dataset.input(),
            base_classes: self.train.class_count(),
            ways: shape.ways.max(),
            shots: shape.shots.max(),
            queries: self.experiment.queries(),
            backbone: self.experiment.backbone()?,
            seed: self.experiment.seed(),
        })
    }

    /// The tasks a learner wants to be trained on.
    pub(crate) fn training(&self, learner: &dyn Learner) -> Result<Box<dyn Tasks>> {
        learner.training_task().open(&self.train, Split::Train, self.experiment.seed())
    }

    /// The tasks that choose the best weights; none if they are not wanted.
    pub(crate) fn validation(&self, entry: &LearnerEntry, shape: Shape) -> Result<Option<Box<dyn Tasks>>> {
        if self.experiment.train_config((entry.train)(self.problem()))?.validation_episodes == 0 {
            return Ok(None);
        }
        self.sampled(shape, Split::Validation)
            .map(Some)
            .map_err(|error| error.context("validation (`--validation-episodes 0` trains without)"))
    }

    /// The test tasks, and how many.
    pub(crate) fn test(&self, shape: Shape) -> Result<(Box<dyn Tasks>, u64)> {
        let asked = self.experiment.episodes();
        match &self.experiment.manifest {
            None => Ok((self.sampled(shape, Split::Test)?, asked)),
            Some(path) => {
                let source = self.dataset.split(Split::Test)?;
                let tasks = TaskSpec::Manifest { path: path.clone() }.open(
                    &source,
                    Split::Test,
                    self.experiment.seed(),
                )?;
                let there = tasks.limit().unwrap_or(asked);
                let episodes = self.experiment.episodes.unwrap_or(there);
                Ok((tasks, episodes))
            }
        }
    }

    /// Batches of up to 50 classes × 10 examples, to compare all with all.
    pub(crate) fn batches(&self, split: Split) -> Result<Box<dyn Tasks>> {
        let source = self.dataset.split(split)?;
        let TaskSource::Classes(set) = &source else {
            return Err(Error::invalid("verification compares classes, and a regression has none"));
        };
        let fewest = set.classes().iter().map(|class| class.images.len()).min().unwrap_or(0);
        TaskSpec::PkBatch { classes: set.classes().len().min(50), per_class: fewest.min(10) }.open(
            &source,
            split,
            self.experiment.seed(),
        )
    }

    fn sampled(&self, shape: Shape, split: Split) -> Result<Box<dyn Tasks>> {
        let queries = self.experiment.queries();
        let spec = match self.problem() {
            Problem::Classification => TaskSpec::FewShot { ways: shape.ways, shots: shape.shots, queries },
            Problem::Regression => TaskSpec::Regression { shots: shape.shots.max(), queries },
        };
        spec.open(&self.dataset.split(split)?, split, self.experiment.seed())
    }
}
