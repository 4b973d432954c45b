//! Small images to try learners on: twelve classes, each a pattern of its own under so much noise that no loss is 0.

use std::sync::Arc;

use rand::Rng as _;

use crate::Result;
use crate::dataset::{Class, ClassSet, Split, TaskSource};
use crate::episode::{Count, Episode, TaskSpec};
use crate::rng::stream;

pub(super) const INPUT: [usize; 3] = [1, 16, 16];
pub(super) const CLASSES: usize = 12;
const EXAMPLES: usize = 24;

/// The classes.
pub(super) fn source() -> Result<TaskSource> {
    let mut pixels = Vec::new();
    for class in 0..CLASSES {
        let mut rng = stream(0, "conformance/class", class as u64);
        let pattern: Vec<u8> = (0..16).map(|_| if rng.random_bool(0.5) { 100 } else { 60 }).collect();
        for _ in 0..EXAMPLES {
            // A pattern of 4×4 patches.
            pixels.extend((0..256).map(|at| {
                let (row, column) = (at / 16, at % 16);
                pattern[row / 4 * 4 + column / 4].saturating_add(rng.random_range(0..150))
            }));
        }
    }
    let names = (0..CLASSES * EXAMPLES).map(|number| format!("{number}")).collect();
    let class = |class: usize| Class {
        name: format!("class{class}"),
        images: (0..EXAMPLES).map(|example| (class * EXAMPLES + example) as u32).collect(),
        quarter_turns: 0,
    };
    let classes = (0..CLASSES).map(class).collect();
    Ok(TaskSource::Classes(Arc::new(ClassSet::new(INPUT, Arc::new(pixels), Arc::new(names), classes)?)))
}

/// A 3-way task of `shots` and four queries a class.
pub(super) fn task(shots: usize, number: u64) -> Result<Episode> {
    let spec = TaskSpec::FewShot { ways: Count::fixed(3), shots: Count::fixed(shots), queries: 4 };
    spec.open(&source()?, Split::Test, 5)?.episode(number)
}
