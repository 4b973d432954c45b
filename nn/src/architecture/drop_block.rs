//! Noise in training: dropout, and DropBlock on images.

/// 2⁶⁴ over the golden ratio: the step of SplitMix64's counter.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64 (Steele, Lea & Flood 2014, "Fast Splittable Pseudorandom Number Generators"): a counter made a random number.
fn mix(counter: u64) -> u64 {
    let z = counter.wrapping_add(STEP);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Dropout (Srivastava et al. 2014), or DropBlock on images (Ghiasi, Lin & Le 2018, "DropBlock: A regularization method for
/// convolutional networks", algorithm 1): squares of an image's channels are 0, each channel's its own, and what is kept
/// makes up for it.
///
/// A network is without noise, and this layer does nothing, until [`Network::noisy`](crate::Network::noisy) asks for it. What
/// is dropped is a function of that seed, the layer, the example's place in its batch and the place in the image: the same in
/// every pass, on every backend, and whatever the other examples are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropBlock {
    /// Share that is dropped, from 0 up to, but not, 1; somewhat less where squares overlap.
    pub rate: f32,
    /// Height and width of a square, at most the image's. `[1, 1]` is dropout: 1 / (1 − rate) makes up for what is
    /// dropped. Otherwise that is the paper's count / kept, taken over all channels of one image.
    pub block: [usize; 2],
    /// Shape of an image, `[channels, height, width]`, or `[features, 1, 1]`.
    pub shape: [usize; 3],
    /// Its number among the network's layers of this kind, which names its noise.
    pub number: usize,
}

impl DropBlock {
    /// γ, the probability that a square begins at a place where it lies in the image whole (equation 1).
    fn seed_rate(&self) -> f64 {
        let ([_, height, width], [rows, columns]) = (self.shape, self.block);
        let places = (height - rows + 1) * (width - columns + 1);
        f64::from(self.rate) / (rows * columns) as f64 * (height * width) as f64 / places as f64
    }

    /// Drops from example `index` of a batch, in place. In `values`, neighbouring channels and pixels lie `strides` apart.
    pub(crate) fn apply(&self, seed: u64, index: usize, strides: [usize; 2], values: &mut [f32]) {
        let ([channels, height, width], [rows, columns]) = (self.shape, self.block);
        let pixels = height * width;
        let stream = mix(mix(mix(seed) ^ self.number as u64) ^ index as u64);
        let threshold = (self.seed_rate() * 2.0_f64.powi(64)) as u64;
        let begins = |at: usize| mix(stream.wrapping_add(STEP.wrapping_mul(at as u64))) < threshold;
        let place = |channel: usize, pixel: usize| channel * strides[0] + pixel * strides[1];
        let (mut dropped, mut kept) = (vec![false; pixels], 0);
        for channel in 0..channels {
            dropped.fill(false);
            for y in 0..=height - rows {
                for x in (0..=width - columns).filter(|x| begins(channel * pixels + y * width + x)) {
                    (y..y + rows).for_each(|row| dropped[row * width + x..][..columns].fill(true));
                }
            }
            for (pixel, dropped) in dropped.iter().enumerate() {
                match dropped {
                    true => values[place(channel, pixel)] = 0.0,
                    false => kept += 1,
                }
            }
        }
        let scale = match self.block {
            [1, 1] => 1.0 / (1.0 - self.rate),
            _ => (channels * pixels) as f32 / kept.max(1) as f32,
        };
        for channel in 0..channels {
            (0..pixels).for_each(|pixel| values[place(channel, pixel)] *= scale);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each value of an image is multiplied by, `[channels, height, width]`.
    fn factors(drop: &DropBlock, seed: u64, index: usize) -> Vec<f32> {
        let [channels, height, width] = drop.shape;
        let mut ones = vec![1.0; channels * height * width];
        drop.apply(seed, index, [height * width, 1], &mut ones);
        ones
    }

    fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
        let values: Vec<f64> = values.into_iter().collect();
        values.iter().sum::<f64>() / values.len() as f64
    }

    /// The share that is kept: of each place, the probability that none of the squares which reach it begins.
    fn expected_share(drop: &DropBlock) -> f64 {
        let ([_, height, width], [rows, columns]) = (drop.shape, drop.block);
        let reaching = |at: usize, size: usize, block: usize| {
            (0..=size - block).filter(|start| (*start..start + block).contains(&at)).count()
        };
        let all = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
        mean(all.map(|(y, x)| {
            let squares = reaching(y, height, rows) * reaching(x, width, columns);
            (1.0 - drop.seed_rate()).powi(squares as i32)
        }))
    }

    #[test]
    fn the_rate_is_dropped_and_the_mean_kept() {
        for (rate, block, shape) in [
            (0.1, [1, 1], [16, 9, 7]),
            (0.5, [1, 1], [300, 1, 1]),
            (0.1, [5, 5], [8, 10, 10]),
            (0.3, [5, 5], [16, 5, 5]),
            (0.2, [1, 3], [16, 1, 20]),
            (0.2, [2, 3], [8, 4, 9]),
        ] {
            let drop = DropBlock { rate, block, shape, number: 0 };
            let images: Vec<Vec<f32>> = (0..400).map(|index| factors(&drop, 5, index)).collect();
            let share = mean(images.iter().flatten().map(|&factor| f64::from(u8::from(factor > 0.0))));
            let expected = expected_share(&drop);
            assert!((share - expected).abs() < 0.01, "{drop:?}: {share} is kept, not {expected}");
            // Squares that overlap drop less, squares that cannot and single values the rate itself.
            let least = 1.0 - f64::from(rate);
            assert!(expected > least - 1e-6 && expected < least + f64::from(rate).powi(2), "{expected}");
            let total = mean(images.iter().flatten().map(|&factor| f64::from(factor)));
            assert!((total - 1.0).abs() < 0.01, "{drop:?}: a mean of 1 becomes {total}");
            if block != [1, 1] {
                let of_image = mean(images[0].iter().map(|&factor| f64::from(factor)));
                assert!((of_image - 1.0).abs() < 1e-5, "{drop:?}: an image's mean of 1 becomes {of_image}");
            }
        }
    }

    #[test]
    fn what_is_dropped_are_whole_squares_of_single_channels() {
        let drop = DropBlock { rate: 0.1, block: [3, 2], shape: [4, 8, 9], number: 0 };
        let (mut holes, mut differing) = (0, 0);
        for index in 0..50 {
            let image = factors(&drop, 0, index);
            for channel in image.chunks_exact(72) {
                let is_hole = |y: usize, x: usize| {
                    (y..y + 3).all(|row| (x..x + 2).all(|column| channel[row * 9 + column] == 0.0))
                };
                let corners =
                    || (0..=5).flat_map(|y| (0..=7).map(move |x| (y, x))).filter(|&(y, x)| is_hole(y, x));
                for at in (0..72).filter(|&at| channel[at] == 0.0) {
                    let (row, column) = (at / 9, at % 9);
                    assert!(
                        corners().any(|(y, x)| (y..y + 3).contains(&row) && (x..x + 2).contains(&column))
                    );
                    holes += 1;
                }
            }
            differing += usize::from(image[..72] != image[72..144]);
        }
        assert!(holes > 500 && differing > 30, "{holes} {differing}");
    }

    #[test]
    fn seed_layer_and_place_in_the_batch_name_the_noise() {
        let drop = DropBlock { rate: 0.5, block: [1, 1], shape: [8, 4, 4], number: 0 };
        let all = [
            factors(&drop, 0, 0),
            factors(&drop, 1, 0),
            factors(&drop, 0, 1),
            factors(&DropBlock { number: 1, ..drop }, 0, 0),
        ];
        assert_eq!(all[0], factors(&drop, 0, 0));
        for (a, b) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
            let same = all[a].iter().zip(&all[b]).filter(|(a, b)| a == b).count();
            assert!((40..90).contains(&same), "{same} of 128 values are as in another stream");
        }
    }

    #[test]
    fn where_values_lie_does_not_matter() {
        let drop = DropBlock { rate: 0.3, block: [2, 2], shape: [3, 4, 5], number: 2 };
        let by_channel = factors(&drop, 7, 3);
        let mut by_pixel = vec![1.0; 20 * 16];
        drop.apply(7, 3, [1, 16], &mut by_pixel);
        for (at, pixel) in by_pixel.chunks_exact(16).enumerate() {
            (0..3).for_each(|channel| assert_eq!(pixel[channel], by_channel[channel * 20 + at]));
            assert_eq!(pixel[3..], [1.0; 13]);
        }
    }
}
