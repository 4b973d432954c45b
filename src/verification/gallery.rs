//! A gallery: all examples compared with all, once, with intervals by bootstrap over the classes.
//!
//! Pairs share examples and examples share classes, so that neither are independent: what may be drawn anew is classes (the
//! two-stage bootstrap without its second stage; Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 8.3).
//! A class drawn w times counts w times: its own pairs w-fold, those with another class by the product of both counts.

use ndarray::Axis;
use rand::Rng as _;

use super::pairs::{Pair, figures};
use super::{Seen, Verification, checked, labels, retrieved, validated};
use crate::Result;
use crate::episode::{Labelled, Tasks};
use crate::learner::Comparer;
use crate::nn::parallel::map_in_order;
use crate::rng::stream;
use crate::stats::Interval;

/// Times that the classes are drawn anew.
const REPLICATES: u64 = 400;
/// Examples embedded, and compared with all, at a time.
const TOGETHER: usize = 256;

/// Two examples by their classes.
struct Compared {
    similarity: f32,
    classes: [u32; 2],
}

/// Verification and retrieval where all examples of `gallery` are compared with all, with the threshold from the batches
/// `0..batches` of `validation`. The outcome is the same on any number of threads.
///
/// # Errors
/// When there is no pair of one class or of two, or a similarity is not a number.
pub fn verify_gallery(
    comparer: &dyn Comparer,
    validation: &dyn Tasks,
    batches: u64,
    gallery: &Labelled,
    on_batch: &(dyn Fn() + Sync),
) -> Result<Verification> {
    let threshold = validated(comparer, validation, batches, on_batch)?;
    let labels = labels(gallery)?;
    let n = labels.len();
    let blocks = n.div_ceil(TOGETHER) as u64;
    let block = |number: u64| {
        let from = number as usize * TOGETHER;
        from..(from + TOGETHER).min(n)
    };
    let parts = map_in_order(0..blocks, |number| {
        comparer.embed(gallery.inputs().slice_axis(Axis(0), block(number).into()))
    })?;
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    let z =
        ndarray::concatenate(Axis(0), &views).map_err(|error| crate::Error::invalid(error.to_string()))?;
    let seen = map_in_order(0..blocks, |number| {
        let rows = block(number);
        let similarity = comparer.similarity(z.slice_axis(Axis(0), rows.clone().into()), z.view())?;
        checked(&similarity, rows.start)?;
        let (mut pairs, mut found) = (Vec::new(), Vec::new());
        for (i, row) in rows.zip(similarity.outer_iter()) {
            found.push(retrieved(i, row, &labels));
            let pair = |j: usize| Compared { similarity: row[j], classes: [i, j].map(|e| labels[e] as u32) };
            pairs.extend((i + 1..n).map(pair));
        }
        Ok((pairs, found))
    })?;
    let (mut pairs, mut found) = (Vec::new(), Vec::new());
    for (of_block, retrieved) in seen {
        pairs.extend(of_block);
        found.extend(retrieved);
    }
    pairs.sort_unstable_by(|a, b| b.similarity.total_cmp(&a.similarity));
    let classes = labels.iter().max().map_or(0, |most| most + 1);
    let by_weight = |weights: &[f64]| -> Seen {
        let pair = |&Compared { similarity, classes: [a, b] }: &Compared| {
            let (a, b) = (weights[a as usize], weights[b as usize]);
            (similarity, a, b)
        };
        let weighed = pairs.iter().map(move |compared| {
            let (similarity, a, b) = pair(compared);
            let same = compared.classes[0] == compared.classes[1];
            Pair { similarity, same, weight: if same { a } else { a * b } }
        });
        let whole: f64 = labels.iter().map(|&label| weights[label]).sum();
        let retrieved = std::array::from_fn(|figure| {
            let of = |(found, &label): (&[f64; 3], &usize)| found[figure] * weights[label];
            found.iter().zip(&labels).map(of).sum::<f64>() / whole
        });
        (figures(weighed.filter(|pair| pair.weight > 0.0), threshold), retrieved)
    };
    let once = by_weight(&vec![1.0; classes]);
    let mut drawn = map_in_order(0..REPLICATES, |replicate| {
        let mut rng = stream(0, "verification/bootstrap", replicate);
        let mut weights = vec![0.0; classes];
        (0..classes).for_each(|_| weights[rng.random_range(0..classes)] += 1.0);
        Ok(by_weight(&weights))
    })?;
    // A draw of one class alone has no pairs of two.
    drawn.retain(|(figures, _)| figures.area.is_finite());
    Verification::by(threshold, |figure| {
        let mut values: Vec<f64> = drawn.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        let quantile = |share: f64| values[(share * (values.len() - 1) as f64).round() as usize];
        Ok(Interval { mean: figure(&once), ci95: (quantile(0.975) - quantile(0.025)) / 2.0 })
    })
}
