//! Where a training stands, on its way from the first rank to the others.

use serde::{Deserialize, Serialize};

use super::{Best, State};
use crate::Result;
use crate::eval::{Measure, Score};
use crate::params::Params;
use crate::ranks::Floats;
use crate::stats::Interval;

/// What, mean, interval.
type Figure = (Measure, f64, f64);

/// A [`State`] and the weights, without their layouts, which all ranks have.
#[derive(Serialize, Deserialize)]
pub(super) struct Standing {
    step: u64,
    weights: Floats,
    moments: Vec<Floats>,
    best: Option<(u64, Option<Figure>, Floats)>,
}

impl State {
    /// For the other ranks.
    pub(super) fn sent(&self, theta: &Params) -> Standing {
        let values = |params: &Params| Floats(params.values().to_vec());
        let figure = |score: Score| (score.measure, score.interval.mean, score.interval.ci95);
        Standing {
            step: self.step,
            weights: values(theta),
            moments: self.optimizer.moments().into_iter().map(|(_, moment)| values(moment)).collect(),
            best: self.best.as_ref().map(|best| (best.step, best.score.map(figure), values(&best.params))),
        }
    }

    /// As the first rank has it.
    pub(super) fn take(&mut self, standing: Standing, theta: &mut Params) -> Result<()> {
        let layout = theta.layout().clone();
        *theta = Params::from_values(&layout, standing.weights.0)?;
        for ((_, moment), values) in self.optimizer.moments_mut().into_iter().zip(standing.moments) {
            *moment = Params::from_values(&layout, values.0)?;
        }
        self.step = standing.step;
        self.best = match standing.best {
            Some((step, figure, values)) => {
                let score =
                    figure.map(|(measure, mean, ci95)| Score { measure, interval: Interval { mean, ci95 } });
                Some(Best { step, score, params: Params::from_values(&layout, values.0)? })
            }
            None => None,
        };
        Ok(())
    }
}
