//! What every learner must do.

use ndarray::{Array2, Axis};
use rand::Rng as _;

use super::{Checks, Faults, memory, toy, unless};
use crate::backbone::Backbone;
use crate::checkpoint::{self, Checkpoint};
use crate::dataset::Split;
use crate::episode::{Count, Labelled, Targets, Tasks, Unlabelled};
use crate::learner::{Learner, Prediction, Trainable};
use crate::nn::Norm;
use crate::options::described;
use crate::params::Params;
use crate::registry::{LearnerEntry, Problem, Setup};
use crate::rng::stream;
use crate::{Error, Result};

/// What a learner does not promise, by its nature, and the options to try it with.
#[derive(Clone, Debug, Default)]
pub struct Nature {
    /// Its options where they are not the defaults.
    pub options: toml::Table,
    /// It has weights for each label from the start (the head of MAML), so renaming a task's classes starts elsewhere.
    pub head_by_label: bool,
    /// What it gives as outer gradient is not the derivative of what it gives as loss (first-order MAML, Reptile).
    pub approximate_gradient: bool,
}

/// Examines a learner of the default [`Nature`].
///
/// # Errors
/// Each check that failed, by name:
///
/// | check | what must hold |
/// | --- | --- |
/// | `capabilities` | what its entry says of training and comparing is so; each option says what it means |
/// | `threads` | gradients and answers are the same bits on one thread, on three, and again |
/// | `query-order` | the queries' order does not matter |
/// | `transductive` | each query alone is answered as among all, unless the learner says it is transductive; with running statistics in its batch norm, and with the batch's |
/// | `support-order` | the support's order does not matter |
/// | `class-names` | renaming the classes renames the answers (unless `head_by_label`) |
/// | `adapt-once` | adapting once for several sets of queries is adapting each time |
/// | `state` | a task is answered alike whatever was answered before |
/// | `save-and-load` | the weights in a checkpoint are all that was learned |
/// | `gradient` | the outer gradient is the derivative of the outer loss (unless `approximate_gradient`) |
/// | `shots`, `one-query`, `one-class` | unequal shots, one query, one class are answered or refused, without panic or NaN |
/// | `errors` | what does not fit is refused, without panic |
/// | `comparer` | similarities are `[n, m]`, of the two alone |
/// | `memory` | training and answering does not take more and more of it |
pub fn learner(entry: &LearnerEntry) -> Result<(), Faults> {
    learner_of(entry, &Nature::default())
}

/// Examines a learner of another [`Nature`]. One that only solves regressions is examined for its `capabilities` alone.
///
/// # Errors
/// As [`learner`].
pub fn learner_of(entry: &LearnerEntry, nature: &Nature) -> Result<(), Faults> {
    let mut checks = Checks::default();
    let subject = Subject { entry, nature };
    checks.run("capabilities", || subject.capabilities());
    if entry.solves.contains(&Problem::Classification) {
        subject.answers(&mut checks);
        subject.oddities(&mut checks);
        if entry.training.is_some() {
            checks.run("threads", || subject.gradients_on_threads());
            checks.run("save-and-load", || subject.saved_and_loaded());
            if !nature.approximate_gradient {
                checks.run("gradient", || subject.gradient());
            }
        }
        checks.run("memory", || subject.memory());
    }
    checks.finish()
}

/// A learner under examination.
struct Subject<'a> {
    entry: &'a LearnerEntry,
    nature: &'a Nature,
}

impl Subject<'_> {
    fn build(&self, width: i64) -> Result<Box<dyn Learner>> {
        self.build_with(width, self.entry.norm)
    }

    fn build_with(&self, width: i64, norm: Norm) -> Result<Box<dyn Learner>> {
        let mut settings = toml::toml! { kind = "conv4" blocks = 2 };
        settings.insert("width".to_owned(), toml::Value::Integer(width));
        let setup = Setup {
            problem: Problem::Classification,
            backbone: Backbone::of(&settings, toy::INPUT, norm)?,
            base_classes: toy::CLASSES,
            ways: 3,
            shots: Count::fixed(2),
            queries: 4,
            seed: 3,
        };
        (self.entry.build)(&setup, &self.nature.options)
    }

    /// A learner some steps from its start.
    fn trained(&self) -> Result<Box<dyn Learner>> {
        self.trained_with(self.entry.norm)
    }

    fn trained_with(&self, norm: Norm) -> Result<Box<dyn Learner>> {
        let mut learner = self.build_with(8, norm)?;
        if let Some(learner) = learner.trainable() {
            let tasks = training(learner)?;
            for number in 0..3 {
                let outer = learner.outer_gradient(&tasks.episode(number)?)?;
                let theta = &mut learner.learned().theta;
                // Where a fresh network is steep, a longer step would lead anywhere.
                let length = outer.gradient.dot(&outer.gradient).sqrt() as f32;
                let step = 0.01 / (length / 100.0).max(1.0);
                theta.update_weights([&outer.gradient], |theta, [g]| *theta -= step * g);
                theta.fold_statistics(&outer.gradient)?;
            }
        }
        Ok(learner)
    }

    fn capabilities(&self) -> Result<Option<String>> {
        let Self { entry, .. } = self;
        if let Some(silent) = described(&(entry.options)()).into_iter().find(|o| o.meaning.is_empty()) {
            return Ok(Some(format!("its option `{}` has no doc comment", silent.name)));
        }
        (entry.resolve)(&self.nature.options)?;
        if (entry.resolve)(&toml::toml! { no-such-option = 1 }).is_ok() {
            return Ok(Some("it takes an option that it does not have".to_owned()));
        }
        if !entry.solves.contains(&Problem::Classification) {
            return Ok(None);
        }
        let mut learner = self.build(8)?;
        let (trains, compares) = (learner.trainable().is_some(), learner.comparer().is_some());
        if trains != entry.training.is_some() {
            return Ok(Some(format!("its entry has `training`: {}, but `trainable` says {trains}", !trains)));
        }
        unless(compares == entry.compares, || {
            format!("its entry says `compares`: {}, but `comparer` says {compares}", entry.compares)
        })
    }

    /// What must hold of the answers to an ordinary task.
    fn answers(&self, checks: &mut Checks) {
        checks.run("threads", || {
            let (learner, task) = (self.trained()?, toy::task(2, 0)?);
            let answer = || answer(learner.as_ref(), &task.support, &task.query.examples);
            let (one, three) = (on_threads(1, answer)?, on_threads(3, answer)?);
            unless(same(&one, &three), || {
                "a task is answered otherwise on three threads than on one".to_owned()
            })
        });
        checks.run("query-order", || {
            let (learner, task) = (self.trained()?, toy::task(2, 0)?);
            let order: Vec<usize> = (0..task.query.len()).rev().collect();
            let before = answer(learner.as_ref(), &task.support, &task.query.examples)?;
            let after = answer(learner.as_ref(), &task.support, &pick(&task.query, &order)?.examples)?;
            differs(&before.select(Axis(0), &order), &after, 2e-3, "the queries in another order")
        });
        checks.run("transductive", || {
            for norm in [Norm::Running, Norm::Batch] {
                if let Some(wrong) = self.transductive(norm)? {
                    return Ok(Some(format!("with `norm = {norm:?}`: {wrong}")));
                }
            }
            Ok(None)
        });
        checks.run("support-order", || {
            let (learner, task) = (self.trained()?, toy::task(2, 0)?);
            let before = answer(learner.as_ref(), &task.support, &task.query.examples)?;
            let shuffled = pick(&task.support, &[4, 0, 3, 5, 1, 2])?;
            let after = answer(learner.as_ref(), &shuffled, &task.query.examples)?;
            differs(&before, &after, 2e-3, "the support in another order")
        });
        if !self.nature.head_by_label {
            checks.run("class-names", || {
                let (learner, task) = (self.trained()?, toy::task(2, 0)?);
                let before = answer(learner.as_ref(), &task.support, &task.query.examples)?;
                let names = [2, 0, 1];
                let labels = task.support.classes()?.iter().map(|&label| names[label]).collect();
                let renamed = Labelled::new(task.support.inputs().to_owned(), Targets::Classes(labels));
                let after = answer(learner.as_ref(), &renamed, &task.query.examples)?;
                let back = Array2::from_shape_fn(before.dim(), |(query, class)| after[[query, names[class]]]);
                differs(&before, &back, 2e-3, "the classes under other labels")
            });
        }
        checks.run("adapt-once", || {
            let (learner, task) = (self.trained()?, toy::task(2, 0)?);
            let adapted = learner.adapt(&task.support)?;
            let twice = [0, 1].map(|_| adapted.predict(&task.query.examples));
            let [first, second] = twice.map(|scores| scores.and_then(as_scores));
            let (first, second) = (first?, second?);
            let fresh = as_scores(learner.adapt(&task.support)?.predict(&task.query.examples)?)?;
            if !same(&first, &second) || !same(&first, &fresh) {
                return Ok(Some("the same queries are answered otherwise the second time".to_owned()));
            }
            let at_once = answer(learner.as_ref(), &task.support, &task.query.examples)?;
            differs(&first, &at_once, 1e-4, "`answer`, beside `adapt` and `predict`,")
        });
        checks.run("state", || {
            let (learner, task) = (self.trained()?, toy::task(2, 0)?);
            let before = answer(learner.as_ref(), &task.support, &task.query.examples)?;
            for number in 1..4 {
                let other = toy::task(1, number)?;
                answer(learner.as_ref(), &other.support, &other.query.examples)?;
            }
            let after = answer(learner.as_ref(), &task.support, &task.query.examples)?;
            unless(same(&before, &after), || {
                "a task is answered otherwise after other tasks: something is carried over".to_owned()
            })
        });
    }

    /// What a learner that says it is not transductive answers a query alone, against among all.
    fn transductive(&self, norm: Norm) -> Result<Option<String>> {
        let (learner, task) = (self.trained_with(norm)?, toy::task(1, 0)?);
        if learner.is_transductive() {
            return Ok(None);
        }
        let all = answer(learner.as_ref(), &task.support, &task.query.examples)?;
        for place in [0, 7] {
            let query = pick(&task.query, &[place])?.examples;
            let alone = answer(learner.as_ref(), &task.support, &query)?;
            let what = "it says it is not transductive, but asking a query alone";
            if let Some(wrong) = differs(&all.select(Axis(0), &[place]), &alone, 1e-3, what)? {
                return Ok(Some(wrong));
            }
        }
        Ok(None)
    }

    /// Tasks out of the ordinary.
    fn oddities(&self, checks: &mut Checks) {
        let figures = |support: &[usize], query: &[usize]| -> Result<Option<String>> {
            let (learner, task) = (self.trained()?, toy::task(2, 0)?);
            let (support, query) = (pick(&task.support, support)?, pick(&task.query, query)?);
            match learner.answer(&support, &query.examples) {
                Err(error) => {
                    unless(!error.to_string().is_empty(), || "it is refused without a word".to_owned())
                }
                Ok(prediction) => {
                    let scores = as_scores(prediction)?;
                    let wanted = (query.len(), support.ways()?);
                    unless(scores.dim() == wanted && !scores.iter().any(|s| s.is_nan()), || {
                        format!("scores {:?} with NaN or of the wrong shape, {wanted:?} wanted", scores.dim())
                    })
                }
            }
        };
        checks.run("shots", || figures(&[0, 1, 2, 4, 5], &[0, 5, 9]));
        checks.run("one-query", || figures(&[0, 1, 2, 3, 4, 5], &[1]));
        checks.run("one-class", || figures(&[0, 1], &[0, 1]));
        checks.run("errors", || {
            let (learner, task) = (self.trained()?, toy::task(2, 0)?);
            let larger = Unlabelled { inputs: ndarray::Array4::zeros((2, 1, 9, 20)) };
            let missing =
                Labelled::new(task.support.inputs().to_owned(), Targets::Classes(vec![0, 0, 2, 2, 2, 2]));
            let values = Targets::Values(Array2::zeros((task.support.len(), 1)));
            let regression = Labelled::new(task.support.inputs().to_owned(), values);
            let cases = [
                ("queries of another shape", &task.support, &larger),
                ("a regression", &regression, &task.query.examples),
            ];
            // A class without example may have a figure; all that counts is that nothing panics.
            let _ = learner.answer(&missing, &task.query.examples);
            for (what, support, query) in cases {
                let only = self.entry.solves.contains(&Problem::Regression) && what == "a regression";
                if learner.answer(support, query).is_ok() && !only {
                    return Ok(Some(format!("{what} was answered, not refused")));
                }
            }
            Ok(None)
        });
        if self.entry.compares {
            checks.run("comparer", || {
                let (learner, task) = (self.trained()?, toy::task(2, 0)?);
                let Some(comparer) = learner.comparer() else { return Ok(None) };
                let z = comparer.embed(task.query.inputs())?;
                let all = comparer.similarity(z.view(), z.view())?;
                let part = comparer.embed(pick(&task.query, &[3, 8])?.inputs())?;
                let some = comparer.similarity(part.view(), z.view())?;
                differs(&all.select(Axis(0), &[3, 8]), &some, 1e-3, "the similarities of a part")
            });
        }
    }

    fn gradients_on_threads(&self) -> Result<Option<String>> {
        let mut learner = self.build(8)?;
        let learner = trainable(learner.as_mut())?;
        let episode = training(learner)?.episode(0)?;
        let learner: &dyn Trainable = learner;
        let gradient = || learner.outer_gradient(&episode);
        let (one, three) = (on_threads(1, gradient)?, on_threads(3, gradient)?);
        let bits = |params: &Params| params.values().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        unless(
            one.loss.to_bits() == three.loss.to_bits() && bits(&one.gradient) == bits(&three.gradient),
            || "the outer gradient of an episode is another on three threads than on one".to_owned(),
        )
    }

    fn saved_and_loaded(&self) -> Result<Option<String>> {
        let (mut learner, mut fresh, task) = (self.trained()?, self.build(8)?, toy::task(2, 0)?);
        let directory =
            tempfile::tempdir().map_err(|error| Error::io("making", std::env::temp_dir(), error))?;
        let path = directory.path().join("learner.safetensors");
        checkpoint::write(&path, &"conformance", &trainable(learner.as_mut())?.learned().theta, &[])?;
        let loaded = trainable(fresh.as_mut())?;
        let theta = &mut loaded.learned().theta;
        *theta = Checkpoint::read(&path)?.params(theta.layout())?;
        let before = answer(learner.as_ref(), &task.support, &task.query.examples)?;
        let after = answer(fresh.as_ref(), &task.support, &task.query.examples)?;
        unless(same(&before, &after), || {
            "a learner with the weights of a checkpoint answers otherwise: something learned is not in them"
                .to_owned()
        })
    }

    /// Differences of the outer loss along directions that the gradient has a part in.
    fn gradient(&self) -> Result<Option<String>> {
        const STEP: f32 = 1e-3;
        let mut learner = self.build(8)?;
        let learner = trainable(learner.as_mut())?;
        let episode = training(learner)?.episode(0)?;
        let (theta, gradient) = (learner.learned().theta.clone(), learner.outer_gradient(&episode)?.gradient);
        let length = gradient.dot(&gradient).sqrt();
        let mut errors = Vec::new();
        for number in 0..7 {
            let mut rng = stream(number, "conformance/direction", 0);
            let mut direction = Params::zeros(theta.layout());
            direction.update_weights([], |d, []| *d = rng_normal(&mut rng));
            let own = direction.dot(&direction).sqrt();
            direction.update_weights([&gradient], |d, [g]| *d = *d / own as f32 + g / length as f32);
            let exact = direction.dot(&gradient);
            let mut loss_at = |step: f32| -> Result<f64> {
                let mut moved = theta.clone();
                moved.update_weights([&direction], |theta, [d]| *theta += step * d);
                learner.learned().theta = moved;
                Ok(f64::from(learner.outer_gradient(&episode)?.loss))
            };
            let difference = (loss_at(STEP)? - loss_at(-STEP)?) / (2.0 * f64::from(STEP));
            errors.push((difference - exact).abs() / exact.abs().max(1e-6));
        }
        errors.sort_by(f64::total_cmp);
        let median = errors[errors.len() / 2];
        unless(median < 0.2, || {
            format!(
                "differences of the outer loss are off the outer gradient by {:.0} % in the median of {} directions",
                100.0 * median,
                errors.len()
            )
        })
    }

    fn memory(&self) -> Result<Option<String>> {
        let mut learner = self.build(64)?;
        let source = toy::source()?;
        let tasks = match learner.trainable() {
            Some(learner) => Some(learner.learned().task.open(&source, Split::Train, 3)?),
            None => None,
        };
        memory::growth(|number| {
            let task = toy::task(1, number)?;
            drop(learner.answer(&task.support, &task.query.examples)?);
            if let (Some(tasks), Some(learner)) = (&tasks, learner.trainable()) {
                drop(learner.outer_gradient(&tasks.episode(number)?)?);
            }
            Ok(())
        })
    }
}

fn trainable(learner: &mut dyn Learner) -> Result<&mut dyn Trainable> {
    learner.trainable().ok_or_else(|| Error::invalid("its entry has `training`, but it has no `trainable`"))
}

fn training(learner: &mut dyn Trainable) -> Result<Box<dyn Tasks>> {
    learner.learned().task.open(&toy::source()?, Split::Train, 3)
}

fn answer(learner: &dyn Learner, support: &Labelled, query: &Unlabelled) -> Result<Array2<f32>> {
    as_scores(learner.answer(support, query)?)
}

fn as_scores(prediction: Prediction) -> Result<Array2<f32>> {
    match prediction {
        Prediction::Scores(scores) => Ok(scores),
        Prediction::Values(_) => Err(Error::invalid("it answers a classification with values")),
    }
}

/// The examples at `places`, in that order.
fn pick(set: &Labelled, places: &[usize]) -> Result<Labelled> {
    let labels = set.classes()?;
    let labels = places.iter().map(|&place| labels[place]).collect();
    Ok(Labelled::new(set.inputs().select(Axis(0), places), Targets::Classes(labels)))
}

fn on_threads<T: Send>(threads: usize, work: impl Fn() -> Result<T> + Send) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Error::invalid(format!("starting {threads} threads: {error}")))?;
    pool.install(work)
}

fn same(a: &Array2<f32>, b: &Array2<f32>) -> bool {
    a.dim() == b.dim() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// What is wrong where scores differ by more than rounding, on their own scale.
fn differs(a: &Array2<f32>, b: &Array2<f32>, tolerance: f32, what: &str) -> Result<Option<String>> {
    let scale = a.iter().filter(|value| value.is_finite()).fold(1.0_f32, |most, value| most.max(value.abs()));
    let off = a
        .iter()
        .zip(b)
        .filter(|(a, b)| a != b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0_f32, |most, off| if off.is_nan() { f32::INFINITY } else { most.max(off) });
    unless(a.dim() == b.dim() && off <= tolerance * scale, || {
        format!("{what} changes scores by {off} where they are up to {scale}")
    })
}

/// Nearly normal: the sum of twelve uniform draws.
fn rng_normal(rng: &mut crate::rng::Rng) -> f32 {
    (0..12).map(|_| rng.random_range(-0.5..0.5f32)).sum()
}
