//! Which characters are for training, validation and test.

use std::collections::HashMap;

use kshot::dataset::Class;
use kshot::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drawings::Character;

/// The division of the characters into splits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClassSplit {
    /// 1028 train, 172 validation, 423 test characters: Vinyals et al., *Matching Networks for One Shot Learning*,
    /// NeurIPS 2016, by the lists published with Snell et al. 2017. What most papers report on.
    #[default]
    Vinyals,
    /// Lake et al. 2015: the 659 evaluation characters (20 alphabets) are the test; every sixth of the 30 background
    /// alphabets, by name, is for validation, the others for training.
    Lake,
}

const VINYALS: &str = include_str!("vinyals.txt");

/// The classes of each split (train, validation, test); with `rotations`, four of each character.
#[expect(clippy::indexing_slicing, reason = "three splits, and the alphabets of the characters")]
pub(super) fn classes(
    split: ClassSplit,
    background: &[Character],
    evaluation: &[Character],
    rotations: bool,
) -> Result<[Vec<Class>; 3]> {
    let mut splits: [Vec<Class>; 3] = Default::default();
    let mut add = |split: usize, character: &Character| {
        if rotations {
            splits[split].extend((0..4).map(|turns| Class {
                name: format!("{}/rot{:03}", character.name, 90 * u32::from(turns)),
                images: character.images.clone(),
                quarter_turns: turns,
            }));
        } else {
            let (name, images) = (character.name.clone(), character.images.clone());
            splits[split].push(Class { name, images, quarter_turns: 0 });
        }
    };
    match split {
        ClassSplit::Vinyals => {
            let by_name: HashMap<&str, &Character> =
                background.iter().chain(evaluation).map(|c| (c.name.as_str(), c)).collect();
            for (split, name) in vinyals() {
                let character = by_name.get(name.as_str()).ok_or_else(|| {
                    Error::invalid(format!(
                        "Omniglot's split `vinyals` has the character `{name}`, which is not among the drawings; \
                         get the dataset again with `kshot data get omniglot`"
                    ))
                })?;
                add(split, character);
            }
        }
        ClassSplit::Lake => {
            let mut alphabets: Vec<&str> = background.iter().map(Character::alphabet).collect();
            alphabets.dedup();
            let place: HashMap<&str, usize> =
                alphabets.into_iter().enumerate().map(|(i, a)| (a, i)).collect();
            background.iter().for_each(|c| add(usize::from(place[c.alphabet()] % 6 == 5), c));
            evaluation.iter().for_each(|c| add(2, c));
        }
    }
    Ok(splits)
}

/// Split (0–2: train, validation, test) and name of every character of the Vinyals split, in the lists' order.
fn vinyals() -> impl Iterator<Item = (usize, String)> {
    VINYALS.lines().filter(|line| !line.starts_with('#')).filter_map(parse).flat_map(
        |(split, alphabet, numbers)| {
            numbers.map(move |number| (split, format!("{alphabet}/character{number:02}")))
        },
    )
}

/// `train Greek 1-24`.
fn parse(line: &str) -> Option<(usize, &str, std::ops::RangeInclusive<u32>)> {
    let mut words = line.split(' ');
    let split =
        ["train", "validation", "test"].iter().position(|name| Some(*name) == words.clone().next())?;
    let alphabet = words.nth(1)?;
    let (first, last) = words.next()?.split_once('-')?;
    Some((split, alphabet, first.parse().ok()?..=last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_vinyals_split_has_1028_172_and_423_characters_and_no_character_twice() {
        assert!(VINYALS.lines().all(|line| line.starts_with('#') || parse(line).is_some()));
        let mut counts = [0; 3];
        vinyals().for_each(|(split, _)| counts[split] += 1);
        assert_eq!(counts, [1028, 172, 423]);
        assert_eq!(vinyals().map(|(_, name)| name).collect::<HashSet<_>>().len(), 1623);
    }

    #[test]
    fn a_rotation_is_a_class_of_its_own_over_the_same_images() {
        let character = |name: &str| Character { name: name.to_owned(), images: vec![3, 4] };
        let (background, evaluation) = ([character("Greek/character01")], [character("ULOG/character02")]);
        let [train, _, test] = classes(ClassSplit::Lake, &background, &evaluation, true).unwrap();
        let names: Vec<_> = train.iter().map(|class| (class.name.as_str(), class.quarter_turns)).collect();
        let expected = ["rot000", "rot090", "rot180", "rot270"].map(|rot| format!("Greek/character01/{rot}"));
        assert_eq!(names, (0..4).map(|i| (expected[i].as_str(), i as u8)).collect::<Vec<_>>());
        assert!(test.iter().all(|class| class.images == [3, 4]));
        let [train, ..] = classes(ClassSplit::Lake, &background, &evaluation, false).unwrap();
        assert_eq!(train.len(), 1);
    }

    #[test]
    fn a_listed_character_that_is_missing_is_named() {
        let error = classes(ClassSplit::Vinyals, &[], &[], true).err().unwrap().to_string();
        assert!(error.contains("Angelic/character01"), "{error}");
    }
}
