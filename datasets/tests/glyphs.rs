//! Whether the glyphs are an exercise and not a toy.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Instant;

use kshot_datasets::glyphs::{self, GlyphsOptions};

#[test]
fn glyphs_are_as_hard_for_pixels_as_omniglot() {
    let start = Instant::now();
    let dataset = glyphs::draw(&GlyphsOptions::default()).unwrap();
    println!("glyphs opened in {:?}", start.elapsed());
    let accuracy = common::pixel_nearest_neighbour(dataset.as_ref());
    println!("glyphs: pixel 1-NN {accuracy:.1} %");
    assert!((40.0..=50.0).contains(&accuracy), "{accuracy:.1} %");
}
