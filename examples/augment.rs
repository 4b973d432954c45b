//! What augmentation makes of images, to look at: each row an image and seven variations of it.
//!
//! `cargo run --release --example augment -- IMAGES SHEET.png [SIDE]`, IMAGES as `--set folder.path` takes them.

use std::error::Error;

use kshot::augment::{Augment, Inputs, Variation};
use kshot::dataset::{DatasetContext, Split, TaskSource};
use kshot::picture::{Picture, Range, Thumbnail, WHITE};
use kshot::registry;
use kshot::rng::stream;
use kshot_datasets as _;

/// Images, and pictures of each.
const ROWS: usize = 5;
const COLUMNS: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [images, sheet, ..] = arguments.as_slice() else { return Err("name a folder and a PNG".into()) };
    let side: i64 = arguments.get(2).map_or(Ok(84), |side| side.parse())?;
    let options = toml::Table::from_iter([
        ("path".to_owned(), images.clone().into()),
        ("colour".to_owned(), "rgb".into()),
        ("image-size".to_owned(), side.into()),
    ]);
    let dataset = (registry::dataset("folder")?.open)(&DatasetContext::default(), &options)?;
    let source = dataset.split(Split::Train)?;
    let TaskSource::Classes(set) = &source else { return Err("no classes".into()) };
    let firsts = set.first_of_each(1)?;

    let inputs = Inputs::of(&source)?;
    let standard = Augment { erase: 0.5, ..Augment::standard(&inputs)? };
    let resized = Augment { padding: 0, crop_scale: Some([0.2, 1.0]), hue: 0.1, ..standard.clone() };
    let thumbnail = Thumbnail::new(inputs.shape, 96);
    let [width, height] = thumbnail.size();
    let mut picture = Picture::filled(COLUMNS * (width + 4), 2 * ROWS * (height + 4), WHITE);
    for (half, augment) in [standard, resized].into_iter().enumerate() {
        let variation = Variation::new(augment, inputs)?;
        for row in 0..ROWS {
            let mut views = firsts.select(&[row; COLUMNS]).examples.inputs;
            let values = views.as_slice_mut().ok_or("examples lie one after the other")?;
            variation.vary(values, &stream(0, "example", row as u64), |view| view == 0);
            let range = Range::of([firsts.inputs()]);
            for (column, view) in views.outer_iter().enumerate() {
                let at = [column * (width + 4), (half * ROWS + row) * (height + 4)];
                picture.put(at, &thumbnail.draw(view, range));
            }
        }
    }
    std::fs::write(sheet, picture.png()?)?;
    println!("{sheet}: above, what `standard` does, and erasing; below, resized crops and hues instead");
    Ok(())
}
