//! The benchmarks of the few-shot literature, read from the archives as they are published, their classes divided as papers
//! divide them.
//!
//! | name | what | files, in the data directory |
//! | --- | --- | --- |
//! | [`photos`] (`mini-imagenet`, `tiered-imagenet`, `tiny-imagenet`, `cub`) | photographs, a directory for each class | directories, zip or tar |
//! | [`cifar`] (`cifar-fs`, `fc100`) | the 60,000 images of CIFAR-100 | `cifar-100/cifar-100-binary.tar.gz` |
//! | [`mnist`] | 70,000 handwritten digits | `mnist/*-ubyte.gz` |
//! | [`quickdraw`] | drawings of 345 categories | `quickdraw/CATEGORY.npy` |
//!
//! The lists of classes, with their sources, are in `splits/`. Every class of a list has to be there; other classes are left
//! out, and another number of images than is published is told ([`Dataset::notes`](kshot::dataset::Dataset::notes)). All images
//! are held in memory, a byte a value, or in a store on disk ([`crate::stores`]).

mod boxes;
pub mod cifar;
pub mod mnist;
pub mod photos;
mod pixels;
pub mod quickdraw;
#[cfg(feature = "download")]
mod remote;

use std::collections::HashMap;
use std::path::Path;

use kshot::{Error, Result};

use crate::class_division::{first_of, parse};

pub use pixels::PixelOptions;
#[cfg(feature = "download")]
pub(crate) use remote::remote;

/// A class, and its images.
type Members<I> = (String, Vec<I>);

/// What is known of a benchmark whose classes are listed.
struct Facts {
    name: &'static str,
    /// The classes of training, validation and test, as a split file has them.
    split: &'static str,
    /// How many images it has in all.
    images: usize,
    /// Where it is to be had, under what terms, and how it has to lie.
    source: &'static str,
}

impl Facts {
    /// The classes of training, validation and test, each with its images, out of those found in `place`.
    ///
    /// # Errors
    /// When one is not there: names the first of those that are missing.
    fn divided<I>(
        &self,
        classes: impl IntoIterator<Item = Members<I>>,
        place: &Path,
        notes: &mut Vec<String>,
    ) -> Result<[Vec<Members<I>>; 3]> {
        let Self { name, split, images, source } = self;
        let division = parse(split).map_err(Error::invalid)?;
        let mut found: HashMap<String, Vec<I>> = classes.into_iter().collect();
        let missing: Vec<&String> =
            division.iter().flatten().filter(|&name| !found.contains_key(name)).collect();
        if !missing.is_empty() {
            return Err(Error::invalid(format!(
                "{} of the {} classes of `{name}` are not in {}: {}; {source}",
                missing.len(),
                division.iter().flatten().count(),
                place.display(),
                first_of(&missing)
            )));
        }
        let divided = division
            .map(|names| names.into_iter().filter_map(|name| found.remove_entry(&name)).collect::<Vec<_>>());
        if !found.is_empty() {
            let mut others: Vec<String> = found.into_keys().collect();
            others.sort();
            notes.push(format!(
                "left out of {}, as `{name}` has no such class: {}",
                place.display(),
                first_of(&others)
            ));
        }
        let count = |class: &&Members<I>| class.1.len();
        let there: usize = divided.iter().flatten().map(|class| count(&class)).sum();
        if let Some(fewest) = divided.iter().flatten().min_by_key(count).filter(|_| there != *images) {
            notes.push(format!(
                "`{name}` has {there} images here, but {images} as it is published (the fewest, {}, of `{}`): figures are not \
                 comparable",
                fewest.1.len(),
                fewest.0
            ));
        }
        Ok(divided)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_splits_have_as_many_classes_as_their_papers_say_and_no_class_twice() {
        let splits = [
            (photos::MINI_IMAGENET.facts.split, [64, 16, 20]),
            (photos::TIERED_IMAGENET.facts.split, [351, 97, 160]),
            (photos::TINY_IMAGENET.facts.split, [120, 30, 50]),
            (photos::CUB.facts.split, [100, 50, 50]),
            (cifar::CIFAR_FS.split, [64, 16, 20]),
            (cifar::FC100.split, [60, 20, 20]),
            (quickdraw::SPLIT, [241, 52, 52]),
        ];
        for (split, counts) in splits {
            let division = parse(split).unwrap();
            assert_eq!(division.each_ref().map(Vec::len), counts);
            let names: HashSet<&String> = division.iter().flatten().collect();
            assert_eq!(names.len(), counts.iter().sum::<usize>());
        }
    }

    #[test]
    fn both_divisions_of_cifar_100_are_of_the_same_classes() {
        let names = |split| parse(split).unwrap().concat().into_iter().collect::<HashSet<String>>();
        assert_eq!(names(cifar::CIFAR_FS.split), names(cifar::FC100.split));
    }

    #[test]
    fn missing_classes_are_named_other_ones_left_out_and_other_numbers_told() {
        let facts = Facts {
            name: "mine",
            split: "train = ['a', 'b']\nvalidation = ['c']\ntest = ['d']",
            images: 8,
            source: "get them",
        };
        let classes = |names: &[&str]| -> Vec<Members<u8>> {
            names.iter().map(|&name| (name.to_owned(), vec![0; 2])).collect()
        };
        let divided = |names: &[&str]| {
            let mut notes = Vec::new();
            facts.divided(classes(names), Path::new("place"), &mut notes).map(|divided| (divided, notes))
        };
        let (splits, notes) = divided(&["d", "b", "c", "a"]).unwrap();
        assert_eq!(splits.map(|split| split.len()), [2, 1, 1]);
        assert!(notes.is_empty(), "{notes:?}");
        let (_, notes) = divided(&["a", "b", "c", "d", "x"]).unwrap();
        assert!(notes[0].contains("no such class: x"), "{notes:?}");
        let error = divided(&["a", "c"]).unwrap_err().to_string();
        assert!(error.contains("2 of the 4 classes of `mine` are not in place: b, d; get them"), "{error}");
        let mut notes = Vec::new();
        let fewer = classes(&["a", "b", "c"]).into_iter().chain([("d".to_owned(), vec![0])]);
        facts.divided(fewer, Path::new("place"), &mut notes).unwrap();
        assert!(notes[0].contains("7 images here, but 8") && notes[0].contains("1, of `d`"), "{notes:?}");
    }
}
