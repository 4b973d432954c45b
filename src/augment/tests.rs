//! What variations of examples have to be, whatever was drawn.

use std::sync::Arc;

use super::geometry::{Piece, Taps, resize, slide};
use super::*;
use crate::dataset::{Class, ClassSet, Split};
use crate::episode::{Augmented, Count, SupportViews, TaskSpec, Tasks};
use crate::options::read;
use crate::rng::stream;

const SHAPE: [usize; 3] = [3, 12, 10];
const SIZE: usize = 3 * 12 * 10;

fn images(normalise: Normalise) -> Inputs {
    Inputs { shape: SHAPE, pixels: Some(normalise) }
}

/// Pixels of 0–1, none alike within a plane, in steps that `f32` holds exactly.
fn examples(n: usize) -> Vec<f32> {
    (0..n * SIZE).map(|i| ((i * 37) % 120) as f32 / 128.0).collect()
}

fn varied(augment: &Augment, inputs: Inputs, values: &[f32], seed: u64) -> Vec<f32> {
    let mut values = values.to_vec();
    Variation::new(augment.clone(), inputs).unwrap().vary(&mut values, &stream(seed, "test", 0), |_| false);
    values
}

fn all() -> Augment {
    Augment {
        crop_scale: Some([0.3, 1.0]),
        flip: 0.5,
        brightness: 0.4,
        contrast: 0.4,
        saturation: 0.4,
        hue: 0.1,
        erase: 0.5,
        ..Augment::default()
    }
}

#[test]
fn nothing_varied_gives_back_the_very_bits() {
    let values = examples(3);
    for normalise in [Normalise::NONE, Normalise::IMAGENET] {
        assert_eq!(varied(&Augment::default(), images(normalise), &values, 0), values);
        // A crop of all there is, in a plane of its ratio.
        let whole =
            Augment { crop_scale: Some([1.0; 2]), crop_ratio: [10.0 / 12.0; 2], ..Augment::default() };
        assert_eq!(varied(&whole, images(normalise), &values, 0), values);
    }
    assert!(!Augment::default().varies() && Augment::default().table().unwrap().is_empty());
}

#[test]
fn a_flip_twice_is_none_and_half_are_flipped() {
    let values = examples(1);
    let always = Augment { flip: 1.0, ..Augment::default() };
    let once = varied(&always, images(Normalise::NONE), &values, 0);
    assert_eq!((once[0], once[9], once[10]), (values[9], values[0], values[19]));
    assert_eq!(varied(&always, images(Normalise::NONE), &once, 0), values);
    let half = Augment { flip: 0.5, ..Augment::default() };
    let many = values.repeat(2000);
    let flipped = varied(&half, images(Normalise::NONE), &many, 1);
    let flips = flipped.chunks(SIZE).filter(|example| **example == once).count();
    assert_eq!(flips + flipped.chunks(SIZE).filter(|example| **example == values).count(), 2000);
    // Five standard deviations.
    assert!((888..=1112).contains(&flips), "{flips}");
}

#[test]
fn a_padded_crop_is_the_image_moved_with_black_beside_it_and_every_place_is_drawn() {
    let values = examples(1);
    let moved = Augment { padding: 2, ..Augment::default() };
    let normalise = Normalise { mean: [0.5; 3], deviation: [0.25; 3] };
    let mut seen = std::collections::BTreeSet::new();
    for example in varied(&moved, images(normalise), &values.repeat(400), 3).chunks(SIZE) {
        let place = (-2i64..=2).flat_map(|down| (-2i64..=2).map(move |right| [down, right])).find(|&by| {
            let at = |channel: usize, row: usize, column: usize| {
                let (row, column) = (row as i64 - by[0], column as i64 - by[1]);
                match (0..12).contains(&row) && (0..10).contains(&column) {
                    true => values[channel * 120 + row as usize * 10 + column as usize],
                    // Black, as it is normalised.
                    false => -2.0,
                }
            };
            (0..SIZE).all(|i| example[i] == at(i / 120, i % 120 / 10, i % 10))
        });
        seen.insert(place.expect("it is a window of the padded image"));
    }
    assert_eq!(seen.len(), 25);
    let mut gone = vec![1.0; 6];
    slide(&mut gone, 3, [0, 7], 0.5);
    assert_eq!(gone, [0.5; 6]);
}

/// Shares and ratios are uniform (the ratio in its logarithm) where every draw fits.
#[test]
fn resized_crops_have_the_areas_and_ratios_that_were_asked_for() {
    const DRAWS: usize = 4000;
    let (size, mut rng) = ([400, 400], stream(0, "crops", 0));
    let (mut area, mut ratio, mut first) = (0.0, 0.0, 0.0);
    for _ in 0..DRAWS {
        let piece = Piece::to_keep(size, [0.08, 0.5], [0.75, 4.0 / 3.0], &mut rng);
        let [height, width] = piece.size.map(|length| length as f64);
        assert!((0..2).all(|axis| piece.at[axis] + piece.size[axis] <= 400));
        let (share, aspect) = (height * width / 160_000.0, width / height);
        assert!((0.079..0.502).contains(&share) && (0.745..1.345).contains(&aspect), "{share} {aspect}");
        area += share / DRAWS as f64;
        ratio += aspect.ln() / DRAWS as f64;
        first += piece.at[0] as f64 / (400.0 - height) / DRAWS as f64;
    }
    // Means of uniform variates, within five standard deviations.
    assert!(
        (area - 0.29).abs() < 0.01 && ratio.abs() < 0.013 && (first - 0.5).abs() < 0.023,
        "{area} {ratio} {first}"
    );
    // What no draw fits: the middle, in the nearest ratio.
    let middle = Piece::to_keep([10, 100], [1.0, 1.0], [1.0, 1.0], &mut rng);
    assert_eq!(middle, Piece { at: [0, 45], size: [10, 10] });
}

#[test]
fn a_piece_is_resized_as_the_definition_says_and_stays_within_its_values() {
    let [_, height, width] = SHAPE;
    let plane = examples(1)[..120].to_vec();
    for piece in [
        Piece { at: [2, 3], size: [5, 4] },
        Piece { at: [0, 0], size: [1, 1] },
        Piece { at: [11, 0], size: [1, 10] },
    ] {
        let mut resized = plane.clone();
        let taps = [Taps::new(piece.size[0], height), Taps::new(piece.size[1], width)];
        resize(&mut resized, piece, &taps, &mut Vec::new());
        // Bilinear between the centres of pixels, beyond the outermost their own values.
        let pixel = |row: f64, column: f64| {
            let clamped = |at: f64, axis: usize| at.clamp(0.0, piece.size[axis] as f64 - 1.0);
            let (row, column) = (clamped(row, 0), clamped(column, 1));
            let value = |row: f64, column: f64| {
                f64::from(plane[(piece.at[0] + row as usize) * width + piece.at[1] + column as usize])
            };
            let mix = |row: f64| {
                value(row, column.floor()) * (1.0 - column.fract())
                    + value(row, column.ceil()) * column.fract()
            };
            mix(row.floor()) * (1.0 - row.fract()) + mix(row.ceil()) * row.fract()
        };
        for (i, &found) in resized.iter().enumerate() {
            let from = |place: usize, axis: usize, whole: usize| {
                (place as f64 + 0.5) * piece.size[axis] as f64 / whole as f64 - 0.5
            };
            let expected = pixel(from(i / width, 0, height), from(i % width, 1, width));
            assert!((f64::from(found) - expected).abs() < 1e-5, "{piece:?} {i}: {found} {expected}");
        }
    }
}

#[test]
fn colours_stay_in_range_and_do_not_depend_on_the_normalisation() {
    let values = examples(50);
    let strong = Augment { brightness: 0.8, contrast: 0.8, saturation: 0.8, hue: 0.5, ..Augment::default() };
    let plain = varied(&strong, images(Normalise::NONE), &values, 0);
    assert!(plain.iter().all(|value| (0.0..=1.0).contains(value)) && plain != values);
    let of_normalised = |values: &[f32]| -> Vec<f32> {
        let channel = |i: usize| i / 120 % 3;
        values.iter().enumerate().map(|(i, &value)| Normalise::IMAGENET.apply(channel(i), value)).collect()
    };
    let normalised = varied(&strong, images(Normalise::IMAGENET), &of_normalised(&values), 0);
    for (found, expected) in normalised.iter().zip(of_normalised(&plain)) {
        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    }
    // Every step comes first now and then: with brightness and contrast the order matters.
    let some = Augment { brightness: 0.9, contrast: 0.9, ..Augment::default() };
    let brightest = |seed| varied(&some, images(Normalise::NONE), &values[..SIZE], seed);
    assert!((0..20).map(brightest).collect::<Vec<_>>().windows(2).all(|two| two[0] != two[1]));
}

#[test]
fn erased_pieces_have_the_areas_asked_for_the_same_in_all_channels() {
    const DRAWS: usize = 2000;
    let inputs = Inputs { shape: [3, 40, 40], pixels: Some(Normalise::NONE) };
    let erase = Augment { erase: 0.5, ..Augment::default() };
    let values = vec![1.0; 3 * 1600 * DRAWS];
    let (mut erased, mut area) = (0, 0.0);
    for example in varied(&erase, inputs, &values, 0).chunks(3 * 1600) {
        let (red, rest) = example.split_at(1600);
        assert!(rest.chunks(1600).all(|plane| plane == red));
        let share = red.iter().filter(|&&value| value == 0.0).count() as f64 / 1600.0;
        assert!(share == 0.0 || (0.015..0.345).contains(&share), "{share}");
        (erased, area) = (erased + usize::from(share > 0.0), area + share);
    }
    assert!((888..=1112).contains(&erased), "{erased}");
    // Uniform, but for the few large ones of extreme ratio that do not fit.
    assert!((area / erased as f64 - 0.17).abs() < 0.02, "{}", area / erased as f64);
}

#[test]
fn signals_are_shifted_scaled_and_made_noisy_by_what_was_asked_for() {
    let inputs = Inputs { shape: [2, 1, 1000], pixels: None };
    let wave = |i: usize| ((i % 1000) as f32 * 0.1).sin() * (1 + i / 1000) as f32;
    let values: Vec<f32> = (0..2000).map(wave).collect();
    let shifted = varied(&Augment { shift: 0.2, ..Augment::default() }, inputs, &values, 1);
    let by = (0..1000)
        .find(|&by| (0..2000).all(|i| shifted[i] == values[i / 1000 * 1000 + (i % 1000 + by) % 1000]));
    assert!(by.is_some_and(|by| by <= 200 || by >= 800), "{by:?}");

    let louder = varied(&Augment { amplitude: 0.1, ..Augment::default() }, inputs, &values.repeat(500), 0);
    let factors: Vec<f64> = louder.chunks(2000).map(|example| f64::from(example[5] / values[5])).collect();
    let mean = factors.iter().sum::<f64>() / 500.0;
    let deviation = (factors.iter().map(|factor| (factor - mean).powi(2)).sum::<f64>() / 499.0).sqrt();
    assert!((mean - 1.0).abs() < 0.023 && (deviation - 0.1).abs() < 0.016, "{mean} {deviation}");

    let noisy = varied(&Augment { noise: 0.5, ..Augment::default() }, inputs, &values, 0);
    for channel in 0..2 {
        let within = channel * 1000..(channel + 1) * 1000;
        let squares: f64 = within.map(|i| f64::from(noisy[i] - values[i]).powi(2)).sum();
        // Half the deviation of a sine of this amplitude.
        let expected = 0.5 * (channel + 1) as f64 / 2f64.sqrt();
        assert!(((squares / 1000.0).sqrt() / expected - 1.0).abs() < 0.12, "channel {channel}");
    }
    // A masked stretch, a stretched piece: the images' own transformations along one axis, of a column too.
    for shape in [[2, 1, 1000], [2, 1000, 1]] {
        let inputs = Inputs { shape, pixels: None };
        let masked = Augment { erase: 1.0, erase_scale: [0.1, 0.1], ..Augment::default() };
        let masked = varied(&masked, inputs, &[1.0; 2000], 0);
        assert_eq!(masked.iter().filter(|&&value| value == 0.0).count(), 200);
        let ramp: Vec<f32> = (0..2000).map(|i| (i % 1000) as f32).collect();
        let stretched = Augment { crop_scale: Some([0.5, 0.5]), ..Augment::default() };
        let stretched = varied(&stretched, inputs, &ramp, 0);
        assert!(
            (stretched[600] - stretched[400] - 100.0).abs() < 1e-2 && stretched[..1000] == stretched[1000..]
        );
        let moved = varied(&Augment { padding: 50, ..Augment::default() }, inputs, &ramp, 0);
        assert!(moved[500] != 500.0 && (moved[500] - 500.0).abs() <= 50.0 && moved[501] - moved[500] == 1.0);
    }
}

#[test]
fn threads_do_not_change_a_bit_nor_do_other_examples() {
    let values = examples(40);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| varied(&all(), images(Normalise::IMAGENET), &values, 7))
    };
    let one = on(1);
    assert!(one == on(2) && one == on(4));
    assert_eq!(varied(&all(), images(Normalise::IMAGENET), &values[..5 * SIZE], 7), one[..5 * SIZE]);
    assert_ne!(varied(&all(), images(Normalise::IMAGENET), &values, 8), one);
}

fn source() -> TaskSource {
    let pixels: Vec<u8> = (0..24 * SIZE).map(|i| (i * 31 % 251) as u8).collect();
    let class = |class: u32| Class {
        name: format!("class{class}"),
        images: (6 * class..6 * class + 6).collect(),
        quarter_turns: 0,
    };
    let names = Arc::new((0..24).map(|image| image.to_string()).collect());
    let set = ClassSet::new(SHAPE, Arc::new(pixels), names, (0..4).map(class).collect()).unwrap();
    TaskSource::Classes(Arc::new(set.normalised(Normalise::IMAGENET)))
}

fn few_shot() -> Box<dyn Tasks> {
    let spec = TaskSpec::FewShot { ways: Count::fixed(3), shots: Count::fixed(2), queries: 2 };
    spec.open(&source(), Split::Train, 0).unwrap()
}

#[test]
fn an_augmented_episode_is_a_function_of_seed_and_number_of_the_same_examples() {
    let augmented = |seed| Augmented::of(few_shot(), &all(), &source(), seed).unwrap();
    let (plain, varied) = (few_shot().episode(5).unwrap(), augmented(0).episode(5).unwrap());
    assert_eq!(varied, augmented(0).episode(5).unwrap());
    assert_ne!(varied.support, augmented(1).episode(5).unwrap().support);
    assert_eq!((&varied.classes, &varied.support.targets), (&plain.classes, &plain.support.targets));
    assert!(
        varied.support.examples != plain.support.examples && varied.query.examples != plain.query.examples
    );
    let same = Augmented::of(few_shot(), &Augment::default(), &source(), 0).unwrap();
    assert_eq!(same.episode(5).unwrap(), plain);
}

#[test]
fn the_one_batch_of_all_there_is_comes_again_varied_anew() {
    let all_of_it =
        || TaskSpec::PkBatch { classes: 4, per_class: 6 }.open(&source(), Split::Train, 0).unwrap();
    assert_eq!(all_of_it().limit(), Some(1));
    let tasks = Augmented::of(all_of_it(), &all(), &source(), 0).unwrap();
    assert_eq!(tasks.limit(), None);
    let (first, second) = (tasks.episode(0).unwrap(), tasks.episode(1).unwrap());
    assert!(first.support.targets == second.support.targets && first.support != second.support);
}

#[test]
fn support_views_begin_with_the_example_itself() {
    let views = Augment { support_views: 3, ..all() };
    let plain = few_shot().episode(1).unwrap();
    let viewed = SupportViews::of(few_shot(), &views, &source(), 0).unwrap().episode(1).unwrap();
    assert_eq!((viewed.query, viewed.support.len()), (plain.query, 18));
    let firsts: Vec<usize> = (0..18).step_by(3).collect();
    assert_eq!(viewed.support.select(&firsts), plain.support);
    let seconds: Vec<usize> = firsts.iter().map(|first| first + 1).collect();
    let second = viewed.support.select(&seconds);
    assert!(second.targets == plain.support.targets && second.examples != plain.support.examples);
    let one = SupportViews::of(few_shot(), &all(), &source(), 0).unwrap();
    assert_eq!(one.episode(1).unwrap(), few_shot().episode(1).unwrap());
}

#[test]
fn what_means_nothing_is_refused() {
    let inputs = |shape, pixels: bool| Inputs { shape, pixels: pixels.then_some(Normalise::NONE) };
    let (grey, signal, features) =
        (inputs([1, 28, 28], true), inputs([1, 1, 64], false), inputs([64, 1, 1], false));
    let spectrogram = inputs([1, 32, 32], false);
    let one = |options: &str| read::<Augment>("`augment`", &options.parse().unwrap());
    for (inputs, options, part) in [
        (
            grey,
            "saturation = 0.1",
            "`augment.saturation` needs three channels of colour, but these inputs are grey images",
        ),
        (grey, "noise = 0.1", "needs signals or features"),
        (
            spectrogram,
            "brightness = 0.1",
            "needs pixels of a known range, but these inputs are arrays of 1×32×32",
        ),
        (
            signal,
            "flip = 0.5",
            "needs images, which have a left and a right, but these inputs are signals of 64 samples",
        ),
        (
            features,
            "erase = 0.5",
            "which have a place for each value, but these inputs are features, 64 of them",
        ),
        (features, "shift = 0.5", "needs signals"),
        (spectrogram, "shift = 0.5", "needs signals"),
    ] {
        let error = one(options).unwrap().fits(&inputs).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    for (options, part) in [
        ("flip = 1.5", "`flip` is 1.5, but must be 0 to 1"),
        ("flipp = 0.5", "did you mean `flip`?"),
        ("crop-scale = [0.5, 1.5]", "`crop-scale` is [0.5, 1.5]"),
        ("erase-ratio = [3.0, 0.3]", "and in order"),
        ("crop-ratio = [nan, 2.0]", "`crop-ratio` is [NaN, 2]"),
        ("padding = 4\ncrop-scale = [0.5, 1.0]", "two ways to cut"),
        ("support-views = 5", "nothing is varied"),
    ] {
        let error = one(options).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    for inputs in [features, spectrogram] {
        let error = Augment::standard(&inputs).unwrap_err().to_string();
        assert!(error.contains("is for images and signals"), "{error}");
    }
    for inputs in [grey, signal, images(Normalise::NONE)] {
        Augment::standard(&inputs).unwrap().fits(&inputs).unwrap();
    }
}
