//! An anti-aliased round pen on a `[SIZE, SIZE]` image of bytes.

use super::SIZE;
use super::program::Point;

/// A round pen. Its ink covers a pixel by how far the pixel's centre lies within the pen's edge, over one pixel.
pub(super) struct Pen<'a> {
    radius: f32,
    image: &'a mut [u8],
}

impl<'a> Pen<'a> {
    /// A pen `width` pixels wide.
    pub(super) fn new(width: f32, image: &'a mut [u8]) -> Self {
        Self { radius: width / 2.0, image }
    }

    /// Draws a line; pixel (row r, column c) has its centre at x = c, y = r. What falls outside is cut off.
    pub(super) fn line(&mut self, from: Point, to: Point) {
        let reach = self.radius + 0.5;
        let along = [to[0] - from[0], to[1] - from[1]];
        let square = along[0] * along[0] + along[1] * along[1];
        let range = |axis: usize| {
            let low = (from[axis].min(to[axis]) - reach).ceil().max(0.0) as usize;
            let high = (from[axis].max(to[axis]) + reach).floor().min(SIZE as f32 - 1.0);
            low..(high + 1.0).max(0.0) as usize
        };
        for row in range(1) {
            for column in range(0) {
                let to_pixel = [column as f32 - from[0], row as f32 - from[1]];
                // Nearest point of the line: a share of the way along it.
                let dot = to_pixel[0] * along[0] + to_pixel[1] * along[1];
                let share = if square > 0.0 { (dot / square).clamp(0.0, 1.0) } else { 0.0 };
                let (x, y) = (to_pixel[0] - share * along[0], to_pixel[1] - share * along[1]);
                let cover = (reach - (x * x + y * y).sqrt()).clamp(0.0, 1.0);
                let pixel = &mut self.image[row * SIZE + column];
                *pixel = (*pixel).max((255.0 * cover + 0.5) as u8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_covers_its_length_times_its_width() {
        let mut image = [0; SIZE * SIZE];
        Pen::new(2.0, &mut image).line([4.3, 13.8], [23.3, 13.8]);
        let ink: f32 = image.iter().map(|&pixel| f32::from(pixel) / 255.0).sum();
        // 19 px × 2 px and two half discs of radius 1.
        assert!((ink - (38.0 + std::f32::consts::PI)).abs() < 1.0, "{ink}");
    }

    #[test]
    fn a_line_outside_the_image_leaves_no_ink_and_does_not_panic() {
        let mut image = [0; SIZE * SIZE];
        Pen::new(2.0, &mut image).line([-30.0, -4.0], [-10.0, 60.0]);
        Pen::new(2.0, &mut image).line([40.0, 40.0], [1e9, 50.0]);
        assert!(image.iter().all(|&pixel| pixel == 0));
    }
}
