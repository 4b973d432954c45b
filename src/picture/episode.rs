//! An episode with the predictions for its queries.

use ndarray::{Array2, ArrayView3, Axis, concatenate};

use super::{BLACK, Colour, Mark, NUMBER_HEIGHT, Picture, Range, Scale, Thumbnail, WHITE, colour, scatter};
use crate::episode::{Episode, Labelled, Targets};
use crate::eval::check_scores;
use crate::learner::Prediction;
use crate::{Error, Result};

/// Frame of a query that is classified correctly.
const RIGHT: Colour = [26, 152, 80];
/// And of one that is not.
const WRONG: Colour = [215, 25, 28];
/// Frame of an example of the support.
const KNOWN: Colour = [110; 3];

/// Pixels of an example, a side.
const SIDE: usize = 56;
/// Pixels of its frame.
const FRAME: usize = 3;
/// Pixels between two.
const GAP: usize = 4;
/// Pixels at the left, for the number of the class.
const MARGIN: usize = 34;
/// Examples of a class that are drawn, of the support and of the queries: the first.
const MOST_EXAMPLES: usize = 16;
/// Classes that are drawn: the first.
const MOST_CLASSES: usize = 20;

/// Draws an episode as a learner answers it.
///
/// Of a classification: for each class its number and its support in a row, framed in grey; beneath it its queries, in a
/// green frame where they are classified correctly and in a red one where they are not, and beneath each the number of the
/// class that it was taken for. At most 20 classes and 16 examples a row.
///
/// Of a regression from one value to one: the support as black squares, what the queries are to be as grey dots, what the
/// learner says as red ones. `None` of a regression of another shape.
///
/// # Errors
/// When the prediction is not one of this episode.
pub fn episode(episode: &Episode, prediction: &Prediction) -> Result<Option<Picture>> {
    match (prediction, &episode.query.targets) {
        (Prediction::Scores(scores), Targets::Classes(classes)) => {
            let ways = episode.support.ways()?;
            check_scores(scores, (classes.len(), ways))?;
            classification(episode, &prediction.classes(), ways).map(Some)
        }
        (Prediction::Values(values), Targets::Values(targets)) => regression(episode, values, targets),
        _ => Err(Error::invalid("the prediction is of another kind than the targets of the episode")),
    }
}

fn classification(episode: &Episode, predicted: &[usize], ways: usize) -> Result<Picture> {
    let (_, channels, height, width) = episode.support.inputs().dim();
    let thumbnail = Thumbnail::new([channels, height, width], SIDE);
    let range = Range::of([episode.support.inputs(), episode.query.inputs()]);
    let of_class = |examples: &Labelled, class| -> Result<Vec<usize>> {
        let all = examples.classes()?.iter().enumerate().filter(|(_, of)| **of == class);
        Ok(all.map(|(example, _)| example).take(MOST_EXAMPLES).collect())
    };
    let shown: Vec<(Vec<usize>, Vec<usize>)> = (0..ways.min(MOST_CLASSES))
        .map(|class| Ok((of_class(&episode.support, class)?, of_class(&episode.query, class)?)))
        .collect::<Result<_>>()?;

    let [across, down] = thumbnail.size().map(|size| size + 2 * FRAME);
    let (across, block) = (across + GAP, 2 * (down + GAP) + NUMBER_HEIGHT + 2 * GAP);
    let widest = shown.iter().map(|(support, query)| support.len().max(query.len())).max().unwrap_or(0);
    let mut picture = Picture::filled(MARGIN + widest * across + GAP, shown.len() * block + GAP, WHITE);
    let frame = |picture: &mut Picture, [x, y]: [usize; 2], example: ArrayView3<'_, f32>, colour| {
        picture.rectangle([x, y], thumbnail.size().map(|size| size + 2 * FRAME), colour);
        picture.put([x + FRAME, y + FRAME], &thumbnail.draw(example, range));
    };
    for (class, (support, query)) in shown.into_iter().enumerate() {
        let top = GAP + class * block;
        picture.number([GAP, top + FRAME], class, colour(class));
        for (place, example) in support.into_iter().enumerate() {
            let corner = [MARGIN + place * across, top];
            frame(&mut picture, corner, episode.support.inputs().index_axis(Axis(0), example), KNOWN);
        }
        for (place, example) in query.into_iter().enumerate() {
            let (corner, said) = ([MARGIN + place * across, top + down + GAP], predicted[example]);
            let verdict = if said == class { RIGHT } else { WRONG };
            frame(&mut picture, corner, episode.query.inputs().index_axis(Axis(0), example), verdict);
            picture.number([corner[0] + FRAME, corner[1] + down + 2], said, colour(said));
        }
    }
    Ok(picture)
}

fn regression(episode: &Episode, values: &Array2<f32>, targets: &Array2<f32>) -> Result<Option<Picture>> {
    let Targets::Values(known) = &episode.support.targets else {
        return Err(Error::invalid("the support has classes, but the queries have values"));
    };
    if values.dim() != targets.dim() {
        return Err(Error::invalid(format!(
            "values of {:?} where {:?} were asked",
            values.dim(),
            targets.dim()
        )));
    }
    let one = |examples: &Labelled| examples.inputs().len() == examples.len();
    if !(one(&episode.support) && one(&episode.query) && targets.ncols() == 1) {
        return Ok(None);
    }
    let column = |examples: &Labelled| {
        Array2::from_shape_fn((examples.len(), 1), |(n, _)| examples.inputs()[[n, 0, 0, 0]])
    };
    let (x, x_query) = (column(&episode.support), column(&episode.query));
    let points = concatenate![
        Axis(0),
        concatenate![Axis(1), x_query, targets.view()],
        concatenate![Axis(1), x_query, values.view()],
        concatenate![Axis(1), x, known.view()]
    ];
    let queries = targets.nrows();
    let mut marks = vec![Mark::Dot([170; 3]); queries];
    marks.extend(vec![Mark::Dot(WRONG); queries]);
    marks.extend(vec![Mark::Square(BLACK); known.nrows()]);
    scatter(points.mapv(f64::from).view(), &marks, Scale::Each).map(Some)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array4, array};

    use super::*;

    /// Two classes of 2×2 pixels, one example each; queries of class 0, 1, 1.
    fn two_way() -> Episode {
        let examples = |classes: Vec<usize>| {
            let inputs = Array4::from_shape_fn((classes.len(), 1, 2, 2), |(n, ..)| classes[n] as f32);
            Labelled::new(inputs, Targets::Classes(classes))
        };
        Episode {
            index: 0,
            support: examples(vec![0, 1]),
            query: examples(vec![0, 1, 1]),
            classes: vec![7, 8],
        }
    }

    #[test]
    fn what_is_right_is_framed_in_green_and_what_is_wrong_in_red() {
        let scores = Prediction::Scores(array![[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]]);
        let picture = episode(&two_way(), &scores).unwrap().unwrap();
        let (cell, block) = (SIDE + 2 * FRAME + GAP, 2 * (SIDE + 2 * FRAME + GAP) + NUMBER_HEIGHT + 2 * GAP);
        assert_eq!(picture.size(), [MARGIN + 2 * cell + GAP, 2 * block + GAP]);
        let frame = |row: usize, block_of: usize, place: usize| {
            picture.pixel(MARGIN + place * cell, GAP + block_of * block + row * cell)
        };
        assert_eq!((frame(0, 0, 0), frame(0, 1, 0)), (KNOWN, KNOWN));
        assert_eq!((frame(1, 0, 0), frame(1, 1, 0), frame(1, 1, 1)), (RIGHT, RIGHT, WRONG));
        assert_eq!(frame(1, 0, 1), WHITE, "the first class has one query");
        // The wrong one was taken for class 0; its example is white.
        let under = [MARGIN + cell + FRAME, GAP + block + 2 * cell - GAP + 2];
        assert_eq!(picture.pixel(under[0], under[1]), colour(0));
        assert_eq!(picture.pixel(MARGIN + cell + FRAME, GAP + block + cell + FRAME), WHITE);
    }

    #[test]
    fn an_episode_of_many_classes_and_examples_is_cut_short() {
        let classes: Vec<usize> = (0..30 * 20).map(|n| n % 30).collect();
        let examples =
            || Labelled::new(Array4::zeros((classes.len(), 1, 1, 64)), Targets::Classes(classes.clone()));
        let many = Episode { index: 0, support: examples(), query: examples(), classes: Vec::new() };
        let picture = episode(&many, &Prediction::Scores(Array2::zeros((600, 30)))).unwrap().unwrap();
        let [width, height] = picture.size();
        assert!(width < 1100 && height < 2000, "{width} {height}");
    }

    #[test]
    fn a_regression_is_points() {
        let examples = |x: [f32; 2]| {
            let inputs = Array4::from_shape_fn((2, 1, 1, 1), |(n, ..)| x[n]);
            Labelled::new(inputs, Targets::Values(array![[x[0]], [x[1]]]))
        };
        let line = Episode {
            index: 0,
            support: examples([0.0, 1.0]),
            query: examples([0.25, 0.5]),
            classes: Vec::new(),
        };
        let picture = episode(&line, &Prediction::Values(array![[0.25], [0.0]])).unwrap().unwrap();
        assert_eq!(picture.pixel(12, 467), BLACK);
        assert!(episode(&line, &Prediction::Values(array![[0.25]])).is_err());
        assert!(episode(&line, &Prediction::Scores(array![[0.25, 0.5], [0.1, 0.2]])).is_err());
    }
}
