//! How many components a task is projected to, chosen on its source: no label of the target is looked at.

use kshot::learner::argmax;
use kshot::{Error, Result};

use crate::align::Method;
use crate::basis::{Task, to_unit_length};
use crate::config::CommonOptions;

/// Of each class, one labelled source example in this many is held out.
const HELD_OUT: usize = 5;

/// The method with the number of components that classifies held-out source examples best, of equally good ones the
/// fewest. Where a task has no class with two source examples, nothing can be held out: the method as it is.
///
/// # Errors
/// When none of the numbers can be had of this task.
pub(crate) fn chosen(method: &Method, task: &Task<'_>, common: &CommonOptions) -> Result<Method> {
    let mut candidates = method.width().map(|width| width.search.clone()).unwrap_or_default();
    candidates.sort_unstable();
    candidates.dedup();
    let (labels, held_out) = without_held_out(task);
    if candidates.is_empty() || held_out.is_empty() {
        return Ok(method.clone());
    }
    let validation = Task { labels: &labels, ..*task };
    let (mut best, mut refused) = (None, None);
    for count in candidates {
        let method = method.with_components(count);
        let mut z = match method.align(&validation, common) {
            Ok(z) => z,
            Err(error) => {
                refused = Some(error);
                continue;
            }
        };
        if common.unit_length {
            to_unit_length(&mut z);
        }
        // The held-out are the first rows that are asked.
        let scores = common.classifier.scores(z.as_ref(), &labels, task.ways);
        let right = scores
            .outer_iter()
            .zip(&held_out)
            .filter(|(scores, row)| Some(argmax(scores.iter().copied())) == task.labels[**row])
            .count();
        if best.as_ref().is_none_or(|&(most, _)| right > most) {
            best = Some((right, method));
        }
    }
    best.map(|(_, method)| method)
        .ok_or_else(|| refused.unwrap_or_else(|| Error::invalid("nothing to choose from")))
}

/// Labels without those of the held-out source examples, and which these are.
fn without_held_out(task: &Task<'_>) -> (Vec<Option<usize>>, Vec<usize>) {
    let (mut labels, mut held_out) = (task.labels.to_vec(), Vec::new());
    let mut seen = vec![0; task.ways];
    for (row, own) in labels.iter_mut().enumerate().take(task.sources) {
        if let Some(label) = *own {
            seen[label] += 1;
            // The second, the seventh …: a class always keeps its first.
            if seen[label] % HELD_OUT == 2 {
                *own = None;
                held_out.push(row);
            }
        }
    }
    (labels, held_out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use faer::Mat;

    use super::*;
    use crate::config::{TcaOptions, Width};

    /// The first component is noise, the second has the classes, of which the third knows no more.
    #[test]
    fn the_source_chooses_the_fewest_components_that_have_the_classes() {
        let x = Mat::from_fn(80, 3, |i, j| {
            let noise = ((i * 3 + j) as f64 * 1.7).sin();
            [20.0 * noise, 6.0 * (i % 2) as f64 + 0.1 * noise, 0.1 * noise][j]
        });
        let labels: Vec<Option<usize>> = (0..80).map(|i| (i < 40).then_some(i % 2)).collect();
        let task = Task { x: x.as_ref(), labels: &labels, sources: 40, ways: 2 };
        let common = CommonOptions { unit_length: false, ..CommonOptions::default() };
        let searching = |search: &[usize]| {
            let width = Width { search: search.to_vec(), ..Width::default() };
            Method::Tca(TcaOptions { width, ..TcaOptions::default() })
        };
        let components = |method: &Method| method.width().unwrap().components;
        assert_eq!(components(&chosen(&searching(&[3, 1, 2]), &task, &common).unwrap()), Some(2));
        // What cannot be had is passed over, and named if nothing else can be.
        assert_eq!(components(&chosen(&searching(&[9, 2]), &task, &common).unwrap()), Some(2));
        assert!(chosen(&searching(&[9]), &task, &common).unwrap_err().to_string().contains('9'));
        // One example of each class: nothing to hold out.
        let few: Vec<Option<usize>> = (0..80).map(|i| (i < 2).then_some(i % 2)).collect();
        let task = Task { labels: &few, ..task };
        assert_eq!(components(&chosen(&searching(&[1, 2]), &task, &common).unwrap()), None);
    }
}
