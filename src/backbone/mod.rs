//! The network every learner of a comparison shares.
//!
//! A backbone is registered as learners are ([`register_backbone!`](crate::register_backbone)); its options are a type
//! whose [`Layers`] say what the network is made of. A learner gets a [`Backbone`]: one of them with all its options, for
//! inputs of one shape.
//!
//! ```
//! use kshot::backbone::Backbone;
//! use kshot::nn::{Network, Norm};
//!
//! // As `--set backbone.width=32` asks for it, where the learner was published with running statistics.
//! let backbone = Backbone::of(&toml::toml! { width = 32 }, [1, 28, 28], Norm::Running)?;
//! assert_eq!((backbone.kind.as_str(), backbone.options["blocks"].as_integer()), ("conv4", Some(4)));
//! assert_eq!(backbone.build()?.features(), 32);
//! # Ok::<(), kshot::Error>(())
//! ```

mod conv1d;
mod conv4;
pub(crate) mod entry;
mod mlp;
mod resnet;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::nn::{Architecture, Network, Norm, network};
use crate::options::{Options, described, read};
use crate::{Error, Result};

pub use conv1d::Conv1d;
pub use conv4::Conv4;
pub use entry::{BackboneEntry, backbone, backbones};
pub use mlp::Mlp;
pub use resnet::{ResNet10, ResNet12, ResNet18, Stem, WideResNet28};

/// What a backbone of these options is made of.
pub trait Layers: Options {
    /// The options with those filled in that are left to the input `[channels, height, width]`.
    #[must_use]
    fn resolved(self, input: [usize; 3]) -> Self {
        let _ = input;
        self
    }

    /// The network without a head.
    ///
    /// # Errors
    /// When it does not fit the input.
    fn architecture(&self, input: [usize; 3], norm: Norm) -> Result<Architecture>;
}

/// A backbone, resolved: what is left open nowhere, and so what a checkpoint keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Backbone {
    /// Its registered name.
    pub kind: String,
    /// Shape of one input, `[channels, height, width]`.
    pub input: [usize; 3],
    /// Which statistics its batch norms use.
    pub norm: Norm,
    /// All its options.
    pub options: toml::Table,
}

impl Backbone {
    /// The backbone that an experiment's settings ask for: `kind` (where unset, `conv4` for images and signals, `mlp` for
    /// inputs of one pixel), `norm` (where unset, what the learner was `published` with), and options of that kind.
    ///
    /// # Errors
    /// When there is no such backbone, or it has no such option.
    pub fn of(settings: &toml::Table, input: [usize; 3], published: Norm) -> Result<Self> {
        let mut options = settings.clone();
        let [_, height, width] = input;
        let kind = match options.remove("kind") {
            None => if height * width == 1 { "mlp" } else { "conv4" }.to_owned(),
            Some(toml::Value::String(kind)) => kind,
            Some(other) => {
                return Err(Error::invalid(format!("`kind` of the backbone is {other}, but must be a name")));
            }
        };
        let norm = match options.remove("norm") {
            None => published,
            Some(norm) => norm
                .try_into()
                .map_err(|_| Error::invalid("`norm` of the backbone must be `running` or `batch`"))?,
        };
        let entry = backbone(&kind)?;
        let options = (entry.resolve)(input, &options).map_err(|error| match owner_of(&options, &kind) {
            Some((option, other)) => Error::invalid(format!(
                "the backbone here is `{kind}`, but `{option}` is an option of `{other}`: set `kind = \"{other}\"` as well"
            )),
            None => error,
        })?;
        Ok(Self { kind, input, norm, options })
    }

    /// What the network is made of, without a head.
    ///
    /// # Errors
    /// When it does not fit the input.
    pub fn architecture(&self) -> Result<Architecture> {
        (backbone(&self.kind)?.build)(self.input, self.norm, &self.options)
    }

    /// The network without a head.
    ///
    /// # Errors
    /// As [`Backbone::architecture`].
    pub fn build(&self) -> Result<Arc<dyn Network>> {
        network(self.architecture()?)
    }
}

/// An option that `kind` lacks and another backbone has, with that backbone.
fn owner_of(options: &toml::Table, kind: &str) -> Option<(String, &'static str)> {
    let has = |name: &str, key: &String| {
        let entry = backbone(name).ok();
        entry.is_some_and(|entry| described(&(entry.options)()).iter().any(|option| option.name == *key))
    };
    let lost = options.keys().find(|key| !has(kind, key))?;
    let other = backbones().into_iter().find(|entry| has(entry.name, lost))?;
    Some((lost.clone(), other.name))
}

/// The options of a table for inputs of this shape, all of them: what the registry asks of an entry.
///
/// # Errors
/// As [`read`].
pub fn resolved<T: Layers>(of: &str, input: [usize; 3], table: &toml::Table) -> Result<toml::Table> {
    toml::Table::try_from(read::<T>(of, table)?.resolved(input))
        .map_err(|error| Error::invalid(format!("options of {of}: {error}")))
}
