//! An evaluation to look at: its figure, how those of the episodes are distributed, a few episodes drawn, and maps of their
//! embeddings.

use std::path::Path;

use ndarray::{Array, Array2, Array4, ArrayView4, Axis, RemoveAxis, concatenate};
use serde_json::Value;

use super::projector::{self, Projected};
use super::{Observer, Point, Session, Summary, TensorBoard, environment, settings};
use crate::embedding::principal_plane;
use crate::episode::{Episode, Tasks};
use crate::eval::Evaluation;
use crate::learner::Learner;
use crate::picture::{self, BLACK, Mark, Scale, colour};
use crate::{Error, Result};

/// Embeddings `[n, features]` of examples `[n, channels, height, width]`: by a
/// [`Comparer`](crate::learner::Comparer), or by the network of a run ([`Embedding`](crate::embedding::Embedding)).
pub type Embed<'a> = &'a dyn Fn(ArrayView4<'_, f32>) -> Result<Array2<f32>>;

/// Episodes of a [`Tested`] learner that are drawn: the first.
const DRAWN: usize = 4;

/// Logs the figure of an evaluation as `PHASE/accuracy` with its interval, and those of the episodes as a histogram,
/// `PHASE/accuracy_per_episode` (or `mse`).
///
/// # Errors
/// When the log cannot be written.
pub fn log_evaluation(log: &mut dyn Observer, step: u64, phase: &str, evaluation: &Evaluation) -> Result<()> {
    let (name, interval) = (evaluation.score.measure.name(), evaluation.score.interval);
    let mut measured = vec![(format!("{phase}/{name}"), interval.mean as f32)];
    if interval.ci95.is_finite() {
        measured.push((format!("{phase}/{name}_low"), interval.low() as f32));
        measured.push((format!("{phase}/{name}_high"), interval.high() as f32));
    }
    let rate = evaluation.episodes_per_second() as f32;
    log.log(&Point { step, measured, timing: vec![(format!("{phase}/episodes_per_second"), rate)] })?;
    let figures = Summary::Histogram(&evaluation.per_episode);
    log.summary(step, &format!("{phase}/{name}_per_episode"), &figures)
}

/// Logs an episode as `learner` answers it: a picture of it under `episodes/PHASE/NUMBER`, where it can be drawn; and a map
/// of its embeddings under `embeddings/PHASE/NUMBER`, where it has classes, there is an `embed`, and what that gives is
/// finite. The map is the plane of the first two principal components, in the colours of the classes: squares are of the
/// support, dots are queries, those in a black frame are answered wrongly.
///
/// # Errors
/// When the episode does not fit the learner, or the log cannot be written.
pub fn log_episode(
    log: &mut dyn Observer,
    step: u64,
    phase: &str,
    learner: &dyn Learner,
    episode: &Episode,
    embed: Option<Embed<'_>>,
) -> Result<()> {
    let number = episode.index;
    let prediction = learner.answer(&episode.support, &episode.query.examples)?;
    if let Some(drawn) = picture::episode(episode, &prediction)? {
        log.summary(step, &format!("episodes/{phase}/{number}"), &Summary::Picture(&drawn))?;
    }
    let (Some(embed), Ok(support), Ok(query)) = (embed, episode.support.classes(), episode.query.classes())
    else {
        return Ok(());
    };
    let z = embed(both(episode).view())?;
    if z.iter().any(|value| !value.is_finite()) {
        return Ok(());
    }
    let plane = principal_plane(z.view())?;
    let known = support.iter().map(|&class| Mark::Square(colour(class)));
    let asked = prediction.classes().into_iter().zip(query).map(|(said, &class)| match said == class {
        true => Mark::Dot(colour(class)),
        false => Mark::Framed(colour(class), BLACK),
    });
    let marks: Vec<Mark> = known.chain(asked).collect();
    let map = picture::scatter(plane.coordinates.view(), &marks, Scale::Alike)?;
    log.summary(step, &format!("embeddings/{phase}/{number}"), &Summary::Picture(&map))
}

/// Writes the embeddings of episodes for the projector, under `name`, with what is known of each example: its class, by
/// its name where `class_names` has one for the dataset's class, its episode, whether it is of the support or a query, and
/// what a query was taken for. Each episode is embedded on its own.
///
/// # Errors
/// When an episode has no classes or does not fit the learner, or a file cannot be written.
pub fn log_embeddings(
    directory: &Path,
    name: &str,
    learner: &dyn Learner,
    episodes: &[Episode],
    embed: Embed<'_>,
    class_names: &[String],
) -> Result<()> {
    let (mut z, mut inputs) = (Vec::new(), Vec::new());
    let mut columns = ["class", "episode", "side", "predicted", "right"].map(|name| (name, Vec::new()));
    for episode in episodes {
        let named = |label: usize| {
            let class = episode.classes.get(label).copied().unwrap_or(label);
            class_names.get(class).cloned().unwrap_or_else(|| format!("class {class}"))
        };
        let mut row = |values: [String; 5]| {
            columns.iter_mut().zip(values).for_each(|((_, column), value)| column.push(value));
        };
        let (number, none) = (episode.index.to_string(), String::new);
        for &class in episode.support.classes()? {
            row([named(class), number.clone(), "support".to_owned(), none(), none()]);
        }
        let said = learner.answer(&episode.support, &episode.query.examples)?.classes();
        for (said, &class) in said.into_iter().zip(episode.query.classes()?) {
            let right = if said == class { "yes" } else { "no" };
            row([named(class), number.clone(), "query".to_owned(), named(said), right.to_owned()]);
        }
        let both = both(episode);
        z.push(embed(both.view())?);
        inputs.push(both);
    }
    let z = join(&z)?;
    let inputs = join(&inputs)?;
    projector::write(
        directory,
        &[Projected { name, z: z.view(), columns: &columns, examples: inputs.view() }],
    )
}

/// Support and queries.
fn both(episode: &Episode) -> Array4<f32> {
    concatenate![Axis(0), episode.support.inputs(), episode.query.inputs()]
}

/// One below the other.
fn join<D: RemoveAxis>(parts: &[Array<f32, D>]) -> Result<Array<f32, D>> {
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    ndarray::concatenate(Axis(0), &views)
        .map_err(|error| Error::invalid(format!("embeddings of several episodes: {error}")))
}

/// A learner and its evaluation, to be logged in a directory of their own or that of the learner's run.
pub struct Tested<'a> {
    /// What the run is known by in TensorBoard's HParams: an object, as
    /// [`Description::settings`](crate::train::Description::settings) gives one.
    pub settings: &'a Value,
    /// Steps behind the weights.
    pub step: u64,
    /// The learner.
    pub learner: &'a dyn Learner,
    /// What it was asked.
    pub tasks: &'a dyn Tasks,
    /// Its figures.
    pub evaluation: &'a Evaluation,
    /// What embeds the examples, where anything does.
    pub embed: Option<Embed<'a>>,
    /// Names of the dataset's classes, in order; none where they have no names.
    pub class_names: &'a [String],
}

impl Tested<'_> {
    /// Writes a TensorBoard event file in `directory`, which is made if it is not there: the settings and the environment,
    /// the figure `test/accuracy`, the first four episodes with maps of their embeddings; and the projector's files.
    ///
    /// # Errors
    /// As [`log_evaluation`], [`log_episode`] and [`log_embeddings`].
    pub fn log(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory).map_err(|error| Error::io("creating", directory, error))?;
        let mut log = TensorBoard::append(directory)?;
        log.summary(self.step, "test/settings", &Summary::Text(&settings(self.settings)))?;
        log.summary(self.step, "test/environment", &Summary::Text(&environment()))?;
        log.session(&Session::Start(self.settings))?;
        log_evaluation(&mut log, self.step, "test", self.evaluation)?;
        let drawn = self.evaluation.per_episode.len().min(DRAWN) as u64;
        let episodes: Vec<Episode> =
            (0..drawn).map(|number| self.tasks.episode(number)).collect::<Result<_>>()?;
        for episode in &episodes {
            log_episode(&mut log, self.step, "test", self.learner, episode, self.embed)?;
        }
        let classes = episodes.iter().all(|episode| episode.support.classes().is_ok());
        if let (Some(embed), true, false) = (self.embed, classes, episodes.is_empty()) {
            log_embeddings(directory, "test", self.learner, &episodes, embed, self.class_names)?;
        }
        log.session(&Session::End)?;
        log.flush()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::episode::{Labelled, Targets, Unlabelled};
    use crate::eval::{Watch, evaluate};
    use crate::learner::{Adapted, Prediction};

    /// Says the same of all queries.
    struct Fixed(Prediction);

    impl Learner for Fixed {
        fn is_transductive(&self) -> bool {
            false
        }

        fn adapt<'a>(&'a self, _: &'a Labelled) -> Result<Box<dyn Adapted + 'a>> {
            Ok(Box::new(Fixed(self.0.clone())))
        }
    }

    impl Adapted for Fixed {
        fn predict(&self, _: &Unlabelled) -> Result<Prediction> {
            Ok(self.0.clone())
        }
    }

    /// The tags that an observer is told of.
    #[derive(Default)]
    struct Tags(Vec<String>);

    impl Observer for Tags {
        fn log(&mut self, point: &Point) -> Result<()> {
            self.0.extend(point.measured.iter().chain(&point.timing).map(|(tag, _)| tag.clone()));
            Ok(())
        }

        fn summary(&mut self, _: u64, tag: &str, _: &Summary<'_>) -> Result<()> {
            self.0.push(tag.to_owned());
            Ok(())
        }
    }

    /// Two examples of support and two queries.
    struct Two(Targets);

    impl Tasks for Two {
        fn episode(&self, index: u64) -> Result<Episode> {
            let inputs = Array4::from_shape_fn((2, 1, 1, 1), |(n, ..)| n as f32);
            let labelled = || Labelled::new(inputs.clone(), self.0.clone());
            Ok(Episode { index, support: labelled(), query: labelled(), classes: vec![5, 6] })
        }
    }

    #[test]
    fn an_episode_is_drawn_and_mapped_as_far_as_it_can_be() {
        let identity =
            |x: ArrayView4<'_, f32>| Ok(Array2::from_shape_fn((x.len(), 1), |(n, _)| x[[n, 0, 0, 0]]));
        let tags = |targets: &Targets, prediction: Prediction, embed| {
            let (mut tags, episode) = (Tags::default(), Two(targets.clone()).episode(3)?);
            log_episode(&mut tags, 1, "test", &Fixed(prediction), &episode, embed).map(|()| tags.0)
        };
        let classes = Targets::Classes(vec![0, 1]);
        let scores = || Prediction::Scores(array![[1.0, 0.0], [1.0, 0.0]]);
        assert_eq!(tags(&classes, scores(), None).unwrap(), ["episodes/test/3"]);
        assert_eq!(
            tags(&classes, scores(), Some(&identity)).unwrap(),
            ["episodes/test/3", "embeddings/test/3"]
        );
        let (curve, surface) = (array![[0.0], [1.0]], array![[0.0, 1.0], [1.0, 2.0]]);
        let of =
            |values: Array2<f32>| tags(&Targets::Values(values.clone()), Prediction::Values(values), None);
        assert_eq!(of(curve.clone()).unwrap(), ["episodes/test/3"]);
        assert_eq!(of(surface).unwrap(), [""; 0]);
        assert!(tags(&classes, Prediction::Values(curve), None).is_err());
    }

    #[test]
    fn the_projector_is_told_what_each_example_is_and_was_taken_for() {
        let directory = tempfile::tempdir().unwrap();
        let learner = Fixed(Prediction::Scores(array![[1.0, 0.0], [1.0, 0.0]]));
        let episode = Two(Targets::Classes(vec![0, 1])).episode(2).unwrap();
        let embed = |x: ArrayView4<'_, f32>| Ok(Array2::zeros((x.dim().0, 3)));
        let names: Vec<String> = (0..6).map(|class| format!("name {class}")).collect();
        log_embeddings(directory.path(), "two", &learner, &[episode], &embed, &names).unwrap();
        let metadata = std::fs::read_to_string(directory.path().join("projector/two/metadata.tsv")).unwrap();
        let lines: Vec<&str> = metadata.lines().collect();
        assert_eq!(
            lines[1..],
            [
                "name 5\t2\tsupport\t\t",
                "class 6\t2\tsupport\t\t",
                "name 5\t2\tquery\tname 5\tyes",
                "class 6\t2\tquery\tname 5\tno"
            ]
        );
    }

    #[test]
    fn an_evaluation_is_its_figure_and_those_of_its_episodes() {
        let learner = Fixed(Prediction::Scores(array![[1.0, 0.0], [1.0, 0.0]]));
        let evaluation =
            evaluate(&learner, &Two(Targets::Classes(vec![0, 1])), 3, &Watch::default()).unwrap();
        let mut tags = Tags::default();
        log_evaluation(&mut tags, 1, "test", &evaluation).unwrap();
        let figures =
            ["accuracy", "accuracy_low", "accuracy_high", "episodes_per_second", "accuracy_per_episode"];
        assert_eq!(tags.0, figures.map(|name| format!("test/{name}")));
    }
}
