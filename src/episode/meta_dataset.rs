//! How many examples of each class Meta-Dataset's tasks have: many ways, few queries, unequal shots.
//!
//! Triantafillou, Zhu, Dumoulin, Lamblin, Evci, Xu, Goroshin, Gelada, Swersky, Manzagol & Larochelle, *Meta-Dataset: A Dataset of
//! Datasets for Learning to Learn from Few Examples*, ICLR 2020, appendix on episode sampling. Classes are drawn uniformly, as the
//! paper does but for ImageNet and Omniglot, of whose hierarchies it makes use.

use rand::Rng as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

use super::Count;
use crate::rng::Rng;
use crate::{Error, Result};

/// Ways of its tasks, as far as there are classes.
pub const WAYS: (usize, usize) = (5, 50);
/// Queries of each class, at most.
pub const QUERIES: usize = 10;
/// Examples in a support, at most.
pub const SUPPORT: usize = 500;
/// What a class adds to the size of the support, at most.
const OF_CLASS: usize = 100;

/// How the number of classes and examples of a task is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// N-way K-shot: as many of each class as is said.
    #[default]
    NWayKShot,
    /// As in Meta-Dataset: 5 to 50 ways, up to 500 labelled examples, more of some classes than of others.
    MetaDataset,
}

impl Sampling {
    /// Ways where nothing else is said, if it has its own.
    pub fn ways(self) -> Option<Count> {
        match self {
            Self::NWayKShot => None,
            Self::MetaDataset => Count::range(WAYS.0, WAYS.1).ok(),
        }
    }

    /// Whether it is the usual one.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl FromStr for Sampling {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "n-way-k-shot" => Ok(Self::NWayKShot),
            "meta-dataset" => Ok(Self::MetaDataset),
            _ => Err(Error::unknown("sampling", text, ["n-way-k-shot", "meta-dataset"].into_iter())),
        }
    }
}

/// How many examples a task has.
pub(super) struct Composition {
    /// Labelled ones, of each class.
    pub(super) shots: Vec<usize>,
    /// Queries, of every class as many.
    pub(super) queries: usize,
}

/// Draws how many examples a task has of classes that have so many; `most` queries a class, or half of the smallest.
pub(super) fn composition(rng: &mut Rng, examples: &[usize], most: usize) -> Composition {
    let ways = examples.len();
    let smallest = examples.iter().copied().min().unwrap_or(0);
    let queries = most.min(smallest / 2);
    let left = |examples: usize| examples - queries;
    // β in (0, 1]: the support has at least one of each class.
    let beta = 1.0 - rng.random_range(0.0..1.0f64);
    let of_class = |&examples: &usize| (beta * left(examples).min(OF_CLASS) as f64).ceil() as usize;
    let support = examples.iter().map(of_class).sum::<usize>().min(SUPPORT);
    let (low, high) = (0.5f64.ln(), 2.0f64.ln());
    let weights: Vec<f64> =
        examples.iter().map(|&examples| examples as f64 * rng.random_range(low..high).exp()).collect();
    let whole: f64 = weights.iter().sum();
    let shots = examples.iter().zip(weights).map(|(&examples, weight)| {
        let share = weight / whole * support.saturating_sub(ways) as f64;
        (share.floor() as usize + 1).min(left(examples))
    });
    Composition { shots: shots.collect(), queries }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::stream;

    fn drawn(examples: &[usize], count: u64) -> Vec<Composition> {
        (0..count).map(|index| composition(&mut stream(0, "meta", index), examples, QUERIES)).collect()
    }

    #[test]
    fn every_class_has_a_shot_and_queries_and_no_more_than_it_has_examples() {
        for examples in [
            vec![2; 5],
            vec![20; 30],
            vec![2, 3, 900, 14, 55],
            vec![1000; 50],
            vec![7, 1000, 1000, 1000, 1000],
        ] {
            for Composition { shots, queries } in drawn(&examples, 300) {
                assert_eq!(queries, 10.min(examples.iter().min().unwrap() / 2));
                assert!(
                    shots.iter().zip(&examples).all(|(&shots, &all)| shots >= 1 && shots + queries <= all)
                );
                assert!(shots.iter().sum::<usize>() <= SUPPORT);
            }
        }
    }

    #[test]
    fn the_support_is_as_large_as_the_paper_has_it() {
        // Five classes with 100 or more to give: ⌈100 β⌉ each, 252.5 in the mean, of which rounding down takes half an example a
        // class; a class may get up to four times as many as another.
        let all = drawn(&[200; 5], 4000);
        let sizes: Vec<f64> = all.iter().map(|one| one.shots.iter().sum::<usize>() as f64).collect();
        let mean = sizes.iter().sum::<f64>() / sizes.len() as f64;
        assert!((245.0..258.0).contains(&mean), "{mean}");
        let ratio = |one: &Composition| {
            let (most, least) = (one.shots.iter().max().unwrap(), one.shots.iter().min().unwrap());
            *most as f64 / *least as f64
        };
        let largest =
            all.iter().filter(|one| one.shots.iter().sum::<usize>() > 250).map(ratio).fold(0.0, f64::max);
        assert!((3.0..=4.5).contains(&largest), "{largest}");
        // Fifty classes: 500 in nine of ten tasks, as β ≥ 0.1 suffices, less what is rounded.
        let full = drawn(&[1000; 50], 2000);
        let full = full.iter().filter(|one| one.shots.iter().sum::<usize>() > 450).count();
        assert!((1700..1900).contains(&full), "{full}");
    }

    #[test]
    fn larger_classes_have_more_shots() {
        let all = drawn(&[400, 100, 100, 100, 100], 500);
        let mean = |class: usize| all.iter().map(|one| one.shots[class] as f64).sum::<f64>() / 500.0;
        assert!((2.5..4.5).contains(&(mean(0) / mean(1))), "{} {}", mean(0), mean(1));
    }
}
