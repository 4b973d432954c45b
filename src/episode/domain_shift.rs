//! Tasks whose queries are of another domain than their support: domain adaptation as episodes.

use std::sync::Arc;

use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand::seq::index::sample;

use super::few_shot::{Pick, check_classes, gather};
use super::groups::{Wanted, of_support, on_side};
use super::{Count, Episode, Labelled, Tasks};
use crate::dataset::{ClassSet, Domain, Domains, Split};
use crate::rng::{Rng, stream};
use crate::{Error, Result};

/// How much of source and target a task has; `None` takes all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// Classes in a task.
    pub ways: Option<Count>,
    /// Labelled source examples of each class.
    pub shots: Option<Count>,
    /// Labelled target examples of each class beside them.
    pub target_shots: usize,
    /// Queries of each class, of the target.
    pub queries: Option<usize>,
}

/// Tasks from a labelled source to a target. The support has the source's examples, then the target's few
/// ([`Labelled::in_target`]); the queries are the target's.
pub struct DomainShift {
    /// Name of the pair, for the stream of random numbers.
    name: String,
    source: Arc<ClassSet>,
    /// For each class of the source: its places in the target's labelled and queried sets, `None` where it has none.
    target: Vec<(Option<usize>, Option<usize>)>,
    labelled: Arc<ClassSet>,
    queried: Arc<ClassSet>,
    shift: Shift,
    split: Split,
    seed: u64,
}

impl DomainShift {
    /// From the training examples of `source` to the test examples of `target`, whose training examples give the
    /// labelled few.
    ///
    /// # Errors
    /// When both are one set, the target has a class that the source lacks, or a class has too few examples.
    pub fn new(source: &Domain, target: &Domain, shift: Shift, split: Split, seed: u64) -> Result<Self> {
        if source.name == target.name && source.is_undivided() {
            return Err(Error::invalid(format!(
                "source and target are both `{}`, whose test examples are its training examples; choose two domains",
                source.name
            )));
        }
        let sets = (target.train.clone(), target.test.clone());
        Self::between((source, source.train.clone()), (target, sets), shift, split, seed)
    }

    fn between(
        (source, learned): (&Domain, Arc<ClassSet>),
        (target, (labelled, queried)): (&Domain, (Arc<ClassSet>, Arc<ClassSet>)),
        shift: Shift,
        split: Split,
        seed: u64,
    ) -> Result<Self> {
        let place = |set: &ClassSet, name: &str| set.classes().iter().position(|class| class.name == name);
        if let Some(class) = queried.classes().iter().find(|class| place(&learned, &class.name).is_none()) {
            return Err(Error::invalid(format!(
                "class `{}` is in the target `{}`, but not in the source `{}`: a learner cannot name a class it has \
                 not seen (an open set); leave the class out, or add examples of it to the source",
                class.name, target.name, source.name
            )));
        }
        check_classes(&learned, shift.ways.map_or(1, Count::max), split)?;
        let classes: Vec<_> = learned
            .classes()
            .iter()
            .map(|class| (place(&labelled, &class.name), place(&queried, &class.name)))
            .collect();
        let tasks = Self {
            name: format!("{} to {}", source.name, target.name),
            source: learned,
            target: classes,
            labelled,
            queried,
            shift,
            split,
            seed,
        };
        tasks.check(&source.name, &target.name)?;
        Ok(tasks)
    }

    /// Refuses tasks that some class has too few examples for.
    fn check(&self, source: &str, target: &str) -> Result<()> {
        let Shift { shots, target_shots, queries, .. } = self.shift;
        let undivided = Arc::ptr_eq(&self.labelled, &self.queried);
        for (class, &(labelled, queried)) in self.source.classes().iter().zip(&self.target) {
            let few = |domain: &str, there: usize, wanted: usize, what: &str| {
                Err(Error::invalid(format!(
                    "class `{}` has {there} {what} examples in domain `{domain}`, but tasks take {wanted}; ask for \
                     fewer, or leave the class out",
                    class.name
                )))
            };
            let count =
                |set: &ClassSet, place: Option<usize>| place.map_or(0, |p| set.classes()[p].images.len());
            if class.images.len() < shots.map_or(1, Count::max) {
                return few(source, class.images.len(), shots.map_or(1, Count::max), "training");
            }
            let (labelled, queried) = (count(&self.labelled, labelled), count(&self.queried, queried));
            // A target may lack a class of the source where whole domains are queried.
            let wanted = queries.unwrap_or(0) + if undivided { target_shots } else { 0 };
            if queried < wanted {
                return few(target, queried, wanted, "test");
            }
            if labelled < target_shots {
                return few(target, labelled, target_shots, "training");
            }
        }
        Ok(())
    }

    /// The groups of each class's examples in the source, in the target's labelled and in its queried set.
    fn groups(&self, classes: &[usize]) -> Option<Vec<[Vec<u32>; 3]>> {
        let of = |set: &ClassSet, class: Option<usize>| match class {
            Some(class) => set.groups_of(class),
            None => Some(Vec::new()),
        };
        let all = |&class: &usize| {
            let (labelled, queried) = self.target[class];
            Some([of(&self.source, Some(class))?, of(&self.labelled, labelled)?, of(&self.queried, queried)?])
        };
        classes.iter().map(all).collect()
    }

    /// The examples of source, labelled target and queries, no group on both sides.
    fn by_groups(
        &self,
        rng: &mut Rng,
        classes: &[usize],
        groups: &[[Vec<u32>; 3]],
    ) -> Result<[Vec<Pick>; 3]> {
        let Shift { shots, target_shots, queries, .. } = self.shift;
        let (mut support, mut asked) = (Vec::new(), Vec::new());
        for [source, labelled, queried] in groups {
            support.push(Wanted::new(shots.map_or(source.len(), |shots| shots.draw(rng)), source));
            support.push(Wanted::new(target_shots, labelled));
            asked.push(Wanted::new(queries.unwrap_or(1).min(queried.len()), queried));
        }
        let chosen = of_support(rng, &support, &asked)?;
        let mut picks: [Vec<Pick>; 3] = Default::default();
        for (label, (&class, groups)) in classes.iter().zip(groups).enumerate() {
            let (labelled, queried) = self.target[class];
            let counts = [support[2 * label].count(), target_shots, queries.unwrap_or(usize::MAX)];
            for (side, of) in [Some(class), labelled, queried].into_iter().enumerate() {
                let Some(of) = of else { continue };
                let mut places = on_side(&groups[side], &chosen, side < 2);
                places.shuffle(rng);
                picks[side].extend(places.into_iter().take(counts[side]).map(|place| (of, place, label)));
            }
        }
        Ok(picks)
    }

    /// The same where there are no groups.
    fn freely(&self, rng: &mut Rng, classes: &[usize]) -> [Vec<Pick>; 3] {
        let undivided = Arc::ptr_eq(&self.labelled, &self.queried);
        let (mut source, mut labelled, mut query) = (Vec::new(), Vec::new(), Vec::new());
        for (label, &class) in classes.iter().enumerate() {
            let all = self.source.classes()[class].images.len();
            let places = match self.shift.shots {
                None => (0..all).collect(),
                Some(shots) => {
                    let shots = shots.draw(rng);
                    sample(rng, all, shots).into_vec()
                }
            };
            source.extend(places.into_iter().map(|place| (class, place, label)));
            let (of_labelled, of_queried) = self.target[class];
            let mut shuffled = |set: &ClassSet, place: Option<usize>| -> Vec<usize> {
                let mut places: Vec<usize> =
                    (0..place.map_or(0, |place| set.classes()[place].images.len())).collect();
                if !self.is_one_task() {
                    places.shuffle(rng);
                }
                places
            };
            let mut few = shuffled(&self.labelled, of_labelled);
            let queried = if undivided {
                few.split_off(self.shift.target_shots.min(few.len()))
            } else {
                shuffled(&self.queried, of_queried)
            };
            if let Some(class) = of_labelled {
                labelled
                    .extend(few.into_iter().take(self.shift.target_shots).map(|place| (class, place, label)));
            }
            if let Some(class) = of_queried {
                let queries = self.shift.queries.unwrap_or(queried.len());
                query.extend(queried.into_iter().take(queries).map(|place| (class, place, label)));
            }
        }
        [source, labelled, query]
    }

    /// Whether every task is the same: whole source, whole target.
    fn is_one_task(&self) -> bool {
        let Shift { ways, shots, target_shots, queries } = self.shift;
        ways.is_none() && shots.is_none() && target_shots == 0 && queries.is_none()
    }
}

impl Tasks for DomainShift {
    fn episode(&self, index: u64) -> Result<Episode> {
        let mut rng = stream(self.seed, &format!("shift/{}/{}", self.name, self.split.name()), index);
        let there = self.source.classes().len();
        let classes: Vec<usize> = match self.shift.ways {
            None => (0..there).collect(),
            Some(ways) => {
                let ways = ways.draw(&mut rng);
                sample(&mut rng, there, ways).into_vec()
            }
        };
        let [source, labelled, mut query] = match self.groups(&classes) {
            Some(groups) => self.by_groups(&mut rng, &classes, &groups)?,
            None => self.freely(&mut rng, &classes),
        };
        // In order of their classes, a query's place would tell its label.
        query.shuffle(&mut rng);
        let mut support = gather(&self.source, &source)?;
        support.append(gather(&self.labelled, &labelled)?)?;
        support.in_target = labelled.len();
        Ok(Episode { index, support, query: gather(&self.queried, &query)?, classes })
    }

    fn limit(&self) -> Option<u64> {
        self.is_one_task().then_some(1)
    }
}

/// N-way K-shot training tasks between domains: support from one, queries from another, both drawn anew each time.
pub(super) struct CrossDomain {
    pairs: Vec<DomainShift>,
    seed: u64,
}

impl CrossDomain {
    pub(super) fn new(
        domains: &Domains,
        ways: Count,
        shots: Count,
        queries: usize,
        split: Split,
        seed: u64,
    ) -> Result<Self> {
        let shift = Shift { ways: Some(ways), shots: Some(shots), target_shots: 0, queries: Some(queries) };
        let mut pairs = Vec::new();
        for source in domains.domains() {
            for target in domains.domains().iter().filter(|target| target.name != source.name) {
                let queried = (target.train.clone(), target.train.clone());
                let from = (source, source.train.clone());
                pairs.push(DomainShift::between(from, (target, queried), shift, split, seed)?);
            }
        }
        Ok(Self { pairs, seed })
    }
}

impl Tasks for CrossDomain {
    fn episode(&self, index: u64) -> Result<Episode> {
        let mut rng = stream(self.seed, "shift/pair", index);
        self.pairs[rng.random_range(0..self.pairs.len())].episode(index)
    }
}

impl Labelled {
    /// Adds the examples of `other` after one's own.
    fn append(&mut self, other: Self) -> Result<()> {
        let (super::Targets::Classes(own), super::Targets::Classes(others)) =
            (&mut self.targets, other.targets)
        else {
            return Err(Error::invalid("only examples of classes can be put together"));
        };
        own.extend(others);
        self.examples
            .inputs
            .append(ndarray::Axis(0), other.examples.inputs.view())
            .map_err(|error| Error::invalid(format!("putting examples together: {error}")))
    }
}
