//! Linear layers with ReLU: the network of the sinusoid, and of features that someone else extracted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Layers;
use crate::nn::{Architecture, Norm};
use crate::options::Options;
use crate::{Error, Result};

/// Options of the backbone `mlp`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Mlp {
    /// Widths of the layers.
    pub hidden: Vec<usize>,
}

impl Default for Mlp {
    fn default() -> Self {
        Self { hidden: vec![40, 40] }
    }
}

impl Options for Mlp {
    fn check(&self) -> Result<()> {
        match self.hidden.contains(&0) {
            true => Err(Error::invalid("`hidden` has a layer of width 0, but each must be 1 or more")),
            false => Ok(()),
        }
    }
}

impl Layers for Mlp {
    /// It has no batch norm: both modes are the same.
    fn architecture(&self, input: [usize; 3], _: Norm) -> Result<Architecture> {
        Architecture::mlp(input, &self.hidden)
    }
}

crate::register_backbone! {
    /// linear layers, a ReLU after each
    ///
    /// Finn, Abbeel, Levine, Model-Agnostic Meta-Learning, ICML 2017 (two of 40 for the sinusoid)
    name: "mlp",
    options: Mlp,
}
