//! What θ holds beside the network's weights, behind them: learned rates, affine weights of batch norms for each step, and
//! Adam's second moment, which tasks hand on as batch norms do their running statistics.
//!
//! A rate is learned in units of the fixed one, whatever that is, so that an update of Adam changes it by a small share.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use kshot::inner_loop::{SecondMoment, StepGradients};
use kshot::nn::{Architecture, Layer};
use kshot::params::{Layout, Params, Role};
use kshot::{Error, Result};

/// Which rates are learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rates {
    /// None.
    Fixed,
    /// One for each weight (Meta-SGD), under `alpha/NAME`.
    Weight,
    /// One for each tensor and step (MAML++), under `alpha/step0`, `alpha/step1` …
    Tensor,
}

/// Adam's second moment: sums of squares under `adam/NAME`, and of ones.
const ADAM: &str = "adam/";
const ONES: &str = "adam/ones";

/// What is behind the network's weights.
pub(crate) struct Beside {
    rates: Rates,
    /// α where it is not learned, and the unit where it is; 0 where a weight is not adapted.
    fixed: Vec<Params>,
    /// Affine weights of batch norms, by the names they have in the network; those after step k are under `step{k}/NAME`.
    norms: Arc<Layout>,
    network: Arc<Layout>,
    steps: usize,
    layout: Arc<Layout>,
}

/// θ taken apart.
pub(crate) struct Parts<'a> {
    pub(crate) weights: Cow<'a, Params>,
    pub(crate) rates: Cow<'a, [Params]>,
    pub(crate) own: Vec<Params>,
    pub(crate) moment: Option<SecondMoment>,
}

impl Beside {
    /// Of a learner whose inner steps are Adam's, if `adam`.
    ///
    /// # Errors
    /// When steps are to have norms of their own, but the network has none.
    pub(crate) fn new(
        architecture: &Architecture,
        mut fixed: Params,
        rates: Rates,
        step_norms: bool,
        adam: bool,
        steps: usize,
    ) -> Result<Self> {
        let network = architecture.layout.clone();
        let mut norms = Layout::new();
        if step_norms {
            let mut affine: Vec<Range<usize>> = Vec::new();
            architecture.each(&mut |layer| {
                if let Layer::Norm(norm) = layer {
                    affine.extend([norm.weight.clone(), norm.bias.clone()]);
                }
            });
            for entry in network.entries().iter().filter(|entry| affine.contains(&entry.range)) {
                norms.push(entry.name.clone(), &entry.shape, Role::Weight);
                fixed.values_mut()[entry.range.clone()].fill(0.0);
            }
            if norms.entries().is_empty() {
                return Err(Error::invalid(
                    "`step-norms` needs a backbone with batch norms, and this one has none",
                ));
            }
        }
        let mut layout = Layout::new();
        match rates {
            Rates::Fixed => {}
            Rates::Weight => weights(&network).for_each(|entry| {
                layout.push(format!("alpha/{}", entry.name), &entry.shape, Role::Weight);
            }),
            Rates::Tensor => (0..steps).for_each(|k| {
                layout.push(format!("alpha/step{k}"), &[weights(&network).count()], Role::Weight);
            }),
        }
        if step_norms {
            for k in 1..=steps {
                for entry in norms.entries() {
                    layout.push(format!("step{k}/{}", entry.name), &entry.shape, Role::Weight);
                }
            }
        }
        if adam {
            for entry in weights(&network) {
                layout.push(format!("{ADAM}{}", entry.name), &entry.shape, Role::Statistic);
            }
            layout.push(ONES, &[1], Role::Statistic);
        }
        let (norms, layout) = (Arc::new(norms), Arc::new(layout));
        Ok(Self { rates, fixed: vec![fixed], norms, network, steps, layout })
    }

    /// The network's weights, followed by what is beside them: rates of 1, norms as the network's, and no moment yet.
    pub(crate) fn init(&self, weights: Params) -> Params {
        if self.layout.is_empty() {
            return weights;
        }
        let mut beside = Params::zeros(&self.layout);
        for entry in self.layout.entries() {
            if entry.role == Role::Statistic {
                continue;
            }
            let own = &mut beside.values_mut()[entry.range.clone()];
            let norm = entry.name.split_once('/').filter(|(of, _)| *of != "alpha");
            match norm.and_then(|(_, name)| weights.tensor(name)) {
                Some(values) => own.copy_from_slice(values),
                None => own.fill(1.0),
            }
        }
        weights.followed_by(&beside)
    }

    /// θ taken apart.
    ///
    /// # Errors
    /// When it is of another learner.
    pub(crate) fn parts<'a>(&'a self, theta: &'a Params) -> Result<Parts<'a>> {
        if self.layout.is_empty() {
            return Ok(Parts {
                weights: Cow::Borrowed(theta),
                rates: Cow::Borrowed(&self.fixed),
                own: Vec::new(),
                moment: None,
            });
        }
        let (weights, beside) = theta.split_at(&self.network)?;
        let rates = self.fixed.iter().flat_map(|fixed| self.learned_rates(fixed, &beside)).collect();
        let mut own = Vec::new();
        let mut rest = &beside.values()[self.rates_length()..];
        while !self.norms.is_empty() && rest.len() >= self.norms.len() {
            let (values, behind) = rest.split_at(self.norms.len());
            own.push(Params::from_values(&self.norms, values.to_vec())?);
            rest = behind;
        }
        let moment = self.moment(&beside);
        Ok(Parts { weights: Cow::Owned(weights), rates: Cow::Owned(rates), own, moment })
    }

    fn moment(&self, beside: &Params) -> Option<SecondMoment> {
        let ones = *beside.tensor(ONES)?.first()?;
        let mut squares = Params::zeros(&self.network);
        for entry in weights(&self.network) {
            let sums = beside.tensor(&format!("{ADAM}{}", entry.name))?;
            squares.values_mut()[entry.range.clone()].copy_from_slice(sums);
        }
        Some(SecondMoment { squares, ones })
    }

    /// α of each step, or of all.
    fn learned_rates(&self, fixed: &Params, beside: &Params) -> Vec<Params> {
        let mut units = beside.values().iter();
        let steps = if self.rates == Rates::Tensor { self.steps } else { 1 };
        let mut rates = vec![fixed.clone(); steps];
        for rate in &mut rates {
            for entry in weights(&self.network) {
                let own = rate.values_mut()[entry.range.clone()].iter_mut();
                match self.rates {
                    Rates::Fixed => {}
                    Rates::Weight => own.zip(&mut units).for_each(|(rate, unit)| *rate *= unit),
                    Rates::Tensor => {
                        let unit = units.next().copied().unwrap_or(1.0);
                        own.for_each(|rate| *rate *= unit);
                    }
                }
            }
        }
        rates
    }

    /// Numbers that are rates; the norms are behind them.
    fn rates_length(&self) -> usize {
        let rates = self.layout.entries().iter().filter(|entry| entry.name.starts_with("alpha/"));
        rates.map(|entry| entry.range.len()).sum()
    }

    /// The gradient in θ, from that in the network's weights and those in what belongs to steps; in the places of a moment, what
    /// the task hands on.
    pub(crate) fn gradient(
        &self,
        weights_gradient: Params,
        steps: &StepGradients,
        moment: Option<&SecondMoment>,
    ) -> Params {
        if self.layout.is_empty() {
            return weights_gradient;
        }
        let mut beside = Params::zeros(&self.layout);
        if let Some(SecondMoment { squares, ones }) = moment {
            let sums = weights(&self.network).flat_map(|entry| &squares.values()[entry.range.clone()]);
            let sums = sums.chain([ones]);
            beside.values_mut().iter_mut().zip(sums).for_each(|(slot, sum)| *slot = *sum);
            return weights_gradient.followed_by(&beside);
        }
        let mut slots = beside.values_mut().iter_mut();
        for (d_rate, fixed) in steps.rates.iter().zip(self.fixed.iter().cycle()) {
            for entry in weights(&self.network) {
                let d_rate = &d_rate.values()[entry.range.clone()];
                let each = d_rate.iter().zip(&fixed.values()[entry.range.clone()]).map(|(d, unit)| d * unit);
                match self.rates {
                    Rates::Fixed => {}
                    Rates::Weight => slots.by_ref().zip(each).for_each(|(slot, d)| *slot = d),
                    Rates::Tensor => {
                        slots.next().into_iter().zip([each.sum()]).for_each(|(slot, d)| *slot = d)
                    }
                }
            }
        }
        let own = steps.own.iter().flat_map(|own| own.values());
        slots.zip(own).for_each(|(slot, d)| *slot = *d);
        weights_gradient.followed_by(&beside)
    }
}

fn weights(layout: &Layout) -> impl Iterator<Item = &kshot::params::Entry> {
    layout.entries().iter().filter(|entry| entry.role == Role::Weight)
}
