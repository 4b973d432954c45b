//! A learner's answers counted by class.

use std::collections::{BTreeMap, BTreeSet};

use kshot::eval::Answer;

/// Queries of a class, and how many of them were answered right.
#[derive(Clone, Copy, Default)]
pub(super) struct OfClass {
    pub(super) asked: u64,
    pub(super) right: u64,
}

impl OfClass {
    /// Share answered right, 0–1.
    pub(super) fn accuracy(self) -> f64 {
        self.right as f64 / self.asked.max(1) as f64
    }
}

/// A class taken for another.
#[derive(Clone, Copy)]
pub(super) struct Confused {
    pub(super) class: u32,
    pub(super) taken_for: u32,
    pub(super) times: u64,
    /// Queries of the class in tasks that had the other.
    pub(super) of: u64,
}

impl Confused {
    /// Share of the queries that could be so answered, 0–1.
    pub(super) fn share(self) -> f64 {
        self.times as f64 / self.of.max(1) as f64
    }
}

/// Counts over episodes; classes are numbers of the split.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) classes: BTreeMap<u32, OfClass>,
    /// (class, taken for) → times, of.
    pairs: BTreeMap<(u32, u32), (u64, u64)>,
}

impl Tally {
    pub(super) fn of(episodes: &[Vec<Answer>]) -> Self {
        let mut tally = Self::default();
        for answers in episodes {
            let present: BTreeSet<u32> = answers.iter().map(|answer| answer.class).collect();
            for answer in answers {
                let class = tally.classes.entry(answer.class).or_default();
                class.asked += 1;
                class.right += u64::from(answer.class == answer.predicted);
                for &other in &present {
                    let (times, of) = tally.pairs.entry((answer.class, other)).or_default();
                    *times += u64::from(answer.predicted == other);
                    *of += 1;
                }
            }
        }
        tally
    }

    /// Classes from the hardest.
    pub(super) fn hardest_first(&self) -> Vec<u32> {
        let mut order: Vec<u32> = self.classes.keys().copied().collect();
        order.sort_by(|a, b| self.classes[a].accuracy().total_cmp(&self.classes[b].accuracy()));
        order
    }

    /// How often one class was taken for another, where both were in a task.
    pub(super) fn pair(&self, class: u32, taken_for: u32) -> Confused {
        let (times, of) = self.pairs.get(&(class, taken_for)).copied().unwrap_or_default();
        Confused { class, taken_for, times, of }
    }

    /// Pairs that were confused, from the most often.
    pub(super) fn confused(&self) -> Vec<Confused> {
        let wrong = self.pairs.keys().filter(|(class, other)| class != other);
        let mut found: Vec<Confused> = wrong.map(|&(class, other)| self.pair(class, other)).collect();
        found.retain(|pair| pair.times > 0);
        found.sort_by_key(|pair| std::cmp::Reverse(pair.times));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_confused_only_where_the_other_is_in_the_task() {
        let answer = |class, predicted| Answer { class, predicted, confidence: 0.5 };
        let tally =
            Tally::of(&[vec![answer(0, 1), answer(0, 0), answer(1, 1)], vec![answer(0, 0), answer(2, 2)]]);
        assert_eq!((tally.classes[&0].asked, tally.classes[&0].right), (3, 2));
        assert_eq!((tally.pair(0, 1).times, tally.pair(0, 1).of, tally.pair(0, 2).of), (1, 2, 1));
        assert_eq!(tally.hardest_first()[0], 0);
        assert_eq!(tally.confused().len(), 1);
    }
}
