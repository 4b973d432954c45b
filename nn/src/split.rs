//! A network in two: a front that stays as it is and a tail that a learner goes on training.

use std::sync::Arc;

use crate::architecture::{Architecture, Layer};
use crate::params::Layout;
use crate::{Error, Result};

impl Architecture {
    /// The layers before the last `tunable` blocks, and the rest. A block is a convolution, a residual or a linear layer
    /// with what follows it without filters of its own: norm, activation, pooling. The front's output, reshaped to the
    /// tail's input, is what flows between them; θ is the front's weights, then the tail's.
    ///
    /// # Errors
    /// When there are fewer than `tunable` blocks.
    pub fn split(&self, tunable: usize) -> Result<(Self, Self)> {
        let starts: Vec<usize> =
            (0..self.layers.len()).filter(|&at| begins_block(&self.layers[at])).collect();
        let Some(frozen) = starts.len().checked_sub(tunable) else {
            return Err(Error::invalid(format!(
                "the last {tunable} blocks were to be trained, but the network has {}",
                starts.len()
            )));
        };
        let at = starts.get(frozen).copied().unwrap_or(self.layers.len());
        let border = self.layers[at..].iter().find_map(first_place).unwrap_or(self.layout.len());
        let shape = self.layers[..at].iter().fold(self.input, |shape, layer| layer.output(shape));
        let is_flat = |layers: &[Layer]| {
            layers.iter().any(|layer| matches!(layer, Layer::SpatialMean(_) | Layer::Flatten(_)))
        };

        let mut front = self.layers[..at].to_vec();
        if !is_flat(&front) {
            front.push(Layer::Flatten(shape));
        }
        let mut tail = self.layers[at..].to_vec();
        for layer in &mut tail {
            layer.places(&mut |place| *place = place.start - border..place.end - border);
        }
        if is_flat(&self.layers[..at]) || !is_flat(&tail) {
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

fn begins_block(layer: &Layer) -> bool {
    matches!(layer, Layer::Conv(_) | Layer::Residual(_) | Layer::Linear(_))
}

/// Where a layer's first tensor lies, if it has any.
fn first_place(layer: &Layer) -> Option<usize> {
    let mut first = None;
    layer.clone().places(&mut |place| {
        first.get_or_insert(place.start);
    });
    first
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
