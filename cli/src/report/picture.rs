//! Examples as pictures within the page: images as PNG, signals and features as lines.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder as _};

use super::html::escaped;

/// Sides of a picture in pixels, at most: of a grey one, of one in colours.
const SIDES: [usize; 2] = [64, 44];

/// Points of a signal's line, at most.
const POINTS: usize = 60;

/// An example of this shape, `[channels, height, width]`; `words` are what it is.
pub(super) fn picture([channels, height, width]: [usize; 3], values: &[f32], words: &str) -> String {
    let is_image = height > 3 && width > 3 && (channels == 1 || channels == 3);
    let png = if is_image { png([channels, height, width], values) } else { None };
    let words = escaped(words);
    match png {
        Some(bytes) => format!(r#"<img alt="{words}" src="data:image/png;base64,{}"/>"#, base64(&bytes)),
        None => trace(values, &words),
    }
}

/// The largest of `sides` of the picture brought to what is shown, by means over areas.
fn png([channels, height, width]: [usize; 3], values: &[f32]) -> Option<Vec<u8>> {
    let most = SIDES[usize::from(channels == 3)];
    let by = height.max(width).div_ceil(most).max(1);
    let (rows, columns) = (height / by, width / by);
    if rows == 0 || columns == 0 || values.len() != channels * height * width {
        return None;
    }
    // Pixels are 0–1 as they are; what was normalised is brought there.
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (low, high) = if low >= 0.0 && high <= 1.0 { (0.0, 1.0) } else { (low, high) };
    let scale = 255.0 / (high - low).max(f32::MIN_POSITIVE);
    let mut pixels = Vec::with_capacity(rows * columns * channels);
    for row in 0..rows {
        for column in 0..columns {
            for channel in 0..channels {
                let mut sum = 0.0;
                for y in row * by..(row + 1) * by {
                    let start = (channel * height + y) * width + column * by;
                    sum += values[start..start + by].iter().sum::<f32>();
                }
                pixels.push(((sum / (by * by) as f32 - low) * scale).round().clamp(0.0, 255.0) as u8);
            }
        }
    }
    let mut bytes = Vec::new();
    let colour = if channels == 3 { ExtendedColorType::Rgb8 } else { ExtendedColorType::L8 };
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, FilterType::Adaptive)
        .write_image(&pixels, columns as u32, rows as u32, colour)
        .ok()?;
    Some(bytes)
}

/// The values one after the other.
fn trace(values: &[f32], words: &str) -> String {
    let stride = values.len().div_ceil(POINTS).max(1);
    let shown: Vec<f32> = values.iter().copied().step_by(stride).collect();
    let low = shown.iter().copied().fold(f32::INFINITY, f32::min);
    let high = shown.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let last = (shown.len().max(2) - 1) as f32;
    let points: Vec<String> = shown
        .iter()
        .enumerate()
        .map(|(place, value)| {
            let y = 40.0 - 36.0 * (value - low) / (high - low).max(f32::MIN_POSITIVE);
            format!("{:.1},{y:.1}", 2.0 + 84.0 * place as f32 / last)
        })
        .collect();
    format!(
        r#"<svg viewBox="0 0 88 44" role="img" aria-label="{words}"><polyline class="trace" points="{}"/></svg>"#,
        points.join(" ")
    )
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let of = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = of(0) << 16 | of(1) << 8 | of(2);
        for place in 0..4 {
            match place <= three.len() {
                true => text.push(char::from(LETTERS[(bits >> (18 - 6 * place) & 63) as usize])),
                false => text.push('='),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
