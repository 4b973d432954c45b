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
    let base = Experiment { queries: Some(3), seed: Some(9), ..Experiment::default() };
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
