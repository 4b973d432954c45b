//! N-way K-shot tasks (Vinyals et al. 2016, §4.1), with a fixed or a varying number of ways and shots, and those of
//! Meta-Dataset.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use ndarray::Array4;
use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand::seq::index::sample;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::groups::{Wanted, of_support, on_side};
use super::{Episode, Labelled, Targets, Tasks, meta_dataset};
use crate::dataset::{Class, ClassSet, Split};
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

/// Classification tasks over the classes of a set; of one of its sources, drawn uniformly, where they are of several.
pub struct FewShot {
    set: Arc<ClassSet>,
    ways: Count,
    shots: Shots,
    /// Of each class; the most, where the shots are Meta-Dataset's.
    queries: usize,
    split: Split,
    seed: u64,
}

/// How many labelled examples a class has.
enum Shots {
    /// Drawn for each class by itself.
    Of(Count),
    /// As Meta-Dataset has them.
    MetaDataset,
}

impl FewShot {
    /// N-way K-shot tasks with Q queries a class. Checks that every one can be drawn.
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
        check_sources(&set, ways.max(), split)?;
        check_examples(
            &set,
            shots.max() + queries,
            &format!("{shots}-shot tasks with {queries} queries"),
            split,
        )?;
        Ok(Self { set, ways, shots: Shots::Of(shots), queries, split, seed })
    }

    /// Tasks of varying ways and unequal shots, as Meta-Dataset samples them ([`meta_dataset`](super::meta_dataset)): ways as far
    /// as a source has classes, no more than `queries` queries a class.
    ///
    /// # Errors
    /// When a source has fewer classes than the fewest ways, a class has fewer than two examples, or examples are in groups.
    pub fn meta_dataset(
        set: Arc<ClassSet>,
        ways: Count,
        queries: usize,
        split: Split,
        seed: u64,
    ) -> Result<Self> {
        check_sources(&set, ways.min(), split)?;
        check_examples(&set, 2, "tasks as Meta-Dataset samples them", split)?;
        if queries == 0 || ways.max() > meta_dataset::SUPPORT || set.is_grouped() {
            return Err(Error::invalid(format!(
                "tasks as Meta-Dataset samples them have one query a class or more, {} ways at most, and examples without groups",
                meta_dataset::SUPPORT
            )));
        }
        Ok(Self { set, ways, shots: Shots::MetaDataset, queries, split, seed })
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

/// The same of each dataset that the set's classes are from.
fn check_sources(set: &ClassSet, wanted: usize, split: Split) -> Result<()> {
    match set.sources().find(|(_, classes)| wanted > classes.len()) {
        Some((name, classes)) => Err(Error::invalid(format!(
            "a task of {wanted} classes cannot be drawn from the {} split of `{name}`, which has {}; ask for fewer ways, or \
             leave the dataset out",
            split.name(),
            classes.len()
        ))),
        None => check_classes(set, wanted, split),
    }
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

/// Copies examples into a labelled array.
pub(super) fn gather(set: &ClassSet, picks: &[Pick]) -> Result<Labelled> {
    let [channels, height, width] = set.shape();
    let mut values = Vec::with_capacity(picks.len() * channels * height * width);
    set.push_examples(picks.iter().map(|&(class, place, _)| (class, place)), &mut values)?;
    let inputs = Array4::from_shape_vec((picks.len(), channels, height, width), values)
        .expect("every pick adds one image of the set's shape");
    let labels = picks.iter().map(|&(_, _, label)| label).collect();
    Ok(Labelled::new(inputs, Targets::Classes(labels)))
}

/// An example of an episode: (class of the set, place in it, label).
pub(super) type Pick = (usize, usize, usize);

/// The examples of an episode.
pub(super) struct Picks {
    /// The dataset's class behind each label.
    pub(super) classes: Vec<usize>,
    pub(super) support: Vec<Pick>,
    pub(super) query: Vec<Pick>,
}

impl ClassSet {
    /// All classes with their examples, no more than the first `most` of each; labels are the set's class numbers.
    ///
    /// # Errors
    /// As [`ClassSet::push_examples`].
    pub fn first_of_each(&self, most: usize) -> Result<Labelled> {
        let of = |(class, details): (usize, &Class)| {
            (0..details.images.len().min(most)).map(move |place| (class, place, class)).collect::<Vec<Pick>>()
        };
        let picks: Vec<Pick> = self.classes().iter().enumerate().flat_map(of).collect();
        gather(self, &picks)
    }
}

impl FewShot {
    /// The stream of episode number `index`, and the source it is drawn from: its number, and its classes.
    fn begun(&self, index: u64) -> (Rng, usize, Range<usize>) {
        let mut rng = stream(self.seed, &format!("episode/{}", self.split.name()), index);
        let mut sources = self.set.sources();
        // Where there is one, nothing is drawn.
        let number = if sources.len() > 1 { rng.random_range(0..sources.len()) } else { 0 };
        let classes = sources.nth(number).map_or(0..self.set.classes().len(), |(_, classes)| classes);
        (rng, number, classes)
    }

    /// The examples of episode number `index`.
    pub(super) fn picks(&self, index: u64) -> Result<Picks> {
        let (mut rng, _, source) = self.begun(index);
        let ways = self.ways.at_most(source.len()).draw(&mut rng);
        let sampled = sample(&mut rng, source.len(), ways).into_iter();
        let classes: Vec<usize> = sampled.map(|class| source.start + class).collect();
        let composition = match self.shots {
            Shots::Of(_) => None,
            Shots::MetaDataset => {
                let examples: Vec<usize> =
                    classes.iter().map(|&class| self.set.classes()[class].images.len()).collect();
                Some(meta_dataset::composition(&mut rng, &examples, self.queries))
            }
        };
        let queries = composition.as_ref().map_or(self.queries, |composition| composition.queries);
        let shots_of = |label: usize, rng: &mut Rng| match (&self.shots, &composition) {
            (_, Some(composition)) => composition.shots[label],
            (Shots::Of(count), None) => count.draw(rng),
            (Shots::MetaDataset, None) => 0,
        };
        let groups: Option<Vec<_>> = classes.iter().map(|&class| self.set.groups_of(class)).collect();
        let (mut support, mut query) = (Vec::new(), Vec::with_capacity(ways * queries));
        let mut take = |label: usize, shots: &[usize], queries: &[usize]| {
            let class = classes[label];
            support.extend(shots.iter().map(|&place| (class, place, label)));
            query.extend(queries.iter().map(|&place| (class, place, label)));
        };
        if let Some(groups) = groups {
            let shots: Vec<usize> = (0..ways).map(|label| shots_of(label, &mut rng)).collect();
            let wanted = |count: &dyn Fn(usize) -> usize| -> Vec<Wanted> {
                groups.iter().enumerate().map(|(label, groups)| Wanted::new(count(label), groups)).collect()
            };
            let (learned, asked) = (wanted(&|label| shots[label]), wanted(&|_| queries));
            let chosen = of_support(&mut rng, &learned, &asked)?;
            for (label, groups) in groups.iter().enumerate() {
                let mut side = |support| {
                    let mut places = on_side(groups, &chosen, support);
                    places.shuffle(&mut rng);
                    places
                };
                take(label, &side(true)[..shots[label]], &side(false)[..queries]);
            }
        } else {
            for (label, &class) in classes.iter().enumerate() {
                let shots = shots_of(label, &mut rng);
                let images = self.set.classes()[class].images.len();
                let mut places = sample(&mut rng, images, shots + queries).into_vec();
                places.shuffle(&mut rng);
                take(label, &places[..shots], &places[shots..]);
            }
        }
        // In order of their classes, a query's place would tell its label.
        query.shuffle(&mut rng);
        Ok(Picks { classes, support, query })
    }

    /// The classes the examples are of.
    pub(super) fn set(&self) -> &ClassSet {
        &self.set
    }
}

impl Tasks for FewShot {
    fn episode(&self, index: u64) -> Result<Episode> {
        let Picks { classes, support, query } = self.picks(index)?;
        Ok(Episode {
            index,
            support: gather(&self.set, &support)?,
            query: gather(&self.set, &query)?,
            classes,
        })
    }

    fn source(&self, index: u64) -> Option<usize> {
        (self.set.sources().len() > 1).then(|| self.begun(index).1)
    }
}
