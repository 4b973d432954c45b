//! A simulated bearing, for a diagnosis that needs no download: seven states of it at four loads.
//!
//! `normal`, and a slight and a severe defect of ball, inner race and outer race. The domains `load0` … `load3` turn
//! slower, are struck harder, ring at a lower frequency and are noisier as the load grows. Each example is a window of
//! 2048 samples at 12 kHz of a run of its own, drawn as the dataset is opened; training and test draw apart.

mod simulator;

use kshot::Result;
use kshot::dataset::{Dataset, DatasetContext, Preparation};
use kshot::options::Options;
use kshot::rng::stream;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain_splits::{DomainBuilder, Part};
use crate::signals::{View, WINDOW};
use simulator::{Defect, Machine, signal};

kshot::register_dataset! {
    /// a simulated bearing: 7 states at 4 loads (domains load0 … load3), windows of 2048 samples at 12 kHz
    ///
    /// generated, after McFadden & Smith 1984 and Randall & Antoni 2011
    name: "bearing",
    options: BearingOptions,
    open: open,
}

/// Options of `bearing`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct BearingOptions {
    /// What a window is looked at as.
    pub view: View,
    /// Windows of each state at each load for training, and as many again for test.
    #[schemars(range(min = 1, max = 100_000))]
    pub windows: usize,
    /// Seed of the runs. Not the experiment's: all see the same bearing.
    pub seed: u64,
}

impl Default for BearingOptions {
    fn default() -> Self {
        Self { view: View::default(), windows: 40, seed: 0 }
    }
}

impl Options for BearingOptions {}

const STATES: [(&str, Defect, f64); 7] = [
    ("normal", Defect::None, 0.0),
    ("ball-slight", Defect::Ball, 1.0),
    ("ball-severe", Defect::Ball, 2.0),
    ("inner-slight", Defect::Inner, 1.0),
    ("inner-severe", Defect::Inner, 2.0),
    ("outer-slight", Defect::Outer, 1.0),
    ("outer-severe", Defect::Outer, 2.0),
];

/// The machine at a load of 0–3; the speeds are those of the motor of Case Western Reserve University.
fn machine(load: usize) -> Machine {
    let share = load as f64 / 3.0;
    Machine {
        rpm: [1797.0, 1772.0, 1750.0, 1730.0][load],
        resonance: 3400.0 - 600.0 * share,
        damping: 800.0 + 500.0 * share,
        modulation: 0.3 + 0.5 * share,
        hardness: 0.6 + 0.3 * share,
        noise: 0.25 + 0.15 * share,
    }
}

fn open(_: &DatasetContext, options: BearingOptions) -> Result<Box<dyn Dataset>> {
    let mut builder = DomainBuilder::new(options.view.shape());
    for load in 0..4 {
        let domain = format!("load{load}");
        for (name, defect, severity) in STATES {
            for (part, purpose) in [(Part::Train, "train"), (Part::Test, "test")] {
                let purpose = format!("bearing/{domain}/{name}/{purpose}");
                let window = |number: u64| {
                    let mut rng = stream(options.seed, &purpose, number);
                    options.view.of(&signal(&machine(load), defect, severity, WINDOW, &mut rng))
                };
                let windows: Vec<Vec<f32>> =
                    (0..options.windows as u64).into_par_iter().map(window).collect::<Result<_>>()?;
                for (number, window) in windows.iter().enumerate() {
                    builder.push(&domain, name, part, format!("{purpose}/{number}"), window);
                }
            }
        }
    }
    Ok(Box::new(builder.finish(Preparation::Generated, &[])?))
}
