//! Options that describe themselves: one struct a plugin, whose doc comments, defaults and ranges reach the listing, the
//! error messages and the JSON Schema of an experiment file.
//!
//! ```
//! use kshot::options::{Options, described, read, schema};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
//! #[serde(default, rename_all = "kebab-case")]
//! struct MyOptions {
//!     /// How far a positive must be nearer than a negative.
//!     #[schemars(range(min = 0.0))]
//!     margin: f32,
//! }
//!
//! impl Default for MyOptions {
//!     fn default() -> Self {
//!         Self { margin: 0.2 }
//!     }
//! }
//!
//! impl Options for MyOptions {}
//!
//! let margin = &described(&schema::<MyOptions>())[0];
//! assert_eq!((margin.name.as_str(), margin.default.as_str(), margin.range.as_str()), ("margin", "0.2", "0 or more"));
//! let error = read::<MyOptions>("`mine`", &toml::toml! { margin = -1.0 }).unwrap_err();
//! assert_eq!(error.to_string(), "options of `mine`: `margin` is -1.0, but must be 0 or more");
//! ```

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Error, Result};

/// The options of a plugin: a struct with `#[serde(default, rename_all = "kebab-case")]`.
///
/// A range is an attribute, `#[schemars(range(min = 1))]`, and enforced by [`read`]; what an unset option (`None`) stands for
/// is said in its doc comment.
pub trait Options: Clone + Default + Serialize + DeserializeOwned + JsonSchema {
    /// Refuses what no range can: options that do not go together.
    ///
    /// # Errors
    /// One sentence that names the options in backquotes, and says what to do.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// Nothing to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
pub struct NoOptions {}

impl Options for NoOptions {}

/// One option, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its key.
    pub name: String,
    /// What it means: its doc comment, as one line.
    pub meaning: String,
    /// Its default; `unset` where the meaning says what that stands for.
    pub default: String,
    /// What it may be.
    pub range: String,
}

/// The JSON Schema of a type's options, with the defaults that `T::default()` has, and no other keys.
pub fn schema<T: Options>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    let defaults = defaults::<T>();
    // Defaults of a flattened part are its own type's until here.
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties {
            if let (Some(property), Some(default)) = (property.as_object_mut(), defaults.get(name)) {
                property.insert("default".to_owned(), default.clone());
            }
        }
    }
    schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    schema
}

/// Reads options from the table that a person wrote, laid over the defaults.
///
/// `of` says whose options they are, as "`triplet`".
///
/// # Errors
/// For an unknown key (says which is nearest), a value of the wrong type or out of its range, or options that do not go
/// together: names the option and what it may be.
pub fn read<T: Options>(of: &str, table: &toml::Table) -> Result<T> {
    let schema = schema::<T>();
    table.iter().try_for_each(|(key, value)| check_key(of, &schema, key, value))?;
    let refused = |error: Error| error.context(format!("options of {of}"));
    let mut whole = toml::Table::try_from(T::default())
        .map_err(|error| Error::invalid(format!("defaults of {of}: {error}")))?;
    whole.extend(table.clone());
    let options: T = toml::Value::Table(whole)
        .try_into()
        .map_err(|error| refused(Error::invalid(error.to_string().trim())))?;
    check(&options).map_err(refused)?;
    Ok(options)
}

/// Refuses options that are out of their ranges or do not go together; [`read`] has done so.
///
/// # Errors
/// One sentence that names the option, its value and what it may be.
pub fn check<T: Options>(options: &T) -> Result<()> {
    let table = toml::Table::try_from(options).map_err(|error| Error::invalid(error.to_string()))?;
    let schema = schema::<T>();
    for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if let Some(value) = table.get(key) {
            Range::of(property).check(key, value)?;
        }
    }
    options.check()
}

/// All options of a table as they are once read, defaults included: what a checkpoint keeps.
pub fn resolved<T: Options>(of: &str, table: &toml::Table) -> Result<toml::Table> {
    toml::Table::try_from(read::<T>(of, table)?)
        .map_err(|error| Error::invalid(format!("options of {of}: {error}")))
}

/// The options of a schema in words, in alphabetical order.
pub fn described(schema: &Schema) -> Vec<Described> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let describe = |(name, property): (&String, &Value)| Described {
        name: name.clone(),
        meaning: text(property, "description").replace('\n', " "),
        default: property.get("default").map_or("unset".to_owned(), in_words),
        range: Range::of(property).to_string(),
    };
    properties.into_iter().flatten().map(describe).collect()
}

/// The defaults of a type, `null` where unset.
pub(crate) fn defaults<T: Serialize + Default>() -> Map<String, Value> {
    match serde_json::to_value(T::default()) {
        Ok(Value::Object(mut map)) => {
            map.values_mut().for_each(shorten);
            map
        }
        _ => Map::new(),
    }
}

/// Numbers of single precision as short as they were written: 0.2, not 0.20000000298023224.
fn shorten(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let double = number.as_f64().unwrap_or(f64::NAN);
            let short = (double as f32).to_string().parse::<f64>().unwrap_or(double);
            // Only what single precision holds: a double keeps its digits.
            if f64::from(double as f32) == double
                && let Some(short) = serde_json::Number::from_f64(short)
            {
                *number = short;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        _ => {}
    }
}

fn in_words(value: &Value) -> String {
    match value {
        Value::Null => "unset".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => number.as_f64().unwrap_or(f64::NAN).to_string(),
        other => other.to_string(),
    }
}

fn text<'a>(property: &'a Value, key: &str) -> &'a str {
    property.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// What a value may be.
struct Range {
    kind: Kind,
    words: Vec<String>,
    least: Option<f64>,
    above: Option<f64>,
    most: Option<f64>,
    below: Option<f64>,
}

impl Range {
    fn of(property: &Value) -> Self {
        let property = set(property);
        let number = |key: &str| property.get(key).and_then(Value::as_f64);
        Self {
            kind: kind(property),
            words: words(property),
            least: number("minimum"),
            above: number("exclusiveMinimum"),
            most: number("maximum"),
            below: number("exclusiveMaximum"),
        }
    }

    fn check(&self, key: &str, value: &toml::Value) -> Result<()> {
        let holds = match value {
            toml::Value::Float(number) => self.holds(*number),
            toml::Value::Integer(number) => self.holds(*number as f64),
            toml::Value::String(word) => self.words.is_empty() || self.words.contains(word),
            _ => self.words.is_empty(),
        };
        if holds && self.kind.holds(value) {
            return Ok(());
        }
        let may = self.to_string();
        Err(Error::invalid(match (self.words.is_empty(), value) {
            (false, _) => format!("`{key}` is {value}, but must be one of {may}"),
            (true, toml::Value::Float(number)) if !number.is_finite() => {
                format!("`{key}` is {value}, but must be a finite number: {may}")
            }
            (true, _) if !self.kind.holds(value) && may != self.kind.name() => {
                format!("`{key}` is {value}, but must be {}, {may}", self.kind.name())
            }
            (true, _) => format!("`{key}` is {value}, but must be {may}"),
        }))
    }

    fn holds(&self, value: f64) -> bool {
        value.is_finite()
            && self.least.is_none_or(|least| value >= least)
            && self.above.is_none_or(|above| value > above)
            && self.most.is_none_or(|most| value <= most)
            && self.below.is_none_or(|below| value < below)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.words.is_empty() {
            return f.write_str(&self.words.join(", "));
        }
        let low = match (self.least, self.above) {
            (Some(least), _) => Some((least, "or more")),
            (None, Some(above)) => Some((above, "above")),
            (None, None) => None,
        };
        match (low, self.most, self.below) {
            (Some((least, "or more")), Some(most), _) => write!(f, "{least} to {most}"),
            (Some((above, "above")), Some(most), _) => write!(f, "above {above}, {most} at most"),
            (Some((least, "or more")), None, Some(below)) => write!(f, "{least} or more and below {below}"),
            (Some((above, _)), None, Some(below)) => write!(f, "above {above} and below {below}"),
            (Some((least, "or more")), None, None) => write!(f, "{least} or more"),
            (Some((above, _)), ..) => write!(f, "above {above}"),
            (None, Some(most), _) => write!(f, "{most} at most"),
            (None, None, Some(below)) => write!(f, "below {below}"),
            (None, None, None) => f.write_str(self.kind.name()),
        }
    }
}

/// The schema of what an option is where it is set: without the null of one that may be unset.
fn set(property: &Value) -> &Value {
    property.get("anyOf").and_then(Value::as_array).and_then(|any| any.first()).unwrap_or(property)
}

/// The words that an enumeration has.
fn words(property: &Value) -> Vec<String> {
    let plain = property.get("enum").and_then(Value::as_array).into_iter().flatten();
    let described = property.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let described = described.flat_map(|one| {
        let several = one.get("enum").and_then(Value::as_array).into_iter().flatten();
        one.get("const").into_iter().chain(several)
    });
    plain.chain(described).filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    Number,
    Truth,
    List,
    Text,
    Other,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Whole => "a whole number",
            Self::Number => "a number",
            Self::Truth => "true or false",
            Self::List => "a list",
            Self::Text => "text",
            Self::Other => "a value",
        }
    }

    fn holds(self, value: &toml::Value) -> bool {
        match self {
            Self::Whole => value.is_integer(),
            Self::Number => value.is_integer() || value.is_float(),
            Self::Truth => value.is_bool(),
            Self::List => value.is_array(),
            Self::Text => value.is_str(),
            Self::Other => true,
        }
    }
}

fn kind(property: &Value) -> Kind {
    let name = match property.get("type") {
        Some(Value::Array(names)) => names.first().and_then(Value::as_str),
        Some(name) => name.as_str(),
        None => None,
    };
    match name {
        Some("integer") => Kind::Whole,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Truth,
        Some("array") => Kind::List,
        Some("string") => Kind::Text,
        _ => Kind::Other,
    }
}

/// Refuses a key that the schema of someone's options lacks, and a value of the wrong type or out of its range.
///
/// # Errors
/// Names the key and what it may be, or which key is nearest.
pub fn check_key(of: &str, schema: &Schema, key: &str, value: &toml::Value) -> Result<()> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let known = || properties.into_iter().flatten().map(|(name, _)| name.as_str());
    match properties.and_then(|properties| properties.get(key)) {
        None if known().next().is_none() => {
            Err(Error::invalid(format!("{of} has no options, but `{key}` was set")))
        }
        None => Err(Error::unknown(&format!("option of {of}"), key, known())),
        Some(property) => {
            Range::of(property).check(key, value).map_err(|error| error.context(format!("options of {of}")))
        }
    }
}
