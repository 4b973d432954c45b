//! Files and flags, one over the other.

use super::*;

fn flags(experiment: Option<PathBuf>, keys: Experiment, set: &[&str]) -> Flags {
    Flags { experiment, keys, set: set.iter().map(|s| (*s).to_owned()).collect() }
}

#[test]
fn flags_go_over_the_file_and_the_file_over_the_base() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("experiment.toml");
    std::fs::write(
        &path,
        "ways = [5, 20]\nshots = \"1-3\"\n[train]\nsteps = 7\nclip = 1\n[set.backbone]\nwidth = 8",
    )
    .unwrap();
    let base = Experiment { queries: Some(List::One(3)), seed: Some(9), ..Experiment::default() };
    let keys =
        Experiment { seed: Some(1), train: TrainKeys(toml::toml! { steps = 8 }), ..Experiment::default() };
    let experiment = flags(Some(path), keys, &["backbone.pooling=strided", "prototypical.train-ways=9"])
        .experiment(Some(base))
        .unwrap();
    assert_eq!(experiment.ways.as_ref().unwrap().to_string(), "5,20");
    assert_eq!(experiment.shots.as_ref().unwrap().to_string(), "1-3");
    assert_eq!((experiment.queries(), experiment.seed()), (3, 1));
    let train = experiment.train_config(TrainConfig::default()).unwrap();
    assert_eq!((train.steps, train.clip), (8, 1.0));
    assert_eq!(
        experiment.backbone(),
        toml::toml! { width = 8
        pooling = "strided" }
    );
    assert_eq!(experiment.options("prototypical")["train-ways"].as_integer(), Some(9));
}

#[test]
fn a_typo_is_refused_with_what_was_meant() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("experiment.toml");
    for (text, meant) in
        [("wys = 5", "ways"), ("[train]\nstep = 5", "steps"), ("[set.backbon]\nwidth = 5", "backbone")]
    {
        std::fs::write(&path, text).unwrap();
        let error = flags(Some(path.clone()), Experiment::default(), &[]).experiment(None).err().unwrap();
        assert!(error.to_string().contains(&format!("did you mean `{meant}`")), "{error}");
    }
}

/// The experiment of a file.
fn written(text: &str) -> Result<Experiment> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("experiment.toml");
    std::fs::write(&path, text).unwrap();
    let flags = flags(Some(path), Experiment::default(), &[]);
    let (keys, _) = flags.read()?;
    flags.over(keys, toml::Table::new())
}

#[test]
fn a_search_is_the_grid_of_its_lists() {
    let text = "[search.matching]\nsharpness = [5, 10]\n[search.train]\nlearning-rate = [0.01, 0.001]\n[set.matching]\ntrain-ways = 7";
    let experiment = written(text).unwrap();
    let matching = registry::learner("matching").unwrap();
    let combinations = experiment.combinations(matching);
    let names: Vec<String> = combinations.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        [
            "sharpness=5, train.learning-rate=0.01",
            "sharpness=5, train.learning-rate=0.001",
            "sharpness=10, train.learning-rate=0.01",
            "sharpness=10, train.learning-rate=0.001"
        ]
    );
    assert_eq!(
        experiment.search_in_words(matching),
        "sharpness of 5, 10; train.learning-rate of 0.01, 0.001"
    );
    let third = experiment.with(&combinations[2]);
    assert_eq!(
        third.options("matching"),
        toml::toml! { sharpness = 10
        train-ways = 7 }
    );
    assert_eq!(third.train_config(TrainConfig::default()).unwrap().learning_rate, 0.01);
    assert!(third.search.is_empty() && third.combinations(matching).is_empty());
    // How it is trained is nothing to a learner that is not.
    assert!(experiment.combinations(registry::learner("pixels").unwrap()).is_empty());
}

#[test]
fn a_search_of_what_is_not_there_is_refused() {
    for (text, why) in [
        ("[search.matchin]\nsharpness = [5]", "did you mean `matching`"),
        ("[search.matching]\nsharpnes = [5]", "did you mean `sharpness`"),
        ("[search.matching]\nsharpness = 5", "must be a list of the values"),
        ("[search.matching]\nsharpness = []", "must be a list of the values"),
        ("[search.matching]\nsharpness = [5, -1]", "`sharpness` is -1"),
        ("[search.train]\nvalidation-episodes = [5, 50]", "what the others are judged by"),
        ("[search]\nmatching = 3", "must be a table of lists"),
        ("[search.matching]\nsharpness = [5]\n[set.matching]\nsharpness = 6", "both set and searched"),
        ("[search.train]\nsteps = [5]\n[train]\nsteps = 6", "both set and searched"),
    ] {
        let error = written(text).err().unwrap();
        assert!(error.to_string().contains(why), "{text}: {error}");
    }
}
