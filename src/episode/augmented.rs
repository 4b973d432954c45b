//! Tasks whose examples are varied as they are sampled.

use super::{Episode, Labelled, Targets, Tasks};
use crate::Result;
use crate::augment::{Augment, Inputs, Variation};
use crate::dataset::TaskSource;
use crate::rng::{Rng, stream};

/// Training tasks, support and queries varied, by (seed, episode, example). They are never the same twice, also where those
/// they are made of come to an end: these then start over, and are varied anew.
pub struct Augmented {
    tasks: Box<dyn Tasks>,
    variation: Variation,
    seed: u64,
}

impl Augmented {
    /// The tasks of a source, varied; as they are, where nothing varies.
    ///
    /// # Errors
    /// When a transformation does not fit the source's inputs.
    pub fn of(
        tasks: Box<dyn Tasks>,
        augment: &Augment,
        source: &TaskSource,
        seed: u64,
    ) -> Result<Box<dyn Tasks>> {
        if !augment.varies() {
            return Ok(tasks);
        }
        let variation = Variation::new(augment.clone(), Inputs::of(source)?)?;
        Ok(Box::new(Self { tasks, variation, seed }))
    }

    fn vary(&self, examples: &mut Labelled, part: &str, index: u64) {
        let rng = stream(self.seed, &format!("augment/{part}"), index);
        vary(&self.variation, examples, &rng, |_| false);
    }
}

impl Tasks for Augmented {
    fn episode(&self, index: u64) -> Result<Episode> {
        let number = self.tasks.limit().map_or(index, |limit| index % limit.max(1));
        let mut episode = self.tasks.episode(number)?;
        episode.index = index;
        self.vary(&mut episode.support, "support", index);
        self.vary(&mut episode.query, "query", index);
        Ok(episode)
    }
}

/// Test tasks whose support has several views of each example, side by side: the example itself, then varied ones. A learner
/// is given as many times the shots; the mean of a class's embeddings is then that over the views of its examples.
pub struct SupportViews {
    tasks: Box<dyn Tasks>,
    variation: Variation,
    seed: u64,
}

impl SupportViews {
    /// The tasks of a source, with views as [`Augment::support_views`] says; as they are, where that is one.
    ///
    /// # Errors
    /// As [`Augmented::of`].
    pub fn of(
        tasks: Box<dyn Tasks>,
        augment: &Augment,
        source: &TaskSource,
        seed: u64,
    ) -> Result<Box<dyn Tasks>> {
        if augment.support_views <= 1 {
            return Ok(tasks);
        }
        let variation = Variation::new(augment.clone(), Inputs::of(source)?)?;
        Ok(Box::new(Self { tasks, variation, seed }))
    }
}

impl Tasks for SupportViews {
    fn episode(&self, index: u64) -> Result<Episode> {
        let views = self.variation.support_views();
        let mut episode = self.tasks.episode(index)?;
        let support = &mut episode.support;
        let times = |count: usize| (0..count).flat_map(|example| std::iter::repeat_n(example, views));
        let places: Vec<usize> = times(support.len()).collect();
        let in_target = support.in_target * views;
        *support = Labelled { in_target, ..support.select(&places) };
        let rng = stream(self.seed, "augment/views", index);
        vary(&self.variation, support, &rng, |number| number.is_multiple_of(views));
        Ok(episode)
    }

    fn limit(&self) -> Option<u64> {
        self.tasks.limit()
    }
}

fn vary(variation: &Variation, examples: &mut Labelled, rng: &Rng, kept: impl Fn(usize) -> bool + Sync) {
    debug_assert!(matches!(examples.targets, Targets::Classes(_)), "only examples of classes are varied");
    // Episodes are gathered row by row.
    if let Some(values) = examples.examples.inputs.as_slice_mut() {
        variation.vary(values, rng, kept);
    }
}
