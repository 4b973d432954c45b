//! The vibration of a bearing with a local defect.
//!
//! The model of McFadden & Smith, "Model for the vibration produced by a single point defect in a rolling element
//! bearing", Journal of Sound and Vibration 1984, with the random slip of Randall & Antoni, "Rolling element bearing
//! diagnostics – A tutorial", Mechanical Systems and Signal Processing 2011: each time a rolling element meets the
//! defect, an impulse excites a resonance of the housing, which rings and dies away; how hard it is hit varies with the
//! load zone as shaft or cage turn.

use std::f64::consts::TAU;

use kshot::rng::Rng;
use rand::Rng as _;

/// Samples a second.
const RATE: f64 = 12_000.0;

/// Where the defect is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    None,
    Ball,
    Inner,
    Outer,
}

impl Defect {
    /// Impacts in a turn of the shaft: BSF × 2, BPFI and BPFO of the SKF 6205 (Bearing Data Center of Case Western
    /// Reserve University).
    fn impacts_a_turn(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Ball => 4.7135,
            Self::Inner => 5.4152,
            Self::Outer => 3.5848,
        }
    }

    /// How often in a turn the defect passes the load zone: with the cage, with the shaft, never.
    fn passes_a_turn(self) -> f64 {
        match self {
            Self::Ball => 0.39828,
            Self::Inner => 1.0,
            Self::None | Self::Outer => 0.0,
        }
    }
}

/// A machine running in one way: a domain.
#[derive(Clone, Copy)]
pub(super) struct Machine {
    /// Turns of the shaft in a minute.
    pub(super) rpm: f64,
    /// Frequency of the housing's resonance in Hz, which shifts as it is loaded.
    pub(super) resonance: f64,
    /// How fast it dies away, in 1/s.
    pub(super) damping: f64,
    /// How much the load zone modulates impacts, 0–1.
    pub(super) modulation: f64,
    /// How hard impacts are, relative to the unloaded machine.
    pub(super) hardness: f64,
    /// Deviation of the broadband noise.
    pub(super) noise: f64,
}

/// `samples` of a bearing with a defect of `severity` (1 is slight).
pub(super) fn signal(
    machine: &Machine,
    defect: Defect,
    severity: f64,
    samples: usize,
    rng: &mut Rng,
) -> Vec<f32> {
    let turns_a_second = machine.rpm / 60.0;
    let phase = rng.random_range(0.0..TAU);
    let mut signal: Vec<f64> = (0..samples)
        .map(|i| {
            let angle = TAU * turns_a_second * i as f64 / RATE + phase;
            // Imbalance and misalignment of the shaft.
            0.15 * angle.sin() + 0.08 * (2.0 * angle).sin() + machine.noise * normal(rng)
        })
        .collect();
    if defect != Defect::None {
        ring(machine, defect, severity, &mut signal, rng);
    }
    signal.into_iter().map(|value| value as f32).collect()
}

/// Adds the response to each impact.
fn ring(machine: &Machine, defect: Defect, severity: f64, signal: &mut [f64], rng: &mut Rng) {
    let turns_a_second = machine.rpm / 60.0;
    let period = 1.0 / (defect.impacts_a_turn() * turns_a_second);
    let zone = rng.random_range(0.0..TAU);
    // A larger defect strikes harder and excites lower frequencies.
    let frequency = machine.resonance * (1.0 - 0.06 * (severity - 1.0));
    let seconds = signal.len() as f64 / RATE;
    let mut at = -rng.random_range(0.0..period);
    while at < seconds {
        let passes = (TAU * defect.passes_a_turn() * turns_a_second * at + zone).cos();
        let strength =
            severity * machine.hardness * (1.0 + machine.modulation * passes) * (1.0 + 0.1 * normal(rng));
        let first = (at * RATE).ceil().max(0.0) as usize;
        for (i, value) in signal.iter_mut().enumerate().skip(first) {
            let t = i as f64 / RATE - at;
            let decay = (-machine.damping * t).exp();
            if decay < 1e-3 {
                break;
            }
            *value += strength * decay * (TAU * frequency * t).sin();
        }
        // Elements slip: the next impact comes a little sooner or later.
        at += period * (1.0 + 0.01 * normal(rng));
    }
}

/// A standard normal draw (Box & Muller 1958).
fn normal(rng: &mut Rng) -> f64 {
    let radius: f64 = 1.0 - rng.random::<f64>();
    (-2.0 * radius.ln()).sqrt() * (TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Power of the signal's envelope (its square) at a frequency.
    fn envelope_power(signal: &[f32], frequency: f64) -> f64 {
        let mean = signal.iter().map(|&x| f64::from(x * x)).sum::<f64>() / signal.len() as f64;
        let (mut re, mut im) = (0.0, 0.0);
        for (i, &x) in signal.iter().enumerate() {
            let angle = TAU * frequency * i as f64 / RATE;
            re += (f64::from(x * x) - mean) * angle.cos();
            im += (f64::from(x * x) - mean) * angle.sin();
        }
        re.hypot(im)
    }

    #[test]
    fn the_envelope_repeats_at_the_frequency_of_the_defect_and_no_other() {
        let machine = Machine {
            rpm: 1797.0,
            resonance: 3000.0,
            damping: 900.0,
            modulation: 0.0,
            hardness: 1.0,
            noise: 0.05,
        };
        let kinds = [Defect::Ball, Defect::Inner, Defect::Outer];
        for defect in kinds {
            let mut rng = kshot::rng::stream(0, "test", 0);
            let signal = signal(&machine, defect, 2.0, 24_000, &mut rng);
            let power = |kind: Defect| envelope_power(&signal, kind.impacts_a_turn() * machine.rpm / 60.0);
            for other in kinds.into_iter().filter(|other| *other != defect) {
                assert!(power(defect) > 5.0 * power(other));
            }
        }
    }
}
