//! The network written down plainly in double precision: what the kernels are compared with.

use crate::architecture::{Architecture, BatchNorm, Conv, DropBlock, Layer, NORM_EPSILON, Pool, Reduction};

/// What a layer keeps for its backward pass.
struct Kept {
    x: Vec<f64>,
    /// Of batch norm, the input normalised, and 1/σ per channel.
    normalised: Vec<f64>,
    inverse: Vec<f64>,
    /// Of max-pooling, the index of each output's source.
    source: Vec<usize>,
    /// Of a residual, what the layers of its branches keep.
    branches: [Vec<Kept>; 2],
    /// How far the nearest value is from changing a mask.
    margin: f64,
}

/// What the network and its gradient come to.
pub(crate) struct Reference {
    pub(crate) output: Vec<f64>,
    /// Statistics' slots stay 0.
    pub(crate) gradient: Vec<f64>,
    /// How far the nearest value is from changing a mask of ReLU or pooling, or a hundredth of the least variance of a batch
    /// norm: rounding beyond it changes gradients.
    pub(crate) margin: f64,
}

/// One pass over `count` inputs.
struct Pass<'a> {
    theta: &'a [f64],
    count: usize,
    /// Whether batch norm uses running statistics, where it has them.
    running: bool,
    /// What names the noise of drop layers, where they are active.
    noise: Option<u64>,
}

/// Outputs, and the gradient in θ of a loss with gradient `cotangent(outputs)`, always on the batch's statistics.
pub(crate) fn reference(
    architecture: &Architecture,
    theta: &[f64],
    count: usize,
    x: &[f64],
    cotangent: impl Fn(&[f64]) -> Vec<f64>,
) -> Reference {
    noisy_reference((architecture, None), theta, count, x, cotangent)
}

/// [`reference`] with this noise.
pub(crate) fn noisy_reference(
    (architecture, noise): (&Architecture, Option<u64>),
    theta: &[f64],
    count: usize,
    x: &[f64],
    cotangent: impl Fn(&[f64]) -> Vec<f64>,
) -> Reference {
    let pass = Pass { theta, count, running: false, noise };
    let (output, kept) = pass.chain(&architecture.layers, x.to_vec());
    let mut gradient = vec![0.0; architecture.layout.len()];
    pass.chain_back(&architecture.layers, &kept, cotangent(&output), &mut gradient);
    let margin = kept.iter().map(|kept| kept.margin).fold(f64::INFINITY, f64::min);
    Reference { output, gradient, margin }
}

/// Outputs on running statistics.
pub(crate) fn evaluation(architecture: &Architecture, theta: &[f64], count: usize, x: &[f64]) -> Vec<f64> {
    Pass { theta, count, running: true, noise: None }.chain(&architecture.layers, x.to_vec()).0
}

/// Calls `visit(output index, input index, tap)` for every product of a convolution of one channel pair.
fn taps(conv: &Conv, mut visit: impl FnMut(usize, usize, usize)) {
    let ([_, height, width], [_, rows, columns]) = (conv.input, conv.output);
    for y in 0..rows {
        for x in 0..columns {
            for tap in 0..conv.taps() {
                let row = y * conv.stride[0] + tap / conv.kernel[1];
                let column = x * conv.stride[1] + tap % conv.kernel[1];
                let (Some(row), Some(column)) =
                    (row.checked_sub(conv.padding[0]), column.checked_sub(conv.padding[1]))
                else {
                    continue;
                };
                if row < height && column < width {
                    visit(y * columns + x, row * width + column, tap);
                }
            }
        }
    }
}

/// Calls `visit(output channel, input channel, place of the filter)` for every filter of a convolution.
fn filters(conv: &Conv, mut visit: impl FnMut(usize, usize, usize)) {
    let inputs = conv.input[0] / conv.groups;
    for o in 0..conv.output[0] {
        for i in 0..inputs {
            let from = if conv.groups > 1 { o } else { i };
            visit(o, from, conv.weight.start + (o * inputs + i) * conv.taps());
        }
    }
}

/// Pixels of the window of a pool's output `at`, in row-major order.
fn window(pool: &Pool, at: usize) -> Vec<usize> {
    let [_, _, columns] = pool.output;
    let width = pool.input[2];
    let along = pool.covered(1, at % columns);
    pool.covered(0, at / columns)
        .flat_map(|row| along.clone().map(move |column| row * width + column))
        .collect()
}

impl Pass<'_> {
    fn chain(&self, layers: &[Layer], x: Vec<f64>) -> (Vec<f64>, Vec<Kept>) {
        let mut kept = Vec::new();
        let mut value = x;
        for layer in layers {
            let (next, keep) = self.forward(layer, value);
            kept.push(keep);
            value = next;
        }
        (value, kept)
    }

    fn chain_back(&self, layers: &[Layer], kept: &[Kept], mut d: Vec<f64>, gradient: &mut [f64]) -> Vec<f64> {
        for (layer, kept) in layers.iter().zip(kept).rev() {
            d = self.backward(layer, kept, &d, gradient);
        }
        d
    }

    fn forward(&self, layer: &Layer, x: Vec<f64>) -> (Vec<f64>, Kept) {
        let (normalised, inverse, source) = (Vec::new(), Vec::new(), Vec::new());
        let branches = [Vec::new(), Vec::new()];
        let mut kept = Kept { x, normalised, inverse, source, branches, margin: f64::INFINITY };
        let x = &kept.x;
        let value = match layer {
            Layer::Conv(conv) => {
                let size = |shape: [usize; 3]| shape[1] * shape[2];
                let (from, to) = (size(conv.input), size(conv.output));
                let (inputs, outputs) = (conv.input[0], conv.output[0]);
                let mut y = vec![0.0; self.count * outputs * to];
                for (index, y) in y.chunks_mut(to).enumerate() {
                    y.fill(conv.bias.as_ref().map_or(0.0, |bias| self.theta[bias.start + index % outputs]));
                }
                filters(conv, |o, i, w| {
                    for n in 0..self.count {
                        taps(conv, |at, input, tap| {
                            y[(n * outputs + o) * to + at] +=
                                self.theta[w + tap] * x[(n * inputs + i) * from + input];
                        });
                    }
                });
                y
            }
            Layer::Norm(norm) => self.norm(norm, &mut kept),
            &Layer::Relu { slope } => {
                // What is 0 was dropped, and stays so.
                let sizes = x.iter().map(|x| x.abs()).filter(|&size| size > 0.0);
                kept.margin = sizes.fold(f64::INFINITY, f64::min);
                x.iter().map(|&x| if x > 0.0 { x } else { f64::from(slope) * x }).collect()
            }
            Layer::Pool(pool) => {
                let from = pool.input[1] * pool.input[2];
                let mut y = Vec::new();
                for (index, x) in x.chunks(from).enumerate() {
                    for at in 0..pool.output[1] * pool.output[2] {
                        let values = window(pool, at).into_iter().map(|pixel| (pixel, x[pixel]));
                        if pool.reduction == Reduction::Mean {
                            y.push(values.map(|(_, x)| x).sum::<f64>() / pool.pixels() as f64);
                            continue;
                        }
                        let first = |best: (usize, f64), next: (usize, f64)| {
                            if next.1 > best.1 { next } else { best }
                        };
                        let (pixel, best) = values.clone().reduce(first).unwrap();
                        // Equal values are ReLU's zeros.
                        let gap = values
                            .map(|(_, x)| best - x)
                            .filter(|&gap| gap > 0.0)
                            .fold(f64::INFINITY, f64::min);
                        kept.margin = kept.margin.min(gap);
                        kept.source.push(index * from + pixel);
                        y.push(best);
                    }
                }
                y
            }
            Layer::Drop(drop) => x.iter().zip(self.factors(drop)).map(|(x, factor)| x * factor).collect(),
            Layer::Residual(residual) => {
                let (main, main_kept) = self.chain(&residual.main, x.clone());
                let (shortcut, shortcut_kept) = self.chain(&residual.shortcut, x.clone());
                kept.branches = [main_kept, shortcut_kept];
                kept.margin =
                    kept.branches.iter().flatten().map(|kept| kept.margin).fold(f64::INFINITY, f64::min);
                main.iter().zip(shortcut).map(|(a, b)| a + b).collect()
            }
            Layer::SpatialMean([_, height, width]) => {
                x.chunks(height * width).map(|x| x.iter().sum::<f64>() / (height * width) as f64).collect()
            }
            Layer::Flatten(_) => x.clone(),
            Layer::Linear(layer) => {
                let mut y = Vec::new();
                for x in x.chunks(layer.input) {
                    for o in 0..layer.output {
                        let w = &self.theta[layer.weight.start + o * layer.input..][..layer.input];
                        let product = w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
                        y.push(self.theta[layer.bias.start + o] + product);
                    }
                }
                y
            }
        };
        (value, kept)
    }

    /// What a drop layer multiplies by, `[n, channels, height, width]`.
    fn factors(&self, drop: &DropBlock) -> Vec<f64> {
        let [channels, height, width] = drop.shape;
        let of = |index: usize| {
            let mut ones = vec![1.0; channels * height * width];
            self.noise.iter().for_each(|&seed| drop.apply(seed, index, [height * width, 1], &mut ones));
            ones.into_iter().map(f64::from)
        };
        (0..self.count).flat_map(of).collect()
    }

    /// Places of all values of a channel.
    fn places(&self, norm: &BatchNorm, channel: usize) -> impl Iterator<Item = usize> + use<> {
        let ([channels, height, width], count) = (norm.shape, self.count);
        let size = height * width;
        (0..count).flat_map(move |n| (0..size).map(move |k| (n * channels + channel) * size + k))
    }

    fn norm(&self, norm: &BatchNorm, kept: &mut Kept) -> Vec<f64> {
        let x = &kept.x;
        let mut y = x.clone();
        kept.normalised.clone_from(x);
        for channel in 0..norm.shape[0] {
            let all = || self.places(norm, channel).map(|k| x[k]);
            let total = all().count() as f64;
            let (mean, variance) = match &norm.running {
                Some((mean, variance)) if self.running => {
                    (self.theta[mean.start + channel], self.theta[variance.start + channel])
                }
                _ => {
                    let mean = all().sum::<f64>() / total;
                    (mean, all().map(|x| (x - mean).powi(2)).sum::<f64>() / total)
                }
            };
            // Of a channel that hardly varies, batch norm makes much of little: of rounding, too.
            kept.margin = kept.margin.min(variance / 100.0);
            let inverse = 1.0 / (variance + f64::from(NORM_EPSILON)).sqrt();
            kept.inverse.push(inverse);
            for k in self.places(norm, channel) {
                kept.normalised[k] = (x[k] - mean) * inverse;
                y[k] = self.theta[norm.weight.start + channel] * kept.normalised[k]
                    + self.theta[norm.bias.start + channel];
            }
        }
        y
    }

    fn backward(&self, layer: &Layer, kept: &Kept, d: &[f64], gradient: &mut [f64]) -> Vec<f64> {
        let x = &kept.x;
        let mut dx = vec![0.0; x.len()];
        match layer {
            Layer::Conv(conv) => {
                let size = |shape: [usize; 3]| shape[1] * shape[2];
                let (from, to) = (size(conv.input), size(conv.output));
                let (inputs, outputs) = (conv.input[0], conv.output[0]);
                if let Some(bias) = &conv.bias {
                    for (index, d) in d.chunks(to).enumerate() {
                        gradient[bias.start + index % outputs] += d.iter().sum::<f64>();
                    }
                }
                filters(conv, |o, i, w| {
                    for n in 0..self.count {
                        taps(conv, |at, input, tap| {
                            let (d, at) = (d[(n * outputs + o) * to + at], (n * inputs + i) * from + input);
                            gradient[w + tap] += d * x[at];
                            dx[at] += d * self.theta[w + tap];
                        });
                    }
                });
            }
            Layer::Norm(norm) => {
                for channel in 0..norm.shape[0] {
                    let places = || self.places(norm, channel);
                    let total = places().count() as f64;
                    let sum: f64 = places().map(|k| d[k]).sum();
                    let product: f64 = places().map(|k| d[k] * kept.normalised[k]).sum();
                    gradient[norm.weight.start + channel] += product;
                    gradient[norm.bias.start + channel] += sum;
                    let scale = self.theta[norm.weight.start + channel] * kept.inverse[channel];
                    for k in places() {
                        dx[k] = scale * (d[k] - sum / total - kept.normalised[k] * product / total);
                    }
                }
            }
            &Layer::Relu { slope } => {
                for ((dx, d), x) in dx.iter_mut().zip(d).zip(x) {
                    *dx = if *x > 0.0 { *d } else { f64::from(slope) * d };
                }
            }
            Layer::Pool(pool) if pool.reduction == Reduction::Max => {
                kept.source.iter().zip(d).for_each(|(&source, d)| dx[source] += d);
            }
            Layer::Pool(pool) => {
                let (from, to) = (pool.input[1] * pool.input[2], pool.output[1] * pool.output[2]);
                for (dx, d) in dx.chunks_mut(from).zip(d.chunks(to)) {
                    for (at, d) in d.iter().enumerate() {
                        for pixel in window(pool, at) {
                            dx[pixel] += d / pool.pixels() as f64;
                        }
                    }
                }
            }
            Layer::Drop(drop) => {
                let factors = self.factors(drop);
                dx.iter_mut().zip(d.iter().zip(factors)).for_each(|(dx, (d, factor))| *dx = d * factor);
            }
            Layer::Residual(residual) => {
                let [main, shortcut] = &kept.branches;
                dx = self.chain_back(&residual.main, main, d.to_vec(), gradient);
                let other = self.chain_back(&residual.shortcut, shortcut, d.to_vec(), gradient);
                dx.iter_mut().zip(other).for_each(|(dx, other)| *dx += other);
            }
            Layer::SpatialMean([_, height, width]) => {
                for (dx, d) in dx.chunks_mut(height * width).zip(d) {
                    dx.fill(d / (height * width) as f64);
                }
            }
            Layer::Flatten(_) => dx.copy_from_slice(d),
            Layer::Linear(layer) => {
                for ((x, dx), d) in
                    x.chunks(layer.input).zip(dx.chunks_mut(layer.input)).zip(d.chunks(layer.output))
                {
                    for (o, d) in d.iter().enumerate() {
                        gradient[layer.bias.start + o] += d;
                        for i in 0..layer.input {
                            gradient[layer.weight.start + o * layer.input + i] += d * x[i];
                            dx[i] += d * self.theta[layer.weight.start + o * layer.input + i];
                        }
                    }
                }
            }
        }
        dx
    }
}
