//! Running a row.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use kshot::augment::{Augment, Inputs};
use kshot::dataset::{Class, ClassSet, DatasetContext, Split, TaskSource};
use kshot::episode::{Augmented, Count, Labelled, Targets, TaskSpec, Tasks, Unlabelled};
use kshot::learner::Learner;
use kshot::log::{Observer, Point};
use kshot::nn::Norm;
use kshot::nn::peak::{ConvolutionPeak, multiply_add_loop};
use kshot::ranks::Ranks;
use kshot::registry::{self, Problem, Setup};
use kshot::rng::stream;
use kshot::train::{Run, TrainConfig, train};
use kshot::{Error, Result};
use ndarray::{Array2, Array4};
use rand::Rng as _;
use serde_json::{Value, json};

use super::rows::{Row, Work, backbone};

/// Repetitions before those that count: buffers and caches fill.
const WARM_UP: usize = 2;
/// Repetitions of what takes seconds, at most.
const FEW: usize = 5;

/// The line of a row.
pub(super) fn measure(row: &Row, threads: usize, reps: usize) -> Result<Value> {
    let threads = if matches!(row.work, Work::Sample { .. }) { 1 } else { threads };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|error| Error::invalid(format!("`--threads`: cannot start {threads}: {error}")));
    pool?;
    let reps = if row.work.is_heavy() { reps.min(FEW) } else { reps };
    let (mut milliseconds, operations) = run(&row.work, reps)?;
    milliseconds.sort_by(f64::total_cmp);
    let median = milliseconds[milliseconds.len() / 2];
    let round = |value: f64, digits: i32| (value * 10f64.powi(digits)).round() / 10f64.powi(digits);
    let mut line = json!({ "bench": row.bench, "threads": threads });
    if let Value::Object(fields) = &mut line {
        fields.extend(row.fields.clone());
        fields.insert("ms".into(), json!(round(median, 3)));
        fields.insert("min_ms".into(), json!(round(milliseconds[0], 3)));
        fields.insert("rss_mb".into(), json!(peak_memory()));
        fields.insert("gflops".into(), json!(operations.map(|count| round(count / median / 1e6, 1))));
    }
    Ok(line)
}

/// Milliseconds of each repetition, and floating-point operations of one.
fn run(work: &Work, reps: usize) -> Result<(Vec<f64>, Option<f64>)> {
    match work {
        Work::Train { learner, options, setup, config, multiply_adds } => {
            let times = training(learner, options, setup, config, reps)?;
            Ok((times, Some(2.0 * multiply_adds)))
        }
        Work::Evaluate { learner, options, setup, multiply_adds } => {
            let learner = (registry::learner(learner)?.build)(setup, options)?;
            let spec = few_shot(setup.ways, setup.shots, setup.queries);
            let tasks = spec.open(&synthetic(setup.backbone.input)?, Split::Test, 0)?;
            let times = repeat(reps, |number| {
                let episode = tasks.episode(number)?;
                learner.answer(&episode.support, &episode.query.examples).map(drop)
            })?;
            Ok((times, Some(2.0 * multiply_adds)))
        }
        Work::Embed { backbone, images, multiply_adds } => {
            let (network, [c, h, w]) = (backbone.build()?, backbone.input);
            let theta = network.init(&mut stream(0, "perf/theta", 0));
            let mut rng = stream(0, "perf/images", 0);
            let x = Array4::from_shape_simple_fn((*images, c, h, w), || rng.random_range(-1.0..1.0));
            Ok((repeat(reps, |_| network.forward(&theta, x.view()).map(drop))?, Some(2.0 * multiply_adds)))
        }
        Work::Adapt { learner, options, examples, features } => {
            let setup = Setup {
                problem: Problem::Classification,
                backbone: backbone([*features, 1, 1], Norm::Running, ""),
                base_classes: 0,
                ways: 10,
                shots: Count::fixed(1),
                queries: 1,
                seed: 0,
            };
            let learner = (registry::learner(learner)?.build)(&setup, options)?;
            let (support, query) = two_domains(*examples, *features);
            let adapt = || learner.answer(&support, &query).map(drop);
            if *examples > ONCE {
                let started = Instant::now();
                adapt()?;
                return Ok((vec![started.elapsed().as_secs_f64() * 1e3], None));
            }
            Ok((repeat(reps, |_| adapt())?, None))
        }
        Work::Sample { episodes } => {
            let tasks = few_shot(5, Count::fixed(1), 15).open(&synthetic(DRAWING)?, Split::Train, 0)?;
            let times = repeat(reps, |number| {
                (number * episodes..(number + 1) * episodes)
                    .try_for_each(|number| tasks.episode(number).map(drop))
            })?;
            Ok((times, None))
        }
        Work::Augment { side } => {
            let source = synthetic([3, *side, *side])?;
            let tasks = few_shot(5, Count::fixed(1), 15).open(&source, Split::Train, 0)?;
            let standard = Augment::standard(&Inputs::of(&source)?)?;
            let tasks = Augmented::of(tasks, &standard, &source, 0)?;
            Ok((repeat(reps, |number| tasks.episode(number).map(drop))?, None))
        }
        Work::Convolution { images } => {
            let mut peak = ConvolutionPeak::new(*images)?;
            let mut operations = 0.0;
            let times = repeat(reps, |_| {
                operations = peak.run();
                Ok(())
            })?;
            Ok((times, Some(operations)))
        }
        Work::MultiplyAdd => {
            let mut operations = 0.0;
            let times = repeat(reps, |_| {
                operations =
                    rayon::broadcast(|_| multiply_add_loop(2_000_000)).into_iter().sum::<Result<f64>>()?;
                Ok(())
            })?;
            Ok((times, Some(operations)))
        }
    }
}

/// Tasks of more examples are timed once, cold: they take long.
const ONCE: usize = 10_000;

/// Half a source, half a target: ten classes around centres in a space whose directions matter less and less, as those
/// of real features do, seen through random combinations; the target is moved.
fn two_domains(examples: usize, features: usize) -> (Labelled, Unlabelled) {
    const LATENT: usize = 64;
    let mut rng = stream(0, "perf/domains", 0);
    let mut draw = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-1.0..1.0)).collect() };
    let mixing = Array2::from_shape_fn((LATENT, features), {
        let values = draw(LATENT * features);
        move |(k, j)| values[k * features + j] / ((k + 1) as f32).sqrt()
    });
    let centres = draw(10 * LATENT);
    let half = examples / 2;
    let mut domain = |shift: f32| {
        let noise = draw(half * LATENT);
        let latent = Array2::from_shape_fn((half, LATENT), |(i, k)| {
            centres[i % 10 * LATENT + k] + shift + noise[i * LATENT + k]
        });
        let mixed = latent.dot(&mixing);
        Array4::from_shape_fn((half, features, 1, 1), |(i, j, ..)| mixed[[i, j]])
    };
    let (source, target) = (domain(0.0), domain(0.3));
    let labels = Targets::Classes((0..half).map(|i| i % 10).collect());
    (Labelled::new(source, labels), Unlabelled { inputs: target })
}

/// Times `work` after warming up.
fn repeat(reps: usize, mut work: impl FnMut(u64) -> Result<()>) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(reps);
    for number in 0..WARM_UP + reps {
        let started = Instant::now();
        work(number as u64)?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times.split_off(WARM_UP))
}

/// The engine's own training steps, from one to the next.
fn training(
    name: &str,
    options: &toml::Table,
    setup: &Setup,
    config: &TrainConfig,
    reps: usize,
) -> Result<Vec<f64>> {
    let mut learner: Box<dyn Learner> = (registry::learner(name)?.build)(setup, options)?;
    let source = if setup.base_classes > 0 { synthetic(setup.backbone.input)? } else { sinusoid()? };
    let learner = learner
        .trainable()
        .ok_or_else(|| Error::invalid(format!("the row trains `{name}`, which learns nothing")))?;
    let tasks: Box<dyn Tasks> = learner.learned().task.open(&source, Split::Train, 0)?;
    let config = TrainConfig { steps: (WARM_UP + reps) as u64, ..config.clone() };
    let mut watch = StopWatch { last: Instant::now(), times: Vec::new() };
    let run =
        Run { directory: None, stop: &AtomicBool::new(false), observer: &mut watch, ranks: Ranks::alone() };
    train(learner, tasks.as_ref(), None, &config, run)?;
    Ok(watch.times.split_off(WARM_UP))
}

/// Takes the time at the end of every step.
struct StopWatch {
    last: Instant,
    times: Vec<f64>,
}

impl Observer for StopWatch {
    fn log(&mut self, _: &Point) -> Result<()> {
        self.times.push(self.last.elapsed().as_secs_f64() * 1e3);
        self.last = Instant::now();
        Ok(())
    }
}

fn few_shot(ways: usize, shots: Count, queries: usize) -> TaskSpec {
    TaskSpec::FewShot { ways: Count::fixed(ways), shots, queries }
}

/// Shape of the images of most rows.
const DRAWING: [usize; 3] = [1, 28, 28];

/// 100 classes of 20 random images.
fn synthetic(shape: [usize; 3]) -> Result<TaskSource> {
    let (mut rng, size) = (stream(0, "perf", 0), shape.iter().product::<usize>());
    let pixels = (0..100 * 20 * size).map(|_| rng.random()).collect::<Vec<u8>>();
    let classes = (0..100).map(|class| Class {
        name: format!("class{class}"),
        images: (class * 20..(class + 1) * 20).collect(),
        quarter_turns: 0,
    });
    let names = (0..2000).map(|image| format!("{image}")).collect();
    let set = ClassSet::new(shape, Arc::new(pixels), Arc::new(names), classes.collect())?;
    Ok(TaskSource::Classes(Arc::new(set)))
}

fn sinusoid() -> Result<TaskSource> {
    (registry::dataset("sinusoid")?.open)(&DatasetContext::default(), &toml::Table::new())?
        .split(Split::Train)
}

/// This process's peak resident memory in MB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes / 1024)
}
