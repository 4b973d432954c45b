//! What must hold of every episode, whatever it is sampled for.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;

use super::{Count, Episode, Labelled, Sampling, Shift, TaskSpec, Tasks};
use crate::Result;
use crate::dataset::{Class, ClassSet, Domain, Domains, Split, TaskSource};

/// `classes` classes of `examples` images of one pixel; the pixel of image i is i.
fn source(classes: usize, examples: usize) -> TaskSource {
    let images = (classes * examples) as u8;
    let names = (0..images).map(|image| format!("{image:03}.png")).collect();
    let class = |number: usize| Class {
        name: format!("class{number}"),
        images: (number * examples..(number + 1) * examples).map(|image| image as u32).collect(),
        quarter_turns: 0,
    };
    let classes = (0..classes).map(class).collect();
    let set = ClassSet::new([1, 1, 1], Arc::new((0..images).collect::<Vec<u8>>()), Arc::new(names), classes)
        .unwrap();
    TaskSource::Classes(Arc::new(set))
}

fn few_shot(ways: &str, shots: &str, queries: usize) -> TaskSpec {
    TaskSpec::FewShot { ways: ways.parse().unwrap(), shots: shots.parse().unwrap(), queries }
}

fn open(spec: &TaskSpec, source: &TaskSource) -> Box<dyn Tasks> {
    spec.open(source, Split::Train, 1).unwrap()
}

/// Which images were sampled.
fn images(examples: &Labelled) -> Vec<usize> {
    examples.inputs().iter().map(|value| (value * 255.0).round() as usize).collect()
}

/// How many examples each label has.
fn counts(examples: &Labelled) -> Vec<usize> {
    let mut counts = vec![0; examples.ways().unwrap()];
    examples.classes().unwrap().iter().for_each(|&label| counts[label] += 1);
    counts
}

#[test]
fn an_episode_is_a_pure_function_of_seed_split_and_index() {
    let (source, spec) = (source(10, 20), few_shot("5", "1", 15));
    let episode = |split, seed, index| spec.open(&source, split, seed).unwrap().episode(index).unwrap();
    let one = episode(Split::Train, 1, 3);
    assert_eq!(one, episode(Split::Train, 1, 3));
    for other in [episode(Split::Train, 1, 4), episode(Split::Train, 2, 3), episode(Split::Test, 1, 3)] {
        assert_ne!(images(&one.query), images(&other.query));
    }
}

#[test]
fn a_few_shot_task_has_its_shots_and_queries_of_each_class_and_no_image_twice() {
    let (source, spec) = (source(10, 20), few_shot("5", "3", 6));
    let tasks = open(&spec, &source);
    for index in 0..200 {
        let episode = tasks.episode(index).unwrap();
        assert_eq!((counts(&episode.support), counts(&episode.query)), (vec![3; 5], vec![6; 5]));
        let all: Vec<usize> = [images(&episode.support), images(&episode.query)].concat();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 45, "support and query are disjoint");
        assert_eq!(episode.classes.iter().collect::<HashSet<_>>().len(), 5);
        check_labels(&episode);
    }
}

/// An example's label stands for the class its image is of.
fn check_labels(episode: &Episode) {
    for part in [&episode.support, &episode.query] {
        for (image, &label) in images(part).into_iter().zip(part.classes().unwrap()) {
            assert_eq!(image / 20, episode.classes[label]);
        }
    }
}

#[test]
fn every_class_and_every_example_is_sampled_as_support_and_as_query() {
    let (source, spec) = (source(10, 20), few_shot("5", "1", 5));
    let tasks = open(&spec, &source);
    let (mut support, mut query) = (HashSet::new(), HashSet::new());
    for index in 0..1000 {
        let episode = tasks.episode(index).unwrap();
        support.extend(images(&episode.support));
        query.extend(images(&episode.query));
    }
    assert_eq!((support.len(), query.len()), (200, 200));
}

#[test]
fn ranges_of_ways_and_shots_take_every_value_and_no_other() {
    let (source, spec) = (source(8, 10), few_shot("3-6", "1-4", 2));
    let tasks = open(&spec, &source);
    let (mut ways, mut shots) = (HashSet::new(), HashSet::new());
    for index in 0..300 {
        let episode = tasks.episode(index).unwrap();
        ways.insert(episode.classes.len());
        shots.extend(counts(&episode.support));
        assert_eq!(counts(&episode.query), vec![2; episode.classes.len()]);
    }
    assert_eq!((ways, shots), ((3..=6).collect(), (1..=4).collect()));
}

#[test]
fn a_task_that_cannot_be_drawn_is_refused_with_what_there_is() {
    let source = source(4, 6);
    let error = |spec: TaskSpec| spec.open(&source, Split::Test, 0).err().unwrap().to_string();
    let ways = error(few_shot("5", "1", 1));
    assert!(ways.contains("5 classes") && ways.contains("test split, which has 4"), "{ways}");
    let shots = error(few_shot("2", "3", 4));
    assert!(
        shots.contains("`class0`") && shots.contains("has 6 examples") && shots.contains("take 7"),
        "{shots}"
    );
    assert!(error(TaskSpec::PkBatch { classes: 9, per_class: 2 }).contains("9 classes"));
    assert!(error(TaskSpec::PkBatch { classes: 2, per_class: 7 }).contains("7 of each class"));
    assert!(error(TaskSpec::FlatBatch { size: 0 }).contains("at least one example"));
    assert!(error(TaskSpec::Regression { shots: 5, queries: 5 }).contains("sinusoid"));
}

#[test]
fn a_count_is_written_as_it_is_read() {
    for text in ["5", "3-8"] {
        assert_eq!(text.parse::<Count>().unwrap().to_string(), text);
    }
    for wrong in ["", "0", "8-3", "5-", "-5", "five", "0-4"] {
        assert!(wrong.parse::<Count>().is_err(), "`{wrong}`");
    }
}

#[test]
fn batches_are_support_only_with_the_labels_their_losses_expect() {
    let source = source(10, 20);
    let tasks = open(&TaskSpec::PkBatch { classes: 6, per_class: 4 }, &source);
    let batch = tasks.episode(0).unwrap();
    assert!(batch.query.is_empty());
    assert_eq!(counts(&batch.support), vec![4; 6]);
    assert_eq!(images(&batch.support).iter().collect::<HashSet<_>>().len(), 24);
    check_labels(&batch);
    let tasks = open(&TaskSpec::FlatBatch { size: 64 }, &source);
    let batch = tasks.episode(0).unwrap();
    assert_eq!((batch.support.len(), batch.query.len()), (64, 0));
    check_labels(&batch);
}

#[test]
fn a_manifest_repeats_the_episodes_it_lists_and_its_faults_are_named() {
    let source = source(3, 4);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tasks.json");
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        TaskSpec::Manifest { path: path.clone() }.open(&source, Split::Test, 0)
    };
    let example = |file: &str, label: usize| format!(r#"{{"file": "{file}", "label": {label}}}"#);
    let episode = |support: &[String], query: &[String]| {
        format!(r#"{{"episodes": [{{"support": [{}], "query": [{}]}}]}}"#, support.join(","), query.join(","))
    };

    let support = [example("class2/009.png", 0), example("class0/001.png", 1)];
    let tasks = read(&episode(&support, &[example("class0/003.png", 1)])).unwrap();
    assert_eq!(tasks.limit(), Some(1));
    let task = tasks.episode(0).unwrap();
    assert_eq!((images(&task.support), images(&task.query)), (vec![9, 1], vec![3]));
    assert_eq!(task.classes, [2, 0]);
    assert!(tasks.episode(1).unwrap_err().to_string().contains("has 1 episodes"));

    let error = |text: &str| read(text).err().unwrap().to_string();
    let unknown = error(&episode(&[example("class2/bird.png", 0)], &[]));
    assert!(unknown.contains("episode 0") && unknown.contains("class2/bird.png"), "{unknown}");
    assert!(error(&episode(&[example("class0/001.png", 1)], &[])).contains("no support example has 0"));
    assert!(error(&episode(&support, &[example("class0/003.png", 2)])).contains("a query has label 2"));
    assert!(error(&episode(&[], &[])).contains("has no support"));
    assert!(error(r#"{"episodes": []}"#).contains("has no episodes"));
    assert!(error("{").contains("is not as expected"));
}

/// Two domains of three classes, `examples` each: inputs of domain d are 100 d + 10 class + place.
fn domains(examples: usize) -> Domains {
    let values: Vec<f32> = (0..2 * 3 * examples)
        .map(|i| (100 * (i / (3 * examples)) + 10 * (i / examples % 3) + i % examples) as f32)
        .collect();
    let names = (0..values.len()).map(|i| format!("{i}")).collect();
    let whole = ClassSet::new([1, 1, 1], Arc::new(values), Arc::new(names), Vec::new()).unwrap();
    let domain = |number: usize| {
        let classes = (0..3).map(|class| {
            let first = ((number * 3 + class) * examples) as u32;
            let images = (first..first + examples as u32).collect();
            Class { name: format!("class{class}"), images, quarter_turns: 0 }
        });
        let set = Arc::new(whole.with_classes(classes.collect()).unwrap());
        Domain { name: format!("domain{number}"), train: set.clone(), test: set }
    };
    Domains::new(vec![domain(0), domain(1)]).unwrap()
}

fn shift(shift: Shift, domains: Domains) -> Result<Box<dyn Tasks>> {
    let (source, target) = ("domain0".to_owned(), "domain1".to_owned());
    let spec = TaskSpec::DomainShift { source, target, shift };
    spec.open(&TaskSource::Domains(Arc::new(domains)), Split::Test, 0)
}

#[test]
fn the_support_is_of_the_source_and_the_queries_are_of_the_target() {
    let whole = Shift { ways: None, shots: None, target_shots: 0, queries: None };
    let tasks = shift(whole, domains(8)).unwrap();
    assert_eq!(tasks.limit(), Some(1));
    let task = tasks.episode(0).unwrap();
    assert_eq!((task.support.len(), task.query.len(), task.support.in_target), (24, 24, 0));
    assert!(task.support.inputs().iter().all(|&x| x < 100.0));
    assert!(task.query.inputs().iter().all(|&x| x >= 100.0));

    let few = Shift {
        ways: Some(Count::fixed(2)),
        shots: Some(Count::fixed(3)),
        target_shots: 2,
        queries: Some(4),
    };
    let tasks = shift(few, domains(8)).unwrap();
    assert_eq!(tasks.limit(), None);
    for index in 0..20 {
        let task = tasks.episode(index).unwrap();
        assert_eq!(task, tasks.episode(index).unwrap());
        let inputs: Vec<f32> = task.support.inputs().iter().copied().collect();
        let (source, target) = inputs.split_at(6);
        assert_eq!((target.len(), task.support.in_target, task.query.len()), (4, 4, 8));
        assert!(source.iter().all(|&x| x < 100.0) && target.iter().all(|&x| x >= 100.0));
        // A labelled target example is never asked, and labels say the class in both domains.
        assert!(task.query.inputs().iter().all(|x| *x >= 100.0 && !target.contains(x)));
        for set in [&task.support, &task.query] {
            for (x, &label) in set.inputs().iter().zip(set.classes().unwrap()) {
                assert_eq!(*x as usize / 10 % 10, task.classes[label]);
            }
        }
    }
    assert_ne!(tasks.episode(0).unwrap(), tasks.episode(1).unwrap());
}

#[test]
fn training_on_several_domains_asks_in_another_one_than_it_learns_from() {
    let spec = TaskSpec::FewShot { ways: Count::fixed(2), shots: Count::fixed(1), queries: 3 };
    let tasks = spec.open(&TaskSource::Domains(Arc::new(domains(8))), Split::Train, 0).unwrap();
    let mut sources = [0, 0];
    for index in 0..20 {
        let task = tasks.episode(index).unwrap();
        let domain = |x: f32| usize::from(x >= 100.0);
        let source = domain(task.support.inputs()[[0, 0, 0, 0]]);
        sources[source] += 1;
        assert!(task.query.inputs().iter().all(|&x| domain(x) != source));
    }
    assert!(sources[0] > 0 && sources[1] > 0);
    let batch = TaskSpec::PkBatch { classes: 3, per_class: 16 };
    let merged = batch.open(&TaskSource::Domains(Arc::new(domains(8))), Split::Train, 0).unwrap();
    assert_eq!(merged.episode(0).unwrap().support.len(), 48);
}

#[test]
fn shifts_that_cannot_be_are_refused_by_name() {
    let few = Shift { ways: None, shots: None, target_shots: 2, queries: Some(7) };
    let error = shift(few, domains(8)).err().unwrap().to_string();
    assert!(error.contains("class `class0` has 8 test examples in domain `domain1`"), "{error}");

    // A class of the target that the source lacks.
    let both = domains(8);
    let [source, target] = both.domains() else { panic!("two domains") };
    let fewer = Arc::new(source.train.with_classes(source.train.classes()[..2].to_vec()).unwrap());
    let source = Domain { train: fewer.clone(), test: fewer, ..source.clone() };
    let open_set = Domains::new(vec![source, target.clone()]).unwrap();
    let whole = Shift { ways: None, shots: None, target_shots: 0, queries: None };
    let error = shift(whole, open_set).err().unwrap().to_string();
    assert!(
        error.contains("class `class2` is in the target `domain1`") && error.contains("open set"),
        "{error}"
    );

    let spec = TaskSpec::DomainShift { source: "domain0".into(), target: "domain0".into(), shift: whole };
    let same =
        spec.open(&TaskSource::Domains(Arc::new(domains(8))), Split::Test, 0).err().unwrap().to_string();
    assert!(same.contains("choose two domains"), "{same}");
    assert!(domains(8).named("domian1").err().unwrap().to_string().contains("did you mean `domain1`"));
}

/// Of 48 images, the group of image i is i mod 4.
fn in_four_groups(set: &ClassSet) -> ClassSet {
    set.clone().grouped(Arc::new((0..48).map(|image| image % 4).collect())).unwrap()
}

#[test]
fn no_group_is_on_both_sides_of_a_task() {
    let TaskSource::Classes(set) = source(6, 8) else { panic!("classes") };
    let grouped = TaskSource::Classes(Arc::new(in_four_groups(&set)));
    let groups = |examples: &Labelled| images(examples).into_iter().map(|i| i % 4).collect::<HashSet<_>>();
    let tasks = open(&few_shot("3", "1-3", 2), &grouped);
    for index in 0..200 {
        let task = tasks.episode(index).unwrap();
        assert_eq!(task, tasks.episode(index).unwrap());
        assert!(groups(&task.support).is_disjoint(&groups(&task.query)), "{index}");
        assert!(counts(&task.support).iter().all(|n| (1..=3).contains(n)));
        assert_eq!(counts(&task.query), [2; 3]);
    }
    // Eight examples in four groups of two: a side that has six leaves two.
    assert!(open(&few_shot("3", "6", 2), &grouped).episode(0).is_ok());
    let error = open(&few_shot("3", "5", 3), &grouped).episode(0).err().unwrap().to_string();
    assert!(
        error.contains("4 groups") && error.contains("5 labelled") && error.contains("3 queries"),
        "{error}"
    );

    // From domain to domain, whose groups are the same.
    let both = domains(8);
    let whole = in_four_groups(&both.domains()[0].train);
    let domain = |domain: &Domain| {
        let train = Arc::new(whole.with_classes(domain.train.classes().to_vec()).unwrap());
        Domain { name: domain.name.clone(), test: train.clone(), train }
    };
    let grouped = || Domains::new(both.domains().iter().map(domain).collect()).unwrap();
    let few = Shift { ways: None, shots: Some(Count::fixed(2)), target_shots: 1, queries: None };
    let tasks = shift(few, grouped()).unwrap();
    let of = |value: &f32| *value as u32 % 10 % 4;
    for index in 0..50 {
        let task = tasks.episode(index).unwrap();
        let support: HashSet<u32> = task.support.inputs().iter().map(of).collect();
        assert!(task.query.inputs().iter().all(|value| !support.contains(&of(value))), "{index}");
        assert_eq!((counts(&task.support), task.support.in_target), (vec![3; 3], 3));
        assert!(!task.query.is_empty());
    }
    let all = Shift { ways: None, shots: None, target_shots: 0, queries: None };
    assert!(shift(all, grouped()).unwrap().episode(0).is_err());
}

#[test]
fn tasks_as_meta_dataset_samples_them_vary_in_ways_and_shots_and_ask_of_each_class_as_often() {
    let spec = TaskSpec::MetaDataset { ways: Sampling::MetaDataset.ways().unwrap(), queries: 10 };
    let tasks = open(&spec, &source(12, 20));
    let (mut ways, mut unequal) = (HashSet::new(), 0);
    for index in 0..200 {
        let task = tasks.episode(index).unwrap();
        assert_eq!(task, tasks.episode(index).unwrap());
        let shots = counts(&task.support);
        // No class has none, and half of each is asked.
        assert!(shots.iter().all(|shots| (1..=10).contains(shots)), "{shots:?}");
        assert_eq!(counts(&task.query), vec![10; shots.len()]);
        let all: HashSet<usize> = images(&task.support).into_iter().chain(images(&task.query)).collect();
        assert_eq!(all.len(), task.support.len() + task.query.len());
        unequal += usize::from(shots.iter().any(|&other| other != shots[0]));
        ways.insert(shots.len());
    }
    assert_eq!(ways, (5..=12).collect());
    assert!(unequal > 100, "{unequal}");
    let error = |source: &TaskSource| spec.open(source, Split::Train, 1).err().unwrap().to_string();
    assert!(error(&source(4, 20)).contains("a task of 5 classes cannot be drawn"));
    assert!(error(&source(9, 1)).contains("Meta-Dataset"));
}

#[test]
fn tasks_of_several_datasets_are_of_one_each_as_often_of_each() {
    let (TaskSource::Classes(small), TaskSource::Classes(large)) = (source(6, 4), source(20, 10)) else {
        unreachable!()
    };
    let (whole, firsts) = ClassSet::joined(&[&small, &large]).unwrap();
    assert_eq!(firsts, [0, 24]);
    let shifted = |set: &ClassSet, first: u32| {
        let class = |class: &Class| Class {
            images: class.images.iter().map(|image| first + image).collect(),
            ..class.clone()
        };
        set.classes().iter().map(class).collect::<Vec<_>>()
    };
    let classes = [shifted(&small, 0), shifted(&large, 24)].concat();
    let sources = vec![("small".to_owned(), 6), ("large".to_owned(), 20)];
    assert!(whole.with_classes(classes.clone()).unwrap().from_sources(sources[..1].to_vec()).is_err());
    let set = whole.with_classes(classes).unwrap().from_sources(sources).unwrap();
    let joined = TaskSource::Classes(Arc::new(set));
    for spec in
        [few_shot("5", "1", 2), TaskSpec::MetaDataset { ways: Count::range(2, 50).unwrap(), queries: 10 }]
    {
        let tasks = open(&spec, &joined);
        let mut of_small = 0;
        for index in 0..400 {
            let task = tasks.episode(index).unwrap();
            let source = tasks.source(index).unwrap();
            assert!(task.classes.iter().all(|&class| usize::from(class >= 6) == source));
            of_small += usize::from(source == 0);
        }
        assert!((160..240).contains(&of_small), "{of_small}");
    }
    let error = few_shot("7", "1", 2).open(&joined, Split::Train, 1).err().unwrap().to_string();
    assert!(error.contains("of `small`, which has 6"), "{error}");
    assert!(open(&few_shot("5", "1", 2), &source(9, 9)).source(0).is_none());
}
