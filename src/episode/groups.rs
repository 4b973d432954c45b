//! Tasks none of whose groups is on both sides: the patient of the support is not the patient of the queries.

use std::collections::{HashMap, HashSet};

use rand::seq::SliceRandom as _;

use crate::rng::Rng;
use crate::{Error, Result};

/// Orders of the groups that are tried.
const TRIES: usize = 100;

/// Examples of a class, by their groups, of which a side of a task is to have some.
pub(super) struct Wanted {
    /// How many examples each group has.
    of: HashMap<u32, usize>,
    /// How many the side is to have.
    count: usize,
}

impl Wanted {
    /// `count` of examples whose groups these are.
    pub(super) fn new(count: usize, groups: &[u32]) -> Self {
        let mut of = HashMap::new();
        groups.iter().for_each(|&group| *of.entry(group).or_insert(0) += 1);
        Self { of, count }
    }

    /// How many examples the side is to have.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

/// The groups that a task's support is taken from; its queries are of the others. In random order, a group goes to the
/// support as long as one of the classes still lacks examples there.
///
/// # Errors
/// When no order of those tried leaves enough examples on both sides.
pub(super) fn of_support(rng: &mut Rng, support: &[Wanted], query: &[Wanted]) -> Result<HashSet<u32>> {
    let mut groups: Vec<u32> =
        support.iter().chain(query).flat_map(|wanted| wanted.of.keys().copied()).collect();
    groups.sort_unstable();
    groups.dedup();
    for _ in 0..TRIES {
        groups.shuffle(rng);
        let mut missing: Vec<usize> = support.iter().map(|wanted| wanted.count).collect();
        let mut chosen = HashSet::new();
        for group in &groups {
            let has = |wanted: &Wanted| wanted.of.get(group).copied().unwrap_or(0);
            if support.iter().zip(&missing).any(|(wanted, &missing)| missing > 0 && has(wanted) > 0) {
                chosen.insert(*group);
                let left =
                    |(missing, wanted): (&mut usize, &Wanted)| *missing = missing.saturating_sub(has(wanted));
                missing.iter_mut().zip(support).for_each(left);
            }
        }
        let left = |wanted: &Wanted| -> usize {
            wanted.of.iter().filter(|(group, _)| !chosen.contains(*group)).map(|(_, count)| count).sum()
        };
        if missing.iter().all(|&missing| missing == 0)
            && query.iter().all(|wanted| left(wanted) >= wanted.count)
        {
            return Ok(chosen);
        }
    }
    let most = |side: &[Wanted]| side.iter().map(|wanted| wanted.count).max().unwrap_or(0);
    Err(Error::invalid(format!(
        "no way was found to put each of the {} groups of this task on one side and still have {} labelled examples and {} \
         queries of each class; ask for fewer of them, or leave out classes of few groups",
        groups.len(),
        most(support),
        most(query)
    )))
}

/// The places whose group is among the chosen, or, for queries, is not.
pub(super) fn on_side(groups: &[u32], chosen: &HashSet<u32>, support: bool) -> Vec<usize> {
    (0..groups.len()).filter(|&place| chosen.contains(&groups[place]) == support).collect()
}
