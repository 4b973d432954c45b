//! A dataset of one's own: blobs, each class a place in the image. Its classes are made in memory; any source of pixels
//! will do.
//!
//! cargo run --release --example own_dataset -- bench --data blobs --learner prototypical,pixels

use std::process::ExitCode;
use std::sync::Arc;

use kshot::Result;
use kshot::dataset::{Class, ClassSet, Dataset, DatasetContext, Preparation, Split, TaskSource};
use kshot::options::NoOptions;
use kshot::rng::stream;
use rand::Rng as _;

kshot::register_dataset! {
    /// blobs, 16×16: each class a place
    ///
    /// an example
    name: "blobs",
    options: NoOptions,
    open: |_: &DatasetContext, _: NoOptions| Ok(Box::new(Blobs) as Box<dyn Dataset>),
}

const SIZE: usize = 16;
const CLASSES: usize = 30;
const EXAMPLES: usize = 20;

struct Blobs;

impl Dataset for Blobs {
    /// The classes of a split, which no other split has.
    fn split(&self, split: Split) -> Result<TaskSource> {
        let mut rng = stream(0, &format!("blobs/{}", split.name()), 0);
        let (mut pixels, mut names, mut classes) = (Vec::new(), Vec::new(), Vec::new());
        for class in 0..CLASSES {
            let centre = [0, 1].map(|_| rng.random_range(3.0..13.0f32));
            for example in 0..EXAMPLES {
                let [x, y] = centre.map(|at| at + rng.random_range(-1.5..1.5));
                pixels.extend((0..SIZE * SIZE).map(|at| {
                    let (dx, dy) = ((at % SIZE) as f32 - x, (at / SIZE) as f32 - y);
                    (255.0 * (-(dx * dx + dy * dy) / 4.0).exp()) as u8
                }));
                names.push(format!("{example:02}"));
            }
            let images = ((class * EXAMPLES) as u32..((class + 1) * EXAMPLES) as u32).collect();
            classes.push(Class { name: format!("{}{class:02}", split.name()), images, quarter_turns: 0 });
        }
        let set = ClassSet::new([1, SIZE, SIZE], Arc::new(pixels), Arc::new(names), classes)?;
        Ok(TaskSource::Classes(Arc::new(set)))
    }

    fn input(&self) -> [usize; 3] {
        [1, SIZE, SIZE]
    }

    fn preparation(&self) -> Preparation {
        Preparation::Generated
    }
}

fn main() -> ExitCode {
    kshot_cli::main()
}
