//! `kshot schema`: the JSON Schema of an experiment file, with every plugin that is linked in.

use kshot::options::schema;
use kshot::registry;
use serde_json::{Map, Value, json};

use crate::experiment::Experiment;

/// The schema.
pub(crate) fn experiment() -> Value {
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
    for (name, set) in &mut sets {
        if let Some(set) = set.as_object_mut() {
            set.remove("$schema");
            set.insert("title".to_owned(), json!(format!("options of {name}")));
        }
    }
    root["properties"]["set"] = json!({
        "description": "Options of learners, datasets and the backbone.",
        "type": "object",
        "properties": sets,
        "additionalProperties": false,
    });
    if let Some(train) = root["properties"]["train"].as_object_mut() {
        train.remove("$schema");
    }
    root
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
