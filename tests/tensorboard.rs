//! What TensorBoard is shown of a run: read back record by record, with checksums. The logs stay in
//! `target/tmp/tensorboard`, where `tests/in_tensorboard.py` has TensorBoard itself read them.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kshot::backbone::Backbone;
use kshot::dataset::{Class, ClassSet, Preparation, Split, TaskSource};
use kshot::episode::{Count, Episode, TaskSpec, Tasks};
use kshot::eval::{Watch, evaluate};
use kshot::learner::{Comparer as _, Trainable as _};
use kshot::log::{Observer, Point, Tested};
use kshot::metric::{Comparison, Embeddings, EpisodicTraining, MetricLearner, Support, TrainingLoss};
use kshot::nn::{HeadWeights, Norm, Similarity, TapedMatrix, head};
use kshot::params::{Params, Role};
use kshot::ranks::Ranks;
use kshot::registry::{Problem, Setup};
use kshot::rng::stream;
use kshot::train::{BEST, Directory, LAST, Origin, Run, TrainConfig, read_run, train};
use kshot::{Error, Result};
use ndarray::Array2;
use protobuf::Message as _;
use rand::Rng as _;
use tensorboard_proto::event::Event;
use tensorboard_proto::plugin_hparams::HParamsPluginData;
use tensorboard_proto::summary::{Summary_Value, Summary_Value_oneof_value as Kind};
use tensorboard_rs::masked_crc32c::masked_crc32c;

/// A prototypical network, as it must not depend on a plugin.
struct Prototypes;

impl Comparison for Prototypes {
    fn training_task(&self, setup: &Setup) -> TaskSpec {
        EpisodicTraining::default().task(setup)
    }

    fn loss(&self, z: TapedMatrix, _: &HeadWeights<'_>, episode: &Episode) -> Result<TrainingLoss> {
        let [support, query] = head::split(z, episode.support.len())?;
        let prototypes = head::class_means_on_tape(support, episode.support.classes()?)?;
        let logits = Similarity::Squared.logits_on_tape(query, prototypes, 1.0)?;
        TrainingLoss::cross_entropy(logits, episode.query.classes()?)
    }

    fn scores(&self, _: &Params, support: Support<'_>, query: Embeddings<'_>) -> Result<Array2<f32>> {
        let prototypes = head::class_means(support.z, support.labels)?;
        Ok(Similarity::Squared.between(query, prototypes.view()))
    }

    fn similarity(&self, _: &Params, left: Embeddings<'_>, right: Embeddings<'_>) -> Result<Array2<f32>> {
        Ok(Similarity::Squared.between(left, right))
    }
}

/// Stops the training after a step.
struct StopAfter(u64, Arc<AtomicBool>);

impl Observer for StopAfter {
    fn log(&mut self, point: &Point) -> Result<()> {
        self.1.fetch_or(point.step >= self.0, Ordering::Relaxed);
        Ok(())
    }
}

const INPUT: [usize; 3] = [1, 14, 14];
const CLASSES: u32 = 8;
const EXAMPLES: u32 = 12;

/// Noisy images of eight classes.
fn tasks() -> Box<dyn Tasks> {
    let mut pixels: Vec<u8> = Vec::new();
    for class in 0..CLASSES {
        let mut rng = stream(0, "class", u64::from(class));
        let pattern: Vec<u8> = (0..49).map(|_| if rng.random_bool(0.5) { 40 } else { 0 }).collect();
        for _ in 0..EXAMPLES {
            pixels.extend((0..196).map(|at| pattern[at / 28 * 7 + at % 14 / 2] + rng.random_range(0..180u8)));
        }
    }
    let class = |n: u32| Class {
        name: format!("class {n}"),
        images: (EXAMPLES * n..EXAMPLES * (n + 1)).collect(),
        quarter_turns: 0,
    };
    let names = (0..CLASSES * EXAMPLES).map(|n| n.to_string()).collect();
    let set = ClassSet::new(INPUT, Arc::new(pixels), Arc::new(names), (0..CLASSES).map(class).collect());
    let spec = TaskSpec::FewShot { ways: Count::fixed(5), shots: Count::fixed(1), queries: 5 };
    spec.open(&TaskSource::Classes(Arc::new(set.unwrap())), Split::Test, 0).unwrap()
}

fn config() -> TrainConfig {
    TrainConfig { steps: 30, validate_every: 10, validation_episodes: 20, ..TrainConfig::default() }
}

/// Trains in a directory, perhaps stopped after a step, perhaps going on with what is there.
fn trained(directory: Option<&Path>, stop_after: u64, resume: bool) -> MetricLearner<Prototypes> {
    let options: toml::Table = toml::from_str("width = 8\nblocks = 2").unwrap();
    let backbone = Backbone::of(&options, INPUT, Norm::Running).unwrap();
    let (problem, shots) = (Problem::Classification, Count::fixed(1));
    let setup = Setup { problem, backbone, base_classes: 8, ways: 5, shots, queries: 5, seed: 0 };
    let mut learner = MetricLearner::new(&setup, Prototypes).unwrap();
    let origin = Origin {
        learner: "prototypes".to_owned(),
        options: toml::from_str("distance = 'squared'").unwrap(),
        setup,
        preparation: Preparation::Generated,
        experiment: serde_json::json!({ "data": "noise", "ways": 5 }),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let run = Run {
        directory: directory.map(|path| Directory { path, resume, origin }),
        stop: &stop,
        observer: &mut StopAfter(stop_after, stop.clone()),
        ranks: Ranks::alone(),
    };
    let tasks = tasks();
    match train(&mut learner, tasks.as_ref(), Some(tasks.as_ref()), &config(), run) {
        Ok(_) | Err(Error::Interrupted(_)) => learner,
        Err(error) => panic!("{error}"),
    }
}

/// A figure's or a series' last step and value, by tag, of all event files of a directory in order.
fn series(directory: &Path) -> BTreeMap<String, Vec<(i64, Summary_Value)>> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("tfevents"))
        .collect();
    files.sort();
    let mut all: BTreeMap<String, Vec<(i64, Summary_Value)>> = BTreeMap::new();
    for file in files {
        let bytes = fs::read(&file).unwrap();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            // Length, its checksum, data, its checksum.
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], masked_crc32c(&rest[..8]).to_le_bytes());
            let data = &rest[12..12 + length];
            assert_eq!(rest[12 + length..16 + length], masked_crc32c(data).to_le_bytes());
            rest = &rest[16 + length..];
            let event = Event::parse_from_bytes(data).unwrap();
            if event.has_session_log() {
                // What TensorBoard forgets here.
                let kept = |(step, _): &(i64, Summary_Value)| *step < event.get_step();
                all.values_mut().for_each(|series| series.retain(kept));
            }
            for value in event.get_summary().get_value() {
                all.entry(value.get_tag().to_owned()).or_default().push((event.get_step(), value.clone()));
            }
        }
    }
    all
}

/// Where the logs stay.
fn logs() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("tensorboard")
}

#[test]
fn a_run_and_its_test_are_logged_whole() {
    let (logs, tasks) = (logs(), tasks());
    let (run, resumed, test) = (logs.join("run"), logs.join("resumed"), logs.join("test"));
    let _ = fs::remove_dir_all(&logs);
    let mut learner = trained(Some(&run), u64::MAX, false);
    let mut silent = trained(None, u64::MAX, false);
    assert_eq!(learner.learned().theta, silent.learned().theta, "logging changes no weight");

    // Stopped at step 10, then on to the end, then the state of step 10 put back: as if the rest were never saved.
    trained(Some(&resumed), 10, false);
    let last = fs::read(resumed.join(LAST)).unwrap();
    trained(Some(&resumed), u64::MAX, true);
    fs::write(resumed.join(LAST), last).unwrap();
    trained(Some(&resumed), u64::MAX, true);
    for name in ["metrics.jsonl", BEST] {
        assert_eq!(fs::read(run.join(name)).unwrap(), fs::read(resumed.join(name)).unwrap(), "{name}");
    }

    let (_, description) = read_run(&run).unwrap();
    let evaluation = evaluate(&learner, tasks.as_ref(), 20, &Watch::default()).unwrap();
    let names: Vec<String> = (0..CLASSES).map(|class| format!("class {class}")).collect();
    let tested = Tested {
        settings: &description.settings(),
        step: description.step,
        learner: &learner,
        tasks: tasks.as_ref(),
        evaluation: &evaluation,
        embed: Some(&|x| learner.embed(x)),
        class_names: &names,
    };
    // In a directory of its own, and beside the run's own logs.
    tested.log(&test).unwrap();
    tested.log(&run).unwrap();

    let (run, resumed, test) = (series(&run), series(&resumed), series(&test));
    for (tag, values) in &run {
        let of_the_test =
            ["test/", "episodes/test/", "embeddings/test/"].iter().any(|part| tag.starts_with(part));
        if of_the_test {
            assert_eq!(values.len(), test[tag].len(), "{tag}");
            continue;
        }
        let steps =
            |values: &[(i64, Summary_Value)]| values.iter().map(|(step, _)| *step).collect::<Vec<_>>();
        // A resumed run says its settings again.
        if !["settings", "environment"].contains(&tag.as_str()) && !tag.starts_with("_hparams_") {
            assert_eq!(steps(values), steps(&resumed[tag]), "{tag}");
        }
        for (step, value) in values {
            check(tag, *step, value, &learner.learned().theta);
        }
    }
    let tags =
        |series: &BTreeMap<String, _>, part: &str| series.keys().filter(|tag| tag.starts_with(part)).count();
    let weights = learner.learned().theta.layout().ranges(Role::Weight).count();
    assert_eq!((tags(&run, "weights/"), tags(&run, "gradients/")), (weights, weights));
    assert_eq!((tags(&resumed, "episodes/validation/"), tags(&resumed, "embeddings/validation/")), (1, 1));
    assert_eq!((tags(&test, "episodes/"), tags(&test, "embeddings/")), (4, 4));
    let figure =
        |series: &BTreeMap<String, Vec<(i64, Summary_Value)>>, tag: &str| series[tag][0].1.get_simple_value();
    assert_eq!(figure(&run, "final/accuracy"), description.validation.unwrap().interval.mean as f32);
    assert_eq!(figure(&run, "final/steps"), 30.0);
    assert_eq!(figure(&test, "test/accuracy"), evaluation.score.interval.mean as f32);
    assert_eq!(test["test/accuracy_per_episode"][0].1.get_histo().get_num(), 20.0);
    let text = |series: &BTreeMap<String, Vec<(i64, Summary_Value)>>, tag: &str| {
        String::from_utf8(series[tag][0].1.get_tensor().get_string_val()[0].clone()).unwrap()
    };
    assert!(text(&run, "settings").contains("\"learning-rate\": 0.001,"), "{}", text(&run, "settings"));
    assert!(text(&test, "test/environment").contains("| threads | "));
    for series in [&run, &test] {
        let plugin = series["_hparams_/session_start_info"][0].1.get_metadata().get_plugin_data().clone();
        let data = HParamsPluginData::parse_from_bytes(plugin.get_content()).unwrap();
        let settings = data.get_session_start_info().get_hparams();
        assert_eq!(settings["learner"].get_string_value(), "prototypes");
        assert_eq!(settings["train.learning-rate"].get_number_value(), 0.001);
        assert_eq!(settings["experiment.data"].get_string_value(), "noise");
        assert!(!settings.contains_key("experiment.ways") && !settings.contains_key("train.steps"));
        assert!(series.contains_key("_hparams_/session_end_info"));
    }
}

/// That a value is what its tag promises, and finite.
fn check(tag: &str, step: i64, value: &Summary_Value, theta: &Params) {
    let name = tag.split_once('/').map_or("", |(_, name)| name);
    match value.value.as_ref() {
        Some(Kind::simple_value(value)) => assert!(value.is_finite(), "{tag}"),
        Some(Kind::histo(histogram)) => {
            let count = theta.tensor(name).map_or(config().validation_episodes as usize, <[f32]>::len);
            assert_eq!((histogram.get_num(), step % 10), (count as f64, 0), "{tag}");
            assert_eq!(histogram.get_bucket().iter().sum::<f64>(), count as f64, "{tag}");
            assert_eq!(histogram.get_bucket().len(), histogram.get_bucket_limit().len(), "{tag}");
        }
        Some(Kind::image(image)) => {
            assert!(image.get_encoded_image_string().starts_with(b"\x89PNG") && step == 30, "{tag}");
        }
        Some(Kind::tensor(tensor)) => assert_eq!(tensor.get_string_val().len(), 1, "{tag}"),
        None => assert!(tag.starts_with("_hparams_/") && step == 0, "{tag}"),
        Some(other) => panic!("{tag}: {other:?}"),
    }
}
