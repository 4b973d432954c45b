//! What every dataset of classes is once it has been opened: three class sets over the same pixels.

use std::sync::Arc;

use kshot::dataset::{Class, ClassSet, Dataset, Preparation, Split, TaskSource, Values};
use kshot::{Error, Result};

/// A dataset of classes in memory, its splits disjoint in classes and sharing their inputs.
pub(crate) struct ClassSplits {
    /// Name of the dataset, for messages.
    dataset: &'static str,
    /// `[channels, height, width]` of every image.
    shape: [usize; 3],
    preparation: Preparation,
    /// Train, validation, test.
    sets: [Arc<ClassSet>; 3],
    notes: Vec<String>,
}

impl ClassSplits {
    /// Splits over `values`, `[examples, channels, height, width]` flattened; `classes` are train, validation and test.
    pub(crate) fn new(
        dataset: &'static str,
        shape: [usize; 3],
        preparation: Preparation,
        values: impl Into<Values>,
        image_names: Vec<String>,
        classes: [Vec<Class>; 3],
    ) -> Result<Self> {
        let (values, image_names) = (values.into(), Arc::new(image_names));
        let [train, validation, test] =
            classes.map(|classes| ClassSet::new(shape, values.clone(), image_names.clone(), classes));
        Ok(Self {
            dataset,
            shape,
            preparation,
            sets: [Arc::new(train?), Arc::new(validation?), Arc::new(test?)],
            notes: Vec::new(),
        })
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
        self.preparation
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}
