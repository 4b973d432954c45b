//! `kshot schema`: the JSON Schema of an experiment file, with every plugin that is linked in, and that of `result.json`.

use kshot::augment::Augment;
use kshot::options::schema;
use kshot::registry;
use serde_json::{Map, Value, json};

use crate::args::SchemaOf;
use crate::experiment::{AUGMENT, Experiment};
use crate::suite::kept::{FORM, Kept};

/// The schema of a file.
pub(crate) fn of(file: SchemaOf) -> Value {
    match file {
        SchemaOf::Experiment => experiment(),
        SchemaOf::Result => {
            let mut root = schemars::schema_for!(Kept).to_value();
            root["title"] = json!(format!("what kshot keeps of a finished cell or run, form {FORM}"));
            root
        }
    }
}

fn experiment() -> Value {
    let mut root = schema::<Experiment>().to_value();
    root["title"] = json!("a kshot experiment file");
    let mut sets = Map::new();
    for entry in registry::learners() {
        sets.insert(entry.name.to_owned(), (entry.options)().to_value());
    }
    for entry in registry::datasets() {
        sets.insert(entry.name.to_owned(), (entry.options)().to_value());
    }
    sets.insert("backbone".to_owned(), backbone());
    sets.insert(AUGMENT.to_owned(), schema::<Augment>().to_value());
    for (name, set) in &mut sets {
        if let Some(set) = set.as_object_mut() {
            set.remove("$schema");
            set.insert("title".to_owned(), json!(format!("options of {name}")));
        }
    }
    root["properties"]["search"] = search(&sets, &root["properties"]["train"]);
    root["properties"]["set"] = json!({
        "description": "Options of learners, datasets, the backbone and the augmentation.",
        "type": "object",
        "properties": sets,
        "additionalProperties": false,
    });
    if let Some(train) = root["properties"]["train"].as_object_mut() {
        train.remove("$schema");
    }
    root
}

/// Lists of values of what can be set, but of datasets; and of the keys of [train].
fn search(sets: &Map<String, Value>, train: &Value) -> Value {
    let lists = |options: &Value| {
        let one = |(name, option): (&String, &Value)| {
            (name.clone(), json!({ "type": "array", "minItems": 1, "items": option }))
        };
        let properties: Map<String, Value> =
            options["properties"].as_object().into_iter().flatten().map(one).collect();
        json!({ "type": "object", "properties": properties, "additionalProperties": false })
    };
    let datasets: Vec<&str> = registry::datasets().into_iter().map(|entry| entry.name).collect();
    let searched = sets.iter().filter(|(name, _)| !datasets.contains(&name.as_str()));
    let mut properties: Map<String, Value> =
        searched.map(|(name, options)| (name.clone(), lists(options))).collect();
    properties.insert("train".to_owned(), lists(train));
    json!({
        "description": "Of suites: lists of values, to choose among on validation classes.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

/// The options of every backbone, and which it is.
fn backbone() -> Value {
    let entries = registry::backbones();
    let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
    let mut properties = Map::new();
    for entry in &entries {
        let options = (entry.options)().to_value();
        properties.extend(options["properties"].as_object().cloned().unwrap_or_default());
    }
    properties.insert(
        "kind".to_owned(),
        json!({ "description": "Which backbone.", "type": "string", "enum": names }),
    );
    properties.insert(
        "norm".to_owned(),
        json!({
            "description": "Statistics of batch norm; where unset, as each learner was published.",
            "type": "string",
            "enum": ["running", "batch"],
        }),
    );
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}
