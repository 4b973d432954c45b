//! The keys of `[train]` as flags: made of what [`TrainConfig`] says of itself.

use std::borrow::Cow;

use clap::{Arg, ArgMatches, Command};
use kshot::Result;
use kshot::options::{self, described};
use kshot::train::TrainConfig;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// Heading of the keys in the help.
const HEADING: &str = "Training (a learner's own defaults, see `kshot learners`, go before these)";

/// The keys of `[train]` that are set, over what the learner does by itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct TrainKeys(pub(crate) toml::Table);

impl JsonSchema for TrainKeys {
    fn schema_name() -> Cow<'static, str> {
        TrainConfig::schema_name()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        options::schema::<TrainConfig>()
    }
}

impl TrainKeys {
    /// Refuses unknown keys and values out of their ranges; what does not go together is seen with the learner's own.
    pub(crate) fn check(&self) -> Result<()> {
        let schema = options::schema::<TrainConfig>();
        self.0.iter().try_for_each(|(key, value)| options::check_key("[train]", &schema, key, value))
    }
}

/// A value of the command line: what is no TOML value is a string without its quotes.
pub(crate) fn value(text: &str) -> toml::Value {
    format!("value = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

fn augment(command: Command) -> Command {
    described(&options::schema::<TrainConfig>()).into_iter().fold(command, |command, option| {
        let help = format!("{} ({}) [default: {}]", option.meaning, option.range, option.default);
        let name: &'static str = option.name.clone().leak();
        command.arg(
            Arg::new(name)
                .long(name)
                .value_name("VALUE")
                .help(help)
                .help_heading(HEADING)
                .allow_negative_numbers(true),
        )
    })
}

impl clap::Args for TrainKeys {
    fn augment_args(command: Command) -> Command {
        augment(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        augment(command)
    }
}

impl clap::FromArgMatches for TrainKeys {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut keys = Self::default();
        keys.update_from_arg_matches(matches)?;
        Ok(keys)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for option in described(&options::schema::<TrainConfig>()) {
            if let Some(text) = matches.get_one::<String>(&option.name) {
                self.0.insert(option.name, value(text));
            }
        }
        Ok(())
    }
}
