//! Batches for learners that train without queries: P classes × K examples, and flat batches over all classes.

use std::sync::Arc;

use rand::Rng as _;
use rand::seq::index::sample;

use super::few_shot::{check_classes, check_examples, gather};
use super::{Episode, Tasks};
use crate::dataset::{ClassSet, Split};
use crate::rng::stream;
use crate::{Error, Result};

/// P classes × K examples each (Hermans et al. 2017, §2), support only; labels are `0..P`.
pub struct PkBatches {
    set: Arc<ClassSet>,
    classes: usize,
    per_class: usize,
    split: Split,
    seed: u64,
}

impl PkBatches {
    /// Checks that every batch can be drawn.
    ///
    /// # Errors
    /// When there are fewer than P classes, or a class has fewer than K examples.
    pub fn new(
        set: Arc<ClassSet>,
        classes: usize,
        per_class: usize,
        split: Split,
        seed: u64,
    ) -> Result<Self> {
        check_classes(&set, classes, split)?;
        check_examples(&set, per_class, &format!("batches with {per_class} of each class"), split)?;
        Ok(Self { set, classes, per_class, split, seed })
    }
}

impl Tasks for PkBatches {
    fn episode(&self, index: u64) -> Result<Episode> {
        let mut rng = stream(self.seed, &format!("pk/{}", self.split.name()), index);
        let classes = sample(&mut rng, self.set.classes().len(), self.classes).into_vec();
        let mut picks = Vec::with_capacity(self.classes * self.per_class);
        for (label, &class) in classes.iter().enumerate() {
            let places = sample(&mut rng, self.set.classes()[class].images.len(), self.per_class);
            picks.extend(places.iter().map(|place| (class, place, label)));
        }
        Ok(Episode { index, support: gather(&self.set, &picks)?, query: gather(&self.set, &[])?, classes })
    }

    /// One, where it takes all there is: others would be the same in another order.
    fn limit(&self) -> Option<u64> {
        let whole = self.classes == self.set.classes().len()
            && self.set.classes().iter().all(|class| class.images.len() == self.per_class);
        whole.then_some(1)
    }
}

/// Examples drawn uniformly from all classes, support only; labels are the class numbers of the split.
pub struct FlatBatches {
    set: Arc<ClassSet>,
    size: usize,
    split: Split,
    seed: u64,
}

impl FlatBatches {
    /// Batches of `size`.
    ///
    /// # Errors
    /// When `size` is 0 or the split has no class.
    pub fn new(set: Arc<ClassSet>, size: usize, split: Split, seed: u64) -> Result<Self> {
        check_classes(&set, 1, split)?;
        if size == 0 {
            return Err(Error::invalid("a batch must hold at least one example; ask for a larger batch"));
        }
        Ok(Self { set, size, split, seed })
    }
}

impl Tasks for FlatBatches {
    fn episode(&self, index: u64) -> Result<Episode> {
        let mut rng = stream(self.seed, &format!("flat/{}", self.split.name()), index);
        let picks: Vec<_> = (0..self.size)
            .map(|_| {
                let class = rng.random_range(0..self.set.classes().len());
                (class, rng.random_range(0..self.set.classes()[class].images.len()), class)
            })
            .collect();
        let classes = (0..self.set.classes().len()).collect();
        Ok(Episode { index, support: gather(&self.set, &picks)?, query: gather(&self.set, &[])?, classes })
    }
}
