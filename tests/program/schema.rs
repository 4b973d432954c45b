//! The JSON Schemas that the program prints, for editors and for whoever reads results.

use std::fs;
use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

use super::kshot::succeed;

/// A schema of `kshot schema`.
pub struct Schema {
    compiled: Schemas,
    index: SchemaIndex,
}

impl Schema {
    pub fn printed(arguments: &[&str]) -> Self {
        let schema = serde_json::from_str(&succeed(arguments).stdout).unwrap();
        let (mut compiler, mut compiled) = (Compiler::new(), Schemas::new());
        compiler.add_resource("schema.json", schema).unwrap();
        let index = compiler.compile("schema.json", &mut compiled).unwrap();
        Self { compiled, index }
    }

    pub fn check(&self, value: &Value) -> Result<(), String> {
        self.compiled.validate(value, self.index).map_err(|error| format!("{error:#}"))
    }
}

#[test]
fn examples_are_valid() {
    let schema = Schema::printed(&["schema"]);
    let mut seen = 0;
    for directory in ["examples", "examples/omniglot"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(directory);
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let table: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
                let checked = schema.check(&serde_json::to_value(table).unwrap());
                assert!(checked.is_ok(), "{}: {checked:?}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 8, "{seen} experiment files");
    assert!(schema.check(&json!({ "set": { "triplet": { "margin": -1 } } })).is_err());
}
