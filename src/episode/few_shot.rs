//! N-way K-shot tasks (Vinyals et al. 2016, §4.1), with a fixed or a varying number of ways and shots.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ndarray::Array4;
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand::seq::index::sample;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Episode, Labelled, Targets, Tasks};
use crate::dataset::{ClassSet, Split};
use crate::rng::{Rng, stream};
use crate::{Error, Result};

/// A number, or a range it is drawn from uniformly: `5` or `3-8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "CountText", into = "CountText")]
pub struct Count {
    min: usize,
    max: usize,
}

impl Count {
    /// Always `n`.
    pub const fn fixed(n: usize) -> Self {
        Self { min: n, max: n }
    }

    /// Uniform over `min..=max`.
    ///
    /// # Errors
    /// When `min` is 0 or above `max`.
    pub fn range(min: usize, max: usize) -> Result<Self> {
        if min == 0 || min > max {
            return Err(Error::invalid(format!(
                "`{min}-{max}` is not a range of counts: it must start at 1 or more and not run backwards"
            )));
        }
        Ok(Self { min, max })
    }

    /// The smallest it can be.
    pub fn min(self) -> usize {
        self.min
    }

    /// The largest it can be.
    pub fn max(self) -> usize {
        self.max
    }

    /// From the smallest to the largest of `counts`.
    pub(super) fn spanning(counts: &[usize]) -> Self {
        let (min, max) = (counts.iter().min(), counts.iter().max());
        Self { min: min.copied().unwrap_or(0), max: max.copied().unwrap_or(0) }
    }

    /// The same numbers as far as they are no more than `most`.
    pub fn at_most(self, most: usize) -> Self {
        Self { min: self.min.min(most), max: self.max.min(most) }
    }

    /// One of the numbers it can be.
    pub(super) fn draw(self, rng: &mut Rng) -> usize {
        rng.random_range(self.min..=self.max)
    }
}

impl FromStr for Count {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |part: &str| {
            part.trim()
                .parse::<usize>()
                .map_err(|_| Error::invalid(format!("`{text}` is not a count: write `5` or `3-8`")))
        };
        match text.split_once('-') {
            Some((min, max)) => Self::range(number(min)?, number(max)?),
            None => number(text).and_then(|n| Self::range(n, n)),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max { write!(f, "{}", self.min) } else { write!(f, "{}-{}", self.min, self.max) }
    }
}

/// How a [`Count`] is written in a file: `5` or `"3-8"`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum CountText {
    Number(usize),
    Text(String),
}

impl TryFrom<CountText> for Count {
    type Error = Error;

    fn try_from(text: CountText) -> Result<Self> {
        match text {
            CountText::Number(n) => Self::range(n, n),
            CountText::Text(text) => text.parse(),
        }
    }
}

impl From<Count> for CountText {
    fn from(count: Count) -> Self {
        if count.min == count.max { Self::Number(count.min) } else { Self::Text(count.to_string()) }
    }
}

/// N-way K-shot tasks with Q queries a class, over the classes of a set.
pub struct FewShot {
    set: Arc<ClassSet>,
    ways: Count,
    shots: Count,
    queries: usize,
    split: Split,
    seed: u64,
}

impl FewShot {
    /// Checks that every task of this kind can be drawn.
    ///
    /// # Errors
    /// When there are fewer classes than ways, or a class has fewer examples than shots + queries.
    pub fn new(
        set: Arc<ClassSet>,
        ways: Count,
        shots: Count,
        queries: usize,
        split: Split,
        seed: u64,
    ) -> Result<Self> {
        check_classes(&set, ways.max(), split)?;
        check_examples(
            &set,
            shots.max() + queries,
            &format!("{shots}-shot tasks with {queries} queries"),
            split,
        )?;
        Ok(Self { set, ways, shots, queries, split, seed })
    }
}

/// Refuses more classes in a task than the split has.
pub(super) fn check_classes(set: &ClassSet, wanted: usize, split: Split) -> Result<()> {
    let there = set.classes().len();
    if wanted > there {
        return Err(Error::invalid(format!(
            "a task of {wanted} classes cannot be drawn from the {} split, which has {there}; ask for fewer ways",
            split.name()
        )));
    }
    Ok(())
}

/// Refuses a class with fewer examples than a task takes of it, naming it.
pub(super) fn check_examples(set: &ClassSet, wanted: usize, why: &str, split: Split) -> Result<()> {
    match set.classes().iter().find(|class| class.images.len() < wanted) {
        Some(class) => Err(Error::invalid(format!(
            "class `{}` of the {} split has {} examples, but {why} take {wanted}; ask for fewer, or leave the class out",
            class.name,
            split.name(),
            class.images.len()
        ))),
        None => Ok(()),
    }
}

/// Copies examples, each (class of the set, place in it, label), into a labelled array.
pub(super) fn gather(set: &ClassSet, picks: &[(usize, usize, usize)]) -> Labelled {
    let [channels, height, width] = set.shape();
    let mut values = Vec::with_capacity(picks.len() * channels * height * width);
    set.push_examples(picks.iter().map(|&(class, place, _)| (class, place)), &mut values);
    let inputs = Array4::from_shape_vec((picks.len(), channels, height, width), values)
        .expect("every pick adds one image of the set's shape");
    let labels = picks.iter().map(|&(_, _, label)| label).collect();
    Labelled::new(inputs, Targets::Classes(labels))
}

impl Tasks for FewShot {
    fn episode(&self, index: u64) -> Result<Episode> {
        let mut rng = stream(self.seed, &format!("episode/{}", self.split.name()), index);
        let ways = self.ways.draw(&mut rng);
        let classes: Vec<usize> = sample(&mut rng, self.set.classes().len(), ways).into_vec();
        let (mut support, mut query) = (Vec::new(), Vec::with_capacity(ways * self.queries));
        for (label, &class) in classes.iter().enumerate() {
            let shots = self.shots.draw(&mut rng);
            let mut places =
                sample(&mut rng, self.set.classes()[class].images.len(), shots + self.queries).into_vec();
            places.shuffle(&mut rng);
            support.extend(places[..shots].iter().map(|&place| (class, place, label)));
            query.extend(places[shots..].iter().map(|&place| (class, place, label)));
        }
        // In order of their classes, a query's place would tell its label.
        query.shuffle(&mut rng);
        Ok(Episode { index, support: gather(&self.set, &support), query: gather(&self.set, &query), classes })
    }
}
