//! The network written down plainly in double precision: what the kernels are compared with.

use crate::architecture::{Architecture, ConvBlock, Layer, NORM_EPSILON};

/// What a layer keeps for its backward pass.
struct Kept {
    x: Vec<f64>,
    /// Convolution outputs normalised to mean 0 and variance 1, and 1/σ per channel.
    normalised: Vec<f64>,
    inverse: Vec<f64>,
    /// Index of each output's source in the convolution outputs, if it is positive.
    source: Vec<Option<usize>>,
    /// How far the nearest value is from changing a mask.
    margin: f64,
}

/// What the network and its gradient come to.
pub(crate) struct Reference {
    pub(crate) output: Vec<f64>,
    /// Statistics' slots stay 0.
    pub(crate) gradient: Vec<f64>,
    /// How far the nearest value is from changing a mask of ReLU or pooling: rounding beyond it changes gradients.
    pub(crate) margin: f64,
}

/// Outputs, and the gradient in θ of a loss with gradient `cotangent(outputs)`, always on the batch's statistics.
pub(crate) fn reference(
    architecture: &Architecture,
    theta: &[f64],
    count: usize,
    x: &[f64],
    cotangent: impl Fn(&[f64]) -> Vec<f64>,
) -> Reference {
    let mut kept = Vec::new();
    let mut value = x.to_vec();
    for layer in &architecture.layers {
        let (next, keep) = forward(layer, theta, count, value);
        kept.push(keep);
        value = next;
    }
    let mut d = cotangent(&value);
    let mut gradient = vec![0.0; architecture.layout.len()];
    for (layer, kept) in architecture.layers.iter().zip(&kept).rev() {
        d = backward(layer, theta, count, kept, &d, &mut gradient);
    }
    let margin = kept.iter().map(|kept| kept.margin).fold(f64::INFINITY, f64::min);
    Reference { output: value, gradient, margin }
}

/// Calls `visit(output index, input index, tap)` for every product of a convolution of one channel pair.
fn taps(block: &ConvBlock, mut visit: impl FnMut(usize, usize, usize)) {
    let [_, height, width] = block.input;
    let [rows, columns] = block.convolved();
    for y in 0..rows {
        for x in 0..columns {
            for tap in 0..9 {
                let (row, column) = (y * block.stride + tap / 3, x * block.stride + tap % 3);
                if (1..=height).contains(&row) && (1..=width).contains(&column) {
                    visit(y * columns + x, (row - 1) * width + column - 1, tap);
                }
            }
        }
    }
}

fn forward(layer: &Layer, theta: &[f64], count: usize, x: Vec<f64>) -> (Vec<f64>, Kept) {
    let mut kept = Kept { x, normalised: vec![], inverse: vec![], source: vec![], margin: f64::INFINITY };
    let x = &kept.x;
    let value = match layer {
        Layer::ConvBlock(block) => {
            let [inputs, height, width] = block.input;
            let [rows, columns] = block.convolved();
            let (size, from) = (rows * columns, height * width);
            let outputs = block.output[0];
            let mut y = vec![0.0; count * outputs * size];
            for n in 0..count {
                for o in 0..outputs {
                    y[(n * outputs + o) * size..][..size].fill(theta[block.bias.start + o]);
                    for i in 0..inputs {
                        let w = &theta[block.weight.start + (o * inputs + i) * 9..][..9];
                        taps(block, |to, at, tap| {
                            y[(n * outputs + o) * size + to] += w[tap] * x[(n * inputs + i) * from + at];
                        });
                    }
                }
            }
            kept.inverse = vec![0.0; outputs];
            kept.normalised = y.clone();
            for o in 0..outputs {
                let at = |n: usize| (n * outputs + o) * size;
                let all = (0..count).flat_map(|n| y[at(n)..at(n) + size].iter());
                let mean = all.clone().sum::<f64>() / (count * size) as f64;
                let variance = all.map(|y| (y - mean).powi(2)).sum::<f64>() / (count * size) as f64;
                kept.inverse[o] = 1.0 / (variance + f64::from(NORM_EPSILON)).sqrt();
                for n in 0..count {
                    let place = at(n)..at(n) + size;
                    for (normalised, y) in kept.normalised[place.clone()].iter_mut().zip(&y[place]) {
                        *normalised = (y - mean) * kept.inverse[o];
                    }
                }
            }
            let [_, out_rows, out_columns] = block.output;
            let mut z = Vec::new();
            for n in 0..count {
                for o in 0..outputs {
                    let (gamma, beta) =
                        (theta[block.norm.weight.start + o], theta[block.norm.bias.start + o]);
                    for row in 0..out_rows {
                        for column in 0..out_columns {
                            let window = if block.pool { 2 } else { 1 };
                            let mut best = (f64::NEG_INFINITY, 0);
                            let mut second = f64::NEG_INFINITY;
                            for k in 0..window * window {
                                let (r, c) = (row * window + k / window, column * window + k % window);
                                let at = (n * outputs + o) * size + r * columns + c;
                                let value = gamma * kept.normalised[at] + beta;
                                if value > best.0 {
                                    second = best.0;
                                    best = (value, at);
                                } else {
                                    second = second.max(value);
                                }
                            }
                            let gap = if best.0 > 0.0 { best.0 - second } else { f64::INFINITY };
                            kept.margin = kept.margin.min(best.0.abs()).min(gap);
                            z.push(best.0.max(0.0));
                            kept.source.push((best.0 > 0.0).then_some(best.1));
                        }
                    }
                }
            }
            z
        }
        Layer::SpatialMean([channels, height, width]) => {
            let size = height * width;
            assert_eq!(x.len(), count * channels * size);
            x.chunks(size).map(|x| x.iter().sum::<f64>() / size as f64).collect()
        }
        Layer::Flatten(_) => x.clone(),
        Layer::Linear(layer) => {
            let mut y = Vec::new();
            for x in x.chunks(layer.input) {
                for o in 0..layer.output {
                    let w = &theta[layer.weight.start + o * layer.input..][..layer.input];
                    y.push(theta[layer.bias.start + o] + w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>());
                }
            }
            y
        }
        Layer::Relu => {
            kept.margin = x.iter().fold(f64::INFINITY, |least, x| least.min(x.abs()));
            x.iter().map(|x| x.max(0.0)).collect()
        }
    };
    (value, kept)
}

fn backward(
    layer: &Layer,
    theta: &[f64],
    count: usize,
    kept: &Kept,
    d: &[f64],
    gradient: &mut [f64],
) -> Vec<f64> {
    let x = &kept.x;
    let mut dx = vec![0.0; x.len()];
    match layer {
        Layer::ConvBlock(block) => {
            let [inputs, height, width] = block.input;
            let [rows, columns] = block.convolved();
            let (size, from) = (rows * columns, height * width);
            let outputs = block.output[0];
            let mut g = vec![0.0; kept.normalised.len()];
            for (source, d) in kept.source.iter().zip(d) {
                if let Some(at) = source {
                    g[*at] += d;
                }
            }
            for o in 0..outputs {
                let places =
                    || (0..count).flat_map(move |n| (0..size).map(move |k| (n * outputs + o) * size + k));
                let total = (count * size) as f64;
                let sum: f64 = places().map(|k| g[k]).sum();
                let product: f64 = places().map(|k| g[k] * kept.normalised[k]).sum();
                gradient[block.norm.weight.start + o] += product;
                gradient[block.norm.bias.start + o] += sum;
                let scale = theta[block.norm.weight.start + o] * kept.inverse[o];
                for k in places() {
                    g[k] = scale * (g[k] - sum / total - kept.normalised[k] * product / total);
                }
                for n in 0..count {
                    for i in 0..inputs {
                        let w = block.weight.start + (o * inputs + i) * 9;
                        taps(block, |to, at, tap| {
                            let (g, at) = (g[(n * outputs + o) * size + to], (n * inputs + i) * from + at);
                            gradient[w + tap] += g * x[at];
                            dx[at] += g * theta[w + tap];
                        });
                    }
                }
            }
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
                        dx[i] += d * theta[layer.weight.start + o * layer.input + i];
                    }
                }
            }
        }
        Layer::Relu => {
            for ((dx, d), x) in dx.iter_mut().zip(d).zip(x) {
                *dx = if *x > 0.0 { *d } else { 0.0 };
            }
        }
    }
    dx
}
