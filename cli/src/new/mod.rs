//! `kshot new`: a crate to start from, which builds, passes its tests and runs in `bench` as it is.

use std::fs;
use std::path::{Path, PathBuf};

use kshot::{Error, Result};

use crate::args::{NewArgs, NewFamily, NewKind};
use crate::output::print;

const MANIFEST: &str = include_str!("templates/Cargo.toml");
const MAIN: &str = include_str!("templates/main.rs");

/// Where this program was built from: what a new crate depends on, while it is there.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Writes the crate and says what to do with it.
pub(crate) fn run(args: NewArgs) -> Result<()> {
    let (kind, name) = (args.kind, args.name);
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name.chars().all(letters)
        || name.ends_with('-')
    {
        return Err(Error::invalid(format!(
            "`{name}` cannot be a plugin's name: write lower-case letters, digits and `-`, as `my-learner`"
        )));
    }
    let directory = args.path.unwrap_or_else(|| PathBuf::from(&name));
    if directory.exists() {
        return Err(Error::invalid(format!(
            "{} is there already; choose another name, or another directory by --path",
            directory.display()
        )));
    }
    let (code, test) = template(kind, args.family);
    let source = args.kshot.unwrap_or_else(|| PathBuf::from(SOURCE));
    let (kshot, cli) = dependencies(&source);
    let crate_name = name.replace('-', "_");
    let filled = |text: &str| {
        text.replace("@NAME@", &name)
            .replace("@CRATE@", &crate_name)
            .replace("@TYPE@", &type_name(&name))
            .replace("@KSHOT@", &kshot)
            .replace("@CLI@", &cli)
    };
    let test = format!(
        "//! What every plugin must do.\n\nuse {crate_name} as _;\n\n#[test]\nfn it_conforms() {{\n{test}\n}}\n"
    );
    for (file, text) in [
        ("Cargo.toml", MANIFEST),
        ("src/lib.rs", code),
        ("src/main.rs", MAIN),
        ("tests/conformance.rs", &test),
    ] {
        write(&directory.join(file), &filled(text))?;
    }
    let run = match kind {
        NewKind::Learner => format!("bench --learner pixels,{name}"),
        NewKind::Dataset => format!("bench --data {name} --learner pixels,prototypical"),
        NewKind::Backbone => format!("bench --learner pixels,prototypical --set backbone.kind={name}"),
    };
    print(&format!(
        "{}/src/lib.rs is where to begin. In {}:\n\n  cargo test --release\n  cargo run --release -- {run}\n",
        directory.display(),
        directory.display()
    ))
}

/// The code, and the test's body.
fn template(kind: NewKind, family: NewFamily) -> (&'static str, &'static str) {
    const LEARNER: &str = "    let entry = kshot::registry::learner(\"@NAME@\").expect(\"registered\");\n    kshot::conformance::learner(entry).expect(\"conforms\");";
    const BY_LABEL: &str = "    // It has weights for each label, and first-order gradients.\n    let nature = kshot::conformance::Nature {\n        head_by_label: true,\n        approximate_gradient: true,\n        ..Default::default()\n    };\n    let entry = kshot::registry::learner(\"@NAME@\").expect(\"registered\");\n    kshot::conformance::learner_of(entry, &nature).expect(\"conforms\");";
    const DATASET: &str = "    let entry = kshot::registry::dataset(\"@NAME@\").expect(\"registered\");\n    kshot::conformance::dataset(entry, &Default::default(), &toml::Table::new()).expect(\"conforms\");";
    const BACKBONE: &str = "    let entry = kshot::registry::backbone(\"@NAME@\").expect(\"registered\");\n    kshot::conformance::backbone(entry).expect(\"conforms\");";
    match (kind, family) {
        (NewKind::Learner, NewFamily::Metric) => (include_str!("templates/metric.rs"), LEARNER),
        (NewKind::Learner, NewFamily::Optimization) => (include_str!("templates/optimization.rs"), BY_LABEL),
        (NewKind::Learner, NewFamily::Baseline) => (include_str!("templates/baseline.rs"), LEARNER),
        (NewKind::Dataset, _) => (include_str!("templates/dataset.rs"), DATASET),
        (NewKind::Backbone, _) => (include_str!("templates/backbone.rs"), BACKBONE),
    }
}

/// What `kshot` and `kshot-cli` are in a manifest: the source if it is there, else this version.
fn dependencies(source: &Path) -> (String, String) {
    match source.canonicalize() {
        Ok(source) if source.join("cli/Cargo.toml").exists() => (
            format!("{{ path = {:?} }}", source.display().to_string()),
            format!("{{ path = {:?} }}", source.join("cli").display().to_string()),
        ),
        _ => {
            let version = format!("{:?}", env!("CARGO_PKG_VERSION"));
            (version.clone(), version)
        }
    }
}

/// `my-learner` as `MyLearner`.
fn type_name(name: &str) -> String {
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    name.split('-').filter(|word| !word.is_empty()).map(capital).collect()
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| Error::io("making the directory", parent, error))?;
    }
    kshot::atomic::write(path, text.as_bytes(), "writing")
}
