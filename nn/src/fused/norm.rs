//! Batch norm, ReLU and max-pooling of one image in one pass, forward and backward.
//!
//! With scale = γ/σ and shift = β − μ·scale, a block's output is z = max over a window of max(0, scale·y + shift). The
//! gradient g in the normalised values is that of z at the window's first maximum if that is positive, and 0
//! elsewhere; the masks are computed again wherever they are needed, by the same operations on the same values.

use super::image::Image;
use super::simd::{Simd, dispatch};
use super::window::{Affine, largest, load, normalise, route};

/// The images of one block around its norm.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockShape {
    /// Outputs of the convolution.
    pub(super) convolved: Image,
    /// Outputs of the block.
    pub(super) output: Image,
    /// Whether there is a 2×2 max-pooling between.
    pub(super) pool: bool,
}

impl BlockShape {
    /// Panics unless every access of the kernels for windows of `side` stays inside.
    pub(super) fn check(&self, side: usize, lanes: usize, y: usize, z: usize, channels: &[usize]) {
        let Self { convolved, output, pool } = *self;
        assert!(convolved.channels == output.channels && convolved.channels.is_multiple_of(lanes));
        assert!(side == if pool { 2 } else { 1 });
        if pool {
            assert!(2 * output.height <= convolved.height && 2 * output.width <= convolved.width);
        } else {
            assert!(output.height == convolved.height && output.width == convolved.width);
        }
        assert!(convolved.len() <= y && output.len() <= z);
        assert!(channels.iter().all(|&len| len >= convolved.channels));
    }

    /// Floats from one line of the convolution's outputs to the next, and from one pixel to the next.
    #[inline(always)]
    pub(super) fn pitch(&self) -> [usize; 2] {
        [self.convolved.width * self.convolved.channels, self.convolved.channels]
    }

    /// Offsets of the window of an output in the convolution's outputs, and of the output.
    #[inline(always)]
    pub(super) fn places<const SIDE: usize>(&self, row: usize, column: usize) -> [usize; 2] {
        let [line, step] = self.pitch();
        [SIDE * (row * line + column * step), (row * self.output.width + column) * step]
    }
}

/// Coefficients of the gradient in the convolution's outputs, `scale·g + P·y + Q`.
#[derive(Clone, Copy)]
pub(super) struct Coefficients<'a> {
    pub(super) affine: Affine<'a>,
    /// P and Q: the gradient through the batch's statistics.
    pub(super) through: Affine<'a>,
}

impl Coefficients<'_> {
    /// How many channels they have.
    pub(super) fn len(self) -> usize {
        self.affine.len().min(self.through.len())
    }
}

/// The convolution's outputs of an image, and the gradient in the block's outputs.
#[derive(Clone, Copy)]
pub(super) struct Images<'a> {
    pub(super) y: &'a [f32],
    pub(super) dz: &'a [f32],
}

dispatch! {
    /// The outputs `z` of a block, its spare pixel cleared.
    pub(super) fn activate<const SIDE: usize>(
        shape: BlockShape, affine: Affine<'_>, y: &[f32], z: &mut [f32],
    ) = activate_kernel::<_, SIDE>
}
dispatch! {
    /// Per channel, the mean of an image and the sum of squared deviations from it.
    pub(super) fn statistics(image: Image, y: &[f32], means: &mut [f32], squares: &mut [f32]) = statistics_kernel
}
dispatch! {
    /// Two sums per channel over an image: of g, and of g·(y − mean).
    pub(super) fn gradient_sums<const SIDE: usize>(
        shape: BlockShape, affine: Affine<'_>, mean: &[f32], images: Images<'_>, sums: &mut [f32],
    ) = gradient_sums_kernel::<_, SIDE>
}
dispatch! {
    /// The gradient in the convolution's outputs.
    pub(super) fn convolved_gradient<const SIDE: usize>(
        shape: BlockShape, coefficients: Coefficients<'_>, images: Images<'_>, dy: &mut [f32],
    ) = convolved_gradient_kernel::<_, SIDE>
}

#[inline(always)]
fn activate_kernel<S: Simd, const SIDE: usize>(
    simd: S,
    shape: BlockShape,
    affine: Affine<'_>,
    y: &[f32],
    z: &mut [f32],
) {
    shape.check(SIDE, S::LANES, y.len(), z.len(), &[affine.len()]);
    let (output, step) = (shape.output, shape.output.channels);
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: pixels of both images and the channel's coefficients are inside by `check`.
        unsafe {
            let affine = affine.load(simd, channel);
            let (y, z) = (y.as_ptr().add(channel), z.as_mut_ptr().add(channel));
            for row in 0..output.height {
                for column in 0..output.width {
                    let [from, to] = shape.places::<SIDE>(row, column);
                    let v = normalise(simd, load::<S, SIDE>(simd, y.add(from), shape.pitch()), affine);
                    simd.store(z.add(to), simd.max(largest(simd, &v), simd.zero()));
                }
            }
            simd.store(z.add(output.pixels() * step), simd.zero());
        }
    }
}

#[inline(always)]
fn statistics_kernel<S: Simd>(simd: S, image: Image, y: &[f32], means: &mut [f32], squares: &mut [f32]) {
    let step = image.channels;
    assert!(step.is_multiple_of(S::LANES) && y.len() >= image.len());
    assert!(means.len() >= step && squares.len() >= step);
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: `channel` is inside each of them, and pixels inside the image.
        unsafe {
            let y = y.as_ptr().add(channel);
            let total = sum::<S, false>(simd, image, y, simd.zero());
            let mean = simd.mul(total, simd.splat(1.0 / image.pixels() as f32));
            simd.store(means.as_mut_ptr().add(channel), mean);
            simd.store(squares.as_mut_ptr().add(channel), sum::<S, true>(simd, image, y, mean));
        }
    }
}

/// The sum of an image's values in one vector of channels, or of their squared deviations from `mean` if `SQUARED`.
///
/// # Safety
/// The image lies at `y`.
#[inline(always)]
unsafe fn sum<S: Simd, const SQUARED: bool>(simd: S, image: Image, y: *const f32, mean: S::V) -> S::V {
    let (pixels, step) = (image.pixels(), image.channels);
    let add = |sum: S::V, pixel: usize| {
        // SAFETY: the caller's promise.
        let value = unsafe { simd.load(y.add(pixel * step)) };
        let deviation = simd.sub(value, mean);
        if SQUARED { simd.fma(deviation, deviation, sum) } else { simd.add(sum, value) }
    };
    // Four sums, so that additions do not wait for each other.
    let mut sums = [simd.zero(); 4];
    for four in 0..pixels / 4 {
        for (k, sum) in sums.iter_mut().enumerate() {
            *sum = add(*sum, 4 * four + k);
        }
    }
    for pixel in pixels / 4 * 4..pixels {
        sums[0] = add(sums[0], pixel);
    }
    simd.add(simd.add(sums[0], sums[1]), simd.add(sums[2], sums[3]))
}

/// Mean and variance of each channel from the means and squared deviations of `count` images.
pub(super) fn combine(image: Image, count: usize, sums: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let (pixels, channels) = (image.pixels() as f64, image.channels);
    let (mut means, mut variances) = (vec![0.0; channels], vec![0.0; channels]);
    let images = || sums.chunks_exact(2 * channels).take(count);
    for sums in images() {
        means.iter_mut().zip(sums).for_each(|(mean, &m)| *mean += f64::from(m));
    }
    means.iter_mut().for_each(|mean| *mean /= count as f64);
    for sums in images() {
        let (m, squares) = sums.split_at(channels);
        for channel in 0..channels {
            let d = f64::from(m[channel]) - means[channel];
            variances[channel] += f64::from(squares[channel]) + pixels * d * d;
        }
    }
    variances.iter_mut().for_each(|variance| *variance /= pixels * count as f64);
    (means, variances)
}

#[inline(always)]
fn gradient_sums_kernel<S: Simd, const SIDE: usize>(
    simd: S,
    shape: BlockShape,
    affine: Affine<'_>,
    mean: &[f32],
    Images { y, dz }: Images<'_>,
    sums: &mut [f32],
) {
    shape.check(SIDE, S::LANES, y.len(), dz.len(), &[affine.len(), mean.len(), sums.len() / 2]);
    let (output, step) = (shape.output, shape.output.channels);
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: pixels of both images and the channel's coefficients are inside by `check`.
        unsafe {
            let affine = affine.load(simd, channel);
            let mean = simd.load(mean.as_ptr().add(channel));
            let (y, dz) = (y.as_ptr().add(channel), dz.as_ptr().add(channel));
            let (mut sum, mut product) = (simd.zero(), simd.zero());
            for row in 0..output.height {
                for column in 0..output.width {
                    let [from, at] = shape.places::<SIDE>(row, column);
                    let values = load::<S, SIDE>(simd, y.add(from), shape.pitch());
                    let g = route(simd, &normalise(simd, values, affine), simd.load(dz.add(at)));
                    for (g, y) in g.as_flattened().iter().zip(values.as_flattened()) {
                        sum = simd.add(sum, *g);
                        product = simd.fma(*g, simd.sub(*y, mean), product);
                    }
                }
            }
            simd.store(sums.as_mut_ptr().add(channel), sum);
            simd.store(sums.as_mut_ptr().add(step + channel), product);
        }
    }
}

#[inline(always)]
fn convolved_gradient_kernel<S: Simd, const SIDE: usize>(
    simd: S,
    shape: BlockShape,
    coefficients: Coefficients<'_>,
    Images { y, dz }: Images<'_>,
    dy: &mut [f32],
) {
    shape.check(SIDE, S::LANES, y.len().min(dy.len()), dz.len(), &[coefficients.len()]);
    let (convolved, output, [line, step]) = (shape.convolved, shape.output, shape.pitch());
    for channel in (0..step).step_by(S::LANES) {
        // SAFETY: pixels of the images and the channel's coefficients are inside by `check`.
        unsafe {
            let affine = coefficients.affine.load(simd, channel);
            let [slope, constant] = coefficients.through.load(simd, channel);
            let (y, dz) = (y.as_ptr().add(channel), dz.as_ptr().add(channel));
            let dy = dy.as_mut_ptr().add(channel);
            for row in 0..output.height {
                for column in 0..output.width {
                    let [from, at] = shape.places::<SIDE>(row, column);
                    let values = load::<S, SIDE>(simd, y.add(from), [line, step]);
                    let g = route(simd, &normalise(simd, values, affine), simd.load(dz.add(at)));
                    for i in 0..SIDE {
                        for j in 0..SIDE {
                            let rest = simd.fma(values[i][j], slope, constant);
                            let to = dy.add(from + i * line + j * step);
                            simd.store(to, simd.fma(affine[0], g[i][j], rest));
                        }
                    }
                }
            }
            // Rows and columns that no window covers still shaped the statistics.
            for row in 0..convolved.height {
                let covered = if row < SIDE * output.height { SIDE * output.width } else { 0 };
                for column in covered..convolved.width {
                    let at = row * line + column * step;
                    simd.store(dy.add(at), simd.fma(simd.load(y.add(at)), slope, constant));
                }
            }
            simd.store(dy.add(convolved.pixels() * step), simd.zero());
        }
    }
}
