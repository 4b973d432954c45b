//! What every dataset of classes is once it has been opened: three class sets over the same pixels.

use std::sync::Arc;

use kshot::dataset::{Class, ClassSet, Dataset, Preparation, Split, TaskSource};
use kshot::{Error, Result};

/// A dataset of classes in memory, its splits disjoint in classes and sharing their inputs.
pub(crate) struct ClassSplits {
    /// Name of the dataset, for messages.
    dataset: String,
    /// `[channels, height, width]` of every image.
    shape: [usize; 3],
    preparation: Preparation,
    /// Train, validation, test.
    sets: [Arc<ClassSet>; 3],
    notes: Vec<String>,
}

impl ClassSplits {
    /// Splits of a set's examples; `classes` are train, validation and test.
    pub(crate) fn new(
        dataset: &str,
        preparation: Preparation,
        whole: &ClassSet,
        classes: [Vec<Class>; 3],
    ) -> Result<Self> {
        let [train, validation, test] = classes.map(|classes| whole.with_classes(classes).map(Arc::new));
        let sets = [train?, validation?, test?];
        Ok(Self::of_sets(dataset.to_owned(), whole.shape(), preparation, sets))
    }

    /// The same of sets that are there: train, validation and test.
    pub(crate) fn of_sets(
        dataset: String,
        shape: [usize; 3],
        preparation: Preparation,
        sets: [Arc<ClassSet>; 3],
    ) -> Self {
        Self { dataset, shape, preparation, sets, notes: Vec::new() }
    }

    /// The same, with something to say of it.
    pub(crate) fn with_notes(self, notes: Vec<String>) -> Self {
        Self { notes, ..self }
    }
}

impl Dataset for ClassSplits {
    fn split(&self, split: Split) -> Result<TaskSource> {
        let set = match split {
            Split::Train => &self.sets[0],
            Split::Validation => &self.sets[1],
            Split::Test => &self.sets[2],
        };
        if set.classes().is_empty() {
            return Err(Error::invalid(format!(
                "the {} split of `{}` has no classes; choose another split, or divide the classes differently",
                split.name(),
                self.dataset
            )));
        }
        Ok(TaskSource::Classes(set.clone()))
    }

    fn input(&self) -> [usize; 3] {
        self.shape
    }

    fn preparation(&self) -> Preparation {
        self.preparation.clone()
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}
