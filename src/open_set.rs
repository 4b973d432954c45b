//! Open sets: queries of classes that are not in the support, to be told from those that are.

use crate::episode::{Labelled, Targets, Tasks};
use crate::eval::{Watch, check_scores};
use crate::learner::{Learner, Prediction, argmax, confidence};
use crate::stats::{Interval, interval95};
use crate::verification::area;
use crate::{Error, Result};
use ndarray::Axis;

/// How well a learner tells what it knows from what it does not.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenSet {
    /// Area under the ROC curve of [`confidence`]: the probability that a query of a class of the support is surer than one of
    /// another class; 0.5 is chance. Mean over episodes, 0–1.
    pub auroc: Interval,
    /// Share of the queries of the support's classes that are classified correctly, 0–1.
    pub accuracy: Interval,
    /// Both of each episode.
    pub per_episode: Vec<[f32; 2]>,
}

/// Asks `learner` the queries of episodes `0..episodes`, the last `unknown` classes of each left out of its support. A
/// transductive learner sees the queries of all classes.
///
/// # Errors
/// When a task has fewer than two other classes, the learner does not classify, or as [`crate::eval::evaluate`].
pub fn evaluate_open_set(
    learner: &dyn Learner,
    tasks: &dyn Tasks,
    unknown: usize,
    episodes: u64,
    watch: &Watch<'_>,
) -> Result<OpenSet> {
    let per_episode = watch.ranks.map_until(0..episodes, watch.stop, |number| {
        let episode = tasks.episode(number)?;
        let known = episode.support.ways()?.saturating_sub(unknown);
        if known < 2 || unknown == 0 {
            return Err(Error::invalid(
                "an open set needs two classes or more in the support, and one that is not",
            ));
        }
        let labels = episode.support.classes()?;
        let rows: Vec<usize> = (0..labels.len()).filter(|&row| labels[row] < known).collect();
        let support = Labelled::new(
            episode.support.inputs().select(Axis(0), &rows),
            Targets::Classes(rows.iter().map(|&row| labels[row]).collect()),
        );
        let asked = episode.query.classes()?;
        let scores = learner
            .answer(&support, &episode.query.examples)
            .and_then(|prediction| match prediction {
                Prediction::Scores(scores) => {
                    check_scores(&scores, (asked.len(), known))?;
                    Ok(scores)
                }
                Prediction::Values(_) => Err(Error::invalid("this learner predicts values, not classes")),
            })
            .map_err(|error| error.context(format!("open-set episode {number}")))?;
        watch.done(number, episodes);
        let sure = scores.outer_iter().zip(asked).map(|(scores, &class)| (confidence(scores), class < known));
        let auroc = area(sure) as f32;
        let of_known = scores.outer_iter().zip(asked).filter(|&(_, &class)| class < known);
        let right =
            of_known.clone().filter(|&(scores, &class)| argmax(scores.iter().copied()) == class).count();
        Ok([auroc, right as f32 / of_known.count().max(1) as f32])
    })?;
    if per_episode.len() < 2 {
        return Err(Error::Interrupted("the evaluation was stopped before it had a figure".to_owned()));
    }
    let over = |figure: usize| interval95(&per_episode.iter().map(|both| both[figure]).collect::<Vec<_>>());
    Ok(OpenSet { auroc: over(0)?, accuracy: over(1)?, per_episode })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ndarray::Array2;

    use super::*;
    use crate::dataset::{Class, ClassSet, Split, TaskSource};
    use crate::episode::{Count, TaskSpec, Unlabelled};
    use crate::learner::Adapted;

    /// Knows a query's class by its value, if it `looks`; scores all classes alike if not, or if it is none of them.
    struct ByValue {
        looks: bool,
    }

    impl Learner for ByValue {
        fn is_transductive(&self) -> bool {
            false
        }

        fn adapt<'a>(&'a self, support: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
            Ok(Box::new(Known { looks: self.looks, support }))
        }
    }

    struct Known<'a> {
        looks: bool,
        support: &'a Labelled,
    }

    impl Adapted for Known<'_> {
        fn predict(&self, query: &Unlabelled) -> Result<Prediction> {
            // Four images of one pixel a class, numbered from 0.
            let class = |value: &f32| (value * 255.0).round() as usize / 4;
            let known: Vec<usize> = self.support.inputs().iter().map(class).collect();
            let asked: Vec<usize> = query.inputs.iter().map(class).collect();
            let labels = self.support.classes()?;
            let score = |(query, label): (usize, usize)| {
                let same = (0..labels.len()).any(|row| labels[row] == label && known[row] == asked[query]);
                f32::from(u8::from(self.looks && same))
            };
            Ok(Prediction::Scores(Array2::from_shape_fn((asked.len(), self.support.ways()?), score)))
        }
    }

    #[test]
    fn what_is_known_is_surer_than_what_is_not() {
        let names = (0..32).map(|image| format!("{image}.png")).collect();
        let class =
            |n: u32| Class { name: format!("{n}"), images: (4 * n..4 * n + 4).collect(), quarter_turns: 0 };
        let pixels: Vec<u8> = (0..32).collect();
        let set =
            ClassSet::new([1, 1, 1], Arc::new(pixels), Arc::new(names), (0..8).map(class).collect()).unwrap();
        let spec = TaskSpec::FewShot { ways: Count::fixed(6), shots: Count::fixed(2), queries: 2 };
        let tasks = spec.open(&TaskSource::Classes(Arc::new(set)), Split::Test, 0).unwrap();
        let of = |looks, unknown| {
            evaluate_open_set(&ByValue { looks }, tasks.as_ref(), unknown, 10, &Watch::default())
        };
        let knows = of(true, 2).unwrap();
        assert_eq!((knows.auroc.mean, knows.accuracy.mean), (1.0, 1.0));
        let guesses = of(false, 2).unwrap();
        assert_eq!((guesses.auroc.mean, guesses.accuracy.mean), (0.5, 0.25));
        assert!(of(true, 5).is_err() && of(true, 0).is_err());
    }
}
