//! Windows that slide over images: what their elements see, and the way back.

use dfdx::prelude::*;

use super::device::{DeviceResult, Images};
use crate::architecture::{Conv, Pool};
use crate::tape::Matrix;

/// Windows of `kernel` elements, `stride` apart, the first `padding` outside the image; each pair is of height and width.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    input: [usize; 2],
    output: [usize; 2],
}

impl Windows {
    pub(super) fn of_conv(conv: &Conv) -> Self {
        let [[_, input @ ..], [_, output @ ..]] = [conv.input, conv.output];
        Self { kernel: conv.kernel, stride: conv.stride, padding: conv.padding, input, output }
    }

    pub(super) fn of_pool(pool: &Pool) -> Self {
        let [[_, input @ ..], [_, output @ ..]] = [pool.input, pool.output];
        Self { kernel: pool.window, stride: pool.stride, padding: pool.padding, input, output }
    }

    /// Elements of a window, in row-major order.
    fn taps(self) -> impl Iterator<Item = [usize; 2]> {
        let [height, width] = self.kernel;
        (0..height).flat_map(move |y| (0..width).map(move |x| [y, x]))
    }

    /// What each element of the windows sees of `x`, `[n·oh·ow, c]`; `outside` where that is not in the image.
    pub(super) fn views(self, x: &Images, outside: f32) -> DeviceResult<Vec<Matrix>> {
        let &(n, h, w, c) = x.shape();
        let Self { kernel, stride: [sy, sx], padding, output: [oh, ow], .. } = self;
        // As many whole strides as windows reach, so that stepping is slicing one phase of [.., rows, stride, ..].
        let (rows, columns) = (oh + (kernel[0] - 1) / sy, ow + (kernel[1] - 1) / sx);
        let seen =
            [h.min((rows * sy).saturating_sub(padding[0])), w.min((columns * sx).saturating_sub(padding[1]))];
        let x = x.clone().try_slice((0..n, 0..seen[0], 0..seen[1], 0..c))?;
        let after = [rows * sy - seen[0] - padding[0], columns * sx - seen[1] - padding[1]];
        let padded = pad(x.try_reshape_like(&(n, seen[0], seen[1], c))?, padding, after, outside)?;
        let phases = padded.try_reshape_like(&(n, rows, sy, columns, sx, c))?;
        self.taps()
            .map(|[ky, kx]| {
                let (y, py, x, px) = (ky / sy, ky % sy, kx / sx, kx % sx);
                let view =
                    phases.clone().try_slice((0..n, y..y + oh, py..py + 1, x..x + ow, px..px + 1, 0..c))?;
                view.try_reshape_like(&(n * oh * ow, c))
            })
            .collect()
    }

    /// The transpose of [`Self::views`]: what `parts`, one for each element of the windows, add up to in the image.
    pub(super) fn scatter(self, parts: Vec<Matrix>) -> DeviceResult<Images> {
        let Self { stride, padding, input: [h, w], output: [oh, ow], .. } = self;
        let mut total: Option<Images> = None;
        for ([ky, kx], part) in self.taps().zip(parts) {
            let &(rows, c) = part.shape();
            let n = rows / (oh * ow);
            // Along each side: what is kept of the part, and the zeros before and after it.
            let along = |tap: usize, padding: usize, length: usize, size: usize| {
                let start = padding.saturating_sub(tap).min(length);
                let before = tap.saturating_sub(padding).min(size);
                let kept = (length - start).min(size - before);
                (start..start + kept, before, size - before - kept)
            };
            let (y, before_y, after_y) = along(ky, padding[0], oh * stride[0], h);
            let (x, before_x, after_x) = along(kx, padding[1], ow * stride[1], w);
            if y.is_empty() || x.is_empty() {
                continue;
            }
            let kept = (n, y.len(), x.len(), c);
            let part = spread(part.try_reshape_like(&(n, oh, ow, c))?, stride)?;
            let part = part.try_slice((0..n, y, x, 0..c))?.try_reshape_like(&kept)?;
            let (before, after) = ([before_y, before_x], [after_y, after_x]);
            let part = pad(part, before, after, 0.0)?;
            total = Some(match total {
                None => part,
                Some(total) => total.try_add(part)?,
            });
        }
        Ok(total.unwrap_or_else(|| unreachable!("some element of a window is in the image")))
    }
}

/// `value` before and after, along height and along width.
fn pad(x: Images, before: [usize; 2], after: [usize; 2], value: f32) -> DeviceResult<Images> {
    let device = x.device().clone();
    let &(n, h, w, c) = x.shape();
    let filled = |h: usize, w: usize| device.try_zeros_like(&(n, h, w, c))?.try_add(value);
    let x = (filled(before[0], w)?, x).try_concat_along(Axis::<1>)?;
    let x = (x, filled(after[0], w)?).try_concat_along(Axis::<1>)?;
    let height = before[0] + h + after[0];
    let x = (filled(height, before[1])?, x).try_concat_along(Axis::<2>)?;
    (x, filled(height, after[1])?).try_concat_along(Axis::<2>)
}

/// `[n, oh, ow, c]` to `[n, sy·oh, sx·ow, c]` with zeros in between.
fn spread(d: Images, [sy, sx]: [usize; 2]) -> DeviceResult<Images> {
    let &(n, oh, ow, c) = d.shape();
    let device = d.device().clone();
    let d = d.try_reshape_like(&(n, oh, 1, ow, 1, c))?;
    let d = (d, device.try_zeros_like(&(n, oh, 1, ow, sx - 1, c))?).try_concat_along(Axis::<4>)?;
    let d = (d, device.try_zeros_like(&(n, oh, sy - 1, ow, sx, c))?).try_concat_along(Axis::<2>)?;
    d.try_reshape_like(&(n, oh * sy, ow * sx, c))
}
