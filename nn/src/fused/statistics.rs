//! Batch norm per channel: from statistics to `scale·y + shift`, gradients through the statistics, and changes of both.
//!
//! All of it is of convolution outputs without their bias, which batch norm would subtract again.

use super::norm::Coefficients;
use super::window::Affine;
use crate::architecture::{BatchNorm, NORM_EPSILON};

/// Batch norm per padded channel; or, of images that no batch norm reads, what is added to them.
pub(super) struct Normed {
    pub(super) mean: Vec<f32>,
    /// Biased.
    pub(super) variance: Vec<f64>,
    /// 1/√(variance + ε).
    pub(super) inverse: Vec<f32>,
    /// γ·inverse.
    pub(super) scale: Vec<f32>,
    /// β − mean·scale.
    pub(super) shift: Vec<f32>,
}

impl Normed {
    pub(super) fn new(theta: &[f32], norm: &BatchNorm, mean: &[f64], variance: Vec<f64>) -> Self {
        let (gamma, beta) = (&theta[norm.weight.clone()], &theta[norm.bias.clone()]);
        let channels = mean.len();
        let mut normed = Self {
            mean: mean.iter().map(|&m| m as f32).collect(),
            inverse: variance.iter().map(|v| (1.0 / (v + f64::from(NORM_EPSILON)).sqrt()) as f32).collect(),
            variance,
            scale: vec![0.0; channels],
            shift: vec![0.0; channels],
        };
        for (channel, (gamma, beta)) in gamma.iter().zip(beta).enumerate() {
            let scale = gamma * normed.inverse[channel];
            normed.scale[channel] = scale;
            normed.shift[channel] = beta - normed.mean[channel] * scale;
        }
        normed
    }

    /// With running statistics, which are of outputs with their `bias`, if there is one.
    pub(super) fn running(theta: &[f32], norm: &BatchNorm, bias: Option<&[f32]>, channels: usize) -> Self {
        let (mut mean, mut variance) = (vec![0.0; channels], vec![1.0; channels]);
        if let Some((means, variances)) = &norm.running {
            for (channel, (m, v)) in theta[means.clone()].iter().zip(&theta[variances.clone()]).enumerate() {
                mean[channel] = f64::from(*m) - bias.map_or(0.0, |bias| f64::from(bias[channel]));
                variance[channel] = f64::from(*v);
            }
        }
        Self::new(theta, norm, &mean, variance)
    }

    /// Adds `bias` to the first of `channels`, and does no more.
    pub(super) fn shifted(bias: &[f32], channels: usize) -> Self {
        let mut shift = vec![0.0; channels];
        shift[..bias.len()].copy_from_slice(bias);
        let (mean, variance) = (vec![0.0; channels], vec![1.0; channels]);
        Self { mean, variance, inverse: vec![1.0; channels], scale: vec![1.0; channels], shift }
    }

    pub(super) fn affine(&self) -> Affine<'_> {
        Affine { scale: &self.scale, shift: &self.shift }
    }

    /// Adds the gradients of γ and β, from Σg and Σg·(y − mean) over all `positions` of a channel, and gives the gradient
    /// through the statistics.
    pub(super) fn through(
        &self,
        theta: &[f32],
        norm: &BatchNorm,
        totals: &[f64],
        positions: usize,
        gradient: &mut [f32],
    ) -> Through {
        let channels = self.mean.len();
        let (sum, product) = totals.split_at(channels);
        let mut through = Through::zeros(channels);
        for (channel, gamma) in theta[norm.weight.clone()].iter().enumerate() {
            let inverse = f64::from(self.inverse[channel]);
            gradient[norm.weight.start + channel] += (product[channel] * inverse) as f32;
            gradient[norm.bias.start + channel] += sum[channel] as f32;
            let scale = f64::from(*gamma) * inverse / positions as f64;
            let slope = -scale * product[channel] * inverse * inverse;
            through.scale[channel] = slope as f32;
            through.shift[channel] = (-scale * sum[channel] - slope * f64::from(self.mean[channel])) as f32;
        }
        through
    }

    /// Fills the slots of running statistics with those of a batch (variance unbiased) of outputs with their `bias`.
    pub(super) fn statistics_of_batch(
        &self,
        norm: &BatchNorm,
        bias: Option<&[f32]>,
        positions: usize,
        gradient: &mut [f32],
    ) {
        let Some((means, variances)) = &norm.running else { return };
        let unbiased = positions as f64 / (positions.max(2) - 1) as f64;
        for channel in 0..means.len() {
            gradient[means.start + channel] = self.mean[channel] + bias.map_or(0.0, |bias| bias[channel]);
            gradient[variances.start + channel] = (self.variance[channel] * unbiased) as f32;
        }
    }
}

/// Gradient through the statistics of a batch, `scale·y + shift`.
pub(super) struct Through {
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
}

impl Through {
    pub(super) fn zeros(channels: usize) -> Self {
        Self { scale: vec![0.0; channels], shift: vec![0.0; channels] }
    }

    pub(super) fn affine(&self) -> Affine<'_> {
        Affine { scale: &self.scale, shift: &self.shift }
    }
}

/// The change of a [`Normed`].
pub(super) struct NormTangent {
    pub(super) mean: Vec<f32>,
    /// Of 1/σ.
    pub(super) inverse: Vec<f64>,
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
}

impl NormTangent {
    /// From the changes of the mean and the covariances of y and ẏ, along `direction` in θ.
    pub(super) fn new(
        [theta, direction]: [&[f32]; 2],
        norm: &BatchNorm,
        normed: &Normed,
        mean: &[f64],
        covariance: &[f64],
    ) -> Self {
        let mut tangent = Self::zeros(mean.len());
        tangent.mean.iter_mut().zip(mean).for_each(|(to, &mean)| *to = mean as f32);
        for (channel, gamma) in theta[norm.weight.clone()].iter().enumerate() {
            let gamma_tangent = f64::from(direction[norm.weight.start + channel]);
            let beta_tangent = f64::from(direction[norm.bias.start + channel]);
            let (gamma, inverse) = (f64::from(*gamma), f64::from(normed.inverse[channel]));
            // 1/σ = (v + ε)^(−1/2) and v̇ = 2 cov(y, ẏ).
            let inverse_tangent = -inverse.powi(3) * covariance[channel];
            let scale = gamma_tangent * inverse + gamma * inverse_tangent;
            tangent.inverse[channel] = inverse_tangent;
            tangent.scale[channel] = scale as f32;
            tangent.shift[channel] = (beta_tangent
                - gamma * inverse * mean[channel]
                - scale * f64::from(normed.mean[channel])) as f32;
        }
        tangent
    }

    pub(super) fn zeros(channels: usize) -> Self {
        let zeros = || vec![0.0; channels];
        Self { mean: zeros(), inverse: vec![0.0; channels], scale: zeros(), shift: zeros() }
    }

    /// Of [`Normed::shifted`].
    pub(super) fn shifted(bias: &[f32], channels: usize) -> Self {
        let mut tangent = Self::zeros(channels);
        tangent.shift[..bias.len()].copy_from_slice(bias);
        tangent
    }

    pub(super) fn affine(&self) -> Affine<'_> {
        Affine { scale: &self.scale, shift: &self.shift }
    }

    /// Adds the changes of the gradients of γ and β, from Σg, Σg·(y − mean) and their changes, and gives the gradient
    /// through the statistics with its change.
    pub(super) fn through(
        &self,
        theta: &[f32],
        (norm, normed): (&BatchNorm, &Normed),
        totals: &[f64],
        positions: usize,
        product: &mut [f32],
    ) -> [Through; 2] {
        let (channels, positions) = (self.mean.len(), positions as f64);
        let [mut through, mut change] = [Through::zeros(channels), Through::zeros(channels)];
        for (channel, &gamma) in theta[norm.weight.clone()].iter().enumerate() {
            let [sum, dot, sum_tangent, dot_tangent] = [0, 1, 2, 3].map(|k| totals[k * channels + channel]);
            let (inverse, inverse_tangent) = (f64::from(normed.inverse[channel]), self.inverse[channel]);
            product[norm.weight.start + channel] += (inverse_tangent * dot + inverse * dot_tangent) as f32;
            product[norm.bias.start + channel] += sum_tangent as f32;
            let (scale, scale_tangent) = (f64::from(gamma) * inverse, f64::from(self.scale[channel]));
            let (mean, mean_tangent) = (f64::from(normed.mean[channel]), f64::from(self.mean[channel]));
            let p = -scale * inverse * inverse * dot / positions;
            let p_tangent = -(scale_tangent * inverse * inverse * dot
                + 2.0 * scale * inverse * inverse_tangent * dot
                + scale * inverse * inverse * dot_tangent)
                / positions;
            through.scale[channel] = p as f32;
            through.shift[channel] = (-scale * sum / positions - p * mean) as f32;
            change.scale[channel] = p_tangent as f32;
            change.shift[channel] = (-(scale_tangent * sum + scale * sum_tangent) / positions
                - p_tangent * mean
                - p * mean_tangent) as f32;
        }
        [through, change]
    }
}

/// With the affine maps of a norm and its change, the coefficients of the gradient and their change.
pub(super) fn coefficients<'a>(affine: [Affine<'a>; 2], through: &'a [Through; 2]) -> [Coefficients<'a>; 2] {
    [0, 1].map(|k| Coefficients { affine: affine[k], through: through[k].affine() })
}
