//! A learner's figure in one setting: a line of the table, and of the JSON.

use kshot::eval::{Classification, Details, Evaluation};
use kshot::learner::{DomainDistances, Learner};
use kshot::registry::LearnerEntry;
use kshot::train::Trained;
use serde_json::{Value, json};

use crate::experiment::{AUGMENT, Experiment};
use crate::setting::Setting;
use crate::suite::search::Search;
use crate::words::with_steps;

/// A learner's figure in one setting.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) entry: &'static LearnerEntry,
    pub(crate) dataset: String,
    /// What was set of the dataset, as `image-size=32`; empty where nothing was.
    pub(crate) data_options: String,
    /// What was set of the learner, its backbone, its training and the augmentation, in the same manner; and what was searched.
    pub(crate) options: String,
    pub(crate) setting: Setting,
    /// Inner steps on a test task, where they were asked for.
    pub(crate) test_steps: Option<usize>,
    pub(crate) transductive: bool,
    /// How it was trained, if that was done here.
    pub(crate) trained: Option<Trained>,
    pub(crate) evaluation: Evaluation,
    /// How far apart the domains of the first task are, for learners that align them.
    pub(crate) distances: Option<DomainDistances>,
    /// More of a classification.
    pub(crate) classification: Option<Classification>,
    /// What was chosen on validation classes, if anything was.
    pub(crate) search: Option<Search>,
    pub(crate) seed: u64,
    /// How many seeds, from `seed` on, its figure is the mean over; all else is of the first.
    pub(crate) seeds: u64,
}

impl Row {
    /// Of an evaluation: with the learner's own inner steps, not trained here.
    pub(crate) fn of(
        experiment: &Experiment,
        entry: &'static LearnerEntry,
        setting: &Setting,
        learner: &dyn Learner,
        evaluation: Evaluation,
    ) -> Self {
        Self {
            entry,
            dataset: experiment.data().to_owned(),
            data_options: said_of_data(experiment),
            options: [
                said(&experiment.options(entry.name), ""),
                said(&experiment.backbone(), "backbone."),
                said(&experiment.train.0, "train."),
                experiment.search_in_words(entry),
                experiment.augment.map_or(String::new(), |preset| format!("{AUGMENT}={}", preset.name())),
                said(&experiment.options(AUGMENT), "augment."),
            ]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(", "),
            setting: setting.clone(),
            test_steps: None,
            transductive: learner.is_transductive(),
            trained: None,
            classification: evaluation.details.as_ref().map(Details::summary),
            evaluation,
            distances: None,
            search: None,
            seed: experiment.seed(),
            seeds: 1,
        }
    }

    /// Whether it is the same but for the seed.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        let of = |row: &Self| (row.entry.name, row.options.clone(), row.setting.clone(), row.test_steps);
        self.is_of_the_data_of(other) && of(self) == of(other)
    }

    /// Whether both are of one dataset, opened in one way.
    pub(crate) fn is_of_the_data_of(&self, other: &Self) -> bool {
        (&self.dataset, &self.data_options) == (&other.dataset, &other.data_options)
    }

    /// The learner, with the inner steps that were asked for.
    pub(crate) fn label(&self) -> String {
        with_steps(self.entry.name, self.test_steps)
    }

    /// All there is to say of it.
    pub(crate) fn json(&self) -> Value {
        let (score, trained) = (self.evaluation.score, self.trained.as_ref());
        let mut json = json!({
            "learner": self.entry.name,
            "family": self.entry.family,
            "dataset": self.dataset,
            "ways": self.setting.ways,
            "shots": self.setting.shots,
            "test_steps": self.test_steps,
            "queries": self.setting.queries,
            "episodes": self.evaluation.per_episode.len(),
            "ci95": score.interval.ci95,
            "train_steps": trained.map_or(0, |trained| trained.steps),
            "train_seconds": trained.map_or(0.0, |trained| trained.seconds),
            "eval_episodes_per_second": self.evaluation.episodes_per_second(),
            "transductive": self.transductive,
            "seed": self.seed,
            "seeds": self.seeds,
        });
        json[score.measure.name()] = json!(score.interval.mean);
        let chosen = self.search.as_ref().and_then(Search::choice);
        let more = [
            chosen.map(|chosen| json!({ "chosen": chosen.options })),
            self.setting.pair.as_ref().map(|pair| {
                json!({ "source": pair.source, "target": pair.target, "target_shots": pair.target_shots })
            }),
            (!self.setting.sampling.is_default()).then(|| json!({ "sampling": self.setting.sampling })),
            self.distances.map(|distances| json!(distances)),
            self.classification.as_ref().map(|more| {
                json!({
                    "macro_f1": more.macro_f1,
                    "balanced_accuracy": more.balanced_accuracy,
                    "auroc": more.auroc,
                    "ece": more.calibration.ece,
                })
            }),
        ];
        for (key, value) in more.iter().flatten().filter_map(Value::as_object).flatten() {
            json[key] = value.clone();
        }
        json
    }
}

/// The options of the dataset in words; of several, each with its name.
fn said_of_data(experiment: &Experiment) -> String {
    match experiment.datasets().as_slice() {
        [one] => said(&experiment.options(one), ""),
        several => {
            let each = several.iter().map(|name| said(&experiment.options(name), &format!("{name}.")));
            each.filter(|said| !said.is_empty()).collect::<Vec<_>>().join(", ")
        }
    }
}

/// Options in words: `distance=cosine, train-ways=5`.
fn said(options: &toml::Table, before: &str) -> String {
    let one = |(key, value): (&String, &toml::Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{before}{key}={value}")
    };
    options.iter().map(one).collect::<Vec<_>>().join(", ")
}
