//! The lists in READMEs name what is registered.

use std::path::Path;

use kshot::registry;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

fn names_all<'a>(path: &str, names: impl Iterator<Item = &'a str>) {
    let text = read(path);
    for name in names {
        assert!(text.contains(&format!("`{name}`")), "{path} does not name `{name}`");
    }
}

#[test]
fn every_learner_and_dataset_is_in_the_readme_of_the_project_and_of_its_crate() {
    names_all("README.md", registry::learners().iter().map(|entry| entry.name));
    names_all("README.md", registry::datasets().iter().map(|entry| entry.name));
    names_all("datasets/README.md", registry::datasets().iter().map(|entry| entry.name));
    let of = |crate_name: &'static str| {
        let source = registry::learners().into_iter().map(|entry| entry.name);
        source.filter(move |name| {
            let families = [
                ("tca", &["no-adaptation", "pca", "coral", "tca", "sstca", "jda"][..]),
                (
                    "heads",
                    &["centroid", "logistic", "ridge", "bd-cspn", "laplacian-shot", "tim", "pt-map", "r2d2"],
                ),
                ("maml", &["maml", "fomaml", "anil", "boil", "meta-sgd", "reptile", "imaml"][..]),
            ];
            families.iter().any(|(family, names)| *family == crate_name && names.contains(name))
        })
    };
    names_all("plugins/tca/README.md", of("tca"));
    names_all("plugins/maml/README.md", of("maml"));
}
