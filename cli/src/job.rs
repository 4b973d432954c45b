//! What an experiment asks for, opened and checked: dataset, tasks, learners.

mod opened;
mod tasks;

use std::sync::Arc;

use kshot::augment::{Augment, Inputs, Preset};
use kshot::backbone::Backbone;
use kshot::dataset::{Dataset, Published, Split, TaskSource};
use kshot::episode::{Augmented, Count, Sampling, TaskSpec, Tasks};
use kshot::learner::{Family, Learner, Trainable};
use kshot::options::described;
use kshot::registry::{self, LearnerEntry, Problem, Setup};
use kshot::train::{Origin, TrainConfig};
use kshot::{Error, Result};

use crate::experiment::{AUGMENT, Experiment, List, WAYS};
use crate::fit::fitted;
use crate::output::complain;
use crate::setting::{Pair, Setting};

pub(crate) use opened::Opened;

/// An experiment with its dataset open.
pub(crate) struct Job {
    pub(crate) experiment: Experiment,
    dataset: Arc<dyn Dataset>,
    /// What a test is drawn from; of domains, all splits offer the same.
    test: TaskSource,
    /// Whether there are test classes; if not, `test` has those of training.
    tested: bool,
    /// How training examples are varied.
    augment: Augment,
}

/// Shots and queries that learners are trained with for tasks that take all of a domain.
const SHOTS_OF_ALL: usize = 5;

/// The option of learners that take inner steps on a task.
const TEST_STEPS: &str = "test-steps";

/// The learner with the weights of `trained`, taking this many inner steps on a task.
pub(crate) fn with_test_steps(
    entry: &LearnerEntry,
    setup: &Setup,
    mut options: toml::Table,
    trained: &mut dyn Learner,
    steps: usize,
) -> Result<Box<dyn Learner>> {
    options.insert(TEST_STEPS.to_owned(), toml::Value::Integer(steps as i64));
    let mut learner = (entry.build)(setup, &options)?;
    if let (Some(learner), Some(trained)) = (learner.trainable(), trained.trainable()) {
        learner.learned().theta = trained.learned().theta.clone();
    }
    Ok(learner)
}

/// Starts the process's threads; those that run already, for another experiment of a suite, are as good.
pub(crate) fn start(threads: usize) -> Result<()> {
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        Err(_) if rayon::current_num_threads() == threads => Ok(()),
        Err(error) => Err(Error::invalid(format!("`threads`: cannot start {threads}: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// How an experiment varies examples of such a source.
fn augment(experiment: &Experiment, source: &TaskSource) -> Result<Augment> {
    let (preset, over) = (experiment.augment.unwrap_or_default(), experiment.options(AUGMENT));
    if preset == Preset::None && over.is_empty() {
        return Ok(Augment::default());
    }
    Augment::of(preset, &over, &Inputs::of(source)?)
}

/// Adds what to do to an error of a learner that took so many inner steps.
pub(crate) fn after_steps(error: Error, steps: Option<usize>) -> Error {
    match (error, steps) {
        (Error::NotFinite(what), Some(1..)) => {
            Error::NotFinite(format!("{what}; take fewer `test-steps`, or lower `inner-rate`"))
        }
        (error, _) => error,
    }
}

impl Job {
    /// Opens the dataset and sets the number of threads.
    pub(crate) fn open(experiment: Experiment) -> Result<Self> {
        Self::open_among(experiment, &mut Vec::new())
    }

    /// The same beside others, which share their datasets.
    pub(crate) fn open_among(experiment: Experiment, opened: &mut Vec<Opened>) -> Result<Self> {
        let job = Self::with_data(experiment, opened)?;
        if !job.tested {
            job.dataset.split(Split::Test)?;
        }
        Ok(job)
    }

    /// The same where there need not be anything to test on.
    pub(crate) fn open_to_train(experiment: Experiment) -> Result<Self> {
        Self::with_data(experiment, &mut Vec::new())
    }

    fn with_data(experiment: Experiment, opened: &mut Vec<Opened>) -> Result<Self> {
        if let Some(threads) = experiment.threads {
            start(threads)?;
        }
        let dataset = opened::dataset(&experiment, opened)?;
        let (test, tested) = match dataset.split(Split::Test) {
            Ok(test) => (test, true),
            Err(error) => (dataset.split(Split::Train).map_err(|_| error)?, false),
        };
        let experiment = fitted(experiment, dataset.as_ref(), &test)?;
        let augment = augment(&experiment, &test)?;
        Ok(Self { experiment, dataset, test, tested, augment })
    }

    /// The same with another seed.
    pub(crate) fn with_seed(&self, seed: u64) -> Self {
        self.with(Experiment { seed: Some(seed), ..self.experiment.clone() })
    }

    /// The same with another experiment on the same data.
    pub(crate) fn with(&self, experiment: Experiment) -> Self {
        let (dataset, test, augment) = (self.dataset.clone(), self.test.clone(), self.augment.clone());
        Self { experiment, dataset, test, tested: self.tested, augment }
    }

    /// A job for each combination of the values searched for a learner; itself where nothing is searched.
    pub(crate) fn variants(&self, entry: &LearnerEntry) -> Vec<Self> {
        match self.experiment.combinations(entry).as_slice() {
            [] => vec![self.with(self.experiment.clone())],
            several => several.iter().map(|one| self.with(self.experiment.with(one))).collect(),
        }
    }

    /// What the dataset's tasks ask.
    pub(crate) fn problem(&self) -> Problem {
        match self.test {
            TaskSource::Classes(_) | TaskSource::Domains(_) => Problem::Classification,
            TaskSource::Functions(_) => Problem::Regression,
        }
    }

    /// All kinds of task asked for, those that share a training side by side.
    pub(crate) fn settings(&self) -> Result<Vec<Setting>> {
        let sampling = self.experiment.sampling();
        let list = |given: &Option<List<Count>>, default| match given {
            Some(list) => list.as_slice().iter().copied().map(Some).collect(),
            None => vec![default],
        };
        let (ways, shots) = match &self.test {
            TaskSource::Domains(_) | TaskSource::Functions(_) if sampling == Sampling::MetaDataset => {
                return Err(Error::invalid(format!(
                    "`sampling` is of datasets of classes, which `{}` is not",
                    self.experiment.data()
                )));
            }
            TaskSource::Domains(_) => (None, None),
            TaskSource::Classes(_) if sampling == Sampling::MetaDataset => {
                if self.experiment.shots.is_some() {
                    return Err(Error::invalid(
                        "with `sampling = \"meta-dataset\"` the shots are drawn: leave out `shots`",
                    ));
                }
                (sampling.ways(), None)
            }
            TaskSource::Classes(_) => (Some(Count::fixed(WAYS)), Some(Count::fixed(1))),
            TaskSource::Functions(_) => (Some(Count::fixed(WAYS)), Some(Count::fixed(10))),
        };
        let (ways, shots) = (list(&self.experiment.ways, ways), list(&self.experiment.shots, shots));
        if self.problem() == Problem::Classification && ways.iter().flatten().any(|ways| ways.min() < 2) {
            return Err(Error::invalid(
                "a task of one class is answered right whatever the learner; ask for 2 `ways` or more",
            ));
        }
        let queries: Vec<Option<usize>> = match &self.experiment.queries {
            Some(list) if list.as_slice().contains(&0) => {
                return Err(Error::invalid(
                    "a task needs `queries` to be judged by: ask for 1 or more of each class",
                ));
            }
            Some(list) => list.as_slice().iter().copied().map(Some).collect(),
            None => vec![(!matches!(self.test, TaskSource::Domains(_))).then(|| self.experiment.queries())],
        };
        let pairs = self.pairs()?;
        let mut settings = Vec::new();
        for (&ways, &shots) in ways.iter().flat_map(|ways| shots.iter().map(move |shots| (ways, shots))) {
            for pair in &pairs {
                let of = |queries| Setting { ways, shots, pair: pair.clone(), queries, sampling };
                settings.extend(queries.iter().copied().map(of));
            }
        }
        Ok(settings)
    }

    /// From where to where; one `None` for a dataset without domains.
    fn pairs(&self) -> Result<Vec<Option<Pair>>> {
        let Experiment { source, target, target_shots, train_domains, .. } = &self.experiment;
        let TaskSource::Domains(domains) = &self.test else {
            if source.is_some() || target.is_some() || target_shots.is_some() || train_domains.is_some() {
                return Err(Error::invalid(format!(
                    "the dataset `{}` has no domains: leave out `source`, `target`, `target-shots` and `train-domains`",
                    self.experiment.data()
                )));
            }
            return Ok(vec![None]);
        };
        let all: Vec<String> = domains.domains().iter().map(|domain| domain.name.clone()).collect();
        let names = |given: &Option<List<String>>| -> Result<Vec<String>> {
            let names = given.as_ref().map_or(all.clone(), |list| list.as_slice().to_vec());
            names.iter().try_for_each(|name| domains.named(name).map(drop))?;
            Ok(names)
        };
        let mut pairs = Vec::new();
        for source in names(source)? {
            for other in names(target)? {
                // The source itself only where it is asked for by name, or is all there is and has two sides.
                let only = domains.domains().len() == 1 && !domains.named(&source)?.is_undivided();
                if other == source && target.is_none() && !only {
                    continue;
                }
                for &target_shots in target_shots.as_ref().map_or(&[0][..], List::as_slice) {
                    let (source, target) = (source.clone(), other.clone());
                    pairs.push(Some(Pair { source, target, target_shots }));
                }
            }
        }
        if let ([], [one]) = (&pairs[..], domains.domains()) {
            return Err(Error::invalid(format!(
                "there is only one domain, `{}`: tasks go from one to another. Without domains its classes are divided into \
                 training and test instead",
                one.name
            )));
        }
        let trained = self.experiment.train_domains.as_ref().map_or(&[][..], List::as_slice);
        match pairs.iter().flatten().find(|pair| pair.target != pair.source && trained.contains(&pair.target))
        {
            Some(pair) => Err(Error::invalid(format!(
                "`train-domains` names `{0}`, which is a target: its labelled examples would be trained on. Leave it out \
                 there, or name other targets with `target`",
                pair.target
            ))),
            None => Ok(pairs),
        }
    }

    /// Whether each task is a whole domain from a whole domain, which leaves nothing to draw.
    fn is_whole(&self) -> bool {
        let Experiment { ways, shots, queries, target_shots, .. } = &self.experiment;
        let few = target_shots.as_ref().is_some_and(|list| list.as_slice() != [0]);
        matches!(self.test, TaskSource::Domains(_))
            && ways.is_none()
            && shots.is_none()
            && queries.is_none()
            && !few
    }

    /// What learners are trained on for these tasks.
    fn train_source(&self, setting: &Setting) -> Result<TaskSource> {
        let (TaskSource::Domains(domains), Some(pair)) = (&self.test, &setting.pair) else {
            return self.dataset.split(Split::Train);
        };
        let own = [pair.source.clone()];
        let names = self.experiment.train_domains.as_ref().map_or(&own[..], List::as_slice);
        Ok(TaskSource::Domains(Arc::new(domains.only(names.iter().map(String::as_str))?)))
    }

    /// Figures of papers for these tasks.
    pub(crate) fn published(&self) -> &'static [Published] {
        if self.is_whole() { self.dataset.published() } else { &[] }
    }

    /// The learners asked for, or all that fit the dataset.
    pub(crate) fn learners(&self) -> Result<Vec<&'static LearnerEntry>> {
        let fits = |entry: &&'static LearnerEntry| entry.solves.contains(&self.problem());
        // Whole domains are what feature transfer was made for; others are welcome by name.
        let by_default = |entry: &&'static LearnerEntry| {
            fits(entry) && (entry.family == Family::FeatureTransfer || !self.is_whole())
        };
        let chosen = match &self.experiment.learner {
            None => {
                let trains = self.dataset.split(Split::Train).is_ok();
                if !trains {
                    complain(
                        "note: without the learners that are trained, as there are no classes to train on",
                    );
                }
                let all = registry::learners().into_iter().filter(by_default);
                all.filter(|entry| trains || entry.training.is_none()).collect()
            }
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

    /// The numbers of inner steps that a learner takes on test tasks; one `None` for its own.
    pub(crate) fn test_steps(&self, entry: &LearnerEntry) -> Vec<Option<usize>> {
        let adapts = described(&(entry.options)()).iter().any(|option| option.name == TEST_STEPS);
        match &self.experiment.test_steps {
            Some(list) if adapts => list.as_slice().iter().copied().map(Some).collect(),
            None if adapts && self.problem() == Problem::Regression => [0, 1, 5, 10].map(Some).to_vec(),
            _ => vec![None],
        }
    }

    /// The network of a learner, resolved for inputs of this dataset.
    pub(crate) fn backbone(&self, entry: &LearnerEntry) -> Result<Backbone> {
        Backbone::of(&self.experiment.backbone(), self.dataset.input(), entry.norm)
    }

    /// What a learner is built for.
    pub(crate) fn setup(&self, entry: &LearnerEntry, setting: &Setting) -> Result<Setup> {
        let base_classes = match entry.training {
            Some(_) => self.train_source(setting)?.class_count(),
            None => 0,
        };
        Ok(Setup {
            problem: self.problem(),
            backbone: self.backbone(entry)?,
            base_classes,
            ways: setting.ways.map_or(self.test.class_count(), Count::max),
            shots: setting.shots.unwrap_or(Count::fixed(SHOTS_OF_ALL)),
            queries: self.experiment.queries(),
            seed: self.experiment.seed(),
        })
    }

    /// Shape of one input, `[channels, height, width]`.
    pub(crate) fn input(&self) -> [usize; 3] {
        self.dataset.input()
    }

    /// Builds a learner with fresh weights.
    pub(crate) fn build(&self, entry: &LearnerEntry, setup: &Setup) -> Result<Box<dyn Learner>> {
        (entry.build)(setup, &self.experiment.options(entry.name))
    }

    /// The only setting asked for.
    pub(crate) fn only_setting(&self) -> Result<Setting> {
        match self.settings()?.as_slice() {
            [one] => Ok(one.clone()),
            several => Err(Error::invalid(format!(
                "{} kinds of task were asked for (ways, shots, queries, domains); one can be trained or evaluated at a time \
                 (`kshot bench` takes several)",
                several.len()
            ))),
        }
    }

    /// How examples are varied, by the keys of `[set.augment]` that are not as if nothing was.
    pub(crate) fn varied(&self) -> Result<toml::Table> {
        self.augment.table()
    }

    /// What a checkpoint says of where its weights come from.
    pub(crate) fn origin(&self, entry: &LearnerEntry, setup: Setup, setting: &Setting) -> Result<Origin> {
        // What a word stands for may change, so it is not the word that is kept.
        let mut experiment = Experiment { augment: None, ..self.experiment.clone() };
        experiment.set.remove(AUGMENT);
        let varied = self.varied()?;
        if !varied.is_empty() {
            experiment.set.insert(AUGMENT.to_owned(), varied.into());
        }
        Ok(Origin {
            learner: entry.name.to_owned(),
            options: (entry.resolve)(&self.experiment.options(entry.name))?,
            setup,
            preparation: self.dataset.preparation(),
            experiment: experiment.kept(entry.name, setting)?,
        })
    }

    /// How a learner is trained: `[train]` over its own defaults.
    pub(crate) fn train_config(&self, entry: &LearnerEntry) -> Result<TrainConfig> {
        let own = entry.training.map_or_else(TrainConfig::default, |training| training(self.problem()));
        self.experiment.train_config(own)
    }

    /// The tasks a learner wants to be trained on, varied as the experiment says.
    pub(crate) fn training(&self, learner: &mut dyn Trainable, setting: &Setting) -> Result<Box<dyn Tasks>> {
        let (source, seed) = (self.train_source(setting)?, self.experiment.seed());
        let tasks = self.training_task(learner, setting, &source).0.open(&source, Split::Train, seed)?;
        Augmented::of(tasks, &self.augment, &source, seed)
    }

    /// The same before it is opened, with what had to be lowered in words. Who trains on tasks is trained on such as are asked.
    fn training_task(
        &self,
        learner: &mut dyn Trainable,
        setting: &Setting,
        source: &TaskSource,
    ) -> (TaskSpec, Option<String>) {
        match (setting.sampling, setting.ways, &learner.learned().task) {
            (Sampling::MetaDataset, Some(ways), TaskSpec::FewShot { .. }) => {
                (TaskSpec::MetaDataset { ways, queries: self.experiment.queries() }, None)
            }
            (_, _, task) => task.fitted(source),
        }
    }

    /// Says where a learner's training had to be fitted to small classes.
    pub(crate) fn say_what_was_fitted(
        &self,
        name: &str,
        learner: &mut dyn Trainable,
        setting: &Setting,
    ) -> Result<()> {
        if let (_, Some(lowered)) = self.training_task(learner, setting, &self.train_source(setting)?) {
            complain(&format!("note: `{name}` trains with {lowered}, as the training split has no more"));
        }
        Ok(())
    }

    /// What a test is drawn from.
    pub(crate) fn test_source(&self) -> &TaskSource {
        &self.test
    }

    /// Whether there is anything to test on.
    pub(crate) fn is_tested(&self) -> bool {
        self.tested
    }
}
