//! The bounding boxes of CUB's birds.

use std::collections::HashMap;
use std::path::Path;

use image::DynamicImage;
use kshot::{Error, Result, file};

use crate::digest;
use crate::folder::entries::file_name;

/// CUB's are of half a megabyte.
const MOST_OF_LIST: u64 = 64 << 20;

/// Left, top, width and height of each image's box.
pub(super) struct Boxes {
    of: HashMap<String, [f64; 4]>,
    /// A digest of the lists.
    state: String,
}

impl Boxes {
    /// `NUMBER CLASS/FILE` of images.txt with `NUMBER LEFT TOP WIDTH HEIGHT` of bounding_boxes.txt.
    pub(super) fn read(root: &Path) -> Result<Self> {
        // One directory up, where nothing else was unpacked beside the images.
        let folders = [Some(root), root.parent()];
        let read = |name: &str| {
            let path =
                folders.into_iter().flatten().map(|folder| folder.join(name)).find(|path| path.is_file());
            let path = path.unwrap_or_else(|| root.join(name));
            let text = file::text(&path, MOST_OF_LIST, "reading what `bounding-box` cuts by,")?;
            Ok::<_, Error>((text, path))
        };
        let (images, _) = read("images.txt")?;
        let names: HashMap<&str, &str> =
            images.lines().filter_map(|line| line.trim().split_once(' ')).collect();
        let (boxes, path) = read("bounding_boxes.txt")?;
        let state = digest::of_all([images.as_str(), &boxes]);
        let parsed = |line: &str| {
            let mut words = line.split_whitespace();
            let name = names.get(words.next()?)?;
            let numbers: Vec<f64> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
            Some(((*name).to_owned(), <[f64; 4]>::try_from(numbers).ok()?))
        };
        let lines = boxes.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let of: Result<_> = lines
            .map(|(number, line)| {
                parsed(line).ok_or_else(|| {
                    Error::invalid(format!(
                        "{}, line {}: `{line}` is not the number of an image and its box, left, top, width and height",
                        path.display(),
                        number + 1
                    ))
                })
            })
            .collect();
        Ok(Self { of: of?, state })
    }

    /// Changes with what the lists say.
    pub(super) fn state(&self) -> &str {
        &self.state
    }

    /// The part of an image, read of this file, in its box.
    ///
    /// # Errors
    /// When there is no box, or nothing of the image in it.
    pub(super) fn cut(&self, file: &Path, image: &DynamicImage) -> Result<DynamicImage> {
        // `CLASS/FILE`, as images.txt has it.
        let name = format!("{}/{}", file.parent().map(file_name).unwrap_or_default(), file_name(file));
        self.of.get(&name).and_then(|corners| cut(image, *corners)).ok_or_else(|| {
            Error::invalid(format!(
                "bounding_boxes.txt has no box within {}: leave out `bounding-box`",
                file.display()
            ))
        })
    }
}

/// The part of an image in a box; none where there is nothing of it.
fn cut(image: &DynamicImage, [left, top, width, height]: [f64; 4]) -> Option<DynamicImage> {
    let ends = |from: f64, length: f64, most: u32| {
        let (start, end) = (from.max(0.0).floor() as u32, (from + length).ceil().min(f64::from(most)) as u32);
        (start < end).then(|| (start, end - start))
    };
    let (x, width) = ends(left, width, image.width())?;
    let (y, height) = ends(top, height, image.height())?;
    Some(image.crop_imm(x, y, width, height))
}
