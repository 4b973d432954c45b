//! The support set of a task, a few examples at a time.

use std::cmp::Ordering;

use kshot::episode::Labelled;
use kshot::rng::Rng;
use rand::seq::SliceRandom as _;

/// The examples of a support set sorted by what they are, so that draws among them do not hang on how they are listed.
pub(crate) fn by_content(support: &Labelled) -> Vec<usize> {
    let inputs = support.inputs();
    let rows: Vec<_> = inputs.outer_iter().collect();
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|&left, &right| {
        let mut values = rows[left].iter().zip(&rows[right]).map(|(a, b)| a.total_cmp(b));
        values.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    });
    order
}

/// Passes over some examples in batches of a size, each pass in an order of its own; the last batch of a pass is what is
/// left of them.
pub(crate) struct Batches {
    order: Vec<usize>,
    size: usize,
    rng: Rng,
}

impl Batches {
    /// Batches of `size` of the examples in `order`; one of all, where that is `None`.
    pub(crate) fn new(order: Vec<usize>, size: Option<usize>, rng: Rng) -> Self {
        let all = order.len().max(1);
        Self { order, size: size.map_or(all, |size| size.clamp(1, all)), rng }
    }

    /// Whether a batch is all there is, as it is listed.
    pub(crate) fn are_whole(&self) -> bool {
        self.size >= self.order.len()
    }

    /// The batches of the next pass.
    pub(crate) fn pass(&mut self) -> impl Iterator<Item = &[usize]> {
        self.order.shuffle(&mut self.rng);
        self.order.chunks(self.size)
    }
}
