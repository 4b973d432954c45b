//! A network in two: a front that stays as it is and a tail that a learner goes on training.

use std::ops::Range;
use std::sync::Arc;

use crate::architecture::{Architecture, Layer};
use crate::params::Layout;
use crate::{Error, Result};

impl Architecture {
    /// The layers before the last `tunable` ones with weights, and the rest. The front's output, reshaped to the
    /// tail's input, is what flows between them; θ is the front's weights, then the tail's.
    ///
    /// # Errors
    /// When there are fewer than `tunable` layers with weights.
    pub fn split(&self, tunable: usize) -> Result<(Self, Self)> {
        let weighted: Vec<usize> =
            (0..self.layers.len()).filter(|&at| weights_start(&self.layers[at]).is_some()).collect();
        let Some(frozen) = weighted.len().checked_sub(tunable) else {
            return Err(Error::invalid(format!(
                "the last {tunable} blocks were to be trained, but the network has {}",
                weighted.len()
            )));
        };
        let at = weighted.get(frozen).copied().unwrap_or(self.layers.len());
        let border = self.layers.get(at).and_then(weights_start).unwrap_or(self.layout.len());
        let shape = self.layers[..at].iter().fold(self.input, output_shape);

        let mut front = self.layers[..at].to_vec();
        if !matches!(
            front.last(),
            Some(Layer::SpatialMean(_) | Layer::Flatten(_) | Layer::Linear(_) | Layer::Relu)
        ) {
            front.push(Layer::Flatten(shape));
        }
        let mut tail: Vec<Layer> = self.layers[at..].iter().map(|layer| moved(layer, border)).collect();
        if !matches!(tail.first(), Some(Layer::ConvBlock(_))) {
            tail.insert(0, Layer::Flatten(shape));
        }
        let layout = |keep: &dyn Fn(usize) -> bool| {
            let mut layout = Layout::new();
            for entry in self.layout.entries().iter().filter(|entry| keep(entry.range.start)) {
                layout.push(entry.name.clone(), &entry.shape, entry.role);
            }
            Arc::new(layout)
        };
        Ok((
            Self {
                input: self.input,
                features: shape.iter().product(),
                norm: self.norm,
                layers: front,
                layout: layout(&|start| start < border),
            },
            Self {
                input: shape,
                features: self.features,
                norm: self.norm,
                layers: tail,
                layout: layout(&|start| start >= border),
            },
        ))
    }
}

/// Where a layer's weights start, if it has any.
fn weights_start(layer: &Layer) -> Option<usize> {
    match layer {
        Layer::ConvBlock(block) => Some(block.weight.start),
        Layer::Linear(linear) => Some(linear.weight.start),
        Layer::SpatialMean(_) | Layer::Flatten(_) | Layer::Relu => None,
    }
}

fn output_shape(input: [usize; 3], layer: &Layer) -> [usize; 3] {
    match layer {
        Layer::ConvBlock(block) => block.output,
        Layer::Linear(linear) => [linear.output, 1, 1],
        Layer::SpatialMean([channels, ..]) => [*channels, 1, 1],
        Layer::Flatten(shape) => [shape.iter().product(), 1, 1],
        Layer::Relu => input,
    }
}

/// The layer with its weights `by` places further to the front.
fn moved(layer: &Layer, by: usize) -> Layer {
    let moved = |range: &Range<usize>| range.start - by..range.end - by;
    let mut layer = layer.clone();
    match &mut layer {
        Layer::ConvBlock(block) => {
            for range in [&mut block.weight, &mut block.bias, &mut block.norm.weight, &mut block.norm.bias] {
                *range = moved(range);
            }
            if let Some((mean, variance)) = &mut block.norm.running {
                (*mean, *variance) = (moved(mean), moved(variance));
            }
        }
        Layer::Linear(linear) => {
            linear.weight = moved(&linear.weight);
            linear.bias = moved(&linear.bias);
        }
        Layer::SpatialMean(_) | Layer::Flatten(_) | Layer::Relu => {}
    }
    layer
}

#[cfg(test)]
mod tests {
    use ndarray::Array4;

    use super::*;
    use crate::params::Params;
    use crate::rng::stream;
    use crate::{Fused, Network, Norm, Pooling};

    #[test]
    fn the_tail_after_the_front_is_the_whole_network_wherever_it_is_cut() {
        for pooling in [Pooling::Maxpool, Pooling::Strided] {
            let whole = Architecture::conv([1, 16, 16], 3, 5, pooling, Norm::Running).unwrap();
            check(&whole, 3);
        }
        check(&Architecture::mlp([1, 2, 3], &[7, 5]).unwrap().with_head(2).unwrap(), 3);
    }

    fn check(whole: &Architecture, blocks: usize) {
        let theta = whole.init(&mut stream(0, "init", 0));
        let [c, h, w] = whole.input;
        let x = Array4::from_shape_fn((4, c, h, w), |(n, c, h, w)| {
            ((n * 31 + c * 17 + h * 7 + w * 3) % 11) as f32
        });
        let expected = Fused::new(whole.clone()).unwrap().forward(&theta, x.view()).unwrap();
        for tunable in 0..=blocks {
            let (front, tail) = whole.split(tunable).unwrap();
            let (before, after) = theta.values().split_at(front.layout.len());
            let before = Params::from_values(&front.layout, before.to_vec()).unwrap();
            let after = Params::from_values(&tail.layout, after.to_vec()).unwrap();
            let [c, h, w] = tail.input;
            let between = Fused::new(front).unwrap().forward(&before, x.view()).unwrap();
            let between = between.into_shape_with_order((4, c, h, w)).unwrap();
            let y = Fused::new(tail).unwrap().forward(&after, between.view()).unwrap();
            let error = (&y - &expected).iter().fold(0.0f32, |worst, e| worst.max(e.abs()));
            assert!(error < 1e-5, "{tunable} tunable blocks: off by {error}");
        }
        assert!(whole.split(blocks + 1).is_err());
    }
}
