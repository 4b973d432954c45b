//! Several datasets as one distribution over tasks: each task is of one of them.

use std::sync::Arc;

use kshot::dataset::{Class, ClassSet, Dataset, Split, TaskSource};
use kshot::{Error, Result};

use crate::class_splits::ClassSplits;

const SPLITS: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

/// Datasets of classes under their names, joined: class `a` of `omniglot` is `omniglot/a`. One that has no classes in a split
/// takes no part in it. New files are prepared as those of the first are.
///
/// # Errors
/// When one has no classes, or their inputs differ in more than colour ([`ClassSet::joined`]).
#[expect(clippy::indexing_slicing, reason = "three splits")]
pub fn joined(datasets: &[(&str, Box<dyn Dataset>)]) -> Result<Box<dyn Dataset>> {
    let Some((first_name, first)) = datasets.first() else {
        return Err(Error::invalid("joining datasets: none is named"));
    };
    let mut parts = Vec::new();
    for (name, dataset) in datasets {
        let sets = SPLITS.map(|split| match dataset.split(split) {
            Ok(TaskSource::Classes(set)) => Some(set),
            _ => None,
        });
        parts.push((*name, sets));
    }
    let inputs: Vec<&ClassSet> = parts
        .iter()
        .map(|(name, sets)| {
            let any = sets.iter().flatten().next().map(AsRef::as_ref);
            any.ok_or_else(|| {
                Error::invalid(format!("`{name}` has no classes: only datasets of classes can be joined"))
            })
        })
        .collect::<Result<_>>()?;
    let names: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
    let (whole, firsts) =
        ClassSet::joined(&inputs).map_err(|error| error.context(format!("joining {}", names.join(", "))))?;
    let split = |number: usize| {
        let (mut classes, mut sources) = (Vec::new(), Vec::new());
        for ((name, sets), first) in parts.iter().zip(&firsts) {
            let Some(set) = &sets[number] else { continue };
            sources.push(((*name).to_owned(), set.classes().len()));
            classes.extend(set.classes().iter().map(|class| Class {
                name: format!("{name}/{}", class.name),
                images: class.images.iter().map(|image| first + image).collect(),
                quarter_turns: class.quarter_turns,
            }));
        }
        whole.with_classes(classes)?.from_sources(sources)
    };
    let sets = [split(0)?, split(1)?, split(2)?].map(Arc::new);
    let mut notes: Vec<String> = datasets.iter().flat_map(|(_, dataset)| dataset.notes().to_vec()).collect();
    let preparation = first.preparation();
    if datasets.iter().any(|(_, dataset)| dataset.preparation() != preparation) {
        notes.push(format!(
            "the images of {} are not made in one way; new files will be made as those of `{}` are",
            names.join(", "),
            first_name
        ));
    }
    Ok(Box::new(ClassSplits::of_sets(names.join(","), whole.shape(), preparation, sets).with_notes(notes)))
}
