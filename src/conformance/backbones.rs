//! What every backbone must do.

use std::collections::HashSet;

use ndarray::{Array4, Axis};
use rand::Rng as _;

use super::{Checks, Faults, unless};
use crate::Result;
use crate::nn::{Architecture, Loss, Network, Norm, network};
use crate::options::described;
use crate::params::{Params, Role};
use crate::registry::BackboneEntry;
use crate::rng::stream;

/// Inputs to try a backbone on: grey and colour images, a signal, features.
const INPUTS: [[usize; 3]; 4] = [[1, 28, 28], [3, 32, 32], [1, 1, 64], [16, 1, 1]];

/// Examines a backbone with its default options.
///
/// # Errors
/// Each check that failed, by name:
///
/// | check | what must hold |
/// | --- | --- |
/// | `options` | each says what it means, unknown ones are refused, resolving twice is resolving once |
/// | `inputs` | it takes images, colour images, signals or features, at least one of them, and refuses the others in words |
/// | `names` | no two tensors have one name, and none begins with `head.` |
/// | `alone` | on running statistics an input is embedded alone as among others |
/// | `gradient` | the gradient of a loss is its derivative |
/// | `hessian` | its product with a direction is symmetric |
pub fn backbone(entry: &BackboneEntry) -> Result<(), Faults> {
    let mut checks = Checks::default();
    let nothing = toml::Table::new();
    checks.run("options", || {
        if let Some(silent) = described(&(entry.options)()).into_iter().find(|o| o.meaning.is_empty()) {
            return Ok(Some(format!("its option `{}` has no doc comment", silent.name)));
        }
        if (entry.resolve)(INPUTS[0], &toml::toml! { no-such-option = 1 }).is_ok() {
            return Ok(Some("it takes an option that it does not have".to_owned()));
        }
        let once = (entry.resolve)(INPUTS[0], &nothing)?;
        let twice = (entry.resolve)(INPUTS[0], &once)?;
        unless(once == twice, || format!("its options are resolved to {once}, and these to {twice}"))
    });
    let fitting = || {
        let built = INPUTS.iter().map(|&input| (entry.build)(input, Norm::Running, &nothing));
        built.collect::<Vec<Result<Architecture>>>()
    };
    checks.run("inputs", || {
        let built = fitting();
        let mute = built.iter().filter_map(|b| b.as_ref().err()).any(|error| error.to_string().is_empty());
        unless(built.iter().any(Result::is_ok) && !mute, || {
            "it fits no input, or refuses one without a word".to_owned()
        })
    });
    checks.run("names", || {
        for architecture in fitting().into_iter().flatten() {
            let mut seen = HashSet::new();
            let entries = architecture.layout.entries();
            let bad = entries.iter().find(|e| e.name.starts_with("head.") || !seen.insert(e.name.as_str()));
            if let Some(bad) = bad {
                return Ok(Some(format!("a second tensor, or one of a head, is called `{}`", bad.name)));
            }
        }
        Ok(None)
    });
    checks.run("alone", || {
        for architecture in fitting().into_iter().flatten() {
            let (network, theta, x) = setting(architecture)?;
            let all = network.forward(&theta, x.view())?;
            let one = network.forward(&theta, x.select(Axis(0), &[2]).view())?;
            if all.dim() != (x.dim().0, network.features()) {
                return Ok(Some(format!("outputs are {:?}", all.dim())));
            }
            let off = (&all.select(Axis(0), &[2]) - &one).iter().fold(0.0f32, |most, d| most.max(d.abs()));
            if off.is_nan() || off > 1e-4 {
                return Ok(Some(format!("an input among others is embedded {off} off from alone")));
            }
        }
        Ok(None)
    });
    checks.run("gradient", || {
        for architecture in fitting().into_iter().flatten() {
            let (network, theta, x) = setting(architecture)?;
            let loss = loss(network.as_ref(), x.dim().0);
            let gradient = network.gradient(&theta, x.view(), &loss)?.gradient;
            let length = gradient.dot(&gradient).sqrt();
            let value = |step: f32| -> Result<f64> {
                let mut moved = theta.clone();
                moved.update_weights([&gradient], |theta, [g]| *theta += step * g / length as f32);
                Ok(f64::from(network.gradient(&moved, x.view(), &loss)?.loss))
            };
            // The longer a step, the more kinks it passes in a deep network; the shorter, the more rounding counts.
            let mut slopes = Vec::new();
            for step in [1e-3_f32, 1e-4, 1e-5] {
                slopes.push((value(step)? - value(-step)?) / (2.0 * f64::from(step)));
            }
            if slopes.iter().all(|slope| (slope - length).abs() > 0.1 * length + 1e-3) {
                return Ok(Some(format!("a gradient of length {length} is a slope of {}", slopes[0])));
            }
        }
        Ok(None)
    });
    checks.run("hessian", || {
        for architecture in fitting().into_iter().flatten() {
            let (network, theta, x) = setting(architecture)?;
            let loss = loss(network.as_ref(), x.dim().0);
            let [u, v] = [1, 2].map(|seed| random(&theta, seed));
            let at = network.at(&theta, x.view(), &loss)?;
            let (there, back) = (u.dot(&at.hvp(&v)?), v.dot(&at.hvp(&u)?));
            if (there - back).abs() > 1e-2 * there.abs().max(back.abs()) + 1e-3 {
                return Ok(Some(format!("⟨u, Hv⟩ is {there}, ⟨v, Hu⟩ is {back}")));
            }
        }
        Ok(None)
    });
    checks.finish()
}

/// The network with weights, and six inputs.
fn setting(architecture: Architecture) -> Result<(std::sync::Arc<dyn Network>, Params, Array4<f32>)> {
    let [c, h, w] = architecture.input;
    let network = network(architecture)?;
    let mut rng = stream(0, "conformance/backbone", 0);
    let theta = network.init(&mut rng);
    let x = Array4::from_shape_simple_fn((6, c, h, w), || rng.random::<f32>());
    Ok((network, theta, x))
}

fn loss(network: &dyn Network, n: usize) -> Loss {
    Loss::CrossEntropy { labels: (0..n).map(|i| i % network.features().min(3)).collect() }
}

fn random(theta: &Params, seed: u64) -> Params {
    let mut rng = stream(seed, "conformance/direction", 0);
    let mut direction = Params::zeros(theta.layout());
    for range in theta.layout().ranges(Role::Weight) {
        direction.values_mut()[range].fill_with(|| rng.random_range(-0.1..0.1));
    }
    direction
}
