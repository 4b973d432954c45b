//! What is asked of a learner: ways, shots, and from which domain to which.

use kshot::episode::{Count, Sampling};
use kshot::registry::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One kind of task; `None` for all there is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Setting {
    pub(crate) ways: Option<Count>,
    pub(crate) shots: Option<Count>,
    pub(crate) pair: Option<Pair>,
    /// Queries of each class (of the function, in a regression); none where all of a domain is asked.
    pub(crate) queries: Option<usize>,
    #[serde(default, skip_serializing_if = "Sampling::is_default")]
    pub(crate) sampling: Sampling,
}

/// From one domain to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Pair {
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) target_shots: usize,
}

impl Setting {
    /// Whether a learner trained for one of them is trained for the other.
    pub(crate) fn trains_as(&self, other: &Self) -> bool {
        let source = |setting: &Self| setting.pair.as_ref().map(|pair| pair.source.clone());
        (self.ways, self.shots, self.sampling) == (other.ways, other.shots, other.sampling)
            && source(self) == source(other)
    }

    /// `5-way 1-shot`, or `5-50-way and shots as in Meta-Dataset`, or `10 points`, or `all classes, all of the source, 3 labelled of the target`.
    pub(crate) fn in_words(&self, problem: Problem) -> String {
        let count = |count: Option<Count>, all: &str, rest: &str| match count {
            None => all.to_owned(),
            Some(count) => format!("{count}{rest}"),
        };
        match (&self.pair, problem) {
            (None, Problem::Classification) if self.sampling == Sampling::MetaDataset => {
                format!("{} and shots as in Meta-Dataset", count(self.ways, "all ways", "-way"))
            }
            (None, Problem::Classification) => {
                let (ways, shots) =
                    (count(self.ways, "all ways", "-way"), count(self.shots, "all shots", "-shot"));
                format!("{ways} {shots}")
            }
            (None, Problem::Regression) => count(self.shots, "all points", " points"),
            (Some(pair), _) => {
                let ways = count(self.ways, "all classes", "-way");
                let shots = count(self.shots, "all of the source", " of the source a class");
                format!("{ways}, {shots}, {} labelled of the target", pair.target_shots)
            }
        }
    }

    /// `5w1s`, or `all-LOAD0-LOAD3` between domains: for the name of a directory.
    pub(crate) fn in_a_name(&self) -> String {
        let count = |count: Option<Count>, letter: &str| {
            count.map_or(String::new(), |count| format!("{count}{letter}"))
        };
        let counts = format!("{}{}", count(self.ways, "w"), count(self.shots, "s"));
        match &self.pair {
            None if self.sampling == Sampling::MetaDataset => format!("{counts}-meta-dataset"),
            None => counts,
            Some(pair) => {
                let counts = if counts.is_empty() { "all" } else { &counts };
                format!("{counts}-{}-{}", pair.source, pair.target)
            }
        }
    }
}
