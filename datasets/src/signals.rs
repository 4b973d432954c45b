//! From a vibration signal to the inputs of a network: windows, and what they are looked at as.

use kshot::{Error, Result};
use realfft::RealFftPlanner;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Samples of a window.
pub(crate) const WINDOW: usize = 2048;
/// Samples of a frame of the spectrogram, which are also its frames: 32 × 64 = 2048.
const FRAME: usize = 64;

/// What a window of 2048 samples is given to learners as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// The samples: `[1, 1, 2048]`.
    Raw,
    /// Logarithm of the magnitude at 1024 frequencies: `[1024, 1, 1]`.
    Spectrum,
    /// Logarithm of the magnitude at 32 frequencies (down) over 32 moments (across): `[1, 32, 32]`.
    #[default]
    Spectrogram,
}

impl View {
    /// `[channels, height, width]`.
    pub(crate) fn shape(self) -> [usize; 3] {
        match self {
            Self::Raw => [1, 1, WINDOW],
            Self::Spectrum => [WINDOW / 2, 1, 1],
            Self::Spectrogram => [1, FRAME / 2, WINDOW / FRAME],
        }
    }

    /// The input for a window of samples: standardised, viewed, and standardised again, so that loudness is no cue.
    #[expect(clippy::indexing_slicing, reason = "a frame's spectrum has half its length")]
    pub(crate) fn of(self, samples: &[f32]) -> Result<Vec<f32>> {
        let samples = standardised(samples);
        match self {
            Self::Raw => Ok(samples),
            Self::Spectrum => Ok(standardised(&log_magnitudes(&samples)?)),
            Self::Spectrogram => {
                let frames = samples.chunks_exact(FRAME).map(log_magnitudes).collect::<Result<Vec<_>>>()?;
                let image =
                    (0..FRAME / 2).flat_map(|f| frames.iter().map(move |frame| frame[f])).collect::<Vec<_>>();
                Ok(standardised(&image))
            }
        }
    }
}

/// Mean 0, deviation 1; zeros where nothing varies.
fn standardised(values: &[f32]) -> Vec<f32> {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let deviation = (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt();
    let scale = if deviation > 0.0 { deviation.recip() } else { 0.0 };
    values.iter().map(|&v| ((f64::from(v) - mean) * scale) as f32).collect()
}

/// ln(|X_k| + 10⁻³) for k = 1 … n/2 of a frame under a Hann window.
fn log_magnitudes(frame: &[f32]) -> Result<Vec<f32>> {
    let n = frame.len();
    let transform = RealFftPlanner::<f32>::new().plan_fft_forward(n);
    let (mut input, mut output) = (transform.make_input_vec(), transform.make_output_vec());
    for (i, (x, &sample)) in input.iter_mut().zip(frame).enumerate() {
        let phase = 2.0 * std::f32::consts::PI * i as f32 / n as f32;
        *x = sample * (0.5 - 0.5 * phase.cos());
    }
    transform
        .process(&mut input, &mut output)
        .map_err(|error| Error::invalid(format!("transforming a window: {error}")))?;
    Ok(output.iter().skip(1).map(|value| (value.norm() + 1e-3).ln()).collect())
}
