//! A learner's figure in one setting: a line of the table, and of the JSON.

use kshot::eval::Evaluation;
use kshot::learner::DomainDistances;
use kshot::registry::LearnerEntry;
use kshot::train::Trained;
use serde_json::{Value, json};

use crate::experiment::Experiment;
use crate::setting::Setting;
use crate::words::{figure, with_steps};

/// A learner's figure in one setting.
pub(crate) struct Row {
    pub(crate) entry: &'static LearnerEntry,
    pub(crate) setting: Setting,
    /// Inner steps on a test task, where they were asked for.
    pub(crate) test_steps: Option<usize>,
    pub(crate) transductive: bool,
    /// How it was trained, if that was done here.
    pub(crate) trained: Option<Trained>,
    pub(crate) evaluation: Evaluation,
    /// How far apart the domains of the first task are, for learners that align them.
    pub(crate) distances: Option<DomainDistances>,
    /// How many seeds its figure is the mean over; all else is of the first.
    pub(crate) seeds: u64,
}

impl Row {
    /// Heads of the columns that [`Row::cells`] fills.
    pub(crate) fn header(&self) -> [&'static str; 6] {
        let measure = self.evaluation.score.measure.name();
        ["family", "learner", "transductive", measure, "training", "evaluation"]
    }

    /// The line of a table.
    pub(crate) fn cells(&self) -> Vec<String> {
        let seconds = |trained: &Trained| format!("{:.1} s", trained.seconds);
        vec![
            self.entry.family.name().to_owned(),
            self.label(),
            if self.transductive { "yes" } else { "no" }.to_owned(),
            figure(&self.evaluation),
            self.trained.as_ref().map_or("none".to_owned(), seconds),
            format!("{:.0} episodes/s", self.evaluation.episodes_per_second()),
        ]
    }

    /// The learner, with the inner steps that were asked for.
    pub(crate) fn label(&self) -> String {
        with_steps(self.entry.name, self.test_steps)
    }

    /// Queries of each class (of the function, in a regression); none where all of a domain is asked.
    fn queries(&self, experiment: &Experiment) -> Option<usize> {
        if self.setting.pair.is_some() { experiment.queries } else { Some(experiment.queries()) }
    }

    /// All there is to say of it.
    pub(crate) fn json(&self, experiment: &Experiment) -> Value {
        let (score, trained) = (self.evaluation.score, self.trained.as_ref());
        let mut json = json!({
            "learner": self.entry.name,
            "family": self.entry.family,
            "dataset": experiment.data(),
            "ways": self.setting.ways,
            "shots": self.setting.shots,
            "test_steps": self.test_steps,
            "queries": self.queries(experiment),
            "episodes": self.evaluation.per_episode.len(),
            "ci95": score.interval.ci95,
            "train_steps": trained.map_or(0, |trained| trained.steps),
            "train_seconds": trained.map_or(0.0, |trained| trained.seconds),
            "eval_episodes_per_second": self.evaluation.episodes_per_second(),
            "transductive": self.transductive,
            "seed": experiment.seed(),
            "seeds": self.seeds,
        });
        json[score.measure.name()] = json!(score.interval.mean);
        let more = [
            self.setting.pair.as_ref().map(|pair| {
                json!({ "source": pair.source, "target": pair.target, "target_shots": pair.target_shots })
            }),
            self.distances.map(|distances| json!(distances)),
        ];
        for (key, value) in more.iter().flatten().filter_map(Value::as_object).flatten() {
            json[key] = value.clone();
        }
        json
    }
}
